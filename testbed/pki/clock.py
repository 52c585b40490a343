"""The wall clock of the node, and whether it is synchronised."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime

__all__ = ["is_synchronised", "now"]

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_OCTETS = 208

_libc = ctypes.CDLL(None, use_errno=True)


def now() -> datetime:
    """To the second, as certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)


def is_synchronised() -> bool:
    """What the kernel (or what stands for it in this node) says. Reading needs no privilege."""
    state: int = _libc.ntp_adjtime(ctypes.create_string_buffer(_TIMEX_OCTETS))
    return 0 <= state < _TIME_ERROR
