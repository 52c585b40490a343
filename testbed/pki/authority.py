"""A certificate authority: its keys, what it issues with them, and the one that will follow it.

Each authority is a key and a self-signed certificate; a rollover makes the next one, which takes over on its day. All
are of the same name, so a client tells them apart by their keys.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from testbed.pki import ber, der
from testbed.pki.algorithms import hash_of, signature_algorithm
from testbed.pki.names import encode_name
from testbed.pki.store import IssuedCertificate
from testbed.pki.x509 import Certificate, certificate_body, crl_body, extension, key_id, read_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from testbed.pki.settings import Settings
    from testbed.pki.store import Store

__all__ = ["Authority", "Identity", "load_authorities", "make_authority", "prepare_keys", "spki_of", "write_private"]

Purpose = Literal["client", "ca", "ra", "tls"]
RA_UNIT = "ioscs RA"  # by which IOS marks the certificate of a registration authority
_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT, _CERT_SIGN, _CRL_SIGN = 0, 2, 5, 6
_KEY_USAGE: dict[Purpose, tuple[int, ...]] = {
    "client": (_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT),
    "ca": (_DIGITAL_SIGNATURE, _CERT_SIGN, _CRL_SIGN),
    "ra": (_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT),
    "tls": (_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT),
}
_SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
_RSA = der.oid("1.2.840.113549.1.1.1")


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key."""

    certificate: Certificate
    key: rsa.RSAPrivateKey = field(repr=False)


@dataclass(frozen=True)
class Authority:
    """One key of the CA. `number` counts from 1; `scep` is what answers SCEP: itself, or a registration authority."""

    number: int
    certificate: Certificate
    key: rsa.RSAPrivateKey = field(repr=False)
    scep: Identity
    tls: Identity
    settings: Settings = field(repr=False)

    def sign(self, body: bytes, digest: str | None = None) -> bytes:
        """A signed structure: a certificate, a CRL, or an OCSP response; with the settings' digest, unless told."""
        return _signed(self.key, body, digest or self.settings.hash)

    def issue(
        self,
        serial: int,
        subject: bytes,
        spki: bytes,
        names: Sequence[bytes],
        now: datetime,
        purpose: Purpose = "client",
    ) -> Certificate:
        """A certificate from now on. It ends at the latest with the authority's own; the server's own do just then."""
        until = self.certificate.not_after
        if purpose == "client":
            until = min(now + timedelta(seconds=self.settings.certificate_lifetime_s), until)
        # OpenSSL would not serve with a certificate that is signed with SHA-1, whatever the lab's age.
        digest = "sha256" if purpose == "tls" and self.settings.hash == "sha1" else self.settings.hash
        extensions = _extensions(self, spki, names, purpose)
        body = certificate_body(
            serial=serial,
            algorithm=signature_algorithm(digest),
            issuer=self.certificate.subject,
            not_before=now,
            not_after=until,
            subject=subject,
            spki=spki,
            extensions=extensions,
        )
        return Certificate(self.sign(body, digest), serial, self.certificate.subject, subject, now, until, spki)

    def crl(self, revoked: Sequence[IssuedCertificate], number: int, now: datetime) -> bytes:
        body = crl_body(
            algorithm=signature_algorithm(self.settings.hash),
            issuer=self.certificate.subject,
            this_update=now,
            next_update=now + timedelta(seconds=self.settings.crl_lifetime_s),
            revoked=[(item.serial, item.revoked or now, item.reason) for item in revoked],
            number=number,
            authority_key_id=key_id(self.certificate.spki),
        )
        return self.sign(body)

    @property
    def crl_name(self) -> str:
        """The CRL of the first authority has the server's name, as IOS has it."""
        return f"{self.settings.name}.crl" if self.number == 1 else f"{self.settings.name}-{self.number}.crl"


def _signed(key: rsa.RSAPrivateKey, body: bytes, digest: str) -> bytes:
    signature = key.sign(body, padding.PKCS1v15(), hash_of(digest))
    return der.sequence(body, signature_algorithm(digest), der.bit_string(signature))


def _extensions(authority: Authority, spki: bytes, names: Sequence[bytes], purpose: Purpose) -> list[bytes]:
    settings = authority.settings
    url = settings.cdp_url or f"http://{settings.host}/{authority.crl_name}"
    responder = f"http://{settings.host}/ocsp"
    location = der.implicit(0, der.implicit(0, der.implicit(6, url.encode()), constructed=True), constructed=True)
    access = der.sequence(der.oid("1.3.6.1.5.5.7.48.1"), der.implicit(6, responder.encode()))
    elliptic = ber.parse(spki)[0][0].der() != _RSA
    usage = tuple(bit for bit in _KEY_USAGE[purpose] if not (elliptic and bit == _KEY_ENCIPHERMENT))
    found = [
        extension("2.5.29.35", der.sequence(der.implicit(0, key_id(authority.certificate.spki)))),
        extension("2.5.29.14", der.octet_string(key_id(spki))),
        extension("2.5.29.15", der.named_bits(*usage), critical=True),
        extension("2.5.29.31", der.sequence(der.sequence(location))),
        extension("1.3.6.1.5.5.7.1.1", der.sequence(access)),
    ]
    if purpose == "tls":
        found.append(extension("2.5.29.37", der.sequence(der.oid(_SERVER_AUTH))))
    if names:
        found.append(extension("2.5.29.17", der.sequence(*names)))
    return found


