"""Rules of a bad line: what becomes of each frame, by chance from a seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from testbed.errors import SettingError
from testbed.faults.icmp import too_long
from testbed.network.packet import dissect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from testbed.network.wire import Direction, Transit
    from testbed.topology.faults import Line

__all__ = ["BadLine", "by_netem"]

_ETHERNET = 14
_HELD_S = 0.010  # a frame that is reordered
_QUEUE_S = 0.2  # of a line with a rate: what would wait longer is dropped, as by a router


def by_netem(line: Line, kernel_has_it: bool) -> bool:
    """Whether a line is the kernel's to do. Raises SettingError if it is to be, and cannot.

    A seed, a rate with a short queue, frames that are overtaken and an MTU with its ICMP are the forwarder's alone.
    """
    beyond = [name for name in ("seed", "rate_kbit", "reorder", "mtu", "icmp") if name in line.model_fields_set]
    if line.by == "netem":
        if not kernel_has_it:
            raise SettingError("this kernel has no netem", expected="by: forwarder, or auto")
        if beyond:
            raise SettingError(f"netem does not do '{beyond[0]}'", expected="by: forwarder, or auto")
    return line.by != "forwarder" and kernel_has_it and not beyond


class BadLine:
    """A `Line` as a rule of a wire. `counts` says how many frames it lost, repeated, and so on."""

    def __init__(self, line: Line, inject: Callable[[Direction, list[bytes]], int]) -> None:
        self._line = line
        self._inject = inject
        self._chances: dict[str, random.Random] = {}
        self._free: dict[str, float] = {"forward": 0.0, "backward": 0.0}
        self.counts: Counter[str] = Counter()

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        if self._line.direction not in ("both", transit.direction):
            return (transit,)
        return list(self._passed(transit))

    def _passed(self, transit: Transit) -> Iterator[Transit]:
        line = self._line
        # All dice are thrown for every frame, so that its fate hangs neither on other settings nor on the clock.
        lost, corrupted = self._dice(transit, "lost", line.loss), self._dice(transit, "corrupted", line.corrupt)
        reordered, twice = self._dice(transit, "reordered", line.reorder), self._dice(transit, "twice", line.duplicate)
        jitter = self._chance(transit, "jitter").uniform(-line.jitter_ms, line.jitter_ms)
        if self._too_long(transit) or self._count("lost", lost):
            return
        if self._count("corrupted", corrupted):
            transit = transit.with_data(self._flipped(transit))
        queued = self._queued(transit)
        if queued is None:
            return
        delay = queued + max(0.0, line.delay_ms + jitter) / 1000
        if self._count("reordered", reordered):
            delay += _HELD_S
        transit = transit.delayed(delay) if delay else transit
        yield transit
        if self._count("duplicated", twice):
            yield transit

    def _chance(self, transit: Transit, what: str) -> random.Random:
        """A sequence for each thing that may happen, in each direction."""
        name = f"{self._line.seed} {what} {transit.direction}"
        if name not in self._chances:
            self._chances[name] = random.Random(name)  # noqa: S311 - repeatable, not secret
        return self._chances[name]

    def _dice(self, transit: Transit, what: str, percent: float) -> bool:
        return self._chance(transit, what).random() * 100 < percent

    def _count(self, what: str, happens: bool) -> bool:
        self.counts[what] += happens
        return happens

    def _flipped(self, transit: Transit) -> bytes:
        """One bit behind the Ethernet header: a frame with a wrong address would only have gone astray."""
        changed = bytearray(transit.data)
        bit = self._chance(transit, "bit").randrange(_ETHERNET * 8, len(changed) * 8)
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
