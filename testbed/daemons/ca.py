"""The certificate server of a node, through its admin socket; see testbed/pki/admin.py for the commands."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import DaemonError, DeadlineExceeded

if TYPE_CHECKING:
    from testbed.deadline import Deadline
    from testbed.runtime import NodeState

__all__ = ["CertificateAuthority"]

_SOCKET = "ca.sock"
_PATIENCE_S = 30.0


class CertificateAuthority:
    """One node's daemon. Each call opens a connection of its own."""

    def __init__(self, node: NodeState) -> None:
        self._node = node

    def info(self) -> dict[str, Any]:
        """Name, state, grant mode, fingerprints and lifetimes of the CA and of the one that will follow it."""
        found: dict[str, Any] = self.call("info")
        return found

    def requests(self, *, state: str | None = None) -> list[dict[str, Any]]:
        """The newest first; `state` is pending, granted or rejected."""
        return list(self.call("requests", state=state))

    def certificates(self, *, purpose: str | None = None) -> list[dict[str, Any]]:
        """By serial number; `purpose` is client, ra-client (a registration authority), ca, ra or tls."""
        return list(self.call("certificates", purpose=purpose))

    def grant(self, request: int | str = "all") -> list[dict[str, Any]]:
        return list(self.call("grant", id=request))

    def reject(self, request: int) -> None:
        self.call("reject", id=request)

    def remove(self, request: int) -> None:
        """Forget a request, so that it may be made again."""
        self.call("remove", id=request)

    def revoke(self, serial: int, reason: int = 0) -> None:
        """`reason` as in RFC 5280, section 5.3.1."""
        self.call("revoke", serial=serial, reason=reason)

    def unrevoke(self, serial: int) -> None:
        self.call("unrevoke", serial=serial)

    def password(self, *, valid_s: int | None = None) -> str:
        """A challenge password that is good once; for as long as the server is told unless said."""
        return str(self.call("password", valid_s=valid_s)["password"])

    def publish_crl(self) -> None:
        self.call("crl")

    def crl(self) -> bytes | None:
        """The list that it serves now, in DER; None as long as it is not enabled."""
        der: str | None = self.call("current_crl")["der"]
        return None if der is None else base64.b64decode(der)

    def rollover(self, *, now: bool = False) -> dict[str, Any]:
        """Make the CA's next key and certificate; with `now` it takes over at once."""
        found: dict[str, Any] = self.call("rollover", now=now)
        return found

    def fingerprint(self, digest: str = "sha256") -> str:
        """Of the CA's certificate: what its operator reads to a caller. Hexadecimal, upper case."""
        return str(self.info()["authority"]["fingerprints"][digest])

    def await_enabled(self, deadline: Deadline) -> None:
        """Wait until its clock is synchronised and it serves. Raises DeadlineExceeded with its state."""
        state = ""

        def look() -> bool:
            nonlocal state
            facts = self.info()
            state = facts["state"]
            return bool(facts["enabled"])

        try:
            deadline.until(look, "the certificate server", every=0.01)
        except DeadlineExceeded as failure:
            raise DeadlineExceeded(
                f"the certificate server does not serve after {deadline.seconds:g} s", node=self._node.name, seen=state
            ) from failure

    def call(self, command: str, **arguments: Any) -> Any:
        """A command by its name. Raises DaemonError with the server's words."""
        line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        try:
            with self._connected() as connection, connection.makefile("rwb") as stream:
                stream.write(line)
                stream.flush()
                answer = json.loads(stream.readline())
        except (OSError, ValueError) as failure:
            raise DaemonError(
                "the certificate server does not answer",
                node=self._node.name,
                seen=str(failure) or type(failure).__name__,
                hint=f"`testbed logs LAB {self._node.name} testbed-ca` shows its log",
            ) from failure
        if not answer["ok"]:
            raise DaemonError(f"the certificate server refused `{command}`", node=self._node.name, seen=answer["error"])
        return answer["result"]

    def _connected(self) -> socket.socket:
        handle = os.open(self._node.identity.directory / "run", os.O_RDONLY | os.O_DIRECTORY)
        try:
            path = Path(f"/proc/self/fd/{handle}/{_SOCKET}")  # a UNIX socket's path may have 107 bytes only
            if not stat.S_ISSOCK(path.lstat().st_mode):  # no link to a socket of this machine
                raise OSError("its admin socket is none")
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(_PATIENCE_S)
                connection.connect(str(path))
            except BaseException:
                connection.close()
                raise
            return connection
        finally:
            os.close(handle)
