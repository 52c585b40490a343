"""What a topology file may say. The descriptions here are the reference that users read.

Everything is checked for its form here; what needs more than one place of the file to be judged is checked in
`testbed.topology.check`.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from testbed.ios.names import is_ios_name, parse_interface
from testbed.topology.faults import Fault
from testbed.topology.secrets import SecretSource
from testbed.topology.services import CertificateServer, Clock, Ntp, ServerName, Trustpoint
from testbed.topology.values import Duration, Identity, Number, Size, list_of_one, text_only

__all__ = [
    "Authentication",
    "Certified",
    "Connection",
    "Encrypted",
    "Expectation",
    "FileSource",
    "Hooks",
    "Interface",
    "Link",
    "Node",
    "Parameter",
    "Peer",
    "ProtocolOptions",
    "Reachability",
    "Rogue",
    "Route",
    "SameFile",
    "SharedFile",
    "Synchronised",
    "Topology",
    "Tunnel",
    "Variant",
]

Address = IPv4Interface | IPv6Interface
Prefix = IPv4Network | IPv6Network
Scalar = str | int | bool


def _node_path(value: str) -> str:
    parts = value.split("/")
    if not value.startswith("/") or len(parts) < 3 or any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError("is no absolute path of a file below a directory")
    return value


def _linux_interface(value: Any) -> Any:
    """`kisii:GigabitEthernet0/0` is the interface that Linux calls gi0-0."""
    if not isinstance(value, str):
        return value
    node, separator, interface = value.partition(":")
    if separator and is_ios_name(interface):
        return f"{node}:{parse_interface(interface).linux}"
    return value


NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
LabName = NodeName
LinkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,14}$")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]
Hostname = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$")]
End = Annotated[str, BeforeValidator(_linux_interface), StringConstraints(pattern=r"^[a-z0-9-]+:[a-zA-Z0-9_-]+$")]
Endpoint = Annotated[
    str, BeforeValidator(_linux_interface), StringConstraints(pattern=r"^[a-z0-9-]+(:[a-zA-Z0-9_-]+)?$")
]
ShareName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,11}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
NodePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+$", max_length=200), AfterValidator(_node_path)]
Mtu = Annotated[int, Field(ge=576, le=65535)]
Endpoints = Annotated[list[Endpoint], BeforeValidator(list_of_one), Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(_Model):
    """A value of the topology that `--set NAME=VALUE` changes. `${NAME}` anywhere in the file stands for it."""

    description: str = ""
    default: Annotated[Scalar | SecretSource, Field(description="The value when nothing is set.", repr=False)]
    choices: Annotated[list[Scalar] | None, Field(description="The only values allowed.")] = None
    secret: Annotated[
        bool, Field(description="Never shown, and set only as env:NAME or file:PATH, never in clear.")
    ] = False


class Variant(_Model):
    """A named set of parameter values, chosen with `--variant NAME`."""

    description: str = ""
    set: Annotated[dict[ParameterName, Scalar], Field(description="Parameter values of this variant.")]


class Interface(_Model):
    """An interface of a node. Those named in links need not be listed, unless something is to be said of them."""

    addresses: Annotated[
        list[Address],
        Field(description="With prefix length. Planned from the link's prefixes when left out."),
    ] = []


class Route(_Model):
    """A static route."""

    to: Annotated[Prefix | Literal["default"], Field(description="A prefix, or `default` (both families).")]
    via: Annotated[str, Field(description="The next hop: an address, or a node on a link of this one.")]


class FileSource(_Model):
    """A file of the lab folder that is placed in a node."""

    source: Annotated[str, Field(min_length=1, description="Path relative to the lab folder, inside it.")]
    mode: Annotated[str, StringConstraints(pattern=r"^0[0-7]{3}$"), Field(description="Permission bits, octal.")] = (
        "0600"
    )


class Hooks(_Model):
    """Executables of the lab folder that run inside the node as root; a non-zero exit is an error."""

    after_start: Annotated[str | None, Field(description="Runs when the node's links and daemons are up.")] = None
    before_stop: Annotated[str | None, Field(description="Runs before the node is stopped or removed.")] = None


class SharedFile(_Model):
    """A file that a file server offers: made of pseudo-random bytes of a given size, or taken from the lab folder."""

    size: Annotated[Size | None, Field(description="Bytes, or with unit: `256KiB`, `1MiB`.")] = None
    source: Annotated[str | None, Field(description="Path relative to the lab folder, inside it.")] = None


class Node(_Model):
    """A machine of the lab."""

    kind: Annotated[
        Literal["linux", "ios"],
        Field(
            description="How the node is configured: by this file, or by Cisco IOS text, and then also while it runs."
        ),
    ] = "linux"
    config: Annotated[
        str | None,
        Field(
            min_length=1,
            description="The start-up configuration of a node of kind `ios`, in the lab folder. `${NAME}` in it stands "
            "for a parameter. Without one the router is bare.",
        ),
    ] = None
    flavor: Annotated[
        Literal["ios15", "iosxe17"],
        Field(description="Which IOS a node of kind `ios` speaks: its texts and its defaults."),
    ] = "ios15"
    role: Annotated[
        Literal["router", "host", "fileserver"],
        Field(description="What it is: forwards packets and speaks IKE; only uses the network; serves files by SMB."),
    ] = "host"
    hostname: Annotated[Hostname | None, Field(description="Shown inside the node; its name when left out.")] = None
    image: Annotated[
        str | None,
        Field(
            min_length=1,
            description="An image of your own instead of the role's; it must hold the same programs.",
        ),
    ] = None
    interfaces: dict[InterfaceName, Interface] = {}
    loopbacks: Annotated[
        dict[InterfaceName, list[Address]],
        Field(description="Addresses that belong to no link, by loopback name."),
    ] = {}
    routes: Annotated[
        list[Route] | None,
        Field(description="Static routes. A host without any gets a default route to the router of its link."),
    ] = None
    drop_private: Annotated[
        bool,
        Field(description="Forward no packet from or to private addresses (RFC 1918, RFC 4193), as a provider does."),
    ] = False
    shares: Annotated[
        dict[ShareName, dict[FileName, SharedFile]],
        Field(description="SMB shares of a file server and their files."),
    ] = {}
    files: Annotated[
        dict[NodePath, FileSource],
        Field(
            description="Files placed in the node, by absolute path. `/etc/swanctl/swanctl.conf` replaces the rendered "
            "one; `/etc/strongswan.conf` is read after the rendered one and so overrides it."
        ),
    ] = {}
    hooks: Hooks = Hooks()
    clock: Annotated[
        Clock | None, Field(description="A wall clock of its own. One that is right, if it only speaks NTP.")
    ] = None
    ntp: Ntp | None = None
    certificate_server: CertificateServer | None = None
    trustpoints: Annotated[
        dict[ServerName, Trustpoint], Field(description="CAs that a router trusts and enrols with, by name.")
    ] = {}


class Link(_Model):
    """A point-to-point link (two ends) or a LAN (more)."""

    ends: Annotated[list[End], Field(min_length=2, description="`node:interface`, two or more.")]
    prefixes: Annotated[
        list[Prefix], Field(description="At most one of each family. Planned from the zone when left out.")
    ] = []
    zone: Annotated[
        Literal["public", "private"],
        Field(description="Public links get documentation prefixes (RFC 5737, RFC 3849), private ones RFC 1918."),
    ] = "private"
    mtu: Mtu = 1500
    through: Annotated[
        NodeName | None,
        Field(
            description="A host that stands on the path of a point-to-point link, as a wiretap does: it has an "
            "interface towards each end, `to-` and the end's node, bridges them, and has no address on the link."
        ),
    ] = None


class ProtocolOptions(_Model):
    """Algorithms and lifetime of IKE SAs or of CHILD SAs."""

    proposals: Annotated[
        list[str],
        BeforeValidator(list_of_one),
        Field(min_length=1, description="strongSwan keywords joined by '-'."),
    ]
    lifetime: Annotated[
        Duration | None,
        Field(description="Rekeyed before this age: `24h`, `3600`. strongSwan's default if left out."),
    ] = None


class Authentication(_Model):
    """How the peers prove who they are."""

    method: Annotated[
        Literal["psk", "rsa-sig", "ecdsa-sig"],
        Field(description="A pre-shared key, or signatures by the keys of enrolled certificates."),
    ] = "psk"
    secret: Annotated[
        str | SecretSource | None,
        Field(description="The pre-shared key: literal text, or where it is. Only `psk` uses it.", repr=False),
    ] = None


class Peer(_Model):
    """One end of an IPsec connection."""

    interface: Annotated[InterfaceName, Field(description="The interface that faces the peer.")]
    protects: Annotated[
        list[Annotated[str, BeforeValidator(text_only)]],
        Field(min_length=1, description="Traffic selectors: prefixes, or names of links of this node."),
    ]
    identity: Annotated[
        Identity | None,
        Field(
            description="IKE identity. When left out, the address; with a certificate its FQDN. `dn` is the "
            "certificate's whole subject."
        ),
    ] = None
    trustpoint: Annotated[
        ServerName | None, Field(description="Whose certificate it shows; the node's only one when left out.")
    ] = None


_EXCHANGES = {"ikev1-main": (1, False), "ikev1-aggressive": (1, True), "ikev2": (2, False)}


class Connection(_Model):
    """An IPsec connection between two routers, with selectors as in a crypto map."""

    version: Annotated[Literal[1, 2], Field(description="IKE version.")] = 2
    aggressive: Annotated[bool, Field(description="IKEv1 aggressive mode instead of main mode.")] = False
    exchange: Annotated[
        Literal["ikev1-main", "ikev1-aggressive", "ikev2"] | None,
        Field(description="Version and mode in one word, instead of `version` and `aggressive`."),
    ] = None
    authentication: Authentication
    ike: ProtocolOptions = ProtocolOptions(proposals=["aes256-sha256-modp2048"])
    esp: ProtocolOptions = ProtocolOptions(proposals=["aes256-sha256"])
    start: Annotated[
        Literal["manual", "on-traffic", "at-once"],
        Field(description="When the tunnel is set up. `manual`: by the testbed, after the checks without it."),
    ] = "manual"
    dpd_delay: Annotated[Duration | None, Field(description="Liveness checks after this silence.")] = None
    peers: Annotated[
        dict[NodeName, Peer],
        Field(min_length=2, max_length=2, description="Two routers; the first one initiates."),
    ]

    @model_validator(mode="before")
    @classmethod
    def one_word(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("exchange") not in _EXCHANGES:
            return data
        if "version" in data or "aggressive" in data:
            raise ValueError("names 'exchange' beside 'version' or 'aggressive'")
        version, aggressive = _EXCHANGES[data["exchange"]]
        return {**data, "version": version, "aggressive": aggressive}


State = Annotated[
    Literal["any", "down", "up"],
    Field(description="When it must hold: before the tunnels are set up, after, or both."),
]


class Reachability(_Model):
    """ICMP echo (or a TCP connection) from each `from` to each `to` passes, or does not.

    To every address of `node:interface`; of a bare `node`, to those of its first interface.
    """

    expect: Literal["reachable", "unreachable"]
    source: Annotated[Endpoints, Field(alias="from", description="Nodes, or node:interface for the source address.")]
    to: Annotated[Endpoints, Field(description="Nodes, or node:interface.")]
    tcp: Annotated[
        int | None,
        Field(ge=1, le=65535, description="Try a TCP connection to this port instead of ICMP echo."),
    ] = None
    tunnel: State = "any"


class Tunnel(_Model):
    """The connection's SAs are up at both ends, with exactly the version, proposals and selectors configured."""

    expect: Literal["tunnel"]
    connection: LinkName


