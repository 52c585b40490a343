"""One stream of events: every step has an end, whatever happens inside."""

from __future__ import annotations

import pytest

from testbed.events import Event, EventStream, Note, StepFinished, StepStarted


def recorded() -> tuple[EventStream, list[Event]]:
    seen: list[Event] = []
    return EventStream([seen.append]), seen


def test_a_step_begins_and_ends() -> None:
    stream, seen = recorded()
    with stream.step("nodes", "started", "kisii"):
        stream.note("images", "building")
    assert [type(event) for event in seen] == [StepStarted, Note, StepFinished]
    finished = seen[-1]
    assert isinstance(finished, StepFinished)
    assert finished.error is None
    assert finished.duration_s >= 0
    assert finished.subject == "kisii"


def test_a_failing_step_ends_with_its_error() -> None:
    stream, seen = recorded()
    with pytest.raises(ValueError, match="boom"), stream.step("nodes", "started"):
        raise ValueError("boom")
    assert isinstance(seen[-1], StepFinished)
    assert seen[-1].error == "boom"


def test_an_interrupted_step_says_so() -> None:
    stream, seen = recorded()
    with pytest.raises(KeyboardInterrupt), stream.step("nodes", "started"):
        raise KeyboardInterrupt
    assert isinstance(seen[-1], StepFinished)
    assert seen[-1].error == "interrupted"
