"""Certification requests (PKCS #10, RFC 2986), read tolerantly, and their signatures checked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.pki import ber
from testbed.pki.algorithms import load_public_key, verify
from testbed.pki.ber import BerError, Element

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.pki.algorithms import PublicKey

__all__ = ["Request", "read_request"]

CHALLENGE_PASSWORD, EXTENSION_REQUEST = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14"
SUBJECT_ALT_NAME = "2.5.29.17"
MAX_NAMES = 32
_DNS = re.compile(
    rb"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
)
_MAIL = re.compile(rb"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,190}")


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
