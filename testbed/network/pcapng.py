"""Capture files as Wireshark likes them best: pcapng, with the names of interfaces and times in nanoseconds.

Source: draft-ietf-opsawg-pcapng, sections 3 and 4.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from testbed.network.capture import Frame

__all__ = ["PcapngWriter", "write_pcapng"]

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 0x00000001, 0x00000006
_ORDER = 0x1A2B3C4D
_ETHERNET, _SNAP = 1, 262144
_COMMENT, _APPLICATION, _NAME, _RESOLUTION, _END = 1, 4, 2, 9, 0
_NANOSECONDS = 9


class PcapngWriter:
    """Writes one section to a file that is open for writing, which may be a pipe; `flush` puts frames there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        body = struct.pack("=IHHq", _ORDER, 1, 0, -1)
        self._block(_SECTION, body + _options({_APPLICATION: b"testbed"}))
        self._interfaces = 0

    def add_interface(self, name: str) -> int:
        """The number by which frames of this interface are written."""
        body = struct.pack("=HHI", _ETHERNET, 0, _SNAP)
        self._block(_INTERFACE, body + _options({_NAME: name.encode(), _RESOLUTION: bytes([_NANOSECONDS])}))
        self._interfaces += 1
        return self._interfaces - 1

    def write(self, frame: Frame, interface: int = 0, comment: str | None = None) -> None:
        high, low = divmod(frame.time_ns, 1 << 32)
        size = len(frame.data)
        body = struct.pack("=IIIII", interface, high, low, size, size) + _padded(frame.data)
        self._block(_PACKET, body + (_options({_COMMENT: comment.encode()}) if comment else b""))

    def flush(self) -> None:
        self._file.flush()

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._file.write(struct.pack("=II", kind, length) + body + struct.pack("=I", length))


def write_pcapng(path: Path, frames: Iterable[Frame], interface: str) -> None:
    """A file of one interface."""
    with path.open("wb") as file:
        writer = PcapngWriter(file)
        number = writer.add_interface(interface)
        for frame in frames:
            writer.write(frame, number)


def _options(values: dict[int, bytes]) -> bytes:
    made = b"".join(struct.pack("=HH", code, len(value)) + _padded(value) for code, value in values.items())
    return made + struct.pack("=HH", _END, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
