"""SCEP (RFC 8894): from a request's octets to the answer's."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from testbed.pki import ber, der
from testbed.pki.algorithms import LEGACY_DIGESTS, MIN_RSA_BITS, UnknownAlgorithmError, load_public_key
from testbed.pki.ber import BerError, Element
from testbed.pki.cms import (
    BrokenMessageError,
    SignedMessage,
    certificates_only,
    decrypt,
    digest_of,
    encrypt,
    is_for,
    read_signed,
    signed,
)
from testbed.pki.errors import FailInfo, RefusedError
from testbed.pki.server import Enrolment, Outcome
from testbed.pki.x509 import Certificate, read_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.pki.authority import Authority
    from testbed.pki.server import CertificateServer

__all__ = ["CAPABILITIES", "Scep", "UnanswerableError"]

log = logging.getLogger("ca.scep")

# SHA-384 is in no registry. strongSwan before 5.9.11 takes the numbers of capabilities for bits, and without it finds
# that AES is missing.
CAPABILITIES = "AES\nDES3\nSHA-1\nSHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nSCEPStandard\nRenewal\nGetNextCACert\n"
_ATTRIBUTES = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    f"{_ATTRIBUTES}{number}" for number in range(2, 8)
)
CERT_REP, RENEWAL_REQ, PKCS_REQ, CERT_POLL, GET_CERT, GET_CRL = "3", "17", "19", "20", "21", "22"
_SUCCESS, _FAILURE, _PENDING = "0", "2", "3"
_MAX_TRANSACTION_ID, _NONCE_OCTETS = 255, range(8, 65)
_TEXTS = (0x13, 0x0C, 0x16)


class UnanswerableError(ValueError):
    """A message that is so broken that there is nobody to answer to: HTTP 400."""


@dataclass
class _Exchange:
    """What is known so far of a message that is being answered."""

    message: SignedMessage
    transaction_id: str
    nonce: bytes | None
    peer: str
    digest: str = "sha256"
    cipher: str = "aes128"
    signer: Certificate | None = None


class Scep:
    """The SCEP side of a certificate server."""

    def __init__(self, server: CertificateServer) -> None:
        self._server = server

    # -- what is asked without a message

    def ca_certificates(self) -> tuple[bytes, str]:
        """GetCACert: the CA's certificate; with a registration authority that one's too, as certificates-only."""
        authority = self._server.current
        if authority.scep.certificate is authority.certificate:
            return authority.certificate.der, "application/x-x509-ca-cert"
        both = [authority.scep.certificate, authority.certificate]
        return certificates_only(both), "application/x-x509-ca-ra-cert"

    def next_ca_certificate(self) -> bytes | None:
        """GetNextCACert: the next CA's certificate, signed by this one; None if there is none yet."""
        upcoming, authority = self._server.upcoming, self._server.current
        if upcoming is None:
            return None
        content = certificates_only([upcoming.certificate])
        # Also beside the signer's, where jscep looks for it.
        scep = authority.scep
        others = [upcoming.certificate]
        return signed(content, [], scep.certificate, scep.key, self._server.settings.hash, others=others)

    # -- PKIOperation

    def operate(self, data: bytes, peer: str) -> bytes:
        """The answer to a pkiMessage. Raises UnanswerableError, or RefusedError while the server is disabled."""
        exchange = self._read(data, peer)
        authority = self._recipient(exchange)
        try:
            content = self._open(exchange, authority)
            outcome = self._dispatch(exchange, content)
            if outcome is None:
                return self._reply(exchange, authority, _PENDING)
            # With the cipher of the request: an old IOS can do no other.
            answer = encrypt(outcome, _signer(exchange), exchange.cipher)
            return self._reply(exchange, authority, _SUCCESS, answer)
        except RefusedError as refusal:
            log.info("%s: %s: %s", peer, refusal.fail_info.name, refusal)
            return self._reply(exchange, authority, _FAILURE, fail_info=refusal.fail_info)

    def _recipient(self, exchange: _Exchange) -> Authority:
        """The authority that a message was encrypted to: after a rollover some clients know the last one alone."""
        now = self._server.now()
        for authority in reversed(self._server.authorities):
            if authority.certificate.valid_at(now) and is_for(exchange.message.content, authority.scep.certificate):
                return authority
        return self._server.current

    def _read(self, data: bytes, peer: str) -> _Exchange:
        try:
            message = read_signed(data)
            transaction_id = _text(message.attributes.get(TRANSACTION_ID))
            nonce = message.attributes.get(SENDER_NONCE)
            octets = nonce.content if nonce is not None and nonce.tag == 0x04 else None
        except BerError as failure:
            raise UnanswerableError(str(failure)) from None
        if not transaction_id:
            raise UnanswerableError("no transaction ID")
        exchange = _Exchange(message, transaction_id[:_MAX_TRANSACTION_ID], octets, peer)
        if len(transaction_id.encode()) > _MAX_TRANSACTION_ID:
            exchange.nonce = None  # refused below, as one without
        return exchange

    def _open(self, exchange: _Exchange, authority: Authority) -> bytes:
        """Verify who sent a message, and only then decrypt it. Raises RefusedError."""
        if exchange.nonce is None or len(exchange.nonce) not in _NONCE_OCTETS:
            raise RefusedError(FailInfo.BAD_REQUEST, "no senderNonce of 16 octets, or an impossible transaction ID")
        legacy = self._server.settings.legacy
        try:
            exchange.digest = _allowed(digest_of(exchange.message), legacy=legacy)
            exchange.signer = exchange.message.verify(exchange.digest)
            key = load_public_key(exchange.signer.spki)
            if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_RSA_BITS:
                raise UnknownAlgorithmError("a signer whose key is not RSA, or too short, cannot be answered")
            scep = authority.scep
            content, exchange.cipher = decrypt(
                exchange.message.content or b"", scep.certificate, scep.key, legacy=legacy
            )
        except UnknownAlgorithmError as failure:
            raise RefusedError(FailInfo.BAD_ALG, str(failure)) from None
        except (BerError, BrokenMessageError) as failure:
            raise RefusedError(FailInfo.BAD_MESSAGE_CHECK, str(failure)) from None
        except InvalidSignature:
            raise RefusedError(FailInfo.BAD_MESSAGE_CHECK, "a signature that does not verify") from None
        return content

    def _dispatch(self, exchange: _Exchange, content: bytes) -> bytes | None:
        """What is to be delivered, None if it has to wait. Raises RefusedError."""
        try:
            kind = _text(exchange.message.attributes.get(MESSAGE_TYPE))
            if kind in (PKCS_REQ, RENEWAL_REQ):
                return _delivered(self._enrol(exchange, kind, content))
            if kind == CERT_POLL:
                _issuer_and(content, 0x30)
                return _delivered(self._server.poll(exchange.transaction_id, _signer(exchange)))
            if kind in (GET_CERT, GET_CRL):
                issuer, serial = _issuer_and(content, 0x02)
                return self._fetch(kind, issuer.der(), serial.integer())
        except BerError as failure:
            raise RefusedError(FailInfo.BAD_REQUEST, f"messageType or its content: {failure}") from None
        raise RefusedError(FailInfo.BAD_REQUEST, f"messageType {kind!r}")

    def _enrol(self, exchange: _Exchange, kind: str, content: bytes) -> Outcome:
        signer = _signer(exchange)
        request = self._server.read_request(content)
        own_key = signer.spki == request.spki
        if signer.self_issued and not own_key:
            info = FailInfo.BAD_MESSAGE_CHECK if kind == PKCS_REQ else FailInfo.BAD_CERT_ID
            raise RefusedError(info, "signed by another key than the request's")
        vouching = None if signer.self_issued and kind == PKCS_REQ else signer
        names = {PKCS_REQ: "PKCSReq", RENEWAL_REQ: "RenewalReq"}
        asked = (request, exchange.transaction_id, vouching, names[kind], exchange.peer, request.challenge)
        return self._server.enrol(Enrolment(*asked))

    def _fetch(self, kind: str, issuer: bytes, serial: int) -> bytes:
        if issuer != self._server.current.certificate.subject:
            raise RefusedError(FailInfo.BAD_CERT_ID, "of another issuer")
        issued = self._server.store.certificate(serial)
        if issued is None:
            raise RefusedError(FailInfo.BAD_CERT_ID, f"no certificate {serial:#x}")
        if kind == GET_CERT:
            return certificates_only([read_certificate(issued.der)])
        return certificates_only([], [self._server.crl(self._server.authority(issued.authority))])

    def _reply(
        self,
        exchange: _Exchange,
        authority: Authority,
        status: str,
        content: bytes = b"",
        fail_info: FailInfo | None = None,
    ) -> bytes:
        attributes = [
            (MESSAGE_TYPE, der.printable(CERT_REP)),
            (PKI_STATUS, der.printable(status)),
            (TRANSACTION_ID, _as_sent(exchange)),
            (SENDER_NONCE, der.octet_string(os.urandom(16))),
        ]
        if exchange.nonce is not None:
            attributes.append((RECIPIENT_NONCE, der.octet_string(exchange.nonce)))
        if fail_info is not None:
            attributes.append((FAIL_INFO, der.printable(str(int(fail_info)))))
        scep = authority.scep
        others: Sequence[Certificate] = () if scep.certificate is authority.certificate else (authority.certificate,)
        return signed(content, attributes, scep.certificate, scep.key, exchange.digest, others=others)


