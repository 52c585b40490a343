"""Certificates and revocation lists (RFC 5280), read tolerantly and written exactly.

Names are copied octet by octet from what was requested: a router looks for exactly its own name in the answer, and
many of theirs no strict parser takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from testbed.pki import ber, der
from testbed.pki.ber import BerError, Element

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Certificate",
    "alternative_names",
    "authority_key_id",
    "certificate_body",
    "crl_body",
    "extension",
    "key_id",
    "read_certificate",
]

MAX_SERIAL_OCTETS = 64  # RFC 5280, section 4.1.2.2, allows 20
_TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}


@dataclass(frozen=True)
class Certificate:
    """As much of a certificate as a CA has to know of its own and of its clients'."""

    der: bytes = field(repr=False)
    serial: int
    issuer: bytes = field(repr=False)
    subject: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    spki: bytes = field(repr=False)

    @property
    def self_issued(self) -> bool:
        return self.issuer == self.subject

    @property
    def subject_name(self) -> Element:
        return ber.parse(self.subject)

    @property
    def issuer_name(self) -> Element:
        return ber.parse(self.issuer)

    def valid_at(self, moment: datetime) -> bool:
        return self.not_before <= moment <= self.not_after

    def fingerprint(self, digest: str) -> str:
        """Hexadecimal, upper case."""
        return hashlib.new(digest, self.der, usedforsecurity=False).hexdigest().upper()


def read_certificate(data: bytes | Element) -> Certificate:
    """Raises BerError. The signature is not looked at: who issued it is known by comparing it with what was issued."""
    outer = (data if isinstance(data, Element) else ber.parse(data)).expect(0x30)
    body = outer[0].expect(0x30).children
    at = 1 if body and body[0].tag == 0xA0 else 0
    if len(body) < at + 6:
        raise BerError("a certificate without all of its parts")
    serial, _, issuer, validity, subject, spki = body[at : at + 6]
    if len(serial.content) > MAX_SERIAL_OCTETS:
        raise BerError("a serial number that is far too long")
    return Certificate(
        outer.der(),
        serial.integer(),
        issuer.expect(0x30).der(),
        subject.expect(0x30).der(),
        _moment(validity.expect(0x30)[0]),
        _moment(validity[1]),
        spki.expect(0x30).der(),
    )


def _moment(element: Element) -> datetime:
    if element.tag not in _TIMES:
        raise BerError("a time of another type")
    try:
        found = datetime.strptime(element.content.decode("ascii"), _TIMES[element.tag]).replace(tzinfo=UTC)
    except (UnicodeDecodeError, ValueError):
        raise BerError("a time that is none") from None
    # RFC 5280, section 4.1.2.5.1: two digits from 50 are of the last century; strptime turns at 69.
    return found.replace(year=found.year - 100) if element.tag == 0x17 and found.year >= 2050 else found


def _extension_value(der_octets: bytes, number: str) -> bytes | None:
    """The content of an extension of a certificate, None if it has no such one. Raises BerError."""
    body = ber.parse(der_octets)[0].children
    for part in body:
        if part.tag == 0xA3:
            for item in part[0].children:
                if item[0].oid() == number:
                    return item.children[-1].expect(0x04).content
    return None


def alternative_names(der_octets: bytes) -> tuple[bytes, ...]:
    """The GeneralNames of a certificate's subject alternative name, each in DER. Raises BerError."""
    value = _extension_value(der_octets, "2.5.29.17")
    return () if value is None else tuple(name.der() for name in ber.parse(value).children)


def authority_key_id(der_octets: bytes) -> bytes | None:
    """By which key a certificate says that it was signed. Raises BerError."""
    value = _extension_value(der_octets, "2.5.29.35")
    parts = [] if value is None else ber.parse(value).children
    return next((part.content for part in parts if part.tag == 0x80), None)


def key_id(spki: bytes) -> bytes:
    """SHA-1 of the key's own octets: RFC 5280, section 4.2.1.2, method 1."""
    return hashlib.sha1(ber.parse(spki)[1].bits(), usedforsecurity=False).digest()


def extension(number: str, value: bytes, *, critical: bool = False) -> bytes:
    return der.sequence(der.oid(number), *([der.boolean(True)] if critical else []), der.octet_string(value))


def certificate_body(
    *,
    serial: int,
    algorithm: bytes,
    issuer: bytes,
    not_before: datetime,
    not_after: datetime,
    subject: bytes,
    spki: bytes,
    extensions: Sequence[bytes],
) -> bytes:
    """TBSCertificate, version 3."""
    return der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(serial),
        algorithm,
        issuer,
        der.sequence(der.time(not_before), der.time(not_after)),
        subject,
        spki,
        der.explicit(3, der.sequence(*extensions)),
    )


def crl_body(
    *,
    algorithm: bytes,
    issuer: bytes,
    this_update: datetime,
    next_update: datetime,
    revoked: Iterable[tuple[int, datetime, int]],
    number: int,
    authority_key_id: bytes,
) -> bytes:
    """TBSCertList, version 2. `revoked` are serial numbers, times, and reasons (RFC 5280, section 5.3.1)."""
    entries = [
        der.sequence(
            der.integer(serial),
            der.time(moment),
            *([der.sequence(extension("2.5.29.21", der.tlv(0x0A, bytes((reason,)))))] if reason else []),
        )
        for serial, moment, reason in revoked
    ]
    extensions = (
        extension("2.5.29.35", der.sequence(der.implicit(0, authority_key_id))),
        extension("2.5.29.20", der.integer(number)),
    )
    return der.sequence(
        der.integer(1),
        algorithm,
        issuer,
        der.time(this_update),
        der.time(next_update),
        *([der.sequence(*entries)] if entries else []),
        der.explicit(0, der.sequence(*extensions)),
    )
