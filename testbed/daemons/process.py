"""Starting a daemon and knowing when it is ready: it says so itself, by sd_notify(3)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import DaemonError, DeadlineExceeded
from testbed.runtime.files import read_log, read_sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from testbed.deadline import Deadline
    from testbed.plan import DaemonPlan
    from testbed.runtime import NodeState, Runtime

    Readiness = Callable[[Deadline], bool]

__all__ = ["daemon_signal", "is_running", "start_daemons"]

_GLANCE_S = 0.1  # how often the daemon's death is looked for while its word is waited for


def start_daemons(
    runtime: Runtime, node: NodeState, daemons: Sequence[DaemonPlan], deadline: Deadline, *, booting: bool
) -> None:
    """Start daemons of a node and return when each has said READY=1.

    A node that is booting waits for its links before it starts all its daemons itself; it is told that they are there.
    Raises DaemonError with its last words if a daemon ends instead, DeadlineExceeded if it says nothing.
    """
    run = node.identity.directory / "run"
    with contextlib.ExitStack() as stack:
        waiting = [(daemon, stack.enter_context(_readiness(node, daemon))) for daemon in daemons]
        for daemon in daemons:
            (run / f"{daemon.name}.exit").unlink(missing_ok=True)
        if booting:
            _tell_wired(node, deadline)
        else:
            for daemon in daemons:
                runtime.execute(node, ["/usr/lib/testbed/start", daemon.name])
        for daemon, ready in waiting:
            _await_ready(node, daemon, ready, deadline)


def _tell_wired(node: NodeState, deadline: Deadline) -> None:
    """Write to the FIFO that the node's first process reads; nobody can open it before that process does."""
    path = node.identity.directory / "run" / "wired"

    def write() -> bool:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as failure:
            if failure.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise
        with os.fdopen(handle, "wb") as fifo:
            fifo.write(b"\n")
        return True

    deadline.until(write, f"{node.name}: the node does not wait for its links", every=0.002)


def _await_ready(node: NodeState, daemon: DaemonPlan, ready: Readiness, deadline: Deadline) -> None:
    while not ready(deadline):
        code = read_sign(node.identity.directory, f"{daemon.name}.exit")
        if code:
            raise DaemonError(
                f"{daemon.name} ended with exit code {code}",
                node=node.name,
                expected="READY=1",
                seen=_last_words(node, daemon),
            )
        if deadline.expired:
            raise DeadlineExceeded(
                f"{daemon.name} is not ready after {deadline.seconds:g} s",
                node=node.name,
                seen=_last_words(node, daemon),
            )


def is_running(runtime: Runtime, node: NodeState, daemon: DaemonPlan) -> bool:
    return node.running and runtime.execute(node, ["pgrep", "-x", _process_name(daemon)]).exit_code == 0


def daemon_signal(runtime: Runtime, node: NodeState, daemon: DaemonPlan, signal: str) -> bool:
    """Send a signal (KILL, TERM, …) to a daemon; False if it was not running."""
    return runtime.execute(node, ["pkill", f"-{signal}", "-x", _process_name(daemon)]).exit_code == 0


def _process_name(daemon: DaemonPlan) -> str:
    return daemon.argv[0].rsplit("/", 1)[-1][:15]  # the kernel keeps 15 characters


@contextlib.contextmanager
def _readiness(node: NodeState, daemon: DaemonPlan) -> Iterator[Readiness]:
    """What tells, after a moment's patience, whether a daemon that is about to be started is ready."""
    if daemon.ready is not None:
        yield _new_file(Path(f"/proc/{node.pid}/root{daemon.ready}"))
        return
    with _ready_socket(node.identity.directory / "run", f"{daemon.name}.ready") as ready:
        yield lambda deadline: _said_ready(ready, deadline)


def _new_file(path: Path) -> Readiness:
    """Whether there is a file that was not there before, by its inode and birth."""

    def identity() -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            found = path.lstat()
            return found.st_ino, found.st_ctime_ns
        return None

    before = identity()

    def look(deadline: Deadline) -> bool:
        with contextlib.suppress(DeadlineExceeded):
            within = deadline.within(_GLANCE_S)
            return within.until(lambda: identity() not in (None, before), "a file", every=0.002)
        return False

    return look


@contextlib.contextmanager
def _ready_socket(directory: Path, name: str) -> Iterator[socket.socket]:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    path = Path(f"/proc/self/fd/{handle}/{name}")  # a UNIX socket's path may have 107 bytes only
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(path))
            yield ready
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _said_ready(ready: socket.socket, deadline: Deadline) -> bool:
    ready.settimeout(max(0.001, min(_GLANCE_S, deadline.remaining)))
    try:
        return b"READY=1" in ready.recv(4096).split(b"\n")
    except TimeoutError:
        return False


def _last_words(node: NodeState, daemon: DaemonPlan) -> str:
    names = [f"{daemon.name}.out", *([daemon.log.rsplit("/", 1)[-1]] if daemon.log else [])]
    texts = [read_log(node.identity.directory, name, tail=4) for name in names]
    return "; ".join(line.strip() for text in texts for line in text.splitlines()) or "nothing in its log"
