"""What needs more than one place of a topology to be judged. Everything found is collected; nothing stops early."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from testbed.topology.addressing import split_end, through_interface
from testbed.topology.check_services import check_services
from testbed.topology.models import Encrypted, Reachability, SameFile, Tunnel
from testbed.topology.proposals import check_proposal
from testbed.topology.values import MAX_SHARED_FILE
from testbed.topology.vocabulary import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from testbed.topology.addressing import Address, Addressing, InterfaceAddress
    from testbed.topology.models import Connection, Node, Topology
    from testbed.topology.source import Path as DataPath
    from testbed.topology.source import Source

__all__ = ["Checker", "check", "check_addressed", "check_kinds"]

RESERVED_INTERFACES = {"lo", "ipsec0", "all", "default"}
MAX_NODES = 250
_SAID_BY_IOS = {
    *("hostname", "role", "interfaces", "loopbacks", "routes", "shares", "drop_private"),
    *("ntp", "certificate_server", "trustpoints"),
}


def check(topology: Topology, source: Source, folder: Path) -> None:
    """Add to the problems of `source` whatever in a well-formed topology does not fit together."""
    checker = Checker(topology, source, folder)
    checker.parameters()
    checker.links()
    for name, node in topology.nodes.items():
        checker.node(name, node)
    checker.addresses()
    for name, connection in topology.ipsec.items():
        checker.connection(name, connection)
    checker.rogue()
    checker.faults()
    checker.expectations()
    check_services(checker)


def check_kinds(topology: Topology, source: Source, folder: Path) -> None:
    """The same of how each node is configured, before its own configuration is read."""
    checker = Checker(topology, source, folder)
    for name, node in topology.nodes.items():
        checker.kind(name, node)


class Checker:
    """The problems of one topology, and what finding them needs."""

    def __init__(self, topology: Topology, source: Source, folder: Path) -> None:
        self.topology = topology
        self.source = source
        self.folder = folder
        self.interfaces: dict[str, set[str]] = {name: set(node.loopbacks) for name, node in topology.nodes.items()}
        for link in topology.links.values():
            for node, interface in map(split_end, link.ends):
                self.interfaces.setdefault(node, set()).add(interface)

    def report(self, path: DataPath, message: str, expected: str | None = None, near: str | None = None) -> None:
        self.source.problems.append(self.source.problem(path, message, expected, near))

    def unknown(self, path: DataPath, what: str, word: str, known: Iterable[str]) -> None:
        names = sorted(known)
        expected = "one of " + ", ".join(names) if names else f"a {what}, but there is none"
        self.report(path, f"there is no {what} '{word}'", expected, nearest(word, names))

    def parameters(self) -> None:
        for name, parameter in self.topology.parameters.items():
            path: DataPath = ("parameters", name, "default")
            if parameter.choices is not None and parameter.default not in parameter.choices:
                choices = ", ".join(str(choice) for choice in parameter.choices)
                self.report(path, "the default is none of the choices", f"one of {choices}")
        for name, variant in self.topology.variants.items():
            for key, value in variant.set.items():
                self._variant_value(("variants", name, "set", key), key, value)

    def _variant_value(self, path: DataPath, key: str, value: str | int | bool) -> None:
        declared = self.topology.parameters.get(key)
        if declared is None:
            self.unknown(path, "parameter", key, self.topology.parameters)
        elif declared.secret:
            self.report(path, f"'{key}' is a secret", f"--set {key}=env:VARIABLE or --set {key}=file:PATH")
        elif declared.choices is not None:
            if value not in declared.choices:
                choices = ", ".join(str(choice) for choice in declared.choices)
                self.report(path, f"'{value}' is none of the choices of '{key}'", f"one of {choices}")
        elif type(value) is not type(declared.default):
            kind = {bool: "true or false", int: "a whole number"}.get(type(declared.default), "text")
            self.report(path, f"'{value}' does not fit '{key}'", kind)

    def links(self) -> None:
        if len(self.topology.nodes) > MAX_NODES:
            self.report(("nodes",), f"{len(self.topology.nodes)} nodes", f"at most {MAX_NODES}")
        seen: dict[str, str] = {}
        for name, link in self.topology.links.items():
            versions = Counter(prefix.version for prefix in link.prefixes)
            if any(count > 1 for count in versions.values()):
                self.report(("links", name, "prefixes"), "two prefixes of one family", "at most one IPv4 and one IPv6")
            for index, end in enumerate(link.ends):
                path: DataPath = ("links", name, "ends", index)
                node, interface = split_end(end)
                if node not in self.topology.nodes:
                    self.unknown(path, "node", node, self.topology.nodes)
                if interface in RESERVED_INTERFACES or len(interface) > 15:
                    self.report(
                        path,
                        f"'{interface}' cannot name an interface",
                        "another name of at most 15 characters",
                    )
                if end in seen:
                    self.report(path, f"{end} is already an end of link '{seen[end]}'", "each interface on one link")
                seen.setdefault(end, name)
            if link.through is not None:
                self._through(name, link.through, link.ends, seen)

    def _through(self, name: str, node: str, ends: list[str], seen: dict[str, str]) -> None:
        path: DataPath = ("links", name, "through")
        spec = self.topology.nodes.get(node)
        if spec is None:
            self.unknown(path, "node", node, self.topology.nodes)
            return
        if spec.role != "host" or node in {split_end(end)[0] for end in ends}:
            self.report(path, f"'{node}' cannot stand on the path", "a node with role: host that is no end of the link")
        if len(ends) != 2:
            self.report(path, "a LAN has no path to stand on", "a link with two ends")
            return
        for end in ends:
            own = f"{node}:{through_interface(split_end(end)[0])}"
            if own in seen:
                self.report(path, f"{own} is already on link '{seen[own]}'", "another node on the path")
            seen.setdefault(own, name)

    def node(self, name: str, node: Node) -> None:
        path: DataPath = ("nodes", name)
        for interface in node.interfaces:
            if interface not in self.interfaces[name]:
                self.unknown((*path, "interfaces", interface), "link end", interface, self.interfaces[name])
        for loopback in node.loopbacks:
            if loopback in RESERVED_INTERFACES:
                self.report((*path, "loopbacks", loopback), f"'{loopback}' cannot name a loopback", "another name")
            if loopback in node.interfaces:
                self.report((*path, "loopbacks", loopback), f"'{loopback}' names an interface too", "another name")
        if node.shares and node.role != "fileserver":
            self.report((*path, "shares"), f"a {node.role} shares no files", "role: fileserver")
        if node.drop_private and node.role != "router":
            self.report((*path, "drop_private"), f"a {node.role} forwards nothing", "role: router")
        self._routes(name, node)
        self._files(name, node)

    def kind(self, name: str, node: Node) -> None:
        path: DataPath = ("nodes", name)
        if node.kind == "linux":
            for key in ("config", "flavor"):
                if key in node.model_fields_set:
                    self.report((*path, key), f"a node of kind linux has no '{key}'", "kind: ios")
            return
        for key in sorted(node.model_fields_set & _SAID_BY_IOS):
            self.report((*path, key), f"'{key}' is said by the configuration of a node of kind ios", "its IOS text")
        if node.config is not None:
            self._in_folder((*path, "config"), node.config)

    def _routes(self, name: str, node: Node) -> None:
        for index, route in enumerate(node.routes or []):
            path: DataPath = ("nodes", name, "routes", index, "via")
            if route.via in self.topology.nodes:
                if not self._share_a_link(name, route.via):
                    self.report(path, f"'{route.via}' is on no link of '{name}'", "a neighbour")
                continue
            try:
                ip_address(route.via)
            except ValueError:
                self.unknown(path, "address or node", route.via, self.topology.nodes)

    def _share_a_link(self, one: str, other: str) -> bool:
        nodes = [{split_end(end)[0] for end in link.ends} for link in self.topology.links.values()]
        return any({one, other} <= members for members in nodes)

    def _targets(self, path: DataPath, node: Node) -> None:
        for target in node.files:
            if any(other.startswith(f"{target}/") for other in node.files):
                self.report((*path, target), f"'{target}' cannot be a file and a folder", "another path")
            ike = target == "/etc/strongswan.conf" or target.startswith("/etc/swanctl/")
            if ike and node.role != "router" and node.image is None:
                self.report((*path, target), f"a {node.role} runs no strongSwan", "role: router, or an image")

    def _files(self, name: str, node: Node) -> None:
        path: DataPath = ("nodes", name)
        self._targets((*path, "files"), node)
        for target, file in node.files.items():
            self._in_folder((*path, "files", target, "source"), file.source)
        for hook in ("after_start", "before_stop"):
            script = getattr(node.hooks, hook)
            if script is not None:
                self._in_folder((*path, "hooks", hook), script)
        for share, files in node.shares.items():
            for file_name, shared in files.items():
                here = (*path, "shares", share, file_name)
                if (shared.size is None) == (shared.source is None):
                    self.report(here, "how large the file is, or where it is", "exactly one of 'size' and 'source'")
                elif shared.source is not None:
                    self._in_folder((*here, "source"), shared.source)

    def _in_folder(self, path: DataPath, source: str) -> None:
        file = (self.folder / source).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            self.report(path, f"'{source}' is outside the lab folder", "a path inside it")
        elif not file.is_file():
            siblings = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
            self.report(path, f"there is no file '{source}'", f"a file in {self.folder}", nearest(file.name, siblings))
        elif file.stat().st_size > MAX_SHARED_FILE:
            self.report(path, f"'{source}' is too large", f"at most {MAX_SHARED_FILE} bytes")

    def addresses(self) -> None:
        owners: dict[Address, str] = {}
        for link_name, link in self.topology.links.items():
            for end in link.ends:
                node, interface = split_end(end)
                spec = self.topology.nodes.get(node)
                declared = spec.interfaces.get(interface) if spec else None
                for index, address in enumerate(declared.addresses if declared else []):
                    path: DataPath = ("nodes", node, "interfaces", interface, "addresses", index)
                    self._address(path, end, address, owners)
                    if link.prefixes and address.network not in link.prefixes:
                        prefixes = ", ".join(str(prefix) for prefix in link.prefixes)
                        self.report(path, f"{address} is not of link '{link_name}'", f"an address of {prefixes}")
        for node, spec in self.topology.nodes.items():
            for name, addresses in spec.loopbacks.items():
                for index, address in enumerate(addresses):
                    self._address(("nodes", node, "loopbacks", name, index), f"{node}:{name}", address, owners)
        self._overlaps()

    def _address(self, path: DataPath, owner: str, address: InterfaceAddress, owners: dict[Address, str]) -> None:
        ip, network = address.ip, address.network
        if ip in owners:
            self.report(path, f"{ip} is already the address of {owners[ip]}", "another address")
        owners.setdefault(ip, owner)
        reserved = (network.network_address, network.broadcast_address)
        if ip in reserved and network.version == 4 and network.prefixlen < 31:
            self.report(path, f"{ip} is no host address of {network}", "an address between its first and last")

    def _overlaps(self) -> None:
        seen: list[tuple[str, object]] = []
        for name, link in self.topology.links.items():
            for index, prefix in enumerate(link.prefixes):
                for other_name, other in seen:
                    if getattr(other, "version", 0) == prefix.version and prefix.overlaps(other):  # type: ignore[arg-type]
                        message = f"{prefix} overlaps {other} of link '{other_name}'"
                        self.report(("links", name, "prefixes", index), message, "another prefix")
                seen.append((name, prefix))

    def connection(self, name: str, connection: Connection) -> None:
        path: DataPath = ("ipsec", name)
        if name == "include":
            self.report(path, "'include' cannot name a connection: swanctl.conf has a use for it", "another name")
        if connection.aggressive and connection.version == 2:
            self.report((*path, "aggressive"), "IKEv2 has no aggressive mode", "version: 1, or no 'aggressive'")
        for protocol, options in (("ike", connection.ike), ("esp", connection.esp)):
            for index, proposal in enumerate(options.proposals):
                wrong = check_proposal(proposal, protocol)
                if wrong:
                    expected = "strongSwan keywords such as aes256-sha256-modp2048"
                    self.report((*path, protocol, "proposals", index), wrong[0], expected, wrong[1])
        for peer_name, peer in connection.peers.items():
            self._peer((*path, "peers", peer_name), peer_name, peer.interface, peer.protects)

    def rogue(self) -> None:
        rogue = self.topology.rogue
        if rogue is None:
            return
        node = self.topology.nodes.get(rogue.node)
        if node is None:
            self.unknown(("rogue", "node"), "node", rogue.node, self.topology.nodes)
            return
        for key in ("foreign", "revoked", "other"):
            name = getattr(rogue, key)
            if name not in node.trustpoints:
                self.unknown(("rogue", key), "trustpoint", name, node.trustpoints)
        taps = {link.through for link in self.topology.links.values()}
        if not any(self._share_a_link(rogue.node, tap) for tap in taps if tap):
            message = f"no link leads from '{rogue.node}' to a node on a path"
            self.report(("rogue", "node"), message, "a link to the node that another link goes `through`")

    def faults(self) -> None:
        for name, fault in self.topology.faults.items():
            path: DataPath = ("faults", name)
            links = [*getattr(fault, "links", ()), *([fault.link] if hasattr(fault, "link") else [])]
            for link in links:
                if link not in self.topology.links:
                    key = "link" if hasattr(fault, "link") else "links"
                    self.unknown((*path, key), "link", link, self.topology.links)
            node = getattr(fault, "node", None)
            if node is not None and node not in self.topology.nodes:
                self.unknown((*path, "node"), "node", node, self.topology.nodes)

    def _peer(self, path: DataPath, name: str, interface: str, protects: list[str]) -> None:
        node = self.topology.nodes.get(name)
        if node is None:
            self.unknown(path, "node", name, self.topology.nodes)
            return
        if node.role != "router":
            self.report(path, f"'{name}' is a {node.role}", "a node with role: router")
        faces = self.interfaces[name] - set(node.loopbacks)
        if interface in node.loopbacks:
            expected = f"an interface on a link: {', '.join(sorted(faces))}"
            self.report((*path, "interface"), f"'{interface}' is a loopback, and no guard can watch it", expected)
        elif interface not in faces:
            self.unknown((*path, "interface"), "interface", interface, faces)
        links = [link for link, spec in self.topology.links.items() if name in {split_end(end)[0] for end in spec.ends}]
        for index, selector in enumerate(protects):
            if selector in links:
                continue
            try:
                ip_network(selector)
            except ValueError:
                message = f"'{selector}' is neither a prefix nor a link of '{name}'"
                self.report(
                    (*path, "protects", index), message, f"a prefix, or {', '.join(links)}", nearest(selector, links)
                )

    def expectations(self) -> None:
        manual = any(connection.start == "manual" for connection in self.topology.ipsec.values()) or self._pairs()
        for index, expectation in enumerate(self.topology.expectations):
            path: DataPath = ("expectations", index)
            if isinstance(expectation, Reachability):
                self._endpoints((*path, "from"), expectation.source)
                self._endpoints((*path, "to"), expectation.to)
                if expectation.tunnel != "any" and not manual:
                    message = f"'{expectation.tunnel}' needs a tunnel that the testbed sets up"
                    self.report((*path, "tunnel"), message, "a connection with start: manual, or no 'tunnel' here")
            elif isinstance(expectation, Tunnel):
                known = [*self.topology.ipsec, *self._pairs()]
                self._known((*path, "connection"), "connection", expectation.connection, known)
            elif isinstance(expectation, SameFile):
                self._same_file(path, expectation)
            elif isinstance(expectation, Encrypted):
                self._encrypted(path, expectation)

    def _pairs(self) -> list[str]:
        """The connections that the configurations of two routers may make: named after both."""
        routers = [name for name, node in self.topology.nodes.items() if node.kind == "ios"]
        return [f"{one}-{other}" for at, one in enumerate(routers) for other in routers[at + 1 :]]

    def _known(self, path: DataPath, what: str, word: str, known: Iterable[str]) -> None:
        if word not in known:
            self.unknown(path, what, word, known)

    def _encrypted(self, path: DataPath, expectation: Encrypted) -> None:
        for key in ("link", "control"):
            self._known((*path, key), "link", getattr(expectation, key), self.topology.links)
        if not any(isinstance(other, SameFile) for other in self.topology.expectations):
            self.report(path, "there is no file to look for on the link", "a 'same-file' expectation too")

    def _same_file(self, path: DataPath, expectation: SameFile) -> None:
        self._endpoints((*path, "from"), expectation.source)
        server = self.topology.nodes.get(expectation.server)
        if server is None:
            self.unknown((*path, "server"), "node", expectation.server, self.topology.nodes)
        elif expectation.share not in server.shares:
            self.unknown((*path, "share"), "share", expectation.share, server.shares)
        elif expectation.file not in server.shares[expectation.share]:
            self.unknown((*path, "file"), "file", expectation.file, server.shares[expectation.share])

    def _endpoints(self, path: DataPath, endpoints: list[str]) -> None:
        for index, endpoint in enumerate(endpoints):
            node, interface = split_end(endpoint)
            here: DataPath = (*path, index)
            if node not in self.topology.nodes:
                self.unknown(here, "node", node, self.topology.nodes)
            elif interface and interface not in self.interfaces[node]:
                self.unknown(here, "interface", interface, self.interfaces[node])


def check_addressed(topology: Topology, addressing: Addressing, source: Source) -> None:
    """What can be judged only when every address is planned."""
    for name, connection in topology.ipsec.items():
        outer, inner = [], []
        for node, peer in connection.peers.items():
            outer.append({address.version for address in addressing.interfaces.get((node, peer.interface), ())})
            prefixes = [addressing.prefixes.get(name) or (ip_network(name),) for name in peer.protects]
            inner.append({prefix.version for found in prefixes for prefix in found})
        path: DataPath = ("ipsec", name, "peers")
        if not outer[0] & outer[1]:
            message = "the peers' interfaces have no address family in common"
            source.problems.append(source.problem(path, message, "two IPv4 or two IPv6 addresses"))
        if not inner[0] & inner[1]:
            message = "the peers protect no address family in common"
            source.problems.append(source.problem(path, message, "two IPv4 or two IPv6 selectors"))
    for index, expectation in enumerate(topology.expectations):
        if isinstance(expectation, SameFile) and not list(addressing.of_node(expectation.server)):
            message = f"'{expectation.server}' has no address"
            source.problems.append(source.problem(("expectations", index, "server"), message, "a server on a link"))
