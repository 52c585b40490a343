"""Faults that change the state of a node or of its interfaces: how each is put there, and how it is taken back.

Taking back needs nothing but the lab, the fault and what was written down of it before: another process can do it.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from testbed.errors import DaemonError, TestbedError
from testbed.faults.disk import fill_disk, give_back_disk
from testbed.network.links import fabric_name
from testbed.network.namespace import named_path, run_in_namespace
from testbed.topology.faults import ClockStep, DaemonFault, DiskFull, LinkDown, NamesGone, Nat, Restart

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.lab import Lab

__all__ = ["CHANGES", "Change"]

_TABLE = "testbed_fault"
_HOSTS = "/etc/hosts"


@dataclass(frozen=True)
class Change:
    """`look` says what has to be known to take it back, as JSON has it; `end` may follow whatever came of `begin`."""

    begin: Callable[[Lab, Any, Any], object]
    end: Callable[[Lab, Any, Any], object]
    look: Callable[[Lab, Any], Any] = lambda _lab, _fault: None


def _put(lab: Lab, link: str, up: str) -> None:
    """Whatever the link is made of, every node on it loses its carrier, or gets it back."""

    def put(interface: str) -> None:
        with IPRoute() as netlink:
            for index in netlink.link_lookup(ifname=interface):  # none if its node has gone meanwhile
                netlink.link("set", index=index, state=up)

    for namespace, interface in _sides(lab, link):
        if namespace.exists():
            run_in_namespace(namespace, functools.partial(put, interface))


def _sides(lab: Lab, link: str) -> list[tuple[Path, str]]:
    """The interfaces that are put down: a LAN's ports, both of the node that a link goes through, or one end's."""
    planned, states = lab.plan.links[link], lab.states()
    if planned.kind == "lan":
        fabric = named_path(fabric_name(lab.plan.lab))
        return [(fabric, end.port) for end in planned.ends]
    ends = planned.through or planned.ends[-1:]
    return [(states[end.node].namespace, end.interface) for end in ends if end.node in states]


def _down(lab: Lab, fault: LinkDown, _memo: None) -> None:
    lab.live()
    _put(lab, fault.link, "down")


def _up(lab: Lab, fault: LinkDown, _memo: None) -> None:
    """Addresses and routes come back with the carrier."""
    _put(lab, fault.link, "up")
    running = lab.states()
    for end in lab.plan.links[fault.link].ends:
        if end.node in running and running[end.node].running:
            lab.configure_links(end.node)


def _outside(lab: Lab, fault: Nat) -> str:
    """The router's interface on the link behind which addresses are hidden."""
    interface = next((end.interface for end in lab.plan.links[fault.link].ends if end.node == fault.node), None)
    if interface is None:
        raise DaemonError(f"'{fault.node}' is no end of link '{fault.link}'", node=fault.node)
    return interface


def _masquerade(lab: Lab, fault: Nat, interface: str) -> None:
    """In the router's own netfilter."""
    rules = f"""
table ip {_table(fault)} {{
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{interface}" masquerade
  }}
}}
"""
    lab.node(fault.node).execute(["nft", "-f", "-"], stdin=rules.encode(), check=True)


def _table(fault: Nat) -> str:
    return f"{_TABLE}_{fault.link.replace('-', '_')}"


def _no_nat(lab: Lab, fault: Nat, _interface: str) -> None:
    lab.node(fault.node).execute(["nft", "delete", "table", "ip", _table(fault)])


def _harm(lab: Lab, fault: DaemonFault, _memo: None) -> None:
    node = lab.node(fault.node)
    if fault.action == "kill":
        node.kill_daemon(fault.daemon)
    else:
        node.signal_daemon(fault.daemon, "STOP")


def _heal(lab: Lab, fault: DaemonFault, _memo: None) -> None:
    if fault.action == "kill":
        lab.start_daemons(fault.node)
    else:
        lab.node(fault.node).signal_daemon(fault.daemon, "CONT")


def _names(lab: Lab, fault: NamesGone) -> str:
    return lab.node(fault.node).execute(["cat", _HOSTS], check=True).text


def _write_names(lab: Lab, node: str, text: str) -> None:
    write = ["/bin/sh", "-c", f"cat > {_HOSTS}"]  # in place: Docker has mounted the file
    lab.node(node).execute(write, stdin=text.encode(), check=True)


def _step_back(lab: Lab, fault: ClockStep, before_s: float) -> None:
    with contextlib.suppress(TestbedError):  # the node may have been removed meanwhile
        node = lab.node(fault.node)
        node.step_clock(before_s - node.clock.offset_s)


CHANGES: dict[type, Change] = {
    LinkDown: Change(_down, _up),
    Nat: Change(_masquerade, _no_nat, _outside),
    DaemonFault: Change(_harm, _heal),
    Restart: Change(
        lambda lab, fault, _: lab.stop_node(fault.node),
        lambda lab, fault, _: lab.start_node(fault.node),
    ),
    # The names of a lab stand in each node's /etc/hosts; what is asked of a name server goes nowhere anyhow.
    NamesGone: Change(
        lambda lab, fault, _: _write_names(lab, fault.node, "127.0.0.1 localhost\n::1 localhost\n"),
        lambda lab, fault, before: _write_names(lab, fault.node, before),
        _names,
    ),
    DiskFull: Change(
        lambda lab, fault, _: fill_disk(lab, fault.node),
        lambda lab, fault, _: give_back_disk(lab, fault.node),
    ),
    ClockStep: Change(
        lambda lab, fault, _: lab.node(fault.node).step_clock(fault.seconds),
        _step_back,
        lambda lab, fault: lab.node(fault.node).clock.offset_s,
    ),
}
