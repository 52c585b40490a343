"""EST (RFC 7030) over HTTPS: cacerts, simpleenroll, simplereenroll."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.pki.ber import BerError
from testbed.pki.cms import certificates_only
from testbed.pki.errors import FailInfo, RefusedError, WrongPasswordError
from testbed.pki.server import Enrolment
from testbed.pki.x509 import Certificate, read_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.pki.server import CertificateServer

__all__ = ["EstAnswer", "answer"]

_CERTIFICATES = "application/pkcs7-mime; smime-type=certs-only"
_RETRY_S = 5
_HTTP_STATUS = {FailInfo.BAD_TIME: 503, FailInfo.BAD_CERT_ID: 403}


@dataclass(frozen=True)
class EstAnswer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(
    server: CertificateServer,
    operation: str,
    body: bytes | None,
    *,
    peer: str,
    certificate: bytes | None,
    authorization: str | None,
) -> EstAnswer:
    """One operation. `certificate` is the client's, DER, as TLS has verified it; `body` is None for GET."""
    if operation == "cacerts" and body is None:
        return _certificates([authority.certificate for authority in server.authorities])
    if operation not in ("simpleenroll", "simplereenroll") or body is None:
        return EstAnswer(404)
    try:
        return _enrol(server, operation, body, peer, certificate, authorization)
    except RefusedError as refusal:
        return EstAnswer(
            _HTTP_STATUS.get(refusal.fail_info, 400), f"{refusal}\n".encode(), {"Content-Type": "text/plain"}
        )


def _enrol(
    server: CertificateServer,
    operation: str,
    body: bytes,
    peer: str,
    certificate: bytes | None,
    authorization: str | None,
) -> EstAnswer:
    signer = _client(certificate)
    if signer is None and operation == "simplereenroll":
        return _unauthorized()
    try:
        request = server.read_request(base64.b64decode(b"".join(body.split()), validate=True))
    except binascii.Error:
        raise RefusedError(FailInfo.BAD_REQUEST, "the body is not Base64") from None
    # EST has no transactions: the same key and names again are the same one. Not the same octets, since an ECDSA
    # signature is another each time.
    asked = b"".join([request.spki, request.subject, *request.names])
    transaction = "est-" + hashlib.sha256(asked).hexdigest()
    enrolment = Enrolment(request, transaction, signer, f"EST {operation}", peer, _password(authorization))
    try:
        outcome = server.enrol(enrolment)
    except WrongPasswordError:
        return _unauthorized()
    if outcome.certificate is None:
        return EstAnswer(202, headers={"Retry-After": str(_RETRY_S)})
    return _certificates([outcome.certificate])


def _client(certificate: bytes | None) -> Certificate | None:
    try:
        return None if certificate is None else read_certificate(certificate)
    except BerError:
        raise RefusedError(FailInfo.BAD_CERT_ID, "the client's certificate cannot be read") from None


def _password(authorization: str | None) -> bytes | None:
    scheme, _, value = (authorization or "").partition(" ")
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2] if scheme.lower() == "basic" else None
    except ValueError:  # not Base64, or not even ASCII
        return None


def _unauthorized() -> EstAnswer:
    return EstAnswer(401, headers={"WWW-Authenticate": 'Basic realm="est"'})


def _certificates(certificates: list[Certificate]) -> EstAnswer:
    # Without line ends: strongSwan before 5.9.11 cannot read them.
    body = base64.b64encode(certificates_only(certificates))
    return EstAnswer(200, body, {"Content-Type": _CERTIFICATES, "Content-Transfer-Encoding": "base64"})
