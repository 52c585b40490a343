"""The vendor-neutral configuration of one node.

A front end (native YAML here, Cisco IOS later) produces these; everything after it (files, plans, checks) reads
only these. Names follow the RFCs and strongSwan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from testbed.device.services import CertificateServerConfig, ClockConfig, NtpConfig, TrustpointConfig
    from testbed.topology.addressing import Address, InterfaceAddress, Prefix
    from testbed.topology.secrets import SecretValue

__all__ = [
    "ChildConfig",
    "ConnectionConfig",
    "Device",
    "FilterEntry",
    "IkeEnd",
    "InterfaceConfig",
    "PacketFilter",
    "PortMatch",
    "PreSharedKey",
    "RawFile",
    "Role",
    "ShareContent",
    "SourceNat",
    "StaticNat",
    "StaticRoute",
    "TunnelInterface",
]

Role = Literal["router", "host", "fileserver"]
StartAction = Literal["none", "trap", "start"]


@dataclass(frozen=True)
class InterfaceConfig:
    """An interface that ends a link. `link` is the link's name."""

    name: str
    link: str
    mtu: int
    addresses: tuple[InterfaceAddress, ...]
    enabled: bool = True
    tcp_mss: int | None = None


@dataclass(frozen=True)
class FilterEntry:
    """One line of an access list: what it matches, and its text. Addresses match where `mask` has ones."""

    permit: bool
    protocol: str | None  # as nft names it, or a number; any without
    source: tuple[IPv4Address, IPv4Address]
    target: tuple[IPv4Address, IPv4Address]
    source_ports: PortMatch | None
    target_ports: PortMatch | None
    established: bool
    icmp: tuple[int, int | None] | None  # type and code
    tcp_flags: tuple[str, ...]
    fragments: bool
    text: str


@dataclass(frozen=True)
class PortMatch:
    """Ports from `low` to `high`, or all but those."""

    low: int
    high: int
    negated: bool = False


@dataclass(frozen=True)
class PacketFilter:
    """An access list on an interface; what no entry matches is dropped."""

    interface: str
    direction: Literal["in", "out"]
    name: str
    entries: tuple[FilterEntry, ...]


@dataclass(frozen=True)
class SourceNat:
    """What came in by an `inside` interface and leaves by this one gets its address, if a clause says so.

    The first clause with an entry that permits a packet decides of it: to take it, or to leave it as it is.
    """

    interface: str
    inside: tuple[str, ...]
    clauses: tuple[NatClause, ...]


@dataclass(frozen=True)
class NatClause:
    """One clause of a route-map, or a list alone: what its entries deny goes on to the next one."""

    takes: bool
    list: str
    entries: tuple[FilterEntry, ...]


@dataclass(frozen=True)
class StaticNat:
    """An inside address that is another one outside."""

    interface: str
    inside: IPv4Address
    outside: IPv4Address


@dataclass(frozen=True)
class TunnelInterface:
    """An interface whose packets an IPsec connection protects, whatever their addresses: an XFRM interface.

    `if_id` ties it to the connection (swanctl.conf(5), if_id_in); `source` is the interface that carries it.
    """

    name: str
    if_id: int
    source: str
    addresses: tuple[InterfaceAddress, ...]
    enabled: bool
    mtu: int | None


@dataclass(frozen=True)
class StaticRoute:
    """A route; a default route is the prefix of length 0."""

    destination: Prefix
    gateway: Address
    metric: int = 0


@dataclass(frozen=True)
class PreSharedKey:
    """A key and the identities it is for."""

    name: str
    secret: SecretValue
    identities: tuple[str, ...]


@dataclass(frozen=True)
class IkeEnd:
    """One end of an IKE connection: its address and its identity."""

    address: Address
    identity: str


@dataclass(frozen=True)
class ChildConfig:
    """A CHILD SA to be: traffic selectors, proposals, and when it comes up. Lifetimes in seconds."""

    name: str
    local_selectors: tuple[Prefix, ...]
    remote_selectors: tuple[Prefix, ...]
    proposals: tuple[str, ...]
    lifetime_s: int | None
    start: StartAction
    lifetime_bytes: int | None = None
    transport: bool = False
    replay_window: int | None = None
    inactivity_s: int | None = None
    local_ports: str = ""  # protocol and port of the selectors as strongSwan writes them: `[tcp/80]`
    remote_ports: str = ""


@dataclass(frozen=True)
class ConnectionConfig:
    """An IKE connection as one of its ends sees it. `interface` faces the peer."""

    name: str
    version: Literal[1, 2]
    aggressive: bool
    interface: str
    local: IkeEnd
    remote: IkeEnd
    remote_node: str
    proposals: tuple[str, ...]
    lifetime_s: int | None
    dpd_delay_s: int | None
    initiator: bool
    children: tuple[ChildConfig, ...]
    trustpoint: str | None = None  # signatures, by the certificate of this one; a pre-shared key without
    revocation_optional: bool = False
    if_id: int | None = None  # of the tunnel interface that it protects
    dpd_timeout_s: int | None = None  # of IKEv1; of IKEv2 retransmissions decide
    mobike: bool = True  # IKEv2's own (RFC 4555), which moves to port 4500 at once
    origin: str = ""  # what it was made of where that is no topology: `crypto map SACCO 10`


@dataclass(frozen=True)
class RawFile:
    """A user's own file for a node: its bytes and its permission bits."""

    content: bytes = field(repr=False)
    mode: int


@dataclass(frozen=True)
class ShareContent:
    """The files of an SMB share by name."""

    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Device:
    """All that one node is told to be."""

    name: str
    hostname: str
    role: Role
    image: str | None
    interfaces: tuple[InterfaceConfig, ...]
    loopbacks: tuple[InterfaceAddress, ...]
    routes: tuple[StaticRoute, ...]
    drop_private: bool
    connections: tuple[ConnectionConfig, ...]
    keys: tuple[PreSharedKey, ...]
    shares: Mapping[str, ShareContent]
    files: Mapping[str, RawFile]
    hooks: Mapping[str, bytes]
    clock: ClockConfig | None = None
    ntp: NtpConfig | None = None
    certificate_server: CertificateServerConfig | None = None
    trustpoints: tuple[TrustpointConfig, ...] = ()
    filters: tuple[PacketFilter, ...] = ()
    source_nat: tuple[SourceNat, ...] = ()
    static_nat: tuple[StaticNat, ...] = ()
    tunnels: tuple[TunnelInterface, ...] = ()
    tunnel_routes: tuple[tuple[Prefix, str], ...] = ()  # routes over a tunnel interface
    flavor: Literal["ios15", "iosxe17"] | None = None  # of a node that is configured by IOS text

    @property
    def is_ios(self) -> bool:
        """Whether its configuration may change while it runs."""
        return self.flavor is not None

    @property
    def forwards(self) -> bool:
        return self.role == "router"

    @property
    def initiates_at_once(self) -> bool:
        """Whether its daemon calls its peers as soon as it starts; charon calls once, and a peer has to be there."""
        return any(child.start == "start" for connection in self.connections for child in connection.children)

    @property
    def has_own_connections(self) -> bool:
        """Whether connections may be loaded here that the topology does not know."""
        return any(path.startswith("/etc/swanctl/") and path.endswith(".conf") for path in self.files)

    @property
    def runs_ike(self) -> bool:
        """Whether charon runs here: the node has connections, or a strongSwan configuration of its own."""
        return (
            bool(self.connections)
            or bool(self.trustpoints)
            or self.is_ios
            or any(path == "/etc/strongswan.conf" or path.startswith("/etc/swanctl/") for path in self.files)
        )
