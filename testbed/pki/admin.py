"""The operator's interface: a UNIX socket that only root may open, one JSON object a line each way.

{"command": "grant", "arguments": {"id": 3}}    ->    {"ok": true, "result": {...}}
                                                      {"ok": false, "error": "no request 3 waits: ..."}
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import threading
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import TYPE_CHECKING, Any

from testbed.pki.ber import BerError
from testbed.pki.errors import RefusedError
from testbed.pki.names import ios_name, show_name
from testbed.pki.pem import to_pem
from testbed.pki.pkcs10 import read_request
from testbed.pki.x509 import read_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.pki.authority import Authority
    from testbed.pki.server import CertificateServer
    from testbed.pki.store import IssuedCertificate, PendingRequest

__all__ = ["Admin", "AdminSocket"]

_MAX_LINE = 64 * 1024
_PATIENCE_S = 30.0


class Admin:
    """The commands. Each takes arguments by name, and returns what JSON can hold."""

    def __init__(self, server: CertificateServer) -> None:
        self._server = server
        self._commands: dict[str, Callable[..., Any]] = {
            "info": self.info,
            "requests": self.requests,
            "certificates": self.certificates,
            "grant": self.grant,
            "reject": self.reject,
            "remove": self.remove,
            "revoke": self.revoke,
            "unrevoke": self.unrevoke,
            "password": self.password,
            "crl": self.crl,
            "current_crl": self.current_crl,
            "rollover": self.rollover,
        }

    def run(self, line: bytes) -> dict[str, Any]:
        """The answer to one line, whatever it holds."""
        try:
            asked = json.loads(line)
            command = self._commands[asked["command"]]
            return {"ok": True, "result": command(**asked.get("arguments", {}))}
        except (RefusedError, OSError, sqlite3.Error) as failure:
            return {"ok": False, "error": str(failure)}
        except (ValueError, KeyError, TypeError, OverflowError) as failure:
            return {"ok": False, "error": f"no command: {failure}"}

    def info(self) -> dict[str, Any]:
        server, settings = self._server, self._server.settings
        facts: dict[str, Any] = {
            "name": settings.name,
            "enabled": server.enabled,
            "state": "enabled" if server.enabled else "disabled: the clock is not synchronised",
            "grant": settings.grant,
            "database_level": settings.database_level,
            "database_directory": settings.database_directory or settings.directory,
            "waiting": len(server.store.requests(state="pending")),
            "last_serial": server.store.last_serial(),
        }
        if server.enabled:
            facts |= {
                "authority": _authority(server.current),
                "issuer": show_name(server.current.certificate.subject_name),
            }
            facts["authorities"] = [_authority(authority) for authority in server.authorities]
            facts["next"] = _authority(server.upcoming) if server.upcoming else None
        return facts

    def requests(self, state: str | None = None) -> list[dict[str, Any]]:
        return [_request(row) for row in self._server.store.requests(state=state)]

    def certificates(self, purpose: str | None = None) -> list[dict[str, Any]]:
        return [_certificate(issued) for issued in self._server.store.certificates(purpose=purpose)]

    def grant(self, id: int | str) -> list[dict[str, Any]]:  # noqa: A002 - the word of the interface
        """One request by its number, or `all` that wait."""
        numbers = (
            [int(id)] if id != "all" else [row.id for row in reversed(self._server.store.requests(state="pending"))]
        )
        return [{"id": number, "serial": self._server.grant(number).serial} for number in numbers]

    def reject(self, id: int) -> None:  # noqa: A002
        self._server.reject(int(id))

    def remove(self, id: int) -> None:  # noqa: A002
        self._server.remove(int(id))

    def revoke(self, serial: int, reason: int = 0) -> None:
        if reason not in (0, 1, 2, 3, 4, 5, 6, 9, 10):
            raise ValueError(f"{reason} is no reason of RFC 5280, section 5.3.1")
        self._server.revoke(int(serial), int(reason))

    def unrevoke(self, serial: int) -> None:
        self._server.unrevoke(int(serial))

    def password(self, valid_s: int | None = None) -> dict[str, Any]:
        """One that is good once; for as long as the server's settings say unless told."""
        if valid_s is not None and valid_s <= 0:
            raise ValueError(f"{valid_s} s is no time at all")
        password, expires = self._server.new_password(valid_s)
        return {"password": password, "expires": expires.isoformat()}

    def crl(self) -> dict[str, Any]:
        """Publish a new list now."""
        self._server.publish()
        self._server.crl(self._server.current)
        return {"revoked": [item.serial for item in self._server.store.revoked(self._server.current.number)]}

    def current_crl(self) -> dict[str, Any]:
        """The list that is served now, DER in base 64; none as long as the server is not enabled."""
        server = self._server
        return {"der": base64.b64encode(server.crl(server.current)).decode() if server.enabled else None}

    def rollover(self, now: bool = False) -> dict[str, Any]:
        """Make the next authority; with `now` it takes over at once."""
        return _authority(self._server.roll_over() if now else self._server.prepare_rollover())


def _authority(authority: Authority) -> dict[str, Any]:
    certificate = authority.certificate
    return {
        "number": authority.number,
        "serial": certificate.serial,
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "fingerprints": {digest: certificate.fingerprint(digest) for digest in ("md5", "sha1", "sha256")},
        "crl": authority.crl_name,
        "pem": to_pem(certificate.der),
    }


def _request(row: PendingRequest) -> dict[str, Any]:
    try:
        name = read_request(row.csr).subject_name
        subject, ios_subject = show_name(name), ios_name(name)
    except (BerError, ValueError):
        subject = ios_subject = "?"
    return {
        "id": row.id,
        "state": row.state,
        "kind": row.kind,
        "subject": subject,
        "ios_subject": ios_subject,
        "fingerprint": hashlib.md5(row.csr, usedforsecurity=False).hexdigest().upper(),
        "transaction_id": row.transaction_id,
        "received": row.received.isoformat(),
        "serial": row.serial,
    }


def _certificate(issued: IssuedCertificate) -> dict[str, Any]:
    certificate = read_certificate(issued.der)
    return {
        "serial": issued.serial,
        "authority": issued.authority,
        "purpose": issued.purpose,
        "subject": show_name(certificate.subject_name),
        "ios_subject": ios_name(certificate.subject_name),
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "revoked": issued.revoked.isoformat() if issued.revoked else None,
        "reason": issued.reason,
        "sha256": certificate.fingerprint("sha256"),
        "pem": to_pem(issued.der),
    }


class _Handler(StreamRequestHandler):
    timeout = _PATIENCE_S

    def handle(self) -> None:
        server: _Server = self.server  # type: ignore[assignment]
        with contextlib.suppress(OSError):
            while line := self.rfile.readline(_MAX_LINE):
                self.wfile.write(json.dumps(server.admin.run(line)).encode() + b"\n")


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True
    admin: Admin

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class AdminSocket:
    """Serves the commands at a path."""

    def __init__(self, admin: Admin, path: Path) -> None:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = _Server(str(path), _Handler)
        finally:
            os.umask(before)
        self._server.admin = admin
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="admin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def notify_ready() -> None:
    """Tell whoever started this process that it is ready: sd_notify(3)."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.sendto(b"READY=1", path)
