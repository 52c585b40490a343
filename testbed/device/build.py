"""From a topology to a device for each of its nodes."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from testbed.device.build_services import build_certificate_server, build_clock, build_ntp, build_trustpoints
from testbed.device.ios import Context, compile_device
from testbed.device.model import (
    ChildConfig,
    ConnectionConfig,
    Device,
    IkeEnd,
    InterfaceConfig,
    PreSharedKey,
    RawFile,
    ShareContent,
    StaticRoute,
)
from testbed.names import show_name
from testbed.topology import split_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.device.model import StartAction
    from testbed.topology import LoadedTopology
    from testbed.topology.addressing import Address, Prefix
    from testbed.topology.models import Connection, Node, SharedFile

__all__ = ["build_devices", "router_context", "shared_bytes"]

_START: dict[str, StartAction] = {"manual": "none", "on-traffic": "trap", "at-once": "start"}
_DEFAULTS = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def build_devices(loaded: LoadedTopology, known: Mapping[str, Device] | None = None) -> dict[str, Device]:
    """A device for each node, in the order of the topology. Of `known` ones, only routers of kind ios are made anew."""
    builder = _Builder(loaded)
    return {
        name: known[name] if known and node.kind != "ios" else builder.device(name, node)
        for name, node in loaded.topology.nodes.items()
    }


def shared_bytes(node: str, share: str, name: str, size: int) -> bytes:
    """The content of a generated file: the same for the same names and size, incompressible, and like no other."""
    seed = f"{node}/{share}/{name}".encode()
    return hashlib.shake_256(seed).digest(size)


def router_context(loaded: LoadedTopology, name: str) -> Context:
    """What compiling a router's configuration has to know of the lab around it."""
    owners = {address.ip: node for (node, _), found in loaded.addressing.interfaces.items() for address in found}
    servers = {other for other, node in loaded.topology.nodes.items() if node.certificate_server}
    return Context(
        node=name,
        configuration=loaded.configurations[name],
        flavor=loaded.topology.nodes[name].flavor,
        owners=owners,
        order=tuple(loaded.topology.nodes),
        authorities=loaded.authorities | servers,
    )


