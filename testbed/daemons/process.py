"""Starting a daemon and knowing when it is ready: it says so itself, by sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import DaemonError, DeadlineExceeded
from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.deadline import Deadline
    from testbed.plan import DaemonPlan
    from testbed.runtime import NodeState, Runtime

__all__ = ["daemon_signal", "is_running", "start_daemon"]

_SIGNALS = "/run/testbed"
_GLANCE_S = 0.25  # how often the daemon's death is looked for while its word is waited for


def start_daemon(runtime: Runtime, node: NodeState, daemon: DaemonPlan, deadline: Deadline) -> None:
    """Start a daemon in a node and return when it says READY=1.

    Raises DaemonError with its last words if it ends instead, DeadlineExceeded if it says nothing.
    """
    name = f"{daemon.name}.ready"
    output = f"{daemon.name}.out"
    shell = f'exec "$@" > /var/log/testbed/{output} 2>&1'
    with _ready_socket(node.identity.directory / "run", name) as ready:
        process = runtime.spawn(
            node, ["/bin/sh", "-c", shell, "sh", *daemon.argv], {"NOTIFY_SOCKET": f"{_SIGNALS}/{name}"}
        )
        while not _said_ready(ready, deadline):
            code = process.exit_code()
            if code is not None:
                raise DaemonError(
                    f"{daemon.name} ended with exit code {code}",
                    node=node.name,
                    expected="READY=1",
                    seen=_last_words(node, daemon, output),
                )
            if deadline.expired:
                raise DeadlineExceeded(
                    f"{daemon.name} is not ready after {deadline.seconds:g} s",
                    node=node.name,
                    seen=_last_words(node, daemon, output),
                )


def is_running(runtime: Runtime, node: NodeState, daemon: DaemonPlan) -> bool:
    return node.running and runtime.execute(node, ["pgrep", "-x", _process_name(daemon)]).exit_code == 0


def daemon_signal(runtime: Runtime, node: NodeState, daemon: DaemonPlan, signal: str) -> bool:
    """Send a signal (KILL, TERM, …) to a daemon; False if it was not running."""
    return runtime.execute(node, ["pkill", f"-{signal}", "-x", _process_name(daemon)]).exit_code == 0


def _process_name(daemon: DaemonPlan) -> str:
    return daemon.argv[0].rsplit("/", 1)[-1][:15]  # the kernel keeps 15 characters


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


def _last_words(node: NodeState, daemon: DaemonPlan, output: str) -> str:
    names = [output, *([daemon.log.rsplit("/", 1)[-1]] if daemon.log else [])]
    texts = [read_log(node.identity.directory, name, tail=4) for name in names]
    return "; ".join(line.strip() for text in texts for line in text.splitlines()) or "nothing in its log"
