"""A certificate server as a process of its own, on loopback: what runs in a node, without the node."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.deadline import Deadline
from testbed.pki.x509 import Certificate, read_certificate

ROOT = Path(__file__).resolve().parents[2]
SCEP = "/cgi-bin/pkiclient.exe"


class Service:
    """`python -m testbed.pki` with settings in a folder. A context manager; `kill` is a power cut for it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port, self.tls_port = free_ports(2)
        told = {
            "name": "CA",
            "subject": [["CN", "ca.lab.test"], ["O", "MOIGETECH"], ["C", "KE"]],
            "names": ["127.0.0.1", "localhost"],
            "directory": str(folder / "ca"),
            "grant": "auto",
            "http": ["127.0.0.1", self.port],
            "https": ["127.0.0.1", self.tls_port],
            "admin_socket": str(folder / "ca.sock"),
            **settings,
        }
        (folder / "settings.json").write_text(json.dumps(told))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and return when it says that it is ready."""
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (self.folder / "ready").unlink(missing_ok=True)
        with ready:
            ready.bind(str(self.folder / "ready"))
            ready.settimeout(20.0)
            self.begin({"NOTIFY_SOCKET": str(self.folder / "ready")})
            assert ready.recv(100) == b"READY=1", self.log

    def begin(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the process, and wait for nothing."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "testbed.pki", str(self.folder / "settings.json")],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", **(environment or {})},
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(10)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def get(self, path: str) -> tuple[int, bytes]:
        return self.send("GET", path)

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ca_certificate(self) -> Certificate:
        return read_certificate(self.get(f"{SCEP}?operation=GetCACert")[1])

    def admin(self, command: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.folder / "ca.sock"))
            connection.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
        assert answer["ok"], answer
        return answer["result"]

    def until(self, look: Any, what: str) -> Any:
        return Deadline(20.0).until(look, what, every=0.02)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports
