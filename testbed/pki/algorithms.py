"""Algorithms by their object identifiers, and the operations of `cryptography` behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from testbed.pki import der
from testbed.pki.ber import BerError

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # before cryptography 43
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

if TYPE_CHECKING:
    from testbed.pki.ber import Element

__all__ = [
    "CIPHERS",
    "DIGESTS",
    "LEGACY_CIPHERS",
    "LEGACY_DIGESTS",
    "MAX_RSA_BITS",
    "MIN_RSA_BITS",
    "UnknownAlgorithmError",
    "cipher",
    "digest_algorithm",
    "hash_of",
    "load_public_key",
    "signature_algorithm",
    "verify",
]

RSA_ENCRYPTION, RSA_PSS, MGF1 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
RSA_OAEP = "1.2.840.113549.1.1.7"
DIGESTS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "1.2.840.113549.2.5": "md5",
}
LEGACY_DIGESTS = {"md5"}
MIN_RSA_BITS, MAX_RSA_BITS = 1024, 8192
CIPHERS = {
    "2.16.840.1.101.3.4.1.2": "aes128",
    "2.16.840.1.101.3.4.1.22": "aes192",
    "2.16.840.1.101.3.4.1.42": "aes256",
    "1.2.840.113549.3.7": "des3",
    "1.3.14.3.2.7": "des",
}
LEGACY_CIPHERS = {"des"}
KEY_OCTETS = {"aes128": 16, "aes192": 24, "aes256": 32, "des3": 24, "des": 8}
_SIGNATURES = {
    "1.2.840.113549.1.1.4": ("rsa", "md5"),
    "1.2.840.113549.1.1.5": ("rsa", "sha1"),
    "1.2.840.113549.1.1.14": ("rsa", "sha224"),
    "1.2.840.113549.1.1.11": ("rsa", "sha256"),
    "1.2.840.113549.1.1.12": ("rsa", "sha384"),
    "1.2.840.113549.1.1.13": ("rsa", "sha512"),
    "1.2.840.10045.4.1": ("ec", "sha1"),
    "1.2.840.10045.4.3.2": ("ec", "sha256"),
    "1.2.840.10045.4.3.3": ("ec", "sha384"),
    "1.2.840.10045.4.3.4": ("ec", "sha512"),
}
_RSA_WITH = {digest: number for number, (kind, digest) in _SIGNATURES.items() if kind == "rsa"}
_DIGEST_OID = {name: number for number, name in DIGESTS.items()}
_CIPHER_OID = {name: number for number, name in CIPHERS.items()}
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class UnknownAlgorithmError(ValueError):
    """An algorithm, or a kind of key, that is not done here."""


def hash_of(name: str) -> hashes.HashAlgorithm:
    return _HASHES[name]()


def digest_algorithm(name: str) -> bytes:
    return der.sequence(der.oid(_DIGEST_OID[name]), der.NULL)


def cipher_algorithm(name: str, iv: bytes) -> bytes:
    return der.sequence(der.oid(_CIPHER_OID[name]), der.octet_string(iv))


def signature_algorithm(digest: str) -> bytes:
    """AlgorithmIdentifier of RSA PKCS #1 v1.5 with a digest, as certificates carry it."""
    return der.sequence(der.oid(_RSA_WITH[digest]), der.NULL)


def digest_name(identifier: Element) -> str:
    """The digest of an AlgorithmIdentifier. Raises UnknownAlgorithmError."""
    number = identifier.expect(0x30)[0].oid()
    if number not in DIGESTS:
        raise UnknownAlgorithmError(f"digest {number}")
    return DIGESTS[number]


def cipher(name: str, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    """A block cipher in CBC. Raises ValueError for a key or vector of the wrong length."""
    if len(key) != KEY_OCTETS[name]:
        raise ValueError("a key of the wrong length")
    # Single DES is triple DES with one key three times.
    algorithm = AES(key) if name.startswith("aes") else TripleDES(key * 3 if name == "des" else key)
    return Cipher(algorithm, modes.CBC(iv))


def load_public_key(spki: bytes) -> PublicKey:
    """A key from its SubjectPublicKeyInfo. Raises UnknownAlgorithmError for other kinds, and for broken ones."""
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as failure:
        raise UnknownAlgorithmError(f"a public key that cannot be read: {failure}") from None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise UnknownAlgorithmError("a key that is neither RSA nor ECDSA")
    return key


def verify(key: PublicKey, signature: bytes, data: bytes, algorithm: Element, digest: str | None = None) -> str:
    """Check a signature by its AlgorithmIdentifier and return the digest it uses.

    `digest` is the one that a CMS SignerInfo names beside `rsaEncryption`. Raises InvalidSignature, or
    UnknownAlgorithmError.
    """
    number = algorithm.expect(0x30)[0].oid()
    scheme: padding.PSS | padding.PKCS1v15
    if number == RSA_PSS:
        scheme, name = _pss(algorithm)
    elif number == RSA_ENCRYPTION and digest is not None:
        scheme, name = padding.PKCS1v15(), digest
    elif number in _SIGNATURES:
        scheme, name = padding.PKCS1v15(), _SIGNATURES[number][1]
    else:
        raise UnknownAlgorithmError(f"signature algorithm {number}")
    elliptic = number in _SIGNATURES and _SIGNATURES[number][0] == "ec"
    if elliptic != isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidSignature
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hash_of(name)))
        else:
            key.verify(signature, data, scheme, hash_of(name))
    except (ValueError, UnsupportedAlgorithm) as failure:
        raise UnknownAlgorithmError(f"signature algorithm {number}: {failure}") from None
    return name


def _pss(algorithm: Element) -> tuple[padding.PSS, str]:
    """Parameters of RSASSA-PSS (RFC 4055, section 3.1); what is left out is SHA-1, and a salt of 20 octets."""
    name, mask, salt = "sha1", "sha1", 20
    for part in algorithm[1].expect(0x30).children if len(algorithm) > 1 else ():
        if part.tag == 0xA0:
            name = digest_name(part[0])
        elif part.tag == 0xA1:
            if part[0].expect(0x30)[0].oid() != MGF1:
                raise UnknownAlgorithmError("a mask generation function that is not MGF1")
            mask = digest_name(part[0][1])
        elif part.tag == 0xA2:
            salt = part[0].integer()
    if not 0 <= salt <= 512:
        raise BerError("a salt of impossible length")
    return padding.PSS(padding.MGF1(hash_of(mask)), salt), name


def decrypt_key(key: rsa.RSAPrivateKey, encrypted: bytes, algorithm: Element) -> bytes:
    """The content-encryption key of a recipient. Raises UnknownAlgorithmError, or ValueError for what does not decrypt.

    OpenSSL answers a broken PKCS #1 v1.5 padding with random octets (implicit rejection), so there is no oracle here.
    """
    number = algorithm.expect(0x30)[0].oid()
    if number == RSA_ENCRYPTION:
        return key.decrypt(encrypted, padding.PKCS1v15())
    if number != RSA_OAEP:
        raise UnknownAlgorithmError(f"key transport {number}")
    name = mask = "sha1"
    for part in algorithm[1].expect(0x30).children if len(algorithm) > 1 else ():
        if part.tag == 0xA0:
            name = digest_name(part[0])
        elif part.tag == 0xA1:
            mask = digest_name(part[0].expect(0x30)[1])
    try:
        return key.decrypt(encrypted, padding.OAEP(padding.MGF1(hash_of(mask)), hash_of(name), None))
    except UnsupportedAlgorithm as failure:
        raise UnknownAlgorithmError(f"OAEP with {name} and {mask}: {failure}") from None
