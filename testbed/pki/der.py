"""DER (X.690), written: a function for each type, from octets to octets."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from testbed.pki.ber import length

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = [
    "NULL",
    "bit_string",
    "boolean",
    "explicit",
    "generalized_time",
    "ia5",
    "implicit",
    "integer",
    "named_bits",
    "octet_string",
    "oid",
    "printable",
    "sequence",
    "set_of",
    "text",
    "time",
    "tlv",
    "utf8",
]

NULL = b"\x05\x00"
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")


def tlv(tag: int, body: bytes) -> bytes:
    """Identifier, length, content."""
    return bytes((tag,)) + length(len(body)) + body


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, b"".join(parts))


def set_of(parts: Iterable[bytes]) -> bytes:
    """SET OF, its members in DER's order."""
    return tlv(0x31, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


@functools.lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    body = bytearray()
    for arc in (first * 40 + second, *others):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(0x80 | arc & 0x7F)
        body += bytes(reversed(octets))
    return tlv(0x06, bytes(body))


def boolean(value: bool) -> bytes:
    return b"\x01\x01\xff" if value else b"\x01\x01\x00"


def octet_string(value: bytes) -> bytes:
    return tlv(0x04, value)


def bit_string(value: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(0x03, b"\0" + value)


def named_bits(*numbers: int) -> bytes:
    """A BIT STRING with these bits set and no trailing zero bits, as DER wants named ones."""
    top = max(numbers)
    value = sum(1 << (top - number) for number in numbers)
    unused = 7 - top % 8
    return tlv(0x03, bytes((unused,)) + (value << unused).to_bytes(top // 8 + 1, "big"))


def printable(value: str) -> bytes:
    return tlv(0x13, value.encode("ascii"))


def utf8(value: str) -> bytes:
    return tlv(0x0C, value.encode())


def ia5(value: str) -> bytes:
    return tlv(0x16, value.encode("ascii"))


def text(value: str) -> bytes:
    """A DirectoryString: PrintableString where its alphabet is enough, else UTF8String (RFC 5280, section 4.1.2.4)."""
    return printable(value) if _PRINTABLE.fullmatch(value) else utf8(value)


def time(moment: datetime) -> bytes:
    """UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280, section 4.1.2.5)."""
    if 1950 <= moment.year < 2050:
        return tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())
    return generalized_time(moment)


def generalized_time(moment: datetime) -> bytes:
    return tlv(0x18, f"{moment.year:04d}".encode() + moment.strftime("%m%d%H%M%SZ").encode())


def explicit(number: int, body: bytes) -> bytes:
    return tlv(0xA0 | number, body)


def implicit(number: int, body: bytes, *, constructed: bool = False) -> bytes:
    """A context tag in place of the type's own; `body` is the content alone."""
    return tlv((0xA0 if constructed else 0x80) | number, body)
