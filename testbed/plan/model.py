"""What is to be created, as plain data: fit to be compared, printed and carried out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.device import ClockConfig, TunnelInterface
    from testbed.topology.addressing import Address, InterfaceAddress, Prefix

__all__ = ["Attachment", "DaemonPlan", "DataPlane", "LinkPlan", "NodeFile", "NodePlan", "Plan", "TunnelPlan"]

DataPlane = Literal["kernel", "userspace"]


@dataclass(frozen=True)
class NodeFile:
    """A file of a node. `content` is never shown."""

    content: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True)
class DaemonPlan:
    """A daemon of a node: started as root. `ready` is a path of the node that it makes when it is ready; without one
    it announces itself by sd_notify(3).
    """

    name: str
    argv: tuple[str, ...]
    log: str | None = None
    ready: str | None = None


@dataclass(frozen=True)
class NodePlan:
    """A container to be."""

    name: str
    hostname: str
    image: str
    capabilities: tuple[str, ...]
    devices: tuple[str, ...]
    sysctls: Mapping[str, str]
    hosts: Mapping[str, str]
    files: Mapping[str, NodeFile]
    loopbacks: tuple[InterfaceAddress, ...]
    routes: tuple[tuple[Prefix, Address, int], ...]  # with the metric
    daemons: tuple[DaemonPlan, ...]
    hooks: tuple[str, ...]
    clock: ClockConfig | None = None
    tunnels: tuple[TunnelInterface, ...] = ()
    tunnel_routes: tuple[tuple[Prefix, str], ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)  # folders that outlive the node: path in it, name
    folders: tuple[str, ...] = ()  # folders of its files in which files come and go while it runs
    startup: str | None = None  # tells one configuration that it boots with from another, where that may change later
    starts_after: tuple[str, ...] = ()  # nodes whose daemons have to be ready before this one's start


@dataclass(frozen=True)
class Attachment:
    """One end of a link: the interface it becomes in its node."""

    node: str
    interface: str
    mac: str
    addresses: tuple[InterfaceAddress, ...]
    enabled: bool = True
    mtu: int | None = None  # where it is not the link's

    @property
    def port(self) -> str:
        """The name of the other end of the pair where the link is a LAN; 15 characters at most, unique in the lab."""
        return "p" + hashlib.sha256(f"{self.node}:{self.interface}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class LinkPlan:
    """A veth pair, or a bridge with a veth pair to each end; through a node two pairs, with a bridge in that node."""

    name: str
    kind: Literal["point-to-point", "lan"]
    mtu: int
    ends: tuple[Attachment, ...]
    through: tuple[Attachment, Attachment] | None = None  # its interfaces, towards the first end and the second

    @property
    def pairs(self) -> tuple[tuple[Attachment, Attachment], ...]:
        """The veth pairs of a point-to-point link."""
        one, other = self.ends
        return ((one, other),) if self.through is None else ((one, self.through[0]), (self.through[1], other))

    @property
    def bridge(self) -> str:
        name = f"br-{self.name}"
        return name if len(name) <= 15 else "b" + hashlib.sha256(self.name.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class TunnelPlan:
    """A connection that the testbed sets up itself, after the checks that want it down."""

    connection: str
    initiator: str
    responder: str
    children: tuple[str, ...]
    on_traffic: bool = False  # it comes by itself, unless its traps are taken away for a while


@dataclass(frozen=True)
class Plan:
    """Everything `up` creates, in an order that works: nodes, links, daemons, tunnels."""

    lab: str
    dataplane: DataPlane
    nodes: Mapping[str, NodePlan]
    links: Mapping[str, LinkPlan]
    tunnels: tuple[TunnelPlan, ...]

    def attachments_of(self, node: str) -> list[tuple[LinkPlan, Attachment]]:
        return [(link, end) for link in self.links.values() for end in link.ends if end.node == node]

    def on_the_path_of(self, node: str) -> list[LinkPlan]:
        """The links that go through a node."""
        return [link for link in self.links.values() if link.through and link.through[0].node == node]

    def digest(self, name: str) -> str:
        """Changes whenever a node would have to be made anew: with its own plan, or with any of its links."""
        node = self.nodes[name]
        links = self.attachments_of(name)
        facts: dict[str, Any] = {
            "image": node.image,
            "capabilities": node.capabilities,
            "devices": node.devices,
            "sysctls": dict(node.sysctls),
            "volumes": dict(node.volumes),
            "links": [[link.name, link.kind, link.mtu, end.interface] for link, end in links],
            "through": [[link.name, link.mtu] for link in self.on_the_path_of(name)],
            "hosts": {
                other: address
                for other, address in node.hosts.items()
                if other in self.nodes and self.nodes[other].startup is None
            },
        }
        if node.startup is not None:  # what else it is, it may change itself
            facts |= {"startup": node.startup, "hooks": node.hooks}
            return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        facts |= {
            "hostname": node.hostname,
            "files": {path: [hashlib.sha256(f.content).hexdigest(), f.mode] for path, f in node.files.items()},
            "daemons": [[daemon.name, *daemon.argv] for daemon in node.daemons],
            "clock": [node.clock.offset_ns, node.clock.at_ns, node.clock.drift_ppm] if node.clock else None,
            "loopbacks": [str(address) for address in node.loopbacks],
            "routes": [[str(prefix), str(gateway), metric] for prefix, gateway, metric in node.routes],
            "addresses": [[str(address) for address in end.addresses] for _, end in links],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON would have it, without the content of any file."""
        return {
            "lab": self.lab,
            "dataplane": self.dataplane,
            "nodes": {name: _node(self, node) for name, node in self.nodes.items()},
            "links": {
                name: {
                    "kind": link.kind,
                    "mtu": link.mtu,
                    "ends": [f"{end.node}:{end.interface}" for end in link.ends],
                    "through": link.through[0].node if link.through else None,
                }
                for name, link in self.links.items()
            },
            "tunnels": [
                {"connection": tunnel.connection, "from": tunnel.initiator, "to": tunnel.responder}
                for tunnel in self.tunnels
            ],
        }


def _node(plan: Plan, node: NodePlan) -> dict[str, Any]:
    return {
        "hostname": node.hostname,
        "image": node.image,
        "capabilities": list(node.capabilities),
        "devices": list(node.devices),
        "interfaces": {
            end.interface: {
                "link": link.name,
                "mac": end.mac,
                "addresses": [str(address) for address in end.addresses],
            }
            for link, end in plan.attachments_of(node.name)
        },
        "loopbacks": [str(address) for address in node.loopbacks],
        "routes": [{"to": str(prefix), "via": str(gateway)} for prefix, gateway, _ in node.routes],
        "files": {path: {"mode": f"{file.mode:04o}", "bytes": len(file.content)} for path, file in node.files.items()},
        "daemons": [daemon.name for daemon in node.daemons],
        "clock": _clock(node),
    }


def _clock(node: NodePlan) -> dict[str, Any] | None:
    clock = node.clock
    if clock is None:
        return None
    begin = {"offset_s": clock.offset_ns / 1e9} if clock.at_ns is None else {"at_s": clock.at_ns / 1e9}
    return {**begin, "drift_ppm": clock.drift_ppm}
