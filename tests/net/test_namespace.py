"""Namespaces are entered by threads, made to last, and removed without a trace."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from testbed.errors import NetworkFailure
from testbed.network.namespace import create_named, named_path, remove_named, run_in_namespace, run_in_new_namespace


def inode() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_the_caller_never_leaves_its_own(namespaces: dict[str, Path]) -> None:
    before = inode()
    inside = run_in_namespace(namespaces["a"], inode)
    assert inside == namespaces["a"].stat().st_ino
    assert inside != before == inode()


def test_an_error_inside_is_raised_outside(namespaces: dict[str, Path]) -> None:
    def fail() -> None:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        run_in_namespace(namespaces["a"], fail)


def test_a_namespace_that_is_not_there() -> None:
    with pytest.raises(NetworkFailure, match="No such file"):
        run_in_namespace("/run/netns/testbed-no-such", inode)


def test_a_new_namespace_ends_with_its_work() -> None:
    assert run_in_new_namespace(inode) != inode()
    assert threading.active_count() >= 1


def test_creating_twice_keeps_the_first() -> None:
    name = "testbed-test-twice"
    try:
        first = create_named(name).stat().st_ino
        assert create_named(name).stat().st_ino == first
    finally:
        remove_named(name)
    assert not named_path(name).exists()


def test_a_half_made_one_is_made_whole_and_removed() -> None:
    name = "testbed-test-half"
    named_path(name).touch()  # as after a kill between the two steps
    try:
        path = create_named(name)
        assert run_in_namespace(path, inode) != inode()
    finally:
        remove_named(name)
    assert not named_path(name).exists()
    remove_named(name)
