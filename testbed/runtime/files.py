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
from testbed.runtime.vclock import CLOCK_FILE, create_clock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from testbed.device import ClockConfig
    from testbed.plan import NodeFile

__all__ = [
    "is_full",
    "place_files",
    "place_volumes",
    "prepare_boot",
    "read_file",
    "read_log",
    "read_sign",
    "replace_content",
    "update_files",
]


def place_files(
    directory: Path, files: Mapping[str, NodeFile], folders: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Write a node's files below its directory; what stood there before is overwritten. Returns Docker's binds.

    Of `folders` the whole is bound, so that files can come and go in them.
    """
    binds: dict[str, dict[str, str]] = {}
    with _written_below(directory):
        for part in ("files", "run", "log"):
            (directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in folders:
            path = directory / "files" / folder.lstrip("/")
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(mode=0o700, parents=True)
            binds[str(path)] = {"bind": folder, "mode": "ro"}
        for target, file in files.items():
            path = directory / "files" / target.lstrip("/")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, file.content, file.mode)
            if not _within(target, folders):
                binds[str(path)] = {"bind": target, "mode": "ro"}
    return binds


def _within(target: str, folders: Collection[str]) -> bool:
    return any(target.startswith(f"{folder}/") for folder in folders)


def update_files(directory: Path, files: Mapping[str, NodeFile], folders: Collection[str]) -> set[str]:
    """Make a running node's files what they are now to be. Returns the paths whose content changed.

    Outside `folders` a file can change, but neither come nor go.
    """
    changed: set[str] = set()
    root = directory / "files"
    with _written_below(directory):
        for target, file in files.items():
            path = root / target.lstrip("/")
            if path.is_file() and path.read_bytes() == file.content:
                continue
            if _within(target, folders):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(path, file.content, file.mode)
            elif path.is_file():
                replace_content(directory, target, file.content)
            else:
                continue
            changed.add(target)
        for folder in folders:
            for path in sorted((root / folder.lstrip("/")).rglob("*"), reverse=True):
                target = f"/{path.relative_to(root)}"
                if path.is_file() and target not in files:
                    path.unlink()
                    changed.add(target)
                elif path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
    return changed


def place_volumes(directory: Path, volumes: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Make the folders of a node that outlive its container, where they are not there yet. Returns Docker's binds."""
    binds: dict[str, dict[str, str]] = {}
    with _written_below(directory):
        for target, name in volumes.items():
            (directory / name).mkdir(mode=0o700, exist_ok=True)
            binds[str(directory / name)] = {"bind": target, "mode": "rw"}
    return binds


def replace_content(directory: Path, target: str, content: bytes) -> None:
    """Change what a file that was placed in a node holds; the node sees it at once."""
    path = directory / "files" / target.lstrip("/")
    with _written_below(directory), path.open("r+b") as file:
        file.truncate(0)
        file.write(content)


def prepare_boot(directory: Path, clock: ClockConfig | None = None) -> None:
    """Put in place what a node's first process needs: no sign of an earlier boot, the FIFO it waits at, its clock."""
    run = directory / "run"
    with _written_below(directory):
        for name in ("booted", "wired"):
            (run / name).unlink(missing_ok=True)
        os.mkfifo(run / "wired", 0o600)
        if clock is not None:
            create_clock(run / CLOCK_FILE, clock)


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
    return read_file(path).decode(errors="replace")


def read_file(path: Path) -> bytes:
    """A file, empty if there is none. A node may have put anything in its place: no link is followed, nothing waits."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as file:
        return file.read()
