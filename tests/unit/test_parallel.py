"""Work on several nodes: every result is consumed, every failure is named."""

from __future__ import annotations

import threading

import pytest

from testbed.errors import DaemonError, LabErrors
from testbed.lab.parallel import on_each


def test_results_by_name() -> None:
    assert on_each({"a": 1, "b": 2}, lambda item: item * 10, "work") == {"a": 10, "b": 20}
    assert on_each({}, lambda item: item, "work") == {}


def test_it_is_parallel() -> None:
    barrier = threading.Barrier(4, timeout=10)
    on_each({str(number): number for number in range(4)}, lambda _: barrier.wait(), "work")


def test_one_failure_is_raised_itself() -> None:
    def work(item: int) -> None:
        if item == 2:
            raise DaemonError("broken", node="b")

    with pytest.raises(DaemonError, match="b: broken"):
        on_each({"a": 1, "b": 2}, work, "work")


def test_several_failures_are_raised_together_and_the_rest_is_done() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item < 2:
            raise DaemonError(f"broken {item}")
        done.append(item)

    with pytest.raises(LabErrors) as caught:
        on_each({"a": 0, "b": 1, "c": 2}, work, "work")
    assert set(caught.value.errors) == {"a", "b"}
    assert done == [2]


def test_a_bug_is_not_hidden_among_failures() -> None:
    def work(item: int) -> None:
        raise (DaemonError("broken") if item else KeyError("bug"))

    with pytest.raises(KeyError):
        on_each({"a": 0, "b": 1}, work, "work")