class SameFile(_Model):
    """A file read over SMB has the checksum it has on the server, for each `from`."""

    expect: Literal["same-file"]
    source: Annotated[Endpoints, Field(alias="from", description="Nodes that fetch it.")]
    server: NodeName
    share: ShareName
    file: FileName


class Encrypted(_Model):
    """While a tunnel is set up and the `same-file` expectations run, the link carries IKE and ESP, and no byte of any
    file fetched nor any private address. A capture of the `control` link, where the files do pass in clear, shows
    that this would have been seen.
    """

    expect: Literal["encrypted"]
    link: LinkName
    control: Annotated[LinkName, Field(description="A link on which the same files are to be seen in clear.")]


class Synchronised(_Model):
    """The clocks of these nodes are set by NTP, at this stratum, and right to within this much."""

    expect: Literal["synchronised"]
    nodes: Annotated[list[NodeName], BeforeValidator(list_of_one), Field(min_length=1)]
    stratum: Annotated[int | None, Field(ge=1, le=15, description="Any when left out.")] = None
    within_ms: Annotated[Number, Field(gt=0, le=60000, description="Milliseconds from the host's clock.")] = 50.0


class Certified(_Model):
    """These nodes have a certificate of the trustpoint's CA: valid now by their own clocks, for the key they hold, with
    the names configured, and not revoked.
    """

    expect: Literal["certificate"]
    nodes: Annotated[list[NodeName], BeforeValidator(list_of_one), Field(min_length=1)]
    trustpoint: Annotated[ServerName | None, Field(description="All of each node when left out.")] = None


