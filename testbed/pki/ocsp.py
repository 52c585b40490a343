"""OCSP (RFC 6960): whether certificates of this CA are revoked, as it is known at this moment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from testbed.pki import ber, der
from testbed.pki.algorithms import DIGESTS, UnknownAlgorithmError, digest_name
from testbed.pki.ber import BerError, Element
from testbed.pki.x509 import extension, key_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from testbed.pki.authority import Authority
    from testbed.pki.server import CertificateServer

__all__ = ["respond"]

BASIC, NONCE = "1.3.6.1.5.5.7.48.1.1", "1.3.6.1.5.5.7.48.1.2"
_MALFORMED, _TRY_LATER, _UNAUTHORIZED = 1, 3, 6
_MAX_ASKED, _NONCE_OCTETS = 64, range(1, 132)  # RFC 9654: up to 128 octets, and up to 3 around them
_FRESH = timedelta(minutes=5)


@dataclass(frozen=True)
class _Asked:
    """One certificate that is asked about; `identifier` is its CertID as it was sent."""

    identifier: Element
    authority: Authority | None
    serial: int


def respond(server: CertificateServer, data: bytes) -> bytes:
    """The answer to an OCSP request, whatever it holds."""
    if not server.enabled:
        return _refusal(_TRY_LATER)
    try:
        asked, nonce = _read(server, data)
    except (BerError, UnknownAlgorithmError):
        return _refusal(_MALFORMED)
    authorities = {item.authority.number: item.authority for item in asked if item.authority is not None}
    if len(authorities) != 1:
        return _refusal(_UNAUTHORIZED)  # of other CAs, or of two keys at once: one signature cannot be right for both
    authority = next(iter(authorities.values()))
    now = server.now()
    body = der.sequence(
        der.explicit(2, der.octet_string(key_id(authority.certificate.spki))),
        der.generalized_time(now),
        der.sequence(*(_status(server, item, now) for item in asked)),
        *([der.explicit(1, der.sequence(extension(NONCE, nonce)))] if nonce is not None else []),
    )
    basic = authority.sign(body)
    answer = der.sequence(der.oid(BASIC), der.octet_string(basic))
    return der.sequence(der.tlv(0x0A, b"\0"), der.explicit(0, answer))


def _refusal(status: int) -> bytes:
    return der.sequence(der.tlv(0x0A, bytes((status,))))


def _read(server: CertificateServer, data: bytes) -> tuple[list[_Asked], bytes | None]:
    body = ber.parse(data).expect(0x30)[0].expect(0x30).children
    lists = [part for part in body if part.tag == 0x30]
    if not lists or not 0 < len(lists[0]) <= _MAX_ASKED:
        raise BerError("no list of certificates, or too long a one")
    asked = [_asked(server, item.expect(0x30)[0].expect(0x30)) for item in lists[0].children]
    extensions = [item for part in body if part.tag == 0xA2 for item in part[0].expect(0x30).children]
    return asked, next(_nonces(extensions), None)


def _nonces(extensions: list[Element]) -> Iterator[bytes]:
    for item in extensions:
        if item.expect(0x30)[0].oid() == NONCE:
            value = item.children[-1].expect(0x04).content
            if len(value) not in _NONCE_OCTETS:
                raise BerError("a nonce of impossible length")
            yield value


def _asked(server: CertificateServer, identifier: Element) -> _Asked:
    if identifier[0].expect(0x30)[0].oid() not in DIGESTS:
        raise UnknownAlgorithmError("a digest that is not known")
    digest = digest_name(identifier[0])
    name, key = identifier[1].expect(0x04).content, identifier[2].expect(0x04).content
    for authority in server.authorities:
        certificate = authority.certificate
        public = ber.parse(certificate.spki)[1].bits()
        if name == _hash(digest, certificate.subject) and key == _hash(digest, public):
            return _Asked(identifier, authority, identifier[3].integer())
    return _Asked(identifier, None, identifier[3].integer())


def _hash(digest: str, data: bytes) -> bytes:
    return hashlib.new(digest, data, usedforsecurity=False).digest()


def _status(server: CertificateServer, asked: _Asked, now: datetime) -> bytes:
    issued = server.store.certificate(asked.serial) if asked.authority is not None else None
    if issued is None or asked.authority is None or issued.authority != asked.authority.number:
        status = der.implicit(2, b"")  # unknown
    elif issued.revoked is None:
        status = der.implicit(0, b"")  # good
    else:
        reason = [der.explicit(0, der.tlv(0x0A, bytes((issued.reason,))))] if issued.reason else []
        status = der.implicit(1, b"".join([der.generalized_time(issued.revoked), *reason]), constructed=True)
    until = der.explicit(0, der.generalized_time(now + _FRESH))
    return der.sequence(asked.identifier.der(), status, der.generalized_time(now), until)
