"""What does not fit together in what a topology says of time and certificates."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING

from testbed.names import parse_name
from testbed.topology.addressing import split_end
from testbed.topology.models import Certified, Synchronised

if TYPE_CHECKING:
    from testbed.topology.check import Checker
    from testbed.topology.models import Connection, Node, Peer
    from testbed.topology.services import CertificateServer, Ntp, NtpServer, Trustpoint
    from testbed.topology.source import Path as DataPath

__all__ = ["check_services"]

_SIZES = {"rsa": (1024, 2048, 3072, 4096), "ecdsa": (256, 384, 521)}
_FINGERPRINTS = {16: "MD5", 20: "SHA-1", 32: "SHA-256"}


def check_services(checker: Checker) -> None:
    """Add to the problems of the checker's source what is wrong with clocks, NTP, certificate servers and their use."""
    services = _Services(checker)
    for name, node in checker.topology.nodes.items():
        if node.ntp is not None:
            services.ntp(name, node.ntp)
        if node.certificate_server is not None:
            services.certificate_server(name, node, node.certificate_server)
        services.trustpoints(name, node)
    for name, connection in checker.topology.ipsec.items():
        services.connection(name, connection)
    for index, expectation in enumerate(checker.topology.expectations):
        if isinstance(expectation, Synchronised | Certified):
            services.expectation(("expectations", index), expectation)


