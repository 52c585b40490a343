"""OCSP, with `cryptography`'s own client side as the judge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp as judge

from testbed.pki import ocsp
from tests.pki.conftest import Ca

Status, Response = judge.OCSPCertStatus, judge.OCSPResponseStatus
SHA1 = hashes.SHA1()  # noqa: S303 - what every client of OCSP names certificates by


def issued(ca: Ca, number: int = 0) -> pyca.Certificate:
    client = ca.client(number, name=f"r{number}")
    return pyca.load_der_x509_certificate(ca.ask(client, client.enrolment(f"T{number}")).certificates[0].der)


def asked(
    ca: Ca, certificate: pyca.Certificate, digest: hashes.HashAlgorithm, nonce: bytes | None
) -> judge.OCSPResponse:
    issuer = pyca.load_der_x509_certificate(ca.server.current.certificate.der)
    builder = judge.OCSPRequestBuilder().add_certificate(certificate, issuer, digest)
    if nonce is not None:
        builder = builder.add_extension(pyca.OCSPNonce(nonce), critical=False)
    data = builder.build().public_bytes(serialization.Encoding.DER)
    return judge.load_der_ocsp_response(ocsp.respond(ca.server, data))


@pytest.mark.parametrize("digest", [SHA1, hashes.SHA256()], ids=["sha1", "sha256"])
@pytest.mark.parametrize("nonce", [None, b"n" * 16, b"n" * 128], ids=["", "nonce", "long"])
def test_good_and_revoked(ca: Ca, digest: hashes.HashAlgorithm, nonce: bytes | None) -> None:
    certificate = issued(ca)
    answer = asked(ca, certificate, digest, nonce)
    assert answer.certificate_status is Status.GOOD
    ca.server.revoke(certificate.serial_number, 1)
    answer = asked(ca, certificate, digest, nonce)
    assert answer.certificate_status is Status.REVOKED
    assert answer.revocation_reason is pyca.ReasonFlags.key_compromise
    assert answer.revocation_time_utc == ca.moment
    if nonce is not None:
        assert answer.extensions.get_extension_for_class(pyca.OCSPNonce).value.nonce == nonce
    public = serialization.load_der_public_key(ca.server.current.certificate.spki)
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), hashes.SHA256())


def test_what_was_never_issued_is_unknown(ca: Ca) -> None:
    certificate = issued(ca)
    ca.server.store._all("delete from certificate where serial = ?", (certificate.serial_number,))
    assert asked(ca, certificate, SHA1, None).certificate_status is Status.UNKNOWN


def test_of_another_ca_nothing_is_known(make_ca: Callable[..., Ca]) -> None:
    one, other = make_ca(), make_ca()
    certificate = issued(other)
    issuer = pyca.load_der_x509_certificate(other.server.current.certificate.der)
    request = judge.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA1).build()
    answer = judge.load_der_ocsp_response(ocsp.respond(one.server, request.public_bytes(serialization.Encoding.DER)))
    assert answer.response_status is Response.UNAUTHORIZED


def test_after_a_rollover_each_answers_for_its_own(ca: Ca) -> None:
    old = issued(ca, 0)
    issuer = pyca.load_der_x509_certificate(ca.server.current.certificate.der)
    ca.server.roll_over()
    request = judge.OCSPRequestBuilder().add_certificate(old, issuer, SHA1).build()
    answer = judge.load_der_ocsp_response(ocsp.respond(ca.server, request.public_bytes(serialization.Encoding.DER)))
    assert answer.certificate_status is Status.GOOD
    public = issuer.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), hashes.SHA256())
    assert asked(ca, issued(ca, 1), SHA1, None).certificate_status is Status.GOOD


@pytest.mark.parametrize("data", [b"", b"junk", b"\x30\x00", b"\x30\x02\x30\x00", b"\x30\x80" * 50])
def test_what_is_no_request(ca: Ca, data: bytes) -> None:
    assert judge.load_der_ocsp_response(ocsp.respond(ca.server, data)).response_status is Response.MALFORMED_REQUEST


def test_a_disabled_server_asks_to_come_again(ca: Ca) -> None:
    ca.server._authorities = []
    assert judge.load_der_ocsp_response(ocsp.respond(ca.server, b"")).response_status is Response.TRY_LATER
