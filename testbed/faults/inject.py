"""Putting a fault into a live lab, for as long as a context lasts."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from testbed.errors import DaemonError, TestbedError
from testbed.faults.line import BadLine
from testbed.faults.messages import IkeRule
from testbed.network.namespace import run_in_namespace
from testbed.topology.faults import (
    ClockStep,
    DaemonFault,
    IkeMessages,
    Line,
    LinkDown,
    Nat,
    Partition,
    Restart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.lab import Lab

__all__ = ["inject"]

_TABLE = "testbed_fault"


@contextlib.contextmanager
def inject(lab: Lab, fault: Any) -> Iterator[Counter[str]]:
    """The fault holds while the context lasts, and nothing of it afterwards. Gives what it has done so far, by name."""
    counts: Counter[str] = Counter()
    with _HOW[type(fault)](lab, fault, counts) as given:
        yield counts if given is None else given


@contextlib.contextmanager
def _line(lab: Lab, fault: Line, _counts: Counter[str]) -> Iterator[Counter[str]]:
    with lab.path(fault.link) as wire:
        rule = BadLine(fault, wire.inject)
        with wire.rule(rule):
            yield rule.counts


@contextlib.contextmanager
def _ike(lab: Lab, fault: IkeMessages, _counts: Counter[str]) -> Iterator[Counter[str]]:
    with lab.path(fault.link) as wire:
        rule = IkeRule(fault)
        with wire.rule(rule):
            yield rule.counts


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
    """One end is put down, so the other has no carrier; its addresses and routes come back with it."""
    end = lab.plan.links[fault.link].ends[-1]
    state = lab.live().state(end.node)

    def put(up: str) -> None:
        with IPRoute() as netlink:
            netlink.link("set", index=netlink.link_lookup(ifname=end.interface)[0], state=up)

    run_in_namespace(state.namespace, functools.partial(put, "down"))
    try:
        yield
    finally:
        run_in_namespace(state.namespace, functools.partial(put, "up"))
        lab.configure_links(end.node)


@contextlib.contextmanager
def _nat(lab: Lab, fault: Nat, _counts: Counter[str]) -> Iterator[None]:
    """Masquerading in the router's own netfilter."""
    node = lab.node(fault.node)
    interface = next((end.interface for end in lab.plan.links[fault.link].ends if end.node == fault.node), None)
    if interface is None:
        raise DaemonError(f"'{fault.node}' is no end of link '{fault.link}'", node=fault.node)
    rules = f"""
table ip {_TABLE} {{
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{interface}" masquerade
  }}
}}
"""
    node.execute(["nft", "-f", "-"], stdin=rules.encode(), check=True)
    try:
        yield
    finally:
        node.execute(["nft", "delete", "table", "ip", _TABLE], check=True)


@contextlib.contextmanager
def _daemon(lab: Lab, fault: DaemonFault, _counts: Counter[str]) -> Iterator[None]:
    node = lab.node(fault.node)
    if fault.action == "kill":
        node.kill_daemon(fault.daemon)
        try:
            yield
        finally:
            lab.start_daemons(fault.node)
        return
    node.signal_daemon(fault.daemon, "STOP")
    try:
        yield
    finally:
        node.signal_daemon(fault.daemon, "CONT")


@contextlib.contextmanager
def _node(lab: Lab, fault: Restart, _counts: Counter[str]) -> Iterator[None]:
    lab.stop_node(fault.node)
    try:
        yield
    finally:
        lab.start_node(fault.node)


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
    ClockStep: _clock,
}
