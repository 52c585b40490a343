"""Network namespaces: entering one in a thread of its own, and the lab's fabric, which holds its LAN bridges.

A namespace belongs to a thread, not to a process, so a helper thread enters it, does its work and ends; the caller
never leaves its own. Everything netlink inside must be opened and used by that thread: a pyroute2 socket is bound to
the thread that opened it. `setns` in a thread costs a tenth of what pyroute2's forked helper does.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from testbed.errors import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "create_named",
    "mount_in",
    "named_path",
    "remove_named",
    "run_in_namespace",
    "run_in_new_namespace",
    "unmount_in",
]

T = TypeVar("T")
_CLONE_FS, _CLONE_NEWNS, _CLONE_NEWNET = 0x200, 0x20000, 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED, _MNT_DETACH = 0x1000, 0x4000, 0x100000, 2
NAMED = Path("/run/netns")  # where iproute2 looks, so `ip netns exec` works on what is made here
_libc = ctypes.CDLL(None, use_errno=True)


def run_in_namespace(path: str | Path, work: Callable[[], T]) -> T:
    """What `work` returns when it runs in the network namespace that `path` names. Its exception is raised here.

    Sockets that it opens stay in that namespace and may be used by any thread afterwards.
    """
    return _in_thread(lambda: _enter(path, _CLONE_NEWNET, "network"), work)


def mount_in(path: str | Path, target: str, options: str) -> None:
    """Mount a tmpfs in the mount namespace that `path` names; it ends with it. Raises NetworkFailure."""
    mount = functools.partial(_libc.mount, b"tmpfs", target.encode(), b"tmpfs", 0, options.encode())
    _in_mounts(path, lambda: _call(f"mount of {target}", mount()))


def unmount_in(path: str | Path, target: str) -> None:
    """Undo it, even if files of it are open still."""
    _in_mounts(path, lambda: _call(f"umount of {target}", _libc.umount2(target.encode(), _MNT_DETACH)))


def _in_mounts(path: str | Path, work: Callable[[], None]) -> None:
    def enter() -> None:
        _call("unshare", _libc.unshare(_CLONE_FS))  # threads share their root directory, and must not here
        _enter(path, _CLONE_NEWNS, "mount")

    _in_thread(enter, work)


def run_in_new_namespace(work: Callable[[], T]) -> T:
    """The same in a namespace that is made for it and ends with it."""
    return _in_thread(lambda: _call("unshare", _libc.unshare(_CLONE_NEWNET)), work)


def _enter(path: str | Path, kind: int, name: str) -> None:
    """Let this thread enter a namespace."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as failure:
        raise NetworkFailure(f"cannot open the {name} namespace {path}", seen=failure.strerror) from failure
    try:
        _call("setns", _libc.setns(handle, kind))
    finally:
        os.close(handle)


def _in_thread(enter: Callable[[], None], work: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            enter()
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="in-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _call(name: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        hint = "run as root" if number == errno.EPERM else None
        raise NetworkFailure(f"{name} failed", seen=os.strerror(number), hint=hint)


def named_path(name: str) -> Path:
    return NAMED / name


def create_named(name: str) -> Path:
    """Make a namespace that lasts until it is removed. One that exists already is kept."""
    path = named_path(name)
    if _is_namespace(path):
        return path
    _prepare_directory()
    path.touch(mode=0o400)

    def bind() -> None:
        _call("mount", _libc.mount(b"/proc/thread-self/ns/net", str(path).encode(), b"none", _MS_BIND, None))

    run_in_new_namespace(bind)
    return path


def remove_named(name: str) -> None:
    """Remove a namespace, whatever is left of it; nothing happens if there is none."""
    path = named_path(name)
    while _libc.umount2(str(path).encode(), _MNT_DETACH) == 0:  # once for each time it was mounted
        pass
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _is_namespace(path: Path) -> bool:
    try:
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


def _prepare_directory() -> None:
    """Make /run/netns a shared mount point, as iproute2 does: every mount namespace then sees what is mounted in it.

    Under a lock, as iproute2 does it too: two mounts on top of each other would hide what is in the lower one.
    """
    NAMED.mkdir(mode=0o755, exist_ok=True)
    directory = str(NAMED).encode()
    handle = os.open(NAMED, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if _libc.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None) != 0:
            _call("mount", _libc.mount(directory, directory, b"none", _MS_BIND | _MS_REC, None))
            _call("mount", _libc.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None))
    finally:
        os.close(handle)
