"""Who has taken a path, or put a fault somewhere: an abstract Unix socket, which ends with its process in any case."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from typing import TYPE_CHECKING

from testbed.errors import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["claimed", "cut_names", "is_claimed"]

CUT = "cut-"  # begins the names of what stands in the fabric while a path is taken


@contextlib.contextmanager
def claimed(lab: str, link: str, what: str | None = None) -> Iterator[None]:
    """Hold the claim on a link's path, or on `what` else has that name. Raises NetworkFailure if somebody has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        try:
            holder.bind(_address(lab, link))
        except OSError as failure:
            raise NetworkFailure(
                f"{what or f'the path of link {link!r}'} is taken already",
                seen=failure.strerror,
                hint="only one process may have it at a time",
            ) from failure
        yield


def is_claimed(lab: str, link: str) -> bool:
    """Whether a process that lives has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_address(lab, link))
        except ConnectionRefusedError:
            return False
    return True


def cut_names(link: str) -> tuple[str, str]:
    """The interfaces that stand in the fabric while a link is cut: of 15 characters at most."""
    digest = hashlib.sha256(link.encode()).hexdigest()[:9]
    return f"{CUT}{digest}a", f"{CUT}{digest}b"


def _address(lab: str, link: str) -> bytes:
    digest = hashlib.sha256(f"{lab}:{link}".encode()).hexdigest()
    return b"\0testbed-path-" + digest.encode()
