"""One stream of typed events; whoever wants to show progress subscribes to it.

A step is an operation with a beginning, an end, a duration and a result. Progress on a terminal, plain lines in
a log, JSON lines and pytest's sections are all subscribers; nothing that does work prints.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Event", "EventStream", "Note", "StepFinished", "StepStarted", "Subscriber"]


@dataclass(frozen=True)
class StepStarted:
    """An operation begins. `subject` is the node, link or connection it is about, if it is about one."""

    phase: str
    text: str
    subject: str | None = None
    kind: Literal["step-started"] = "step-started"


@dataclass(frozen=True)
class StepFinished:
    """An operation has ended; `error` is None if it did what it was meant to do."""

    phase: str
    text: str
    duration_s: float
    subject: str | None = None
    error: str | None = None
    kind: Literal["step-finished"] = "step-finished"


@dataclass(frozen=True)
class Note:
    """Something a user wants to know that is no operation of its own."""

    phase: str
    text: str
    subject: str | None = None
    kind: Literal["note"] = "note"


Event = StepStarted | StepFinished | Note


class Subscriber(Protocol):
    def __call__(self, event: Event, /) -> None: ...


@dataclass
class EventStream:
    """Hands each event to all subscribers, one event at a time, from whichever thread it comes."""

    subscribers: list[Subscriber] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def emit(self, event: Event) -> None:
        with self._lock:
            for subscriber in self.subscribers:
                subscriber(event)

    def note(self, phase: str, text: str, subject: str | None = None) -> None:
        self.emit(Note(phase, text, subject))

    @contextlib.contextmanager
    def step(self, phase: str, text: str, subject: str | None = None) -> Iterator[None]:
        """Announce an operation, time it, and announce its end however it ends."""
        self.emit(StepStarted(phase, text, subject))
        begun = time.monotonic()
        error: str | None = "interrupted"
        try:
            yield
            error = None
        except Exception as failure:
            error = str(failure) or type(failure).__name__
            raise
        finally:
            self.emit(StepFinished(phase, text, time.monotonic() - begun, subject, error))
