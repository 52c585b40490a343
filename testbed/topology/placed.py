"""Where in a topology secrets stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.topology.models import Node, Topology
    from testbed.topology.secrets import SecretSource, SecretValue
    from testbed.topology.source import Path

__all__ = ["check_secret", "secret_sources"]

_KEY_OCTETS = {"aes128": 16, "aes256": 32}
_LONGEST = 80  # characters of a challenge password: what IOS takes, and less than what PKCS #9 allows


def secret_sources(topology: Topology) -> Iterator[tuple[Path, str | SecretSource]]:
    """Each secret with the path at which it stands."""
    for name, connection in topology.ipsec.items():
        if connection.authentication.secret is not None:
            yield ("ipsec", name, "authentication", "secret"), connection.authentication.secret
    for name, node in topology.nodes.items():
        yield from _of_node(("nodes", name), node)


def _of_node(path: Path, node: Node) -> Iterator[tuple[Path, str | SecretSource]]:
    for number, key in (node.ntp.keys if node.ntp else {}).items():
        yield (*path, "ntp", "keys", number, "secret"), key.secret
    server = node.certificate_server
    if server is not None and server.challenge is not None:
        yield (*path, "certificate_server", "challenge"), server.challenge
    if server is not None and server.database.archive is not None:
        yield (*path, "certificate_server", "database", "archive", "password"), server.database.archive.password
    for name, trustpoint in node.trustpoints.items():
        if trustpoint.password is not None:
            yield (*path, "trustpoints", name, "password"), trustpoint.password


def check_secret(topology: Topology, path: Path, value: SecretValue) -> None:
    """Raise ValueError if a secret cannot be what it is meant to be; the text holds nothing of it."""
    if path[-1] in ("challenge", "password"):
        text = value.reveal()
        if len(text) > _LONGEST or not all(0x20 < octet < 0x7F for octet in text):
            raise ValueError(f"a password is 1 to {_LONGEST} printable ASCII characters without space")
    if path[2:4] == ("ntp", "keys"):
        node = topology.nodes[str(path[1])]
        octets = _KEY_OCTETS.get(node.ntp.keys[int(path[4])].type) if node.ntp else None
        try:
            if octets is not None and len(bytes.fromhex(value.reveal().decode("ascii"))) != octets:
                raise ValueError(f"the key needs {octets} octets in hexadecimal")
        except (UnicodeDecodeError, ValueError):
            raise ValueError(f"the key needs {octets} octets in hexadecimal") from None
