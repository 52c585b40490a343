"""HTTP and HTTPS: what stands at which path, and how much of it one client may use."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import re
import socket
import ssl
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from testbed.pki import est, ocsp
from testbed.pki.errors import RefusedError
from testbed.pki.scep import CAPABILITIES, Scep, UnanswerableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.pki.server import CertificateServer

__all__ = ["Listener"]

log = logging.getLogger("ca.http")

MAX_BODY, MAX_TARGET = 64 * 1024, 32 * 1024
MAX_CONNECTIONS, MAX_OF_ONE_CLIENT = 256, 48
REQUEST_S = 15.0  # for a whole request and its answer, however slowly they come
_GLANCE_S = 0.1
_SCEP_PATHS = re.compile(r"(?i).*(pkiclient\.exe|/scep|/cgi-bin)/*")
_EST = "/.well-known/est/"


class _Handler(BaseHTTPRequestHandler):
    """One connection. Clients of SCEP send no Host, no Content-Type, and HTTP/1.0: all of it is taken."""

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # an answer is one write
    disable_nagle_algorithm = True
    server_version, sys_version = "testbed-ca", ""
    server: _Server
    timeout = REQUEST_S
    raw_requestline: bytes

    def handle_one_request(self) -> None:
        # A body is read after this has begun, so one deadline holds for the request line, the headers and the body.
        with self.server.watch(self.connection):
            super().handle_one_request()

    def parse_request(self) -> bool:
        if len(self.raw_requestline) > MAX_TARGET + 64:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(414)
            return False
        return super().parse_request()

    def handle_expect_100(self) -> bool:
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        return True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name it has
        log.debug("%s %s", self.address_string(), format % arguments)

    def do_GET(self) -> None:
        if len(self.path) > MAX_TARGET:
            self._send(414)
        else:
            self._route(None)

    def do_POST(self) -> None:
        wants_close, self.close_connection = self.close_connection, True  # until the body has been read
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > 9:
            self._send(411)
        elif int(length) > MAX_BODY:
            self._send(413)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self.close_connection = wants_close
                self._route(body)

    def _route(self, body: bytes | None) -> None:
        try:
            self._dispatch(body)
        except RefusedError as refusal:  # disabled, or refused before there was a protocol to say it in
            self._send(503, f"{refusal}\n".encode(), {"Content-Type": "text/plain"})
        except OSError:
            raise
        except Exception:
            log.exception("%s %s", self.command, self.path[:120])
            self._send(500)

    def _dispatch(self, body: bytes | None) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith(_EST) and self.server.is_tls:
            self._est(path.removeprefix(_EST), body)
        elif path.endswith(".crl") and body is None:
            self._crl(path.removeprefix("/"))
        elif path == "/ocsp" or path.startswith("/ocsp/"):
            self._ocsp(path.removeprefix("/ocsp").removeprefix("/"), body)
        elif _SCEP_PATHS.fullmatch(path):
            self._scep(query.encode("latin-1", "replace"), body)
        else:
            self._send(404)

    def _scep(self, query: bytes, body: bytes | None) -> None:
        scep, operation = self.server.scep, _parameter(query, b"operation").decode("latin-1").lower()
        if operation == "getcacaps":
            self._send(200, CAPABILITIES.encode(), {"Content-Type": "text/plain"})
        elif operation in ("getcacert", "getcacertchain"):
            content, kind = scep.ca_certificates()
            self._send(200, content, {"Content-Type": kind})
        elif operation == "getnextcacert":
            upcoming = scep.next_ca_certificate()
            kind = "application/x-x509-next-ca-cert"
            self._send(*((404, b"", {}) if upcoming is None else (200, upcoming, {"Content-Type": kind})))
        elif operation == "pkioperation":
            self._pki_operation(query, body)
        else:
            self._send(400)

    def _pki_operation(self, query: bytes, body: bytes | None) -> None:
        try:
            message = _message(query) if body is None else body
            answer = self.server.scep.operate(message, self.client_address[0])
        except (UnanswerableError, binascii.Error) as failure:
            self._send(400, f"{failure}\n".encode(), {"Content-Type": "text/plain"})
            return
        self._send(200, answer, {"Content-Type": "application/x-pki-message"})

    def _crl(self, name: str) -> None:
        server = self.server.ca
        found = [authority for authority in server.authorities if authority.crl_name == name]
        if found:
            self._send(200, server.crl(found[0]), {"Content-Type": "application/pkix-crl"})
        else:
            self._send(404)

    def _ocsp(self, encoded: str, body: bytes | None) -> None:
        if body is None:
            try:
                body = base64.b64decode(unquote_to_bytes(encoded), validate=True)
            except binascii.Error:
                body = b""
        self._send(200, ocsp.respond(self.server.ca, body), {"Content-Type": "application/ocsp-response"})

    def _est(self, operation: str, body: bytes | None) -> None:
        connection = self.connection
        certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
        answer = est.answer(
            self.server.ca,
            operation.rsplit("/", 1)[-1],  # a label may stand before it
            body,
            peer=self.client_address[0],
            certificate=certificate,
            authorization=self.headers.get("Authorization"),
        )
        self._send(answer.status, answer.body, answer.headers)

    def _send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _parameter(query: bytes, name: bytes) -> bytes:
    """A parameter of the query as it was sent: `+` is itself here, and no space."""
    found = re.search(rb"(?:^|&)" + name + rb"=([^&]*)", query)
    return found[1] if found else b""


def _message(query: bytes) -> bytes:
    """The pkiMessage of a GET: Base64, with line ends escaped or not, and with or without padding."""
    text = unquote_to_bytes(_parameter(query, b"message")).replace(b" ", b"+")
    text = b"".join(text.split()).rstrip(b"=")
    if not text:
        raise UnanswerableError("no message")
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], ca: CertificateServer, context: ssl.SSLContext | None) -> None:
        self.ca = ca
        self.scep = Scep(ca)
        self.is_tls = context is not None
        self._context = context
        self._clients: Counter[str] = Counter()
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self.address_family = (
            socket.AF_INET6 if address[0] in ("", "::") and socket.has_dualstack_ipv6() else socket.AF_INET
        )
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the signature it has
        """Whether there is room for one more connection of this client; if not, it is closed at once."""
        with self._lock:
            client = client_address[0]
            if self._clients.total() >= MAX_CONNECTIONS or self._clients[client] >= MAX_OF_ONE_CLIENT:
                return False
            self._clients[client] += 1
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            with self.watch(request):
                if self._context is not None:
                    request.settimeout(REQUEST_S)
                    request = self._context.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except OSError as failure:  # a handshake that came to nothing
            log.debug("%s: %s", client_address[0], failure)
            self.shutdown_request(request)
        finally:
            with self._lock:
                self._clients[client_address[0]] -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("%s went away", client_address[0], exc_info=True)

    @contextlib.contextmanager
    def watch(self, connection: socket.socket) -> Any:
        """Within it, the connection ends when the time for one request is over."""
        with self._lock:
            self._deadlines[connection] = time.monotonic() + REQUEST_S
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.pop(connection, None)

    def service_actions(self) -> None:
        """Called ten times a second: end the connections whose time is over."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, deadline in self._deadlines.items() if deadline < now]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Listener:
    """One address at which a certificate server is reached, served by threads of its own."""

    def __init__(self, ca: CertificateServer, address: tuple[str, int], context: ssl.SSLContext | None = None) -> None:
        self._server = _Server(address, ca, context)
        name = "https" if context else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_GLANCE_S,), name=name, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
