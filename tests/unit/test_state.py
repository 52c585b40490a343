"""The lock and the record of a lab."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from testbed.deadline import Deadline
from testbed.errors import LabBusyError, RuntimeFailure
from testbed.lab.state import LabRecord, StateFolder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


RECORD = LabRecord("/labs/x", {"ike": "2"}, ("old",), "userspace", "abc")


def test_a_record_is_kept_and_read() -> None:
    folder = StateFolder("x")
    assert folder.load() is None
    folder.save(RECORD)
    assert folder.load() == RECORD
    assert folder.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folder": 1}', "\x00"])
def test_a_broken_record_is_no_record(text: str) -> None:
    folder = StateFolder("x")
    folder.save(RECORD)
    (folder.path / "lab.json").write_text(text)
    assert folder.load() is None


def test_a_lock_excludes_and_names_its_holder() -> None:
    with (
        StateFolder("x").locked(),
        pytest.raises(LabBusyError, match=f"process {os.getpid()}"),
        StateFolder("x").locked(),
    ):
        pass
    with StateFolder("x").locked():
        pass


def test_labs_do_not_exclude_each_other() -> None:
    with StateFolder("x").locked(), StateFolder("y").locked():
        pass


def test_nothing_remains_of_a_lock_when_the_lab_is_gone(root: Path) -> None:
    folder = StateFolder("x")
    with folder.locked():
        folder.save(RECORD)
        folder.remove()
    assert not root.exists()


def _hold(ready, lab: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with StateFolder(lab).locked():
        ready.set()
        signal.pause()


def test_a_lock_ends_with_its_holder() -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(ready, "x"))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(LabBusyError), StateFolder("x").locked():
        pass
    holder.kill()
    with StateFolder("x").locked(Deadline(10.0)):
        pass
    holder.join()
    holder.close()


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(RuntimeFailure, match="TESTBED_STATE"):
        StateFolder("x").save(RECORD)
    with pytest.raises(RuntimeFailure, match="TESTBED_STATE"), StateFolder("x").locked():
        pass
