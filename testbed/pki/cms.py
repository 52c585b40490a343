"""CMS (RFC 5652), as much of it as SCEP and EST use: signed, enveloped and certificates-only."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import padding as block_padding
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from testbed.pki import ber, der
from testbed.pki.algorithms import (
    CIPHERS,
    KEY_OCTETS,
    LEGACY_CIPHERS,
    UnknownAlgorithmError,
    cipher,
    cipher_algorithm,
    decrypt_key,
    digest_algorithm,
    digest_name,
    hash_of,
    load_public_key,
    verify,
)
from testbed.pki.ber import BerError, Element
from testbed.pki.x509 import Certificate, key_id, read_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "BrokenMessageError",
    "SignedMessage",
    "certificates_only",
    "decrypt",
    "encrypt",
    "is_for",
    "read_signed",
    "signed",
]

DATA, SIGNED_DATA, ENVELOPED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
_RSA_IDENTIFIER = der.sequence(der.oid(RSA_ENCRYPTION), der.NULL)
_EMPTY_SET = der.tlv(0x31, b"")


class BrokenMessageError(ValueError):
    """A message that is well-formed, and was not made by whom it says, or not for us."""


@dataclass(frozen=True)
class SignedMessage:
    """A SignedData with one signer, read and not yet verified."""

    attributes: Mapping[str, Element]  # signed, by OID; each has one value
    content: bytes | None = field(repr=False)
    digest_identifier: Element
    _signed: bytes = field(repr=False)
    _signature_identifier: Element
    _signature: bytes = field(repr=False)
    _signer_id: Element
    _certificates: tuple[Element, ...] = field(repr=False)

    def verify(self, digest: str) -> Certificate:
        """The certificate of the signer, which must be in the message.

        Raises BrokenMessageError, InvalidSignature, UnknownAlgorithmError, or BerError for a broken certificate.
        """
        signer = self._signer()
        kind, seen = self.attributes.get(CONTENT_TYPE), self.attributes.get(MESSAGE_DIGEST)
        if kind is None or kind.oid() != DATA:
            raise BrokenMessageError("no contentType of data is signed")
        if seen is None or self.content is None:
            raise BrokenMessageError("no content, or no messageDigest")
        if seen.expect(0x04).content != hashlib.new(digest, self.content, usedforsecurity=False).digest():
            raise BrokenMessageError("the messageDigest is of another content")
        key = load_public_key(signer.spki)
        if verify(key, self._signature, self._signed, self._signature_identifier, digest) != digest:
            raise UnknownAlgorithmError("signed with another digest than was announced")
        return signer

    def _signer(self) -> Certificate:
        for element in self._certificates:
            certificate = read_certificate(element)
            if self._is_of_signer(certificate):
                return certificate
        raise BrokenMessageError("the signer's certificate is not in the message")

    def _is_of_signer(self, certificate: Certificate) -> bool:
        if self._signer_id.tag == 0x80:
            return self._signer_id.content == key_id(certificate.spki)
        issuer, serial = self._signer_id.expect(0x30)[0], self._signer_id[1]
        return serial.integer() == certificate.serial and issuer.der() == certificate.issuer


def read_signed(data: bytes) -> SignedMessage:
    """Raises BerError for whatever is no SignedData with one signer and signed attributes."""
    outer = ber.parse(data).expect(0x30)
    if outer[0].oid() != SIGNED_DATA:
        raise BerError("not signedData")
    body = outer[1].expect(0xA0)[0].expect(0x30).children
    if len(body) < 4:
        raise BerError("signedData without all of its parts")
    encapsulated, signers = body[2].expect(0x30), body[-1].expect(0x31)
    if encapsulated[0].oid() != DATA:
        raise BerError("signed content that is not data")
    if len(signers) != 1:
        raise BerError("not exactly one signer")
    certificates = [element for part in body[3:-1] if part.tag == 0xA0 for element in part.children]
    content = encapsulated[1].expect(0xA0)[0].expect(0x04).content if len(encapsulated) > 1 else None
    return _with_signer(signers[0].expect(0x30).children, content, certificates)


def _with_signer(signer: list[Element], content: bytes | None, certificates: list[Element]) -> SignedMessage:
    if len(signer) < 6 or signer[3].tag != 0xA0:
        raise BerError("a signer without signed attributes")
    attributes: dict[str, Element] = {}
    for attribute in signer[3].children:
        number, values = attribute.expect(0x30)[0].oid(), attribute[1].expect(0x31)
        if number in attributes or len(values) != 1:
            raise BerError(f"attribute {number} has not exactly one value")
        attributes[number] = values[0]
    return SignedMessage(
        attributes=attributes,
        content=content,
        digest_identifier=signer[2].expect(0x30),
        _signed=der.tlv(0x31, signer[3].body()),  # as it was sent, as the SET it stands for
        _signature_identifier=signer[4].expect(0x30),
        _signature=signer[5].expect(0x04).content,
        _signer_id=signer[1],
        _certificates=tuple(element for element in certificates if element.tag == 0x30),
    )


def _issuer_and_serial(certificate: Certificate) -> bytes:
    return der.sequence(certificate.issuer, der.integer(certificate.serial))


def signed(
    content: bytes,
    attributes: Sequence[tuple[str, bytes]],
    certificate: Certificate,
    key: rsa.RSAPrivateKey,
    digest: str,
    *,
    others: Sequence[Certificate] = (),
) -> bytes:
    """SignedData by one RSA key. `attributes` are further signed ones: OID and the DER of the value."""
    every = [
        (CONTENT_TYPE, der.oid(DATA)),
        (MESSAGE_DIGEST, der.octet_string(hashlib.new(digest, content, usedforsecurity=False).digest())),
        *attributes,
    ]
    attribute_set = der.set_of([der.sequence(der.oid(number), der.tlv(0x31, value)) for number, value in every])
    identifier = digest_algorithm(digest)
    signer = der.sequence(
        der.integer(1),
        _issuer_and_serial(certificate),
        identifier,
        b"\xa0" + attribute_set[1:],
        _RSA_IDENTIFIER,  # not sha256WithRSAEncryption: strongSwan 5.9.8 knows this alone
        der.octet_string(key.sign(attribute_set, padding.PKCS1v15(), hash_of(digest))),
    )
    body = der.sequence(
        der.integer(1),
        der.tlv(0x31, identifier),
        # Also an empty content is sent: certmonger takes a message without one for broken.
        der.sequence(der.oid(DATA), der.explicit(0, der.octet_string(content))),
        der.implicit(0, b"".join([certificate.der, *(other.der for other in others)]), constructed=True),
        der.tlv(0x31, signer),
    )
    return der.sequence(der.oid(SIGNED_DATA), der.explicit(0, body))


def certificates_only(certificates: Sequence[Certificate], crls: Sequence[bytes] = ()) -> bytes:
    """SignedData without signers, in the order given."""
    parts = [der.implicit(0, b"".join(certificate.der for certificate in certificates), constructed=True)]
    if crls:
        parts.append(der.implicit(1, b"".join(crls), constructed=True))
    body = der.sequence(der.integer(1), _EMPTY_SET, der.sequence(der.oid(DATA)), *parts, _EMPTY_SET)
    return der.sequence(der.oid(SIGNED_DATA), der.explicit(0, body))


def encrypt(content: bytes, recipient: Certificate, name: str) -> bytes:
    """EnvelopedData for the RSA key of a certificate. Raises UnknownAlgorithmError if it has another kind of key."""
    public = load_public_key(recipient.spki)
    if not isinstance(public, rsa.RSAPublicKey):
        raise UnknownAlgorithmError("nothing can be encrypted to a key that is not RSA")
    key, iv = os.urandom(KEY_OCTETS[name]), os.urandom(16 if name.startswith("aes") else 8)
    padder = block_padding.PKCS7(len(iv) * 8).padder()
    encryptor = cipher(name, key, iv).encryptor()
    encrypted = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    recipient_info = der.sequence(
        der.integer(0),
        _issuer_and_serial(recipient),
        _RSA_IDENTIFIER,
        der.octet_string(public.encrypt(key, padding.PKCS1v15())),
    )
    content_info = der.sequence(der.oid(DATA), cipher_algorithm(name, iv), der.implicit(0, encrypted))
    body = der.sequence(der.integer(0), der.tlv(0x31, recipient_info), content_info)
    return der.sequence(der.oid(ENVELOPED_DATA), der.explicit(0, body))


def decrypt(data: bytes, recipient: Certificate, key: rsa.RSAPrivateKey, *, legacy: bool) -> tuple[bytes, str]:
    """The content of an EnvelopedData for this recipient, and the name of its cipher.

    Raises BrokenMessageError for whatever cannot be decrypted, always with the same words; UnknownAlgorithmError for an
    algorithm that is not done; BerError for what is no EnvelopedData.
    """
    outer = ber.parse(data).expect(0x30)
    if outer[0].oid() != ENVELOPED_DATA:
        raise BerError("not envelopedData")
    body = outer[1].expect(0xA0)[0].expect(0x30).children
    recipients = [part for part in body if part.tag == 0x31]
    contents = [part for part in body if part.tag == 0x30]
    if not recipients or not contents or len(contents[0]) < 3:
        raise BerError("envelopedData without all of its parts")
    info = next((info for info in recipients[0].children if _is_for(info, recipient)), None)
    if info is None:
        raise BrokenMessageError("encrypted to another certificate")
    algorithm = contents[0][1].expect(0x30)
    name = CIPHERS.get(algorithm[0].oid(), "")
    if not name or (name in LEGACY_CIPHERS and not legacy):
        raise UnknownAlgorithmError(f"content encryption {algorithm[0].oid()}")
    encrypted, iv = contents[0][2].as_string(0x80).content, algorithm[1].expect(0x04).content
    try:
        decryptor = cipher(name, decrypt_key(key, info[3].expect(0x04).content, info[2]), iv).decryptor()
        padded = decryptor.update(encrypted) + decryptor.finalize()
        unpadder = block_padding.PKCS7(len(iv) * 8).unpadder()
        return unpadder.update(padded) + unpadder.finalize(), name
    except UnknownAlgorithmError:
        raise
    except ValueError:
        raise BrokenMessageError("cannot be decrypted") from None


def is_for(data: bytes | None, recipient: Certificate) -> bool:
    """Whether an EnvelopedData names this certificate as a recipient; what is none names nobody."""
    try:
        body = ber.parse(data or b"").expect(0x30)[1].expect(0xA0)[0].expect(0x30).children
        return any(_is_for(info, recipient) for part in body if part.tag == 0x31 for info in part.children)
    except BerError:
        return False


def _is_for(info: Element, recipient: Certificate) -> bool:
    """Whether a RecipientInfo is a KeyTransRecipientInfo for this certificate."""
    if info.tag != 0x30 or len(info) < 4:
        return False
    who = info[1]
    if who.tag == 0x80:
        return who.content == key_id(recipient.spki)
    if who.tag != 0x30 or len(who) != 2 or who[1].tag != 0x02:
        return False
    return who[1].integer() == recipient.serial and who[0].der() == recipient.issuer


def digest_of(message: SignedMessage) -> str:
    """The name of the digest that a signer used. Raises UnknownAlgorithmError."""
    return digest_name(message.digest_identifier)
