"""Errors read as a user needs them: what, where, expected, seen, to do."""

from __future__ import annotations

from testbed.errors import DaemonError, LabErrors, NegotiationError, Problem, TestbedError, TopologyError


def test_all_that_is_known_is_shown() -> None:
    error = NegotiationError("cannot initiate", node="kisii", expected="an IKE SA", seen="silence", hint="wait")
    assert str(error) == "kisii: cannot initiate\n  expected: an IKE SA\n  seen: silence\n  to do: wait"
    assert isinstance(error, DaemonError)
    assert isinstance(error, TestbedError)


def test_what_is_not_known_is_left_out() -> None:
    assert str(DaemonError("no answer")) == "no answer"


def test_problems_are_told_once_and_in_the_order_of_the_file() -> None:
    later, earlier = Problem(9, 1, "b", "bad"), Problem(2, 5, "a", "wrong", "good", "god")
    error = TopologyError("t.yaml", [later, earlier, later])
    assert str(error).splitlines() == [
        "t.yaml: 2 problems",
        "  t.yaml:2:5: a: wrong; expected good; did you mean 'god'?",
        "  t.yaml:9:1: b: bad",
    ]


def test_errors_of_several_nodes_name_each() -> None:
    error = LabErrors("starting failed on 2 nodes", {"b": DaemonError("x", node="b"), "a": ValueError("y")})
    assert str(error).splitlines() == ["starting failed on 2 nodes", "  a: y", "  b: x"]
