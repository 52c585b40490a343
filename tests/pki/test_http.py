"""The service over HTTP: what clients send in strange forms is taken, and no client can take it from the others."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from testbed.pki import http as limits
from testbed.pki.pem import to_pem
from testbed.pki.server import CertificateServer
from testbed.pki.settings import Settings
from tests.pki.client import Answer, Client, certificates_in
from tests.pki.service import SCEP, Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("ca") / "service", one_time_password_s=600) as made:
        yield made


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service.ca_certificate())


def message(service: Service, client: Client, transaction: str) -> bytes:
    return client.enrolment(transaction, service.admin("password")["password"])


def test_post(service: Service, client: Client) -> None:
    status, body = service.send("POST", f"{SCEP}?operation=PKIOperation", message(service, client, "post"))
    assert status == 200
    assert client.read(body).status == "0"


def as_get(data: bytes, form: str) -> bytes:
    """The request target of a GET, as different clients write it."""
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64)) + "\n"
    written = {
        "quoted": quote(text, safe=""),
        "plus-unquoted": text.replace("=", "%3D"),
        "ios": quote(lines, safe="+/="),  # with line ends, and one at the end
        "no-padding": quote(text.rstrip("="), safe=""),
    }
    return f"{SCEP}?operation=PKIOperation&message={written[form]}".encode()


def raw(service: Service, request: bytes) -> tuple[int, bytes]:
    """An answer to octets that no library would send."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


@pytest.mark.parametrize("form", ["quoted", "plus-unquoted", "ios", "no-padding"])
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_get_without_any_header(service: Service, client: Client, form: str, version: str) -> None:
    target = as_get(message(service, client, f"{form}-{version}"), form)
    status, body = raw(service, b"GET " + target + b" " + version.encode() + b"\r\n\r\n")
    assert status == 200
    assert client.read(body).status == "0"


def test_message_before_operation(service: Service, client: Client) -> None:
    text = quote(base64.b64encode(message(service, client, "order")).decode(), safe="")
    status, body = service.get(f"/scep?message={text}&operation=PKIOperation")
    assert status == 200
    assert client.read(body).status == "0"


def test_capabilities_and_certificates(service: Service) -> None:
    status, body = service.get(f"{SCEP}?operation=GetCACaps&message=0")
    assert status == 200
    assert {b"POSTPKIOperation", b"SCEPStandard", b"AES", b"SHA-384"} <= set(body.split(b"\n"))
    assert b"\n\n" not in body  # for strongSwan a blank line is every capability
    for extra in ("", "&message=0", "&message=TRUSTPOINT"):
        assert service.get(f"{SCEP}?operation=GetCACert{extra}")[0] == 200
    assert service.get(f"{SCEP}?operation=GetNextCACert")[0] == 404


def test_the_list_is_where_certificates_say(service: Service, client: Client) -> None:
    _, body = service.send("POST", f"{SCEP}?operation=PKIOperation", message(service, client, "cdp"))
    issued = pyca.load_der_x509_certificate(client.read(body).certificates[0].der)
    points = issued.extensions.get_extension_for_class(pyca.CRLDistributionPoints).value
    names = points[0].full_name
    assert names is not None
    assert names[0].value == f"http://127.0.0.1:{service.port}/CA.crl"
    status, crl = service.get("/CA.crl")
    assert status == 200
    assert pyca.load_der_x509_crl(crl).issuer == issued.issuer


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/etc/passwd", 404),
        ("GET", "/../ca-1.key", 404),
        ("GET", "/CA-2.crl", 404),
        ("GET", f"{SCEP}?operation=Nonsense", 400),
        ("GET", f"{SCEP}", 400),
        ("GET", f"{SCEP}?operation=PKIOperation", 400),
        ("GET", f"{SCEP}?operation=PKIOperation&message=***", 400),
        ("POST", f"{SCEP}?operation=PKIOperation", 400),
        ("GET", "/.well-known/est/cacerts", 404),  # over HTTPS alone
        ("PUT", "/", 501),
    ],
)
def test_what_there_is_not(service: Service, method: str, target: str, status: int) -> None:
    assert service.send(method, target, b"junk" if method == "POST" else None)[0] == status


