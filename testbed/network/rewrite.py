"""Changing what a frame carries so that it still arrives: with a wrong checksum no daemon would see it."""

from __future__ import annotations

import struct

from testbed.network.packet import dissect

__all__ = ["flipped", "replaced"]


def replaced(frame: bytes, at: int, new: bytes) -> bytes:
    """The frame with `new` from octet `at` on, which must be behind the IP header, and UDP's checksum up to date.

    What was no checksum stays none (RFC 768), what was a wrong one stays wrong: it is updated by what has changed, not
    made anew (RFC 1624, equation 3).
    """
    made = bytearray(frame)
    made[at : at + len(new)] = new
    header = dissect(frame).udp
    checksum = int.from_bytes(frame[header + 6 : header + 8], "big") if header else 0
    if checksum:
        words = slice(at - (at - header) % 2, at + len(new))  # checksums are over words, and the header begins with one
        total = (~checksum & 0xFFFF) + sum(~word & 0xFFFF for word in _words(frame[words])) + sum(_words(made[words]))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        made[header + 6 : header + 8] = struct.pack("!H", (~total & 0xFFFF) or 0xFFFF)
    return bytes(made)


def flipped(frame: bytes, at: int, bits: int) -> bytes:
    """The frame with these bits of octet `at` the other way, and a checksum to match."""
    return replaced(frame, at, bytes([frame[at] ^ bits]))


def _words(octets: bytes | bytearray) -> tuple[int, ...]:
    padded = bytes(octets) + bytes(len(octets) % 2)
    return struct.unpack(f"!{len(padded) // 2}H", padded)
