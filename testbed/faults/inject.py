"""Putting a fault into a live lab, for as long as a context lasts."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from testbed.errors import TestbedError
from testbed.faults.changes import CHANGES
from testbed.faults.flood import flood
from testbed.faults.line import BadLine, by_netem
from testbed.faults.messages import IkeRule
from testbed.network.claim import claimed
from testbed.network.kernel import has_netem
from testbed.network.links import fabric_name
from testbed.network.namespace import named_path
from testbed.network.netem import netem, remove_netem
from testbed.successor import succeeded
from testbed.topology.faults import Fault, Flood, IkeMessages, Line, Partition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from testbed.lab import Lab

__all__ = ["end", "inject"]


_END = f"{__name__}:end"


@contextlib.contextmanager
def inject(lab: Lab, fault: Any) -> Iterator[Counter[str]]:
    """The fault holds while the context lasts, and nothing of it afterwards, also if this process is killed meanwhile.

    Gives what it has done so far, by name.
    """
    counts: Counter[str] = Counter()
    if type(fault) in _HOW:
        with _HOW[type(fault)](lab, fault, counts) as given:
            yield counts if given is None else given
        return
    change = CHANGES[type(fault)]
    where = getattr(fault, "node", None) or fault.link
    with contextlib.ExitStack() as stack:
        # Twice at once, the second would take what the first has done for what was before.
        stack.enter_context(claimed(lab.name, f"{fault.kind} {where}", f"the fault '{fault.kind}' of '{where}'"))
        memo = change.look(lab, fault)
        stack.enter_context(succeeded(lab, _END, _told(fault, memo)))
        try:
            change.begin(lab, fault, memo)
        except BaseException:
            with contextlib.suppress(TestbedError):  # what it says is why it did not begin
                change.end(lab, fault, memo)
            raise
        try:
            yield counts
        finally:
            change.end(lab, fault, memo)


def _told(fault: Any, memo: Any) -> dict[str, Any]:
    return {"fault": fault.model_dump(mode="json", exclude_unset=True), "memo": memo}


def end(lab: Lab, told: Mapping[str, Any]) -> None:
    """Take back a fault whose process has ended without doing so."""
    fault, memo = TypeAdapter[Any](Fault).validate_python(told["fault"]), told["memo"]
    if type(fault) in CHANGES:
        CHANGES[type(fault)].end(lab, fault, memo)
        return
    if isinstance(fault, Line):  # by netem; who takes a path has a successor of its own
        for namespace, interface in _egress(lab, fault):
            remove_netem(namespace, interface)


@contextlib.contextmanager
def _line(lab: Lab, fault: Line, counts: Counter[str]) -> Iterator[Counter[str]]:
    if by_netem(fault, has_netem()):
        with succeeded(lab, _END, _told(fault, None)), _netem(lab, fault, counts):
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
def _flood(lab: Lab, fault: Flood, counts: Counter[str]) -> Iterator[None]:
    """The router forgets them by itself, after charon's half-open timeout."""
    report = flood(lab, fault.link, fault.node, count=fault.count)
    counts.update(accepted=report.accepted, cookies=report.cookies, refused=report.refused)
    yield


_HOW: dict[type, Any] = {Line: _line, IkeMessages: _ike, Partition: _partition, Flood: _flood}