def test_bodies_and_targets_have_a_limit(service: Service) -> None:
    assert raw(service, b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n")[0] == 413
    assert raw(service, b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")[0] == 411
    assert raw(service, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")[0] == 411
    assert raw(service, b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n")[0] == 414
    assert raw(service, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n")[0] == 431
    assert raw(service, b"GET / HTTP/1.1\r\na: " + b"x" * 70_000 + b"\r\n\r\n")[0] == 431
    assert service.get(f"{SCEP}?operation=GetCACert")[0] == 200


def test_a_flood_of_connections_does_not_stop_the_others(service: Service) -> None:
    """Hundreds of connections that say nothing, from one address; another one is still served."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            with contextlib.suppress(OSError):
                idle = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=5))
                idle.sendall(b"GET /")
        other = socket.create_connection(("127.0.0.1", service.port), timeout=10, source_address=("127.0.0.2", 0))
        with other:
            other.sendall(b"GET " + SCEP.encode() + b"?operation=GetCACert HTTP/1.0\r\n\r\n")
            assert other.recv(100).startswith(b"HTTP/1.1 200")


def octets_until_closed(connection: socket.socket) -> int:
    """How many octets could be sent, one after the other, before the other end had enough; 1000 at most."""
    for sent in range(1000):
        try:
            connection.sendall(b"x")
            if not connection.recv(1000):
                return sent
        except TimeoutError:
            continue
        except OSError:
            return sent
    return 1000


def test_a_slow_client_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then keeps no connection open for longer than a request may take."""
    monkeypatch.setattr(limits, "REQUEST_S", 2.0)
    ca = CertificateServer(Settings("CA", (("CN", "ca"),), ("127.0.0.1",), str(tmp_path), key_size=1024))
    ca.enable()
    listener = limits.Listener(ca, ("127.0.0.1", 0))
    listener.start()
    try:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=0.2) as slow:
            sent = octets_until_closed(slow)
        assert 0 < sent < 1000
    finally:
        listener.stop()
        ca.store.close()


def test_the_admin_socket_is_for_root_alone(service: Service) -> None:
    assert stat.S_IMODE((service.folder / "ca.sock").stat().st_mode) == 0o600


# -- EST


def est(
    service: Service,
    operation: str,
    body: bytes | None = None,
    password: str | None = None,
    identity: Path | None = None,
) -> tuple[int, bytes]:
    context = ssl.create_default_context(cadata=to_pem(service.ca_certificate().der))
    if identity is not None:
        context.load_cert_chain(identity)
    connection = http.client.HTTPSConnection("127.0.0.1", service.tls_port, timeout=20, context=context)
    headers = {"Content-Type": "application/pkcs10"}
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"kisii:{password}".encode()).decode()
    try:
        connection.request("GET" if body is None else "POST", f"/.well-known/est/{operation}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def request_for(key: ec.EllipticCurvePrivateKey, name: str = "est") -> bytes:
    subject = pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, name)])
    builder = pyca.CertificateSigningRequestBuilder().subject_name(subject)
    data = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return base64.encodebytes(data)


def test_est_gives_the_ca_certificate(service: Service) -> None:
    status, body = est(service, "cacerts")
    assert status == 200
    assert b"\n" not in body
    assert [item.der for item in certificates_in(base64.b64decode(body))] == [service.ca_certificate().der]


def test_est_enrols_and_renews_elliptic_keys(service: Service, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = request_for(key)
    assert est(service, "simpleenroll", request)[0] == 401
    assert est(service, "simpleenroll", request, password="wrong")[0] == 401
    status, body = est(service, "simpleenroll", request, password=service.admin("password")["password"])
    assert status == 200
    certificate = certificates_in(base64.b64decode(body))[0]
    identity = tmp_path / "identity.pem"
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    identity.write_bytes(private + to_pem(certificate.der).encode())
    new_key = ec.generate_private_key(ec.SECP384R1())
    assert est(service, "simplereenroll", request_for(new_key))[0] == 401
    status, body = est(service, "simplereenroll", request_for(new_key), identity=identity)
    assert status == 200
    renewed = certificates_in(base64.b64decode(body))[0]
    assert renewed.serial > certificate.serial
    assert est(service, "simplereenroll", request_for(new_key, "somebody"), identity=identity)[0] == 400
    service.admin("revoke", serial=certificate.serial)
    another = ec.generate_private_key(ec.SECP256R1())
    assert est(service, "simplereenroll", request_for(another), identity=identity)[0] == 403


@pytest.mark.parametrize("body", [b"", b"***", base64.b64encode(b"junk")])
def test_est_refuses_nonsense(service: Service, body: bytes) -> None:
    assert est(service, "simpleenroll", body, password=service.admin("password")["password"])[0] == 400
    assert est(service, "nonsense", body)[0] == 404


def test_plain_text_to_the_tls_port(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.tls_port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not connection.recv(1000).startswith(b"HTTP/1.1")
    assert est(service, "cacerts")[0] == 200


def test_an_answer_is_the_same_over_both_ways(service: Service, client: Client) -> None:
    asked = message(service, client, "both")
    answers: list[Answer] = []
    for status, body in (
        service.send("POST", f"{SCEP}?operation=PKIOperation", asked),
        raw(service, b"GET " + as_get(asked, "quoted") + b" HTTP/1.0\r\n\r\n"),
    ):
        assert status == 200
        answers.append(client.read(body))
    assert answers[0].certificates[0].der == answers[1].certificates[0].der


def test_nothing_went_wrong_inside(service: Service) -> None:
    assert "Traceback" not in service.log


def test_old_keys_and_digests_do_not_stop_https_or_the_files(tmp_path: Path) -> None:
    for number, (bits, digest) in enumerate(((1024, "sha256"), (2048, "sha1"))):
        with Service(tmp_path / f"s{number}", key_size=bits, hash=digest) as old:
            old.until(lambda old=old: (old.folder / "ca" / "CA.ser").exists(), "the files")
            with socket.create_connection(("127.0.0.1", old.tls_port), timeout=20) as plain:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(plain) as connection:
                    assert connection.version() is not None
            assert "Traceback" not in old.log


def test_est_can_be_asked_again_with_the_same_password(tmp_path: Path) -> None:
    """Until the operator has granted it, and after; and a request that was garbage costs no password."""
    with Service(tmp_path / "s", grant="none", one_time_password_s=600) as manual:
        password = manual.admin("password")["password"]
        key = ec.generate_private_key(ec.SECP256R1())
        assert est(manual, "simpleenroll", b"***", password=password)[0] == 400
        for _ in range(3):  # another signature each time, and the same request all the same
            assert est(manual, "simpleenroll", request_for(key), password=password)[0] == 202
        assert len(manual.admin("requests")) == 1
        manual.admin("grant", id="all")
        assert est(manual, "simpleenroll", request_for(key), password=password)[0] == 200
        other = ec.generate_private_key(ec.SECP256R1())
        assert est(manual, "simpleenroll", request_for(other, "other"), password=password)[0] == 401


def test_a_curve_that_is_not_taken(service: Service) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    password = service.admin("password")["password"]
    assert est(service, "simpleenroll", request_for(key), password=password)[0] == 400


def test_a_client_that_asks_before_it_sends_a_body(service: Service, client: Client) -> None:
    body = message(service, client, "expect")
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        head = (
            f"POST {SCEP}?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
        )
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        answer = connection.makefile("rb").read()  # to the end: it was asked to close
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