def _as_sent(exchange: _Exchange) -> bytes:
    """The transaction ID in the string type in which it came, if that can hold it."""
    element = exchange.message.attributes[TRANSACTION_ID]
    return der.tlv(element.tag, element.content[:_MAX_TRANSACTION_ID])


def _signer(exchange: _Exchange) -> Certificate:
    if exchange.signer is None:
        raise RefusedError(FailInfo.BAD_MESSAGE_CHECK, "nobody has signed it")
    return exchange.signer


def _text(element: Element | None) -> str:
    """The text of an attribute; empty if it is missing. Raises BerError for another type."""
    if element is None:
        return ""
    if element.tag not in _TEXTS or element.parts is not None:
        raise BerError(f"an attribute of tag {element.tag:#04x}")
    try:
        return element.content.decode("utf-8" if element.tag == 0x0C else "ascii")
    except UnicodeDecodeError:
        raise BerError("an attribute that is no text") from None


def _allowed(digest: str, *, legacy: bool) -> str:
    if digest in LEGACY_DIGESTS and not legacy:
        raise UnknownAlgorithmError(f"digest {digest}")
    return digest


def _issuer_and(content: bytes, tag: int) -> tuple[Element, Element]:
    """IssuerAndSubject, or IssuerAndSerialNumber. Raises BerError."""
    element = ber.parse(content).expect(0x30)
    return element[0].expect(0x30), element[1].expect(tag)


def _delivered(outcome: Outcome) -> bytes | None:
    return None if outcome.certificate is None else certificates_only([outcome.certificate])
