"""Certificates, requests and revocation lists (RFC 5280, RFC 2986), read tolerantly and written exactly.

Names are copied octet by octet from what was requested: a router looks for exactly its own name in the answer, and
many of theirs no strict parser takes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from testbed.pki import ber, der
from testbed.pki.algorithms import load_public_key, verify
from testbed.pki.ber import BerError, Element

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from testbed.pki.algorithms import PublicKey

__all__ = ["Certificate", "Request", "certificate_body", "crl_body", "key_id", "read_certificate", "read_request"]

CHALLENGE_PASSWORD, EXTENSION_REQUEST = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14"
SUBJECT_ALT_NAME = "2.5.29.17"
MAX_NAMES = 32
_DNS = re.compile(
    rb"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
)
_MAIL = re.compile(rb"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,190}")
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

    def public_key(self) -> PublicKey:
        return load_public_key(self.spki)

    def valid_at(self, moment: datetime) -> bool:
        return self.not_before <= moment <= self.not_after

    def fingerprint(self, digest: str) -> str:
        """Hexadecimal, upper case."""
        return hashlib.new(digest, self.der, usedforsecurity=False).hexdigest().upper()


@dataclass(frozen=True)
class Request:
    """A PKCS #10 request whose signature has been checked: its sender has the key."""

    der: bytes = field(repr=False)
    subject: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    digest: str
    challenge: bytes | None = field(repr=False)
    names: tuple[bytes, ...] = field(repr=False)  # GeneralNames that were asked for, each in DER

    @property
    def subject_name(self) -> Element:
        return ber.parse(self.subject)

    def public_key(self) -> PublicKey:
        return load_public_key(self.spki)


def read_certificate(data: bytes | Element) -> Certificate:
    """Raises BerError. The signature is not looked at: who issued it is known by comparing it with what was issued."""
    outer = (data if isinstance(data, Element) else ber.parse(data)).expect(0x30)
    body = outer[0].expect(0x30).children
    at = 1 if body and body[0].tag == 0xA0 else 0
    if len(body) < at + 6:
        raise BerError("a certificate without all of its parts")
    serial, _, issuer, validity, subject, spki = body[at : at + 6]
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


def read_request(data: bytes) -> Request:
    """Raises BerError for what is no request, InvalidSignature if its sender does not have the key, and
    UnknownAlgorithmError.
    """
    outer = ber.parse(data).expect(0x30)
    info = outer[0].expect(0x30)
    subject, spki = info[1].expect(0x30), info[2].expect(0x30)
    challenge: bytes | None = None
    names: tuple[bytes, ...] = ()
    for attribute in _attributes(info):
        kind, values = attribute.expect(0x30)[0].oid(), attribute[1].expect(0x31).children
        if kind == CHALLENGE_PASSWORD and values:
            challenge = _password(values[0])
        elif kind == EXTENSION_REQUEST and values:
            names = tuple(_alternative_names(values[0]))
    digest = verify(load_public_key(spki.der()), outer[2].bits(), info.der(), outer[1])
    return Request(outer.der(), subject.der(), spki.der(), digest, challenge, names)


def _attributes(info: Element) -> list[Element]:
    found = [part for part in info.children[3:] if part.tag == 0xA0]
    return found[0].children if found else []


def _password(value: Element) -> bytes:
    if value.tag == 0x1E:  # BMPString
        return value.content.decode("utf-16-be", errors="replace").encode()
    if value.parts is not None:
        raise BerError("a challenge password that is no string")
    return value.content


def _alternative_names(extensions: Element) -> Iterable[bytes]:
    """The names that may stand in a certificate, of those a request asks for. Everything else it asks is ignored."""
    for extension in extensions.expect(0x30).children:
        if extension.expect(0x30)[0].oid() != SUBJECT_ALT_NAME:
            continue
        names = ber.parse(extension.children[-1].expect(0x04).content).expect(0x30).children
        if len(names) > MAX_NAMES:
            raise BerError(f"more than {MAX_NAMES} names")
        for name in names:
            if not _is_fit(name):
                raise BerError(f"a subject alternative name of tag {name.tag:#04x} that cannot be certified")
            yield name.der()


def _is_fit(name: Element) -> bool:
    """Whether a GeneralName is a well-formed host name, mail address or IP address."""
    if name.tag == 0x82:
        return len(name.content) <= 253 and _DNS.fullmatch(name.content) is not None
    if name.tag == 0x81:
        return _MAIL.fullmatch(name.content) is not None
    if name.tag == 0x87 and len(name.content) in (4, 16):
        return not ipaddress.ip_address(name.content).is_unspecified
    return False


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
