"""Deadlines count on a monotonic clock and never sleep past their end."""

from __future__ import annotations

import pytest

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_remaining_never_goes_below_zero() -> None:
    clock = Clock()
    deadline = Deadline(2.0, clock=clock)
    clock.now += 1.5
    assert deadline.remaining == pytest.approx(0.5)
    clock.now += 10
    assert deadline.remaining == 0.0
    assert deadline.expired


def test_an_inner_deadline_never_outlasts_the_outer_one() -> None:
    clock = Clock()
    outer = Deadline(5.0, clock=clock)
    clock.now += 4
    assert outer.within(30.0).remaining == pytest.approx(1.0)
    assert outer.within(0.5).remaining == pytest.approx(0.5)


def test_until_returns_what_the_probe_found() -> None:
    answers = iter([None, 0, "found"])
    assert Deadline(5.0).until(lambda: next(answers), "an answer", every=0.001) == "found"


def test_until_says_what_was_waited_for() -> None:
    with pytest.raises(DeadlineExceeded, match="the moon: not within 0 s") as caught:
        Deadline(0.0).until(lambda: None, "the moon", hint="wait for the night")
    assert "to do: wait for the night" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)


def test_until_looks_once_even_when_no_time_is_left() -> None:
    assert Deadline(0.0).until(lambda: "at once", "nothing") == "at once"
