"""Keys and certificates of a matrix: made for it, loaded into the daemons' memory, and never written to a file."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.daemons.charon import Charon

__all__ = ["Credentials", "identity"]

_MORE_NAMES = 24  # alternative names that make a certificate longer than a datagram may be
_VALID = timedelta(days=3650)  # whatever the nodes' clocks say


def identity(end: str, authentication: str) -> str:
    """The name by which an end calls itself; each kind of key has a name of its own, and so charon has no choice."""
    return f"{end}.{authentication}.matrix.test"


@dataclass(frozen=True)
class _Holder:
    key: bytes
    certificate: bytes


class Credentials:
    """A CA, and for each end a key and a certificate of the kinds that are asked for."""

    def __init__(self, authentications: set[str]) -> None:
        self.secret = secrets.token_bytes(32)
        self._kinds = sorted(kind for kind in authentications if not kind.startswith("psk"))
        self._holders: dict[tuple[str, str], _Holder] = {}

    @cached_property
    def _authority(self) -> tuple[Any, Any]:
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        key = ec.generate_private_key(ec.SECP256R1())
        return key, _certificate("ca.matrix.test", key.public_key(), "ca.matrix.test", key, None)

    def load(self, charon: Charon, end: str) -> None:
        """Give a daemon what it needs as the `end` that it is."""
        charon.load_shared("matrix", self.secret, [identity(one, "psk") for one in ("near", "far")])
        if self._kinds:
            charon.load_certificate(_pem(self._authority[1]), authority=True)
        for kind in self._kinds:
            holder = self._holder(end, kind)
            charon.load_certificate(holder.certificate)
            charon.load_key(holder.key)

    def certificate(self, end: str, kind: str) -> bytes:
        return self._holder(end, kind).certificate

    def _holder(self, end: str, kind: str) -> _Holder:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        if (end, kind) not in self._holders:
            key, (issuer, _) = _key(kind), self._authority
            name = identity(end, kind)
            more = [f"name-{number}.{name}" for number in range(_MORE_NAMES)] if kind.endswith("-long") else []
            made = _certificate(name, key.public_key(), "ca.matrix.test", issuer, more)
            data = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._holders[end, kind] = _Holder(data, _pem(made))
        return self._holders[end, kind]


def _key(kind: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind.startswith("ecdsa") else ed25519.Ed25519PrivateKey.generate()


def _certificate(subject: str, key: Any, issuer: str, signer: Any, more: list[str] | None) -> Any:
    """Of a CA if `more` is None; else with these alternative names beside the subject's."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=more is None, path_length=None), critical=True)
    )
    if more is not None:
        names = [x509.DNSName(text) for text in (subject, *more)]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(signer, hashes.SHA256())


def _pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    data: bytes = certificate.public_bytes(serialization.Encoding.PEM)
    return data
