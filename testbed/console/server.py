"""The lab's SSH server: a port of loopback for each router, in a process of its own that ends with the lab.

`python -m testbed.console.server LAB`. What a client has to know stands in the lab's state folder, below `ssh/`.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING

import asyncssh

from testbed.console.router import LiveRouter
from testbed.console.session import Session
from testbed.console.terminal import Closed, Terminal
from testbed.errors import TestbedError
from testbed.ios.passwords import is_password
from testbed.lab import Lab
from testbed.lab.ssh import SshFolder

if TYPE_CHECKING:
    from testbed.ios.configuration import Statement

__all__ = ["serve"]

_LOOK_S = 0.5
_LINES = 512  # vty lines of one router


class _Channel:
    """A channel of SSH as a terminal wants it: the session's thread reads from a queue, the loop writes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: asyncssh.SSHServerChannel[str]) -> None:
        self._loop = loop
        self._channel = channel
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.width, self.height = 80, 24
        self._ended = False

    def feed(self, text: str) -> None:
        self._queue.put(text)

    def end(self) -> None:
        self._ended = True
        self._queue.put("")

    def read(self) -> str:
        return "" if self._ended and self._queue.empty() else self._queue.get()

    def waiting(self) -> bool:
        return not self._queue.empty()

    def write(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self._write, text)

    def _write(self, text: str) -> None:
        if not self._channel.is_closing():
            self._channel.write(text)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._channel.exit, 0)


class _SshSession(asyncssh.SSHServerSession[str]):
    """One session. The router's own commands block, so each has a thread."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._channel: _Channel | None = None
        self._command: str | None = None
        self._size = (80, 24)

    def connection_made(self, chan: asyncssh.SSHServerChannel[str]) -> None:
        self._channel = _Channel(asyncio.get_running_loop(), chan)

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: object) -> bool:  # noqa: ARG002
        self._size = (term_size[0] or 80, term_size[1] or 24)
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:  # noqa: ARG002
        self._size = (width, height)

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        threading.Thread(target=self._run, name=f"vty-{self._server.node}", daemon=True).start()

    def data_received(self, data: str, datatype: object) -> None:  # noqa: ARG002
        if self._channel is not None:
            self._channel.feed(data)

    def eof_received(self) -> bool:
        self.connection_lost(None)
        return True

    def break_received(self, msec: int) -> bool:  # noqa: ARG002
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._channel is not None:
            self._channel.end()

    def _run(self) -> None:
        channel, server = self._channel, self._server
        if channel is None:
            return
        channel.width, channel.height = self._size
        try:
            terminal = Terminal(channel)
            router = LiveRouter(server.lab, server.node)
            session = Session(router, terminal, user=server.user, level=server.level(), vty=server.line())
            if self._command is None:
                session.run()
            else:
                terminal.length = 0
                session.enter(self._command)
                session.close()
        except (TestbedError, Closed, OSError) as failure:
            channel.write(f"% {failure}\r\n")
        finally:
            channel.close()


class _Server(asyncssh.SSHServer):
    """Who may log in: the users of the router's configuration by password, and whoever has the lab's own key."""

    def __init__(self, lab: Lab, node: str, key: asyncssh.SSHKey, lines: _Lines) -> None:
        self.lab = lab
        self.node = node
        self.user = ""
        self._key = key
        self._lines = lines
        self._by_key = False

    def _account(self, name: str) -> Statement | None:
        configuration = self.lab.router(self.node).current()
        found = [item for item in configuration.all("username") if item.get("user") == name]
        return next((item for item in found if item.get("how") is not None), None)

    def level(self) -> int:
        """The privilege of whoever logged in; the holder of the lab's key may do everything."""
        if self._by_key:
            return 15
        account = self._account(self.user)
        return 15 if account is not None and account.get("privilege") == 15 else 1

    def line(self) -> int:
        return self._lines.next(self.node)

    def begin_auth(self, username: str) -> bool:
        self.user = username
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        account = self._account(username)
        return account is not None and is_password(account.get("type"), account.get("secret", ""), password)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self.user = username
        self._by_key = key.public_data == self._key.public_data
        return self._by_key

    def session_requested(self) -> _SshSession:
        return _SshSession(self)


class _Lines:
    """The numbers of vty lines."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def next(self, node: str) -> int:
        number = self._next.get(node, 0)
        self._next[node] = (number + 1) % _LINES
        return number


async def serve(name: str) -> None:
    """Until the lab's folder is gone, or another process has taken it up."""
    lab = Lab.attach(name)
    folder = SshFolder(lab.folder)
    host_key = asyncssh.import_private_key(folder.host_key())
    client_key = asyncssh.import_private_key(folder.client_key())
    lines = _Lines()
    ports: dict[str, int] = {}
    servers = []
    for node in lab.loaded.configurations:
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda node=node: _Server(lab, node, client_key, lines),
            server_host_keys=[host_key],
            line_editor=False,
            encoding="utf-8",
            errors="replace",
            server_version="Cisco-1.25",
            backlog=512,
        )
        servers.append(acceptor)
        ports[node] = acceptor.get_port()
    folder.publish(ports)
    while folder.is_mine(ports):
        await asyncio.sleep(_LOOK_S)
    for acceptor in servers:
        acceptor.close()


def main(arguments: list[str]) -> int:
    """One server for a lab: a second one ends at once."""
    name = arguments[0]
    folder = SshFolder(Lab.attach(name).folder)
    handle = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"pid": os.getpid()}).encode(), 0)
    asyncio.run(serve(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
