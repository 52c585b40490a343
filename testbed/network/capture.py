"""What passes an interface, frame by frame, taken with AF_PACKET in the interface's own namespace."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.errors import NetworkFailure
from testbed.network.namespace import run_in_namespace
from testbed.network.raw import count_lost, open_raw, receive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from testbed.network.raw import Ancillary

__all__ = ["Capture", "Frame"]

_SO_TIMESTAMPNS = 35
_SNAP = 262144


@dataclass(frozen=True)
class Frame:
    """A frame and when the kernel saw it, in nanoseconds of the wall clock."""

    time_ns: int
    data: bytes


class Capture:
    """Frames of one interface from `start` (or entering the context) until `stop`.

    Complete: `stop` raises NetworkFailure if the kernel had to drop a frame, or if the interface is another one by now,
    as when a path was taken meanwhile; one that has gone with its node has said all it had to say. With `handle`,
    frames are passed on one by one and not kept.
    """

    def __init__(self, namespace: Path, interface: str, handle: Callable[[Frame], None] | None = None) -> None:
        self._namespace = namespace
        self._interface = interface
        self.frames: list[Frame] = []
        self._handle = handle or self.frames.append
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"capture-{interface}", daemon=True)

    def start(self) -> Capture:
        """Return when frames are being taken: everything sent after that is seen."""
        self._socket = run_in_namespace(
            self._namespace, lambda: open_raw(self._interface, "cannot capture", timestamps=_SO_TIMESTAMPNS)
        )
        self._wake = socket.socketpair()
        self._thread.start()
        return self

    def stop(self) -> list[Frame]:
        """Take what has arrived already, then stop. Twice is no error."""
        if self._socket is None:
            return self.frames
        self._wake[1].send(b"x")
        self._thread.join()
        replaced = self._replaced(self._socket)
        received, dropped = count_lost(self._socket)
        self._socket.close()
        self._socket = None
        for end in self._wake:
            end.close()
        if dropped:
            raise NetworkFailure(
                f"the capture of {self._interface} is not complete",
                seen=f"{dropped} of {received} frames dropped",
            )
        if replaced:
            raise NetworkFailure(
                f"the capture of {self._interface} is not complete",
                seen="the interface was replaced meanwhile",
                hint="take a path before the capture begins, or capture at the link's other end",
            )
        return self.frames

    def _replaced(self, raw: socket.socket) -> bool:
        """Whether there is such an interface, and the socket hears nothing of it: it was bound to an earlier one."""
        if raw.getsockname()[0] or not self._namespace.exists():
            return False
        names = run_in_namespace(self._namespace, socket.if_nameindex)
        return self._interface in {name for _, name in names}

    def __enter__(self) -> Capture:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        assert self._socket is not None  # noqa: S101 - started only after it is open
        while True:
            ready = select.select([self._socket, self._wake[0]], [], [])[0]
            if self._socket in ready:
                self._take()
            elif self._wake[0] in ready:
                return

    def _take(self) -> None:
        assert self._socket is not None  # noqa: S101
        try:
            data, ancillary = receive(self._socket, _SNAP)
        except OSError as failure:  # the interface went away or down; frames of a later life still count
            if failure.errno is None:
                raise
            return
        self._handle(Frame(_timestamp(ancillary), data))


def _timestamp(ancillary: Ancillary) -> int:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack_from("qq", value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()
