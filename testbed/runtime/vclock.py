"""A node's own wall clock: a page of a file, mapped by every program of the node.

The layout is that of images/vclock/clock.h. Here a page is made before a node boots, and read while it runs. Nothing
here sets a clock that runs: that is a race against the node's chronyd, which the node's `vclock` tool knows how to win.
"""

from __future__ import annotations

import math
import os
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.device import ClockConfig

__all__ = ["CLOCK_FILE", "ClockReading", "create_clock", "read_clock"]

CLOCK_FILE = "vclock"  # in a node's run directory
_MAGIC, _VERSION, _PAGE = 0x4B4C4356, 1, 4096
_STA_UNSYNC, _PHASE_LIMIT_US, _TICK_US, _CONSTANT = 0x40, 16_000_000, 10_000, 2
_HEAD = struct.Struct("<IIII")  # magic, version, sequence, lock
_SLOT = struct.Struct("<qqddd")  # m0, v0, rate, slew, tau
# oscillator_ppm; frequency, tick, status, maxerror, esterror, constant, tai, maxerror_m, offset_m, steps,
# last_step_ns, boot_v0, boot_m0
_STATE = struct.Struct("<d13q")
_SECOND = 1_000_000_000
_MICRO_SLEW = 500e-6


@dataclass(frozen=True)
class ClockReading:
    """A node's clock at one moment. Times are nanoseconds since 1970; `offset_s` is against the host's clock.

    `synchronised` is what the node's own adjtimex(2) says: the kernel's STA_UNSYNC, which chronyd clears.
    `frequency_ppm` is how much faster the oscillator is made to run; `oscillator_ppm` its own error.
    """

    time_ns: int
    offset_s: float
    synchronised: bool
    oscillator_ppm: float
    frequency_ppm: float
    steps: int
    last_step_s: float


def create_clock(path: Path, config: ClockConfig) -> None:
    """Put a fresh clock in place of whatever is there, as a node's battery-backed one (or none) shows it at boot."""
    monotonic, real = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns()
    begin = config.at_ns if config.at_ns is not None else real + config.offset_ns
    ppm = config.drift_ppm
    page = _HEAD.pack(_MAGIC, _VERSION, 0, 0) + _SLOT.pack(monotonic, begin, ppm * 1e-6, 0.0, 0.0) + bytes(_SLOT.size)
    page += _STATE.pack(
        *(ppm, 0, _TICK_US, _STA_UNSYNC, _PHASE_LIMIT_US, _PHASE_LIMIT_US, _CONSTANT),
        *(0, monotonic, 0, 0, 0, begin, monotonic),
    )
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o644)
        file.write(page.ljust(_PAGE, b"\0"))


def read_clock(path: Path) -> ClockReading | None:
    """What a node's programs read at this moment; None if it has no clock of its own."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        while True:
            page = os.pread(handle, _PAGE, 0)
            monotonic, real = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns()
            if len(page) < _PAGE or _HEAD.unpack_from(page)[:2] != (_MAGIC, _VERSION):
                return None
            if os.pread(handle, 4, 8) == page[8:12]:  # no writer in between
                return _reading(page, monotonic, real)
    finally:
        os.close(handle)


def _reading(page: bytes, monotonic: int, real: int) -> ClockReading:
    sequence = _HEAD.unpack_from(page)[2]
    m0, v0, rate, slew, tau = _SLOT.unpack_from(page, _HEAD.size + _SLOT.size * (sequence & 1))
    state = _STATE.unpack_from(page, _HEAD.size + 2 * _SLOT.size)
    oscillator, frequency, tick, status, maxerror, _, _, _, maxerror_m, _, steps, last_step, _, _ = state
    passed = monotonic - m0
    now = v0 + passed + int(passed * rate + _slewed(slew, tau, passed))
    error = maxerror + (monotonic - maxerror_m) // 2_000_000
    return ClockReading(
        time_ns=now,
        offset_s=(now - real) / _SECOND,
        synchronised=not status & _STA_UNSYNC and error < _PHASE_LIMIT_US,
        oscillator_ppm=oscillator,
        frequency_ppm=(tick - _TICK_US) * 100 + frequency / 65536,
        steps=steps,
        last_step_s=last_step / _SECOND,
    )


def _slewed(slew: float, tau: float, passed: int) -> float:
    """Nanoseconds of a slew that are done; see clock_slewed() in clock.h."""
    if not slew:
        return 0.0
    if tau > 0:
        return slew * -math.expm1(-passed * 1e-9 / tau)
    return math.copysign(min(abs(slew), passed * _MICRO_SLEW), slew)
