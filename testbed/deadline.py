"""Deadlines on monotonic time.

The wall clock is an experiment in this testbed, so nothing here ever looks at it. A deadline is made once, at
the outermost operation, and passed down; every wait inside it takes what is left.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from testbed.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline"]

T = TypeVar("T")


class Deadline:
    """A moment on the monotonic clock by which something has to be done."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = seconds
        self._started = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since this deadline was made."""
        return self._clock() - self._started

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.seconds - self.elapsed)

    @property
    def expired(self) -> bool:
        return self.remaining == 0.0

    def within(self, seconds: float) -> Deadline:
        """A deadline of at most `seconds`, which never ends after this one."""
        return Deadline(min(seconds, self.remaining), clock=self._clock)

    def check(self, what: str, **details: str | None) -> None:
        """Raise DeadlineExceeded, saying `what` was being waited for, if no time is left."""
        if self.expired:
            raise DeadlineExceeded(f"{what}: not within {self.seconds:g} s", **details)

    def until(
        self,
        probe: Callable[[], T | None],
        what: str,
        *,
        every: float = 0.01,
        hint: str | None = None,
    ) -> T:
        """Call `probe` until it returns something true, and return that.

        For things that announce nothing by themselves; where an event exists, wait for the event instead.
        `every` is the pause between two calls in seconds; it doubles up to ten times that.
        """
        pause, never = every, threading.Event()
        while True:
            found = probe()
            if found:
                return found
            self.check(what, hint=hint)
            never.wait(min(pause, self.remaining))
            pause = min(pause * 2, every * 10)
