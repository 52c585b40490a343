"""Putting a fault into a live lab, for as long as a context lasts."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from testbed.errors import DaemonError, TestbedError
from testbed.faults.disk import full_disk
from testbed.faults.flood import flood
from testbed.faults.line import BadLine, by_netem
from testbed.faults.messages import IkeRule
from testbed.network.kernel import has_netem
from testbed.network.links import fabric_name
from testbed.network.namespace import named_path, run_in_namespace
from testbed.network.netem import netem
from testbed.topology.faults import (
    ClockStep,
    DaemonFault,
    DiskFull,
    Flood,
    IkeMessages,
    Line,
    LinkDown,
    NamesGone,
    Nat,
    Partition,
    Restart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.lab import Lab

__all__ = ["inject"]

_TABLE = "testbed_fault"
_HOSTS = "/etc/hosts"


@contextlib.contextmanager
def inject(lab: Lab, fault: Any) -> Iterator[Counter[str]]:
    """The fault holds while the context lasts, and nothing of it afterwards. Gives what it has done so far, by name."""
    counts: Counter[str] = Counter()
    with _HOW[type(fault)](lab, fault, counts) as given:
        yield counts if given is None else given


@contextlib.contextmanager
def _line(lab: Lab, fault: Line, counts: Counter[str]) -> Iterator[Counter[str]]:
    if by_netem(fault, has_netem()):
        with _netem(lab, fault, counts):
            yield counts
        return
    with lab.path(fault.link) as wire:
        rule = BadLine(fault, wire.inject)
        with wire.rule(rule):
            yield rule.counts


@contextlib.contextmanager
def _netem(lab: Lab, fault: Line, counts: Counter[str]) -> Iterator[None]:
    """By the kernel; how many frames were lost is known at the end, and of the rest it says nothing."""
    names = ("loss", "duplicate", "corrupt", "delay_ms", "jitter_ms")
    settings = {name: getattr(fault, name) for name in names}
    with contextlib.ExitStack() as stack:
        told = [stack.enter_context(netem(*side, **settings)) for side in _egress(lab, fault)]
        try:
            yield
        finally:
            counts["lost"] = sum(dropped() for dropped in told)


def _egress(lab: Lab, fault: Line) -> list[tuple[Path, str]]:
    """The interfaces by which frames enter the link, in each direction that is meant."""
    planned, live, near = lab.plan.links[fault.link], lab.live(), lab.path_end(fault.link)
    ends = sorted(planned.ends, key=lambda end: end.node != near)
    forward = (live.state(ends[0].node).namespace, ends[0].interface)
    if planned.kind == "lan":
        backward = (named_path(fabric_name(lab.plan.lab)), ends[0].port)
    else:
        backward = (live.state(ends[1].node).namespace, ends[1].interface)
    return {"both": [forward, backward], "forward": [forward], "backward": [backward]}[fault.direction]


@contextlib.contextmanager
def _ike(lab: Lab, fault: IkeMessages, _counts: Counter[str]) -> Iterator[Counter[str]]:
    with lab.path(fault.link) as wire:
        rule = IkeRule(fault)
        with wire.rule(rule):
            yield rule.counts
        for transit in rule.held():
            wire.inject(transit.direction, [transit.data])


@contextlib.contextmanager
def _partition(lab: Lab, fault: Partition, counts: Counter[str]) -> Iterator[None]:
    def nothing(_transit: object) -> tuple[()]:
        counts["lost"] += 1
        return ()

    with contextlib.ExitStack() as stack:
        for link in fault.links:
            stack.enter_context(stack.enter_context(lab.path(link)).rule(nothing))
        yield


@contextlib.contextmanager
def _down(lab: Lab, fault: LinkDown, _counts: Counter[str]) -> Iterator[None]:
    """Whatever the link is made of, every node on it loses its carrier. Addresses and routes come back with it."""
    sides = _sides(lab, fault.link)

    def put(interface: str, up: str) -> None:
        with IPRoute() as netlink:
            for index in netlink.link_lookup(ifname=interface):  # none if its node has gone meanwhile
                netlink.link("set", index=index, state=up)

    def put_all(up: str) -> None:
        for namespace, interface in sides:
            if namespace.exists():
                run_in_namespace(namespace, functools.partial(put, interface, up))

    try:
        put_all("down")
        yield
    finally:
        put_all("up")
        running = lab.states()
        for end in lab.plan.links[fault.link].ends:
            if end.node in running and running[end.node].running:
                lab.configure_links(end.node)


def _sides(lab: Lab, link: str) -> list[tuple[Path, str]]:
    """The interfaces that are put down: a LAN's ports, both of the node that a link goes through, or one end's."""
    planned, live = lab.plan.links[link], lab.live()
    if planned.kind == "lan":
        fabric = named_path(fabric_name(lab.plan.lab))
        return [(fabric, end.port) for end in planned.ends]
    ends = planned.through or planned.ends[-1:]
    return [(live.state(end.node).namespace, end.interface) for end in ends]


@contextlib.contextmanager
def _nat(lab: Lab, fault: Nat, _counts: Counter[str]) -> Iterator[None]:
    """Masquerading in the router's own netfilter."""
    node = lab.node(fault.node)
    interface = next((end.interface for end in lab.plan.links[fault.link].ends if end.node == fault.node), None)
    if interface is None:
        raise DaemonError(f"'{fault.node}' is no end of link '{fault.link}'", node=fault.node)
    table = f"{_TABLE}_{fault.link.replace('-', '_')}"
    rules = f"""
table ip {table} {{
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{interface}" masquerade
  }}
}}
"""
    try:
        node.execute(["nft", "-f", "-"], stdin=rules.encode(), check=True)
        yield
    finally:
        node.execute(["nft", "delete", "table", "ip", table])


