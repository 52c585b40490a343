"""The SSH server of a lab's routers, as the rest of the testbed knows it: a process, its keys, its ports.

It is a convenience of a lab that runs: it begins with `up` and ends with the lab's folder, whoever removes that.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from testbed.errors import DaemonError, DeadlineExceeded
from testbed.lab.state import write_private

if TYPE_CHECKING:
    from testbed.deadline import Deadline
    from testbed.lab.state import StateFolder

__all__ = ["SshFolder", "start_ssh", "stop_ssh"]


class SshFolder:
    """What stands below `ssh/` of a lab's state folder."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self.path = folder.path / "ssh"

    def host_key(self) -> bytes:
        """Made once per lab; OpenSSH's format."""
        return self._key("host_key")

    def client_key(self) -> bytes:
        """With which this machine's root may log in to every router."""
        return self._key("client_key")

    def _key(self, name: str) -> bytes:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - large, and seldom needed
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

        path = self.path / name
        if not path.exists():
            key = ed25519.Ed25519PrivateKey.generate()
            private = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
            public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            write_private(path.with_suffix(".pub"), public + b"\n")
            write_private(path, private)
        return path.read_bytes()

    def host_public_key(self) -> str:
        self.host_key()
        return (self.path / "host_key.pub").read_text().strip()

    def publish(self, ports: dict[str, int]) -> None:
        known = "".join(f"[127.0.0.1]:{port} {self.host_public_key()}\n" for port in ports.values())
        write_private(self.path / "known_hosts", known.encode())
        write_private(self.path / "ports.json", json.dumps(ports).encode())

    def ports(self) -> dict[str, int] | None:
        """By router; None as long as the server is not ready."""
        if not self.running():
            return None
        try:
            found: dict[str, int] = json.loads((self.path / "ports.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def is_mine(self, ports: dict[str, int]) -> bool:
        """Whether the folder is still that of the server that has these ports."""
        try:
            return bool(json.loads((self.path / "ports.json").read_text()) == ports)
        except (OSError, ValueError):
            return False

    def running(self) -> bool:
        """Whether a server holds the lock."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    def await_ports(self, deadline: Deadline) -> dict[str, int]:
        """Raises DaemonError with the server's last words."""
        try:
            return deadline.until(self.ports, "the SSH server", every=0.05)
        except DeadlineExceeded as failure:
            told = ""
            with contextlib.suppress(OSError):
                told = (self.path / "server.log").read_text()[-400:].strip()
            raise DaemonError("the SSH server does not start", seen=told or "nothing in its log") from failure


def start_ssh(folder: StateFolder) -> None:
    """Begin the server of a lab, unless one runs; it is not waited for."""
    ssh = SshFolder(folder)
    if ssh.running():
        return
    ssh.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    (ssh.path / "ports.json").unlink(missing_ok=True)
    with (ssh.path / "server.log").open("wb") as log:
        subprocess.run(  # a child of nobody here: it outlives this process, and no process has to wait for it
            ["/usr/bin/setsid", "--fork", sys.executable, "-m", "testbed.console.server", folder.lab],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )


def stop_ssh(folder: StateFolder) -> None:
    """End the server of a lab, if one runs."""
    ssh = SshFolder(folder)
    if ssh.running():
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(int(json.loads((ssh.path / "lock").read_text())["pid"]), signal.SIGTERM)