class _Services:
    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._nodes = checker.topology.nodes
        self._report = checker.report
        self._unknown = checker.unknown

    def ntp(self, name: str, ntp: Ntp) -> None:
        path: DataPath = ("nodes", name, "ntp")
        if not ntp.servers and ntp.master is None:
            self._report(path, f"'{name}' has no time to serve, and nobody to ask", "servers, or master")
        for index, server in enumerate(ntp.servers):
            self._ntp_server((*path, "servers", index), name, ntp, server)
        if ntp.servers and ntp.master is None and not self._leads_to_a_master(name, set()):
            message = f"no server that '{name}' asks has the time from anywhere"
            self._report((*path, "servers"), message, "a chain of servers that ends at a node with 'master'")

    def _ntp_server(self, path: DataPath, name: str, ntp: Ntp, server: NtpServer) -> None:
        node, interface = split_end(server.server)
        if server.key is not None and server.key not in ntp.keys:
            self._unknown((*path, "key"), "key", str(server.key), map(str, ntp.keys))
        if node not in self._nodes:
            self._outside(path, server)
            return
        if interface and interface not in self._checker.interfaces[node]:
            self._unknown((*path, "server"), "interface", interface, self._checker.interfaces[node])
        other = self._nodes[node].ntp
        if node == name:
            self._report((*path, "server"), f"'{name}' would ask itself", "another node")
        elif other is None:
            self._report((*path, "server"), f"'{node}' speaks no NTP", "a node with 'ntp'")
        elif server.key is not None and server.key not in other.keys:
            self._report((*path, "key"), f"'{node}' has no key {server.key}", f"the same key in nodes.{node}.ntp.keys")

    def _outside(self, path: DataPath, server: NtpServer) -> None:
        try:
            ip_address(server.server)
        except ValueError:
            self._unknown((*path, "server"), "address or node", server.server, self._nodes)
        if server.nts:
            self._report((*path, "nts"), "only the certificate of a node can be known", "a node as server")

    def _leads_to_a_master(self, name: str, seen: set[str]) -> bool:
        ntp = self._nodes[name].ntp
        if name in seen or ntp is None:
            return False
        names = [split_end(server.server)[0] for server in ntp.servers]
        outside = any(node not in self._nodes for node in names)
        known = [node for node in names if node in self._nodes]
        return ntp.master is not None or outside or any(self._leads_to_a_master(node, seen | {name}) for node in known)

    def certificate_server(self, name: str, node: Node, server: CertificateServer) -> None:
        path: DataPath = ("nodes", name, "certificate_server")
        if node.role != "router":
            self._report(path, f"a {node.role} is no certificate server", "role: router")
        if server.challenge is not None and server.one_time_passwords is not None:
            message = "has both a challenge password and one-time passwords"
            self._report((*path, "one_time_passwords"), message, "one of the two")
        if server.lifetime.certificate > server.lifetime.ca:
            message = "certificates would outlive the CA's own"
            self._report((*path, "lifetime", "certificate"), message, "at most the lifetime of 'ca'")
        if server.auto_rollover is not None and server.auto_rollover >= server.lifetime.ca:
            self._report((*path, "auto_rollover"), "is as long as the CA lives", "less than the lifetime of 'ca'")
        self._name((*path, "issuer_name"), server.issuer_name)

    def _name(self, path: DataPath, text: str | None) -> None:
        try:
            parse_name(text or "CN=x")
        except ValueError as failure:
            self._report(path, str(failure), "a name such as CN=ca.example.test, O=Example, C=KE")

    def trustpoints(self, name: str, node: Node) -> None:
        path: DataPath = ("nodes", name, "trustpoints")
        if node.trustpoints and node.role != "router":
            self._report(path, f"a {node.role} enrols with no CA", "role: router")
        for trustpoint_name, trustpoint in node.trustpoints.items():
            self._trustpoint((*path, trustpoint_name), name, trustpoint)
        kinds: dict[str, tuple[str, int | None]] = {}
        for trustpoint_name, trustpoint in node.trustpoints.items():
            key = trustpoint.key
            kind = (key.type, key.size)
            if kinds.setdefault(key.label or trustpoint_name, kind) != kind:
                message = f"the key '{key.label or trustpoint_name}' is of another type or size already"
                self._report((*path, trustpoint_name, "key"), message, "another label, or the same type and size")
        ways = {tuple(way for way in tp.revocation_check if way != "none") for tp in node.trustpoints.values()}
        if len(ways) > 1:
            message = "charon asks for revocation in one way for all trustpoints of a node"
            self._report(path, message, "the same revocation_check, but for a final 'none'")

    def _trustpoint(self, path: DataPath, node: str, trustpoint: Trustpoint) -> None:
        if trustpoint.server is not None:
            other = self._nodes.get(trustpoint.server)
            if other is None:
                self._unknown((*path, "server"), "node", trustpoint.server, self._nodes)
            elif other.certificate_server is None:
                message = f"'{trustpoint.server}' is no certificate server"
                self._report((*path, "server"), message, "a node with 'certificate_server'")
        elif trustpoint.protocol == "est":
            message = "EST cannot be begun without the CA's certificate"
            self._report((*path, "url"), message, "'server', whose certificate SCEP fetches first")
        self._name((*path, "subject_name"), trustpoint.subject_name)
        self._key(path, trustpoint)
        self._revocation((*path, "revocation_check"), trustpoint)
        if trustpoint.fingerprint is not None:
            size = len("".join(trustpoint.fingerprint.split()).replace(":", "")) // 2
            if size not in _FINGERPRINTS:
                message = f"a fingerprint has not {size} octets"
                self._report((*path, "fingerprint"), message, "16 (MD5), 20 (SHA-1) or 32 (SHA-256)")
        if trustpoint.ip_address is not None and trustpoint.ip_address not in self._checker.interfaces[node]:
            try:
                ip_address(trustpoint.ip_address)
            except ValueError:
                known = self._checker.interfaces[node]
                self._unknown((*path, "ip_address"), "address or interface", trustpoint.ip_address, known)

    def _key(self, path: DataPath, trustpoint: Trustpoint) -> None:
        key = trustpoint.key
        if key.type == "ecdsa" and trustpoint.protocol == "scep":
            message = "SCEP encrypts its answer to the key, and an ECDSA key cannot decrypt"
            self._report((*path, "key", "type"), message, "protocol: est, or type: rsa")
        if key.size is not None and key.size not in _SIZES[key.type]:
            sizes = ", ".join(map(str, _SIZES[key.type]))
            self._report((*path, "key", "size"), f"no {key.type} key has {key.size} bits", f"one of {sizes}")

    def _revocation(self, path: DataPath, trustpoint: Trustpoint) -> None:
        ways = trustpoint.revocation_check
        if any(count > 1 for count in Counter(ways).values()):
            self._report(path, "asks the same twice", "each of ocsp, crl and none once")
        if "none" in ways[:-1]:
            self._report(path, "'none' ends the asking", "'none' as the last")
        if [way for way in ways if way != "none"] == ["crl", "ocsp"]:
            self._report(path, "charon always asks OCSP before it fetches a CRL", "ocsp, crl")

    def connection(self, name: str, connection: Connection) -> None:
        method, secret = connection.authentication.method, connection.authentication.secret
        here: DataPath = ("ipsec", name, "authentication")
        if method == "psk" and secret is None:
            self._report(here, "the key 'secret' is missing", "text, {env: NAME} or {file: PATH}")
        for peer_name, peer in connection.peers.items():
            node = self._nodes.get(peer_name)
            path: DataPath = ("ipsec", name, "peers", peer_name)
            if method == "psk":
                if peer.trustpoint is not None:
                    message = "a pre-shared key needs no trustpoint"
                    self._report((*path, "trustpoint"), message, "no trustpoint, or method: rsa-sig")
            elif node is not None:
                self._certificate_of(path, peer_name, node, peer, method)

    def _certificate_of(self, path: DataPath, name: str, node: Node, peer: Peer, method: str) -> None:
        if peer.trustpoint is not None and peer.trustpoint not in node.trustpoints:
            self._unknown((*path, "trustpoint"), "trustpoint", peer.trustpoint, node.trustpoints)
            return
        if peer.trustpoint is None and len(node.trustpoints) != 1:
            seen = "several trustpoints" if node.trustpoints else "no trustpoint"
            self._report(path, f"'{name}' has {seen}", "'trustpoint', and it under nodes." + name)
            return
        trustpoint = node.trustpoints[peer.trustpoint or next(iter(node.trustpoints))]
        if method != f"{trustpoint.key.type}-sig":
            message = f"the key of '{name}' is of type {trustpoint.key.type}"
            self._report(path, message, f"method: {trustpoint.key.type}-sig")

    def expectation(self, path: DataPath, expectation: Synchronised | Certified) -> None:
        for index, name in enumerate(expectation.nodes):
            node, here = self._nodes.get(name), (*path, "nodes", index)
            if node is None:
                self._unknown(here, "node", name, self._nodes)
            elif node.kind == "ios":
                continue  # its configuration says, and may say something else tomorrow
            elif not isinstance(expectation, Certified):
                if node.ntp is None:
                    self._report(here, f"'{name}' speaks no NTP", "a node with 'ntp'")
            elif expectation.trustpoint is not None and expectation.trustpoint not in node.trustpoints:
                self._unknown((*path, "trustpoint"), "trustpoint", expectation.trustpoint, node.trustpoints)
            elif not node.trustpoints:
                self._report(here, f"'{name}' has no trustpoint", "a node with 'trustpoints'")
