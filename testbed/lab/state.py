"""What a lab leaves on this machine while it runs: one folder, and one lock.

The folder is only a convenience for the files of its nodes; who owns what is read from labels. The lock is a file
beside it that nobody but its holder may remove.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, LabBusyError, RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LabRecord", "StateFolder", "state_root"]


def state_root() -> Path:
    """Where labs keep their files: TESTBED_STATE, else /run/testbed."""
    return Path(os.environ.get("TESTBED_STATE", "/run/testbed"))


@dataclass(frozen=True)
class LabRecord:
    """How a lab was brought up, so that later commands need not be told again. Holds no secret."""

    folder: str
    settings: Mapping[str, str]
    variants: tuple[str, ...]
    dataplane: str
    run: str


class StateFolder:
    """The files of one lab."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self.path = state_root() / lab

    def node(self, name: str) -> Path:
        return self.path / "nodes" / name

    def save(self, record: LabRecord) -> None:
        """Keep a record, replacing the one before as a whole or not at all."""
        content = {**record.__dict__, "variants": list(record.variants)}
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self.path / "lab.json.new"
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
            temporary.replace(self.path / "lab.json")
        except OSError as failure:
            raise RuntimeFailure(
                f"cannot write below {self.path}",
                seen=failure.strerror,
                hint="free some space there, or choose another place with TESTBED_STATE",
            ) from failure

    def load(self) -> LabRecord | None:
        """The record, or None if there is none that can be read."""
        try:
            content = json.loads((self.path / "lab.json").read_text())
            return LabRecord(
                str(content["folder"]),
                dict(content["settings"]),
                tuple(content["variants"]),
                str(content["dataplane"]),
                str(content["run"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remove(self) -> None:
        """Remove all files of the lab; nothing happens if there are none."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # other labs may still be there
            state_root().rmdir()

    @contextlib.contextmanager
    def locked(self, deadline: Deadline | None = None) -> Iterator[None]:
        """Hold the lab for this process. Raises LabBusyError, naming the holder, if another has it.

        With a deadline it is waited for. The lock ends with the process that holds it, however that ends.
        """
        handle = self._acquire(deadline or Deadline(0.1))
        try:
            yield
        finally:
            if not self.path.exists():
                with contextlib.suppress(OSError):
                    self._lock_path.unlink()  # still held: nobody can have taken it in between
                with contextlib.suppress(OSError):
                    state_root().rmdir()
            os.close(handle)

    @property
    def _lock_path(self) -> Path:
        return state_root() / f"{self.lab}.lock"

    def _acquire(self, deadline: Deadline) -> int:
        def attempt() -> int | None:
            try:
                return self._try_lock()
            except FileNotFoundError:
                return None  # the last holder removed folder or file just now
            except OSError as failure:
                raise RuntimeFailure(
                    f"cannot lock {self._lock_path}",
                    seen=failure.strerror,
                    hint="free some space there, or choose another place with TESTBED_STATE",
                ) from failure

        try:
            return deadline.until(attempt, "the lock of the lab", every=0.02)
        except DeadlineExceeded:
            raise LabBusyError(
                f"lab '{self.lab}' is in use",
                seen=f"process {self._holder()} is working on it",
                hint="wait for it to end, or choose another name with --name",
            ) from None

    def _try_lock(self) -> int | None:
        """The lock's file, locked, or None if somebody else has it."""
        state_root().mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino != self._lock_path.stat().st_ino:
                raise FileNotFoundError  # what was locked is not what a next one would open
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            raise
        return handle

    def _holder(self) -> str:
        with contextlib.suppress(OSError):
            return self._lock_path.read_text().strip() or "?"
        return "?"
