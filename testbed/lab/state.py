"""What a lab leaves on this machine while it runs: one folder, and one lock.

The folder is only a convenience for the files of its nodes; who owns what is read from labels. The lock is a file
beside it that nobody but its holder may remove.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, LabBusyError, PrerequisiteError, RuntimeFailure, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LabRecord", "StateFolder", "state_root", "valid_name", "write_private"]


def state_root() -> Path:
    """Where labs keep their files: TESTBED_STATE, else /run/testbed. Raises SettingError if it cannot be mounted."""
    root = Path(os.environ.get("TESTBED_STATE", "/run/testbed")).absolute()
    if ":" in str(root):
        raise SettingError(f"TESTBED_STATE cannot be {root}", expected="a path without ':', which Docker would split")
    return root


def valid_name(name: str) -> bool:
    """Whether a lab can have this name: it becomes part of container names, paths and namespaces."""
    return re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name) is not None


@dataclass(frozen=True)
class LabRecord:
    """How a lab was brought up, so that later commands need not be told again. Holds no secret."""

    folder: str
    settings: Mapping[str, str]
    variants: tuple[str, ...]
    dataplane: str
    run: str
    bare: bool = False  # routers of kind ios without their start-up configurations


class StateFolder:
    """The files of one lab."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self.path = state_root() / lab

    def node(self, name: str) -> Path:
        return self.path / "nodes" / name

    def exists(self) -> bool:
        """Whether anything of the lab is here, if only the lock of a process that was killed."""
        return self.path.exists() or self._lock_path.exists()

    def salt(self) -> bytes:
        """Random bytes that last as long as the lab, for digests that nobody else can compute."""
        path = self.path / "salt"
        try:
            return path.read_bytes() or self._new_salt(path)
        except FileNotFoundError:
            return self._new_salt(path)

    def _new_salt(self, path: Path) -> bytes:
        salt = os.urandom(16)
        with _written_below(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(salt)
        return salt

    def save(self, record: LabRecord) -> None:
        """Keep a record, replacing the one before as a whole or not at all."""
        content = {**record.__dict__, "variants": list(record.variants)}
        with _written_below(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self.path / "lab.json.new"
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
            temporary.replace(self.path / "lab.json")

    def load(self) -> LabRecord | None:
        """The record, or None if there is none that can be read. Raises PrerequisiteError to who may not read it."""
        try:
            content = json.loads((self.path / "lab.json").read_text())
            return LabRecord(
                str(content["folder"]),
                dict(content["settings"]),
                tuple(content["variants"]),
                str(content["dataplane"]),
                str(content["run"]),
                bool(content.get("bare", False)),
            )
        except PermissionError as failure:
            raise PrerequisiteError(
                f"cannot read {self.path}", seen=failure.strerror, hint="run it as root"
            ) from failure
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
            with _written_below(state_root()), contextlib.suppress(FileNotFoundError):  # the last holder removed it
                return self._try_lock()
            return None

        try:
            return deadline.until(attempt, "the lock of the lab", every=0.02)
        except DeadlineExceeded:
            raise LabBusyError(
                f"lab '{self.lab}' is in use",
                seen=f"process {self._holder()} is working on it",
                hint="wait for it to end, or choose another name with --name",
            ) from None

    def _try_lock(self) -> int | None:
        """The lock's file, locked, or None if somebody else has it.

        On a full or read-only file system the folder of all labs is locked instead: `down` must work there too.
        """
        try:
            state_root().mkdir(mode=0o700, parents=True, exist_ok=True)
            path, handle = self._lock_path, os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            if failure.errno not in (errno.ENOSPC, errno.EROFS, errno.EDQUOT) or not state_root().is_dir():
                raise
            path, handle = state_root(), os.open(state_root(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino != path.stat().st_ino:
                raise FileNotFoundError  # what was locked is not what a next one would open
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            raise
        with contextlib.suppress(OSError):  # only to tell others who holds it
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        return handle

    def _holder(self) -> str:
        with contextlib.suppress(OSError):
            return self._lock_path.read_text().strip() or "?"
        return "?"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, as a whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    temporary.replace(path)


@contextlib.contextmanager
def _written_below(path: Path) -> Iterator[None]:
    """Say what to do where the state of a lab cannot be written."""
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as failure:
        raise PrerequisiteError(f"cannot write below {path}", seen=failure.strerror, hint="run it as root") from failure
    except OSError as failure:
        raise RuntimeFailure(
            f"cannot write below {path}",
            seen=failure.strerror,
            hint="free some space there, or choose another place with TESTBED_STATE",
        ) from failure
