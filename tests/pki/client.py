"""An SCEP client that says just what a test tells it to. Real clients are in tests/integration."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from testbed.pki import ber, cms, der, scep
from testbed.pki.x509 import Certificate, read_certificate

KEYS: list[rsa.RSAPrivateKey] = []


def make_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same number, since making one takes a while."""
    if bits != 2048:
        return rsa.generate_private_key(65537, bits)
    while len(KEYS) <= number:
        KEYS.append(rsa.generate_private_key(65537, 2048))
    return KEYS[number]


def make_request(
    key: rsa.RSAPrivateKey,
    name: str = "kisii",
    challenge: str | None = None,
    san: list[str] | None = None,
    unit: str | None = None,
) -> bytes:
    """PKCS #10."""
    subject = [pyca.NameAttribute(pyca.NameOID.COMMON_NAME, name)]
    if unit is not None:
        subject.append(pyca.NameAttribute(pyca.NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    builder = pyca.CertificateSigningRequestBuilder().subject_name(pyca.Name(subject))
    if challenge is not None:
        builder = builder.add_attribute(pyca.oid.AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    if san:
        names = pyca.SubjectAlternativeName([pyca.DNSName(item) for item in san])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def self_signed(key: rsa.RSAPrivateKey, name: str = "kisii") -> Certificate:
    subject = pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        pyca.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return read_certificate(made.public_bytes(Encoding.DER))


@dataclass(frozen=True)
class Answer:
    """A CertRep: its signed attributes in clear, and what it carries decrypted."""

    status: str
    fail_info: int | None
    transaction_id: str
    recipient_nonce: bytes | None
    certificates: list[Certificate]
    signer: Certificate


@dataclass
class Client:
    """A key, a certificate to sign with, and how to write messages."""

    ca: Certificate
    key: rsa.RSAPrivateKey = field(default_factory=make_key)
    name: str = "kisii"
    digest: str = "sha256"
    cipher: str = "aes128"
    signer: Certificate | None = None
    nonce: bytes = b"0123456789abcdef"

    def __post_init__(self) -> None:
        self.signer = self.signer or self_signed(self.key, self.name)

    @property
    def own(self) -> Certificate:
        assert self.signer is not None
        return self.signer

    def message(self, kind: str, content: bytes, transaction_id: str = "T1") -> bytes:
        """A pkiMessage of that type around a content."""
        return self.sign(cms.encrypt(content, self.ca, self.cipher), kind, transaction_id)

    def sign(self, content: bytes, kind: str, transaction_id: str) -> bytes:
        attributes = [
            (scep.MESSAGE_TYPE, der.printable(kind)),
            (scep.TRANSACTION_ID, der.printable(transaction_id)),
            (scep.SENDER_NONCE, der.octet_string(self.nonce)),
        ]
        return cms.signed(content, attributes, self.own, self.key, self.digest)

    def enrolment(
        self, transaction_id: str = "T1", challenge: str | None = None, san: list[str] | None = None
    ) -> bytes:
        return self.message(scep.PKCS_REQ, make_request(self.key, self.name, challenge, san), transaction_id)

    def poll(self, transaction_id: str = "T1") -> bytes:
        content = der.sequence(self.ca.subject, self.own.subject)
        return self.message(scep.CERT_POLL, content, transaction_id)

    def by_serial(self, kind: str, serial: int, issuer: bytes | None = None) -> bytes:
        return self.message(kind, der.sequence(issuer or self.ca.subject, der.integer(serial)))

    def read(self, data: bytes) -> Answer:
        """An answer, verified and decrypted."""
        message = cms.read_signed(data)
        signer = message.verify(cms.digest_of(message))
        texts = {number: element.content for number, element in message.attributes.items()}
        found = []
        if message.content:
            plain, _ = cms.decrypt(message.content, self.own, self.key, legacy=True)
            found = certificates_in(plain)
        fail_info = texts.get(scep.FAIL_INFO)
        return Answer(
            texts[scep.PKI_STATUS].decode(),
            None if fail_info is None else int(fail_info),
            texts[scep.TRANSACTION_ID].decode(),
            texts.get(scep.RECIPIENT_NONCE),
            found,
            signer,
        )


def certificates_in(data: bytes) -> list[Certificate]:
    """Of a certificates-only SignedData."""
    body = ber.parse(data)[1][0].children
    return [read_certificate(item) for part in body if part.tag == 0xA0 for item in part.children]