@contextlib.contextmanager
def _daemon(lab: Lab, fault: DaemonFault, _counts: Counter[str]) -> Iterator[None]:
    node = lab.node(fault.node)
    if fault.action == "kill":
        try:
            node.kill_daemon(fault.daemon)
            yield
        finally:
            lab.start_daemons(fault.node)
        return
    try:
        node.signal_daemon(fault.daemon, "STOP")
        yield
    finally:
        node.signal_daemon(fault.daemon, "CONT")


@contextlib.contextmanager
def _node(lab: Lab, fault: Restart, _counts: Counter[str]) -> Iterator[None]:
    try:
        lab.stop_node(fault.node)
        yield
    finally:
        lab.start_node(fault.node)


@contextlib.contextmanager
def _names(lab: Lab, fault: NamesGone, _counts: Counter[str]) -> Iterator[None]:
    """The names of a lab stand in each node's /etc/hosts; what is asked of a name server goes nowhere anyhow."""
    node = lab.node(fault.node)
    before = node.execute(["cat", _HOSTS], check=True).stdout
    write = ["/bin/sh", "-c", f"cat > {_HOSTS}"]  # in place: Docker has mounted the file
    try:
        node.execute(write, stdin=b"127.0.0.1 localhost\n::1 localhost\n", check=True)
        yield
    finally:
        node.execute(write, stdin=before, check=True)


@contextlib.contextmanager
def _flood(lab: Lab, fault: Flood, counts: Counter[str]) -> Iterator[None]:
    """The router forgets them by itself, after charon's half-open timeout."""
    report = flood(lab, fault.link, fault.node, count=fault.count)
    counts.update(accepted=report.accepted, cookies=report.cookies, refused=report.refused)
    yield


@contextlib.contextmanager
def _clock(lab: Lab, fault: ClockStep, _counts: Counter[str]) -> Iterator[None]:
    before = lab.node(fault.node).clock.offset_s
    lab.node(fault.node).step_clock(fault.seconds)
    try:
        yield
    finally:
        with contextlib.suppress(TestbedError):  # the node may have been removed meanwhile
            node = lab.node(fault.node)
            node.step_clock(before - node.clock.offset_s)


_HOW: dict[type, Any] = {
    Line: _line,
    IkeMessages: _ike,
    Partition: _partition,
    LinkDown: _down,
    Nat: _nat,
    DaemonFault: _daemon,
    Restart: _node,
    NamesGone: _names,
    DiskFull: full_disk,
    ClockStep: _clock,
    Flood: _flood,
}