def spki_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def make_authority(settings: Settings, store: Store, now: datetime) -> Authority:
    """A new authority, with its keys and certificates on the disk before it is returned."""
    number = max((issued.authority for issued in store.certificates(purpose="ca")), default=0) + 1
    directory = Path(settings.directory)
    key = _prepared_key(directory / f"ca-{number}.key", settings.key_size)
    subject, spki, serial = encode_name(settings.subject), spki_of(key), store.next_serial()
    until = now + timedelta(seconds=settings.ca_lifetime_s)
    own = key_id(spki)
    body = certificate_body(
        serial=serial,
        algorithm=signature_algorithm(settings.hash),
        issuer=subject,
        not_before=now,
        not_after=until,
        subject=subject,
        spki=spki,
        extensions=[
            extension("2.5.29.19", der.sequence(der.boolean(True)), critical=True),
            extension("2.5.29.15", der.named_bits(*_KEY_USAGE["ca"]), critical=True),
            extension("2.5.29.35", der.sequence(der.implicit(0, own))),
            extension("2.5.29.14", der.octet_string(own)),
        ],
    )
    certificate = read_certificate(_signed(key, body, settings.hash))
    store.add_certificate(IssuedCertificate.of(certificate, number, "ca"))
    return load_authority(settings, store, number, certificate, now)


def prepare_keys(settings: Settings) -> None:
    """Make the keys of the first authority, which take a while, before anything can be signed with them."""
    for purpose in ("ca", "tls", *(["ra"] if settings.ra else [])):
        _prepared_key(Path(settings.directory) / f"{purpose}-1.key", _bits(settings, purpose))


def _bits(settings: Settings, purpose: str) -> int:
    """OpenSSL serves TLS with no RSA key of less than 2048 bits, whatever the lab's age."""
    return max(settings.key_size, 2048) if purpose == "tls" else settings.key_size


def _prepared_key(path: Path, size: int) -> rsa.RSAPrivateKey:
    """The key that was made for this before there could be a certificate for it; or a new one."""
    if path.exists():
        key = read_key(path)
        if key.key_size == size:
            return key
    key = rsa.generate_private_key(65537, size)
    write_key(path, key)
    return key


def load_authorities(settings: Settings, store: Store, now: datetime) -> list[Authority]:
    """All that were ever made, the oldest first."""
    return [
        load_authority(settings, store, issued.authority, read_certificate(issued.der), now)
        for issued in store.certificates(purpose="ca")
    ]


def load_authority(settings: Settings, store: Store, number: int, certificate: Certificate, now: datetime) -> Authority:
    key = read_key(Path(settings.directory) / f"ca-{number}.key")
    own = Identity(certificate, key)
    bare = Authority(number, certificate, key, own, own, settings)
    scep = _own_identity(bare, store, "ra", now) if settings.ra else own
    return Authority(number, certificate, key, scep, _own_identity(bare, store, "tls", now), settings)


def _own_identity(authority: Authority, store: Store, purpose: Literal["ra", "tls"], now: datetime) -> Identity:
    """What the server needs for itself: as it was, or made now if it is missing or at its end."""
    settings = authority.settings
    path = Path(settings.directory) / f"{purpose}-{authority.number}.key"
    known = [item for item in store.certificates(purpose=purpose) if item.authority == authority.number]
    if known and path.exists() and known[-1].not_after > now:
        return Identity(read_certificate(known[-1].der), read_key(path))
    key = _prepared_key(path, _bits(settings, purpose))
    names = [general_name(name) for name in settings.names if _is_certifiable(name)] if purpose == "tls" else []
    subject = encode_name([("CN", settings.names[0])]) if purpose == "tls" else _ra_name(settings)
    certificate = authority.issue(store.next_serial(), subject, spki_of(key), names, now, purpose)
    store.add_certificate(IssuedCertificate.of(certificate, authority.number, purpose))
    return Identity(certificate, key)


def _ra_name(settings: Settings) -> bytes:
    others = [(kind, value) for kind, value in settings.subject if kind != "CN"]
    return encode_name([("CN", f"{settings.name} RA"), ("OU", RA_UNIT), *others])


def _is_certifiable(name: str) -> bool:
    """Addresses and qualified names: RFC 5280 wants a dNSName that is more than a label of this network."""
    return "." in name or ":" in name


def general_name(name: str) -> bytes:
    """A GeneralName of a host name or an address."""
    try:
        return der.implicit(7, ip_address(name).packed)
    except ValueError:
        return der.implicit(2, name.encode())


def write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_private(path, key.private_bytes(encoding, form, serialization.NoEncryption()))


def read_key(path: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} is no RSA key")
    return key


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A file that is there whole or not at all, whatever happens, and that only its owner may read."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
