"""The files of a node on this machine, from where they are mounted into it.

A node's directory holds `files/` (read-only in the node), `run/` (sockets and signs between the testbed and the
node's daemons) and `log/`. Only root may enter it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from testbed.errors import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from testbed.plan import NodeFile

__all__ = ["is_full", "place_files", "prepare_boot", "read_log", "read_sign"]


def place_files(directory: Path, files: Mapping[str, NodeFile]) -> dict[str, dict[str, str]]:
    """Write a node's files below its directory; what stood there before is overwritten. Returns Docker's binds."""
    binds: dict[str, dict[str, str]] = {}
    with _written_below(directory):
        for part in ("files", "run", "log"):
            (directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        for target, file in files.items():
            path = directory / "files" / target.lstrip("/")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, file.content, file.mode)
            binds[str(path)] = {"bind": target, "mode": "ro"}
    return binds


def prepare_boot(directory: Path) -> None:
    """Put in place what a node's first process needs: no sign of an earlier boot, and the FIFO it waits at."""
    run = directory / "run"
    with _written_below(directory):
        for name in ("booted", "wired"):
            (run / name).unlink(missing_ok=True)
        os.mkfifo(run / "wired", 0o600)


@contextlib.contextmanager
def _written_below(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise RuntimeFailure(
            f"cannot write the files of a node below {directory}",
            seen=failure.strerror,
            hint="free some space there, or choose another place with TESTBED_STATE",
        ) from failure


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # the umask has no say
        file.write(content)


def read_log(directory: Path, name: str, *, tail: int | None = None) -> str:
    """A log of a node, or its last lines; empty if there is none."""
    text = _read(directory / "log" / name)
    return text if tail is None else "\n".join(text.splitlines()[-tail:])


def read_sign(directory: Path, name: str) -> str:
    """What a node has left in its run directory under a name; empty if nothing yet."""
    return _read(directory / "run" / name).strip()


def is_full(directory: Path) -> bool:
    """Whether not even a small file can be written where a node's files are."""
    return shutil.disk_usage(directory).free < 4096


def _read(path: Path) -> str:
    """A file that a node may have put anything in place of: no link is followed, nothing is waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as file:
        return file.read().decode(errors="replace")
