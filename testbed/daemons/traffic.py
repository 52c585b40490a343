"""Bytes and packets of a connection over its whole life, through every rekeying.

charon counts per CHILD SA, and a replaced one is gone a few seconds later, on the initiator of the rekeying with its
outbound counters already at zero. So the last word of each SA is kept: the events carry the counters of the SA that
goes, and whoever asks adds what the living ones say now.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from testbed.daemons.sa import ChildSa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from testbed.daemons.charon import Charon, CharonEvent

__all__ = ["Totals", "TrafficMeter"]


@dataclass(frozen=True)
class Totals:
    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0


class TrafficMeter:
    """Sums the counters of all CHILD SAs there were since it was started. A context manager."""

    def __init__(self, charon: Charon) -> None:
        self._charon = charon
        self._counted: dict[int, ChildSa] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> TrafficMeter:
        self._context = self._charon.listen("child-updown", "child-rekey")
        self._listener = self._context.__enter__()
        self.totals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def totals(self) -> Totals:
        """The sums up to now."""
        living = [child for sa in self._charon.sas() for child in sa.children]
        with self._lock:
            self._keep(child for event in self._listener.drain() for child in children_of(event))
            self._keep(living)
            counted = list(self._counted.values())
        return Totals(
            sum(child.bytes_in for child in counted),
            sum(child.bytes_out for child in counted),
            sum(child.packets_in for child in counted),
            sum(child.packets_out for child in counted),
        )

    def _keep(self, children: Iterable[ChildSa]) -> None:
        for child in children:
            known = self._counted.get(child.unique_id)
            self._counted[child.unique_id] = child if known is None else _larger(known, child)


def children_of(event: CharonEvent) -> Iterator[ChildSa]:
    """The CHILD SAs an event speaks of, the old ones of a rekeying included."""

    def walk(value: Any) -> Iterator[ChildSa]:
        if isinstance(value, dict):
            if "uniqueid" in value and "reqid" in value:
                yield ChildSa.read(value)
            else:
                for inner in value.values():
                    yield from walk(inner)

    for ike in event.data.values():
        if isinstance(ike, dict):
            yield from walk(ike.get("child-sas", {}))


def _larger(one: ChildSa, other: ChildSa) -> ChildSa:
    """Counters only grow; a smaller value is that of an SA that is being taken apart."""
    values = {
        name: max(getattr(one, name), getattr(other, name))
        for name in ("bytes_in", "bytes_out", "packets_in", "packets_out")
    }
    return replace(other, **values)