class _Builder:
    def __init__(self, loaded: LoadedTopology) -> None:
        self._loaded = loaded
        self._topology = loaded.topology
        self._addressing = loaded.addressing

    def device(self, name: str, node: Node) -> Device:
        return self._router(name, node) if node.kind == "ios" else self._linux(name, node)

    def _router(self, name: str, node: Node) -> Device:
        """From IOS text. What has no effect of it, `testbed ios check` tells."""
        loaded = self._loaded
        links = [
            (link_name, interface, link.mtu)
            for link_name, link in self._topology.links.items()
            for owner, interface in map(split_end, link.ends)
            if owner == name
        ]
        image = node.image or ("ca" if name in loaded.authorities else None)
        device = compile_device(router_context(loaded, name), links=links, clock=build_clock(node), image=image)
        return replace(device, files=self._files(node), hooks=self._hooks(node))

    def _linux(self, name: str, node: Node) -> Device:
        connections, keys = self._ike(name)
        return Device(
            name=name,
            hostname=node.hostname or name,
            role=node.role,
            image=node.image,
            interfaces=tuple(self._interfaces(name)),
            loopbacks=tuple(address for addresses in node.loopbacks.values() for address in addresses),
            routes=tuple(self._routes(name, node)),
            drop_private=node.drop_private,
            connections=connections,
            keys=keys,
            shares={share: self._share(name, share, files) for share, files in node.shares.items()},
            files=self._files(node),
            hooks=self._hooks(node),
            clock=build_clock(node),
            ntp=build_ntp(self._loaded, name, node),
            certificate_server=build_certificate_server(self._loaded, name, node),
            trustpoints=build_trustpoints(self._loaded, name, node),
        )

    def _files(self, node: Node) -> dict[str, RawFile]:
        return {path: RawFile(self._read(file.source), int(file.mode, 8)) for path, file in node.files.items()}

    def _hooks(self, node: Node) -> dict[str, bytes]:
        scripts = {"after_start": node.hooks.after_start, "before_stop": node.hooks.before_stop}
        return {hook: self._read(script) for hook, script in scripts.items() if script is not None}

    def _read(self, source: str) -> bytes:
        return (self._loaded.folder / source).read_bytes()

    def _interfaces(self, name: str) -> Iterator[InterfaceConfig]:
        for link_name, link in self._topology.links.items():
            for node, interface in map(split_end, link.ends):
                if node == name:
                    addresses = self._addressing.interfaces[node, interface]
                    yield InterfaceConfig(interface, link_name, link.mtu, addresses)

    def _routes(self, name: str, node: Node) -> Iterator[StaticRoute]:
        if node.routes is None:
            if node.role != "router":
                yield from self._default_routes(name)
            return
        for route in node.routes:
            wanted = _DEFAULTS if route.to == "default" else (route.to,)
            gateways = self._gateways(name, route.via)
            for destination in wanted:
                for gateway in gateways:
                    if gateway.version == destination.version:
                        yield StaticRoute(destination, gateway)
                        break

    def _gateways(self, name: str, via: str) -> list[Address]:
        if via not in self._topology.nodes:
            return [ip_address(via)]
        return list(self._neighbour_addresses(name, via))

    def _neighbour_addresses(self, name: str, neighbour: str) -> Iterator[Address]:
        for link in self._topology.links.values():
            members = dict(map(split_end, link.ends))
            if name in members and neighbour in members and name != neighbour:
                for address in self._addressing.interfaces[neighbour, members[neighbour]]:
                    yield address.ip

    def _default_routes(self, name: str) -> Iterator[StaticRoute]:
        """To the first router of the first link that has one, for each family that both have there."""
        for link in self._topology.links.values():
            members = dict(map(split_end, link.ends))
            routers = [node for node in members if self._topology.nodes[node].role == "router"]
            if name not in members or not routers:
                continue
            own = {address.version for address in self._addressing.interfaces[name, members[name]]}
            for address in self._addressing.interfaces[routers[0], members[routers[0]]]:
                if address.version in own:
                    yield StaticRoute(_DEFAULTS[0 if address.version == 4 else 1], address.ip)
            return

    def _share(self, node: str, share: str, files: dict[str, SharedFile]) -> ShareContent:
        return ShareContent(
            {
                name: self._read(file.source) if file.source else shared_bytes(node, share, name, file.size or 0)
                for name, file in files.items()
            }
        )

    def _ike(self, name: str) -> tuple[tuple[ConnectionConfig, ...], tuple[PreSharedKey, ...]]:
        connections: list[ConnectionConfig] = []
        keys: list[PreSharedKey] = []
        for connection_name, connection in self._topology.ipsec.items():
            if name in connection.peers:
                config = self._connection(connection_name, connection, name)
                connections.append(config)
                secret = self._loaded.secrets.get(("ipsec", connection_name, "authentication", "secret"))
                if secret is not None and connection.authentication.method == "psk":
                    keys.append(PreSharedKey(connection_name, secret, (config.local.identity, config.remote.identity)))
        return tuple(connections), tuple(keys)

    def _connection(self, name: str, connection: Connection, local: str) -> ConnectionConfig:
        first, second = connection.peers
        remote = second if local == first else first
        version = self._common_version(connection, first, second)
        return ConnectionConfig(
            name=name,
            version=connection.version,
            aggressive=connection.aggressive,
            interface=connection.peers[local].interface,
            local=self._ike_end(connection, local, version),
            remote=self._ike_end(connection, remote, version),
            remote_node=remote,
            proposals=tuple(connection.ike.proposals),
            lifetime_s=connection.ike.lifetime,
            dpd_delay_s=connection.dpd_delay,
            initiator=local == first,
            children=tuple(self._children(name, connection, local, remote)),
            trustpoint=self._trustpoint(connection, local),
            revocation_optional=self._revocation_optional(connection, local),
        )

    def _revocation_optional(self, connection: Connection, node: str) -> bool:
        name = self._trustpoint(connection, node)
        return name is not None and "none" in self._topology.nodes[node].trustpoints[name].revocation_check

    def _trustpoint(self, connection: Connection, node: str) -> str | None:
        if connection.authentication.method == "psk":
            return None
        return connection.peers[node].trustpoint or next(iter(self._topology.nodes[node].trustpoints))

    def _common_version(self, connection: Connection, first: str, second: str) -> int:
        families = [
            {address.version for address in self._addressing.interfaces[node, connection.peers[node].interface]}
            for node in (first, second)
        ]
        return min(families[0] & families[1], default=4)

    def _ike_end(self, connection: Connection, node: str, version: int) -> IkeEnd:
        peer = connection.peers[node]
        addresses = self._addressing.interfaces[node, peer.interface]
        address = next((item.ip for item in addresses if item.version == version), addresses[0].ip)
        return IkeEnd(address, self._identity(connection, node) or str(address))

    def _identity(self, connection: Connection, node: str) -> str | None:
        """As written; with a certificate a name that it holds."""
        wanted, name = connection.peers[node].identity, self._trustpoint(connection, node)
        if name is None or wanted not in (None, "dn"):
            return wanted
        trustpoints = build_trustpoints(self._loaded, node, self._topology.nodes[node])
        trustpoint = next(trustpoint for trustpoint in trustpoints if trustpoint.name == name)
        return show_name(trustpoint.subject) if wanted == "dn" else trustpoint.fqdn

    def _children(self, name: str, connection: Connection, local: str, remote: str) -> Iterator[ChildConfig]:
        """One CHILD SA; in IKEv1 one for each pair of selectors, since Quick Mode carries a single pair (RFC 2409)."""
        ours, theirs = self._selectors(connection, local), self._selectors(connection, remote)
        initiates = local == next(iter(connection.peers))
        # Both ends must number the pairs alike, so the initiator's selectors are the outer loop at both.
        outer, inner = (ours, theirs) if initiates else (theirs, ours)
        pairs = [(one, other) for one in outer for other in inner if one.version == other.version]
        swap = outer is theirs
        if connection.version == 2:
            yield self._child(name, connection, tuple(ours), tuple(theirs), initiates=initiates)
            return
        for number, (one, other) in enumerate(pairs, start=1):
            mine, its = (other, one) if swap else (one, other)
            yield self._child(
                name if len(pairs) == 1 else f"{name}-{number}", connection, (mine,), (its,), initiates=initiates
            )

    def _child(
        self,
        name: str,
        connection: Connection,
        local: tuple[Prefix, ...],
        remote: tuple[Prefix, ...],
        *,
        initiates: bool,
    ) -> ChildConfig:
        esp = connection.esp
        start = _START[connection.start]
        if start == "start" and not initiates:
            start = "none"  # both ends at once would set up everything twice
        return ChildConfig(name, local, remote, tuple(esp.proposals), esp.lifetime, start)

    def _selectors(self, connection: Connection, node: str) -> list[Prefix]:
        found: list[Prefix] = []
        for selector in connection.peers[node].protects:
            if selector in self._topology.links:
                found += self._addressing.prefixes[selector]
            else:
                found.append(ipaddress.ip_network(selector))
        return list(dict.fromkeys(found))
