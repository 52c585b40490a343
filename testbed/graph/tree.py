"""A lab as a tree that can be drawn: from its core outwards, each node and link once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.device import build_devices
from testbed.topology import split_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.topology import LoadedTopology

__all__ = ["GraphLink", "GraphNode", "lab_trees", "tunnels"]


@dataclass
class GraphNode:
    """A node, the links that lead away from the core, and `(interface, addresses)` for each of its interfaces.

    `services` is what it is beside its role.
    """

    name: str
    role: str
    hostname: str
    addresses: list[tuple[str, list[str]]]
    services: list[str] = field(default_factory=list)
    links: list[GraphLink] = field(default_factory=list)

    @property
    def what(self) -> str:
        return ", ".join([self.role, *self.services])

    def walk(self) -> Iterator[GraphNode]:
        yield self
        for link in self.links:
            for node in link.nodes:
                yield from node.walk()


@dataclass
class GraphLink:
    """A link with the nodes beyond it; `again` names those that stand elsewhere in the tree already.

    `through` is the node on its path, if it has one.
    """

    name: str
    prefixes: list[str]
    zone: str
    lan: bool
    through: str | None = None
    nodes: list[GraphNode] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


def lab_trees(loaded: LoadedTopology) -> list[GraphNode]:
    """A tree for each part of the lab that hangs together; the root of each has the most links to routers.

    A node that is on the path of links and an end of none stands in no tree but on those links.
    """
    members = {name: [split_end(end)[0] for end in link.ends] for name, link in loaded.topology.links.items()}
    on_path = {link.through for link in loaded.topology.links.values()} - {
        end for ends in members.values() for end in ends
    }
    nodes = {name: _node(loaded, name) for name in loaded.topology.nodes if name not in on_path}
    placed: set[str] = set()
    trees: list[GraphNode] = []
    while len(placed) < len(nodes):
        root = max((name for name in nodes if name not in placed), key=lambda name: _weight(loaded, members, name))
        trees.append(nodes[root])
        placed.add(root)
        _grow(loaded, nodes, members, placed, root)
    return trees


def _grow(
    loaded: LoadedTopology,
    nodes: dict[str, GraphNode],
    members: dict[str, list[str]],
    placed: set[str],
    root: str,
) -> None:
    drawn: set[str] = set()
    waiting = deque([root])
    while waiting:
        here = waiting.popleft()
        for name, ends in members.items():
            if here not in ends or name in drawn:
                continue
            drawn.add(name)
            link = loaded.topology.links[name]
            prefixes = [str(prefix) for prefix in loaded.addressing.prefixes[name]]
            graph_link = GraphLink(name, prefixes, link.zone, lan=len(link.ends) > 2, through=link.through)
            for other in ends:
                if other == here:
                    continue
                if other in placed:
                    graph_link.again.append(other)
                    continue
                placed.add(other)
                graph_link.nodes.append(nodes[other])
                waiting.append(other)
            nodes[here].links.append(graph_link)


def _weight(loaded: LoadedTopology, members: dict[str, list[str]], name: str) -> tuple[bool, int, int]:
    neighbours = [other for ends in members.values() if name in ends for other in ends if other != name]
    routers = sum(loaded.topology.nodes[other].role == "router" for other in neighbours)
    return loaded.topology.nodes[name].role == "router", routers, len(neighbours)


def _node(loaded: LoadedTopology, name: str) -> GraphNode:
    spec = loaded.topology.nodes[name]
    addresses: dict[str, list[str]] = {}
    for interface, address in loaded.addressing.of_node(name):
        addresses.setdefault(interface, []).append(str(address))
    services = [
        *(["CA"] if spec.certificate_server else []),
        *(["time server"] if spec.ntp and spec.ntp.master is not None else ["NTP"] if spec.ntp else []),
    ]
    hostname = spec.hostname or name
    configuration = loaded.configurations.get(name)
    if configuration is not None:
        hostname = configuration.hostname
        services = ["IOS", *(["CA"] if configuration.all("crypto pki server") else [])]
        services += ["NTP"] if configuration.all("ntp server") else []
    return GraphNode(name, spec.role, hostname, list(addresses.items()), services)


def tunnels(loaded: LoadedTopology) -> list[tuple[str, int, str, str]]:
    """Each IPsec connection: its name, its IKE version, its two ends. Of routers, those that both ends configure."""
    found: list[tuple[str, int, str, str]] = []
    for name, item in loaded.topology.ipsec.items():
        one, other_end = item.peers
        found.append((name, item.version, one, other_end))
    if loaded.configurations:
        devices = build_devices(loaded)
        for device in devices.values():
            for connection in device.connections:
                other = devices.get(connection.remote_node)
                if connection.initiator and other and any(item.name == connection.name for item in other.connections):
                    row = (connection.name, connection.version, device.name, other.name)
                    found += [row] if row[0] not in loaded.topology.ipsec else []
    return found
