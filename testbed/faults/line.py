"""Rules of a bad line: what becomes of each frame, by chance from a seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from testbed.faults.icmp import too_long
from testbed.network.packet import dissect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from testbed.network.wire import Direction, Transit
    from testbed.topology.faults import Line

__all__ = ["BadLine"]

_ETHERNET = 14
_HELD_S = 0.010  # a frame that is reordered
_QUEUE_S = 0.2  # of a line with a rate: what would wait longer is dropped, as by a router


class BadLine:
    """A `Line` as a rule of a wire. `counts` says how many frames it lost, repeated, and so on."""

    def __init__(self, line: Line, inject: Callable[[Direction, list[bytes]], int]) -> None:
        self._line = line
        self._inject = inject
        self._chance = random.Random(line.seed)  # noqa: S311 - repeatable, not secret
        self._free: dict[str, float] = {"forward": 0.0, "backward": 0.0}
        self.counts: Counter[str] = Counter()

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        if self._line.direction not in ("both", transit.direction):
            return (transit,)
        return list(self._passed(transit))

    def _passed(self, transit: Transit) -> Iterator[Transit]:
        line = self._line
        if self._too_long(transit) or self._happens("lost", line.loss):
            return
        if self._happens("corrupted", line.corrupt):
            transit = transit.with_data(self._flipped(transit.data))
        queued = self._queued(transit)
        if queued is None:
            return
        delay = queued + max(0.0, line.delay_ms + self._chance.uniform(-line.jitter_ms, line.jitter_ms)) / 1000
        if self._happens("reordered", line.reorder):
            delay += _HELD_S
        transit = transit.delayed(delay) if delay else transit
        yield transit
        if self._happens("duplicated", line.duplicate):
            yield transit

    def _happens(self, what: str, percent: float) -> bool:
        """The dice are thrown whatever the percentage, so that one setting does not change the course of another."""
        happens = self._chance.random() * 100 < percent
        self.counts[what] += happens
        return happens

    def _flipped(self, data: bytes) -> bytes:
        """One bit behind the Ethernet header: a frame with a wrong address would only have gone astray."""
        changed = bytearray(data)
        bit = self._chance.randrange(_ETHERNET * 8, len(data) * 8)
        changed[bit // 8] ^= 0x80 >> bit % 8
        return bytes(changed)

    def _queued(self, transit: Transit) -> float | None:
        """How long the frame waits for those before it, and is sent; None if the queue is full."""
        if self._line.rate_kbit is None:
            return 0.0
        now = time.monotonic()
        begins = max(now, self._free[transit.direction])
        if begins - now > _QUEUE_S:
            self.counts["queue full"] += 1
            return None
        ends = begins + len(transit.data) * 8 / (self._line.rate_kbit * 1000)
        self._free[transit.direction] = ends
        return ends - now

    def _too_long(self, transit: Transit) -> bool:
        mtu = self._line.mtu
        if mtu is None or len(transit.data) - _ETHERNET <= mtu or dissect(transit.data).source is None:
            return False
        self.counts["too long"] += 1
        if self._line.icmp:
            answer = too_long(transit.data, mtu)
            if answer is not None:
                self._inject("backward" if transit.direction == "forward" else "forward", [answer])
        return True
