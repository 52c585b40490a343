"""What a machine must have before anything else is tried, each with its fix.

Needs nothing but Python's standard library, so `make` runs it before there is a virtual environment:
`python3 -m testbed.prerequisites`.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from testbed.errors import PrerequisiteError
from testbed.network.esp import kernel_has_esp

__all__ = ["Finding", "essential", "require"]

MINIMUM_PYTHON = (3, 11)
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `missing` stops a lab, `note` does not."""

    name: str
    verdict: Literal["ok", "missing", "note"]
    seen: str
    fix: str | None = None


def essential() -> list[Finding]:
    """What no lab can do without."""
    return [_python(), _root(), _engine(), _dataplane()]


def require() -> None:
    """Raise PrerequisiteError, naming everything that is missing, if anything is."""
    missing = [finding for finding in essential() if finding.verdict == "missing"]
    if missing:
        lines = [f"{finding.name}: {finding.seen}\n    fix: {finding.fix}" for finding in missing]
        raise PrerequisiteError("this machine cannot run a lab yet\n  " + "\n  ".join(lines))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        fix = f"install Python {wanted} or newer, and run make with PYTHON=python{wanted}"
        return Finding("Python", "missing", f"version {version}", fix)
    return Finding("Python", "ok", f"version {version}")


def _root() -> Finding:
    user = os.geteuid()
    if user == 0:
        return Finding("root", "ok", "user id 0")
    return Finding("root", "missing", f"user id {user}", "run the same command with sudo")


def _engine() -> Finding:
    address = os.environ.get("DOCKER_HOST", _DEFAULT_ENGINE)
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as connection:
                answer = _ping(connection, parts.path)
        else:
            with socket.socket(socket.AF_INET) as connection:
                answer = _ping(connection, (parts.hostname or "localhost", parts.port or 2375))
    except PermissionError:
        return Finding("Docker engine", "missing", f"{address}: permission denied", "run the same command with sudo")
    except OSError as failure:
        fix = (
            "start it: `systemctl start docker`"
            if shutil.which("dockerd")
            else "install it: `apt-get install docker.io`, or set DOCKER_HOST"
        )
        return Finding("Docker engine", "missing", f"{address}: {failure.strerror or failure}", fix)
    if b" 200 " not in answer.split(b"\r\n")[0] + b" ":
        return Finding("Docker engine", "missing", f"{address} does not speak Docker's protocol", "set DOCKER_HOST")
    return Finding("Docker engine", "ok", f"answers at {address}")


def _ping(connection: socket.socket, address: str | tuple[str, int]) -> bytes:
    connection.settimeout(5.0)
    connection.connect(address)
    connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
    return connection.recv(1024)


def _dataplane() -> Finding:
    if os.geteuid() != 0:
        able, answer = False, "only root can ask the kernel"
    else:
        able, answer = kernel_has_esp()
    if able:
        return Finding("data plane", "ok", f"kernel: {answer}")
    if _TUN.exists():
        return Finding("data plane", "ok", f"user space over {_TUN} ({answer})")
    fix = "modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200"
    return Finding("data plane", "missing", f"{answer}, and there is no {_TUN}", fix)


if __name__ == "__main__":
    try:
        require()
    except PrerequisiteError as failure:
        sys.exit(f"error: {failure}")