Expectation = Annotated[
    Reachability | Tunnel | SameFile | Encrypted | Synchronised | Certified, Field(discriminator="expect")
]


class Rogue(_Model):
    """A router that plays a peer it is not, for `testbed prove`. A link leads from it to the node on the path."""

    node: NodeName
    foreign: Annotated[
        ServerName, Field(description="Its trustpoint with a certificate, for the peer's name, of another CA.")
    ]
    revoked: Annotated[ServerName, Field(description="With one of the peers' CA, for the peer's name; it is revoked.")]
    other: Annotated[ServerName, Field(description="With one of the peers' CA, for another name.")]


class Topology(_Model):
    """A lab: nodes, links, IPsec connections, and what is expected of them."""

    version: Annotated[Literal[1], Field(description="The version of this format.")]
    name: Annotated[LabName | None, Field(description="The folder's name when left out.")] = None
    title: str = ""
    description: str = ""
    parameters: dict[ParameterName, Parameter] = {}
    variants: dict[LinkName, Variant] = {}
    dataplane: Annotated[
        Literal["auto", "kernel", "userspace"],
        Field(description="Who does ESP: the kernel (XFRM), charon over TUN, or the kernel if it can."),
    ] = "auto"
    nodes: Annotated[dict[NodeName, Node], Field(min_length=1)]
    links: dict[LinkName, Link] = {}
    ipsec: Annotated[dict[LinkName, Connection], Field(description="IPsec connections by name.")] = {}
    rogue: Rogue | None = None
    faults: Annotated[dict[LinkName, Fault], Field(description="Faults by name, for `testbed fault`.")] = {}
    expectations: list[Expectation] = []
