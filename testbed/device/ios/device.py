"""A whole router."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import TYPE_CHECKING

from testbed.device.ios.crypto import compile_crypto
from testbed.device.ios.lists import access_list
from testbed.device.ios.pki import compile_certificate_server, compile_trustpoints
from testbed.device.ios.tunnels import compile_tunnels
from testbed.device.model import (
    Device,
    InterfaceConfig,
    NatClause,
    PacketFilter,
    SourceNat,
    StaticNat,
    StaticRoute,
)
from testbed.device.services import ClockConfig, NtpConfig, NtpKeyConfig, NtpServerConfig
from testbed.ios.addresses import interface_addresses, loopback_addresses
from testbed.ios.arguments import netmask_prefix
from testbed.ios.passwords import decoded
from testbed.topology.secrets import SecretValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.device.ios.context import Context
    from testbed.device.model import TunnelInterface
    from testbed.ios.configuration import Configuration, Statement

__all__ = ["compile_device"]

_NTP_TYPES = {"md5": "md5", "sha1": "sha1", "cmac-aes-128": "aes128", "hmac-sha2-256": "sha256"}
_MASTER_STRATUM = 8  # of `ntp master` without a number


def compile_device(
    context: Context, *, links: Sequence[tuple[str, str, int]], clock: ClockConfig | None, image: str | None
) -> Device:
    """`links` are the link, the interface and the MTU of each end that the node has."""
    configuration = context.configuration
    interfaces = tuple(_interfaces(context, links))
    trustpoints = compile_trustpoints(context)
    tunnels = compile_tunnels(context, interfaces)
    connections, keys = compile_crypto(context, interfaces, trustpoints, tunnels)
    return Device(
        name=context.node,
        hostname=configuration.hostname,
        role="router",
        image=image,
        interfaces=interfaces,
        loopbacks=tuple(item for items in loopback_addresses(configuration).values() for item in items),
        routes=tuple(_routes(context)),
        drop_private=False,
        connections=connections,
        keys=keys,
        shares={},
        files={},
        hooks={},
        clock=clock or ClockConfig(),
        ntp=_ntp(context),
        certificate_server=compile_certificate_server(context, interfaces),
        trustpoints=trustpoints,
        filters=tuple(_filters(context, interfaces)),
        source_nat=tuple(_source_nat(context, interfaces)),
        static_nat=tuple(_static_nat(context)),
        tunnels=tunnels,
        tunnel_routes=tuple(_tunnel_routes(context, tunnels)),
        flavor=context.flavor,
    )


def _interfaces(context: Context, links: Sequence[tuple[str, str, int]]) -> Iterator[InterfaceConfig]:
    sections = {section.get("interface").linux: section for section in context.configuration.all("interface")}
    addresses = interface_addresses(context.configuration)
    for link, name, mtu in links:
        section = sections.get(name)
        if section is None:
            yield InterfaceConfig(name, link, mtu, (), enabled=False)
            continue
        own = section.value("mtu", "mtu", mtu)
        mss = section.value("ip tcp adjust-mss", "mss")
        yield InterfaceConfig(name, link, min(own, mtu), addresses.get(name, ()), not section.says("shutdown"), mss)
    known = {name for _, name, _ in links}
    for name, section in sections.items():
        base = name.partition(".")[0]
        if base not in known and not base.startswith(("lo", "tu", "vl")) and addresses.get(base):
            context.note(section, f"{section.get('interface')} is on no link of the topology")


def _routes(context: Context) -> Iterator[StaticRoute]:
    for statement in context.configuration.all("ip route"):
        try:
            prefix = IPv4Network((statement.get("prefix"), netmask_prefix(statement.get("mask"))))
        except ValueError:
            context.note(statement, "the prefix has bits outside its mask: `%Inconsistent address and mask`")
            continue
        yield StaticRoute(prefix, statement.get("gateway"), _metric(statement))
    for statement in context.configuration.all("ipv6 route"):
        yield StaticRoute(statement.get("prefix6").network, statement.get("gateway"), _metric(statement))


def _metric(statement: Statement) -> int:
    """The kernel's word for an administrative distance: the lower one is used, as long as its interface is up."""
    distance = int(statement.get("distance", 1))
    return 0 if distance == 1 else distance


def _tunnel_routes(context: Context, tunnels: Sequence[TunnelInterface]) -> Iterator[tuple[IPv4Network, str]]:
    names = {tunnel.name for tunnel in tunnels}
    for statement in context.configuration.all("ip route interface"):
        linux = statement.get("interface").linux
        if linux not in names:
            context.note(statement, "only over a tunnel interface: other links are no point-to-point lines")
            continue
        try:
            yield IPv4Network((statement.get("prefix"), netmask_prefix(statement.get("mask")))), linux
        except ValueError:
            context.note(statement, "the prefix has bits outside its mask: `%Inconsistent address and mask`")


def _ntp(context: Context) -> NtpConfig:
    configuration = context.configuration
    trusted = {statement.get("key") for statement in configuration.all("ntp trusted-key")}
    keys = []
    for statement in configuration.all("ntp authentication-key"):
        secret = statement.get("secret")
        if statement.get("enc") == 7:
            secret = decoded(secret)
        if statement.get("key") in trusted and secret is not None:
            kind = _NTP_TYPES[statement.get("type")]
            keys.append(NtpKeyConfig(statement.get("key"), kind, SecretValue(secret.encode())))
    known = {key.number for key in keys}
    servers = []
    for statement in configuration.all("ntp server"):
        with contextlib.suppress(ValueError):
            address = ip_address(statement.get("server"))
            key = statement.get("key")
            if key is not None and key not in known:
                context.note(statement, f"key {key} is not defined, or not trusted")
                continue
            limits = {name: statement.get(name) for name in ("version", "minpoll", "maxpoll")}
            prefer = statement.has("prefer")
            servers.append(
                NtpServerConfig(address, context.owners.get(address), key, nts=False, prefer=prefer, **limits)
            )
            continue
        context.note(statement, "a time server has to be named by its address")
    master = configuration.one("ntp master")
    stratum = None if master is None else master.get("stratum", _MASTER_STRATUM)
    authenticate = configuration.says("ntp authenticate")
    return NtpConfig(tuple(servers), tuple(keys), stratum, authenticate, (), _ntp_source(context))


def _ntp_source(context: Context) -> IPv4Address | None:
    """The address of `ntp source`; of a server's own `source` if there is no other."""
    statement = context.configuration.one("ntp source") or next(
        (item for item in context.configuration.all("ntp server") if item.get("interface") is not None), None
    )
    if statement is None:
        return None
    interface = statement.get("interface")
    known = interface_addresses(context.configuration).get(interface.linux, ())
    own = [IPv4Address(item.ip) for item in known if item.version == 4]
    if not own:
        context.note(statement, f"{interface} has no address")
    return own[0] if own else None


def _filters(context: Context, interfaces: Sequence[InterfaceConfig]) -> Iterator[PacketFilter]:
    for interface, section in _sections(context, interfaces):
        for statement in section.all("ip access-group"):
            entries = access_list(context.configuration, statement.get("acl"))
            if not entries:
                context.note(statement, f"list {statement.get('acl')} has no entries, and then filters nothing")
                continue
            yield PacketFilter(interface.name, statement.get("direction"), str(statement.get("acl")), entries)


def _sections(context: Context, interfaces: Sequence[InterfaceConfig]) -> Iterator[tuple[InterfaceConfig, Statement]]:
    sections = {section.get("interface").linux: section for section in context.configuration.all("interface")}
    for interface in interfaces:
        if interface.name in sections:
            yield interface, sections[interface.name]


def _source_nat(context: Context, interfaces: Sequence[InterfaceConfig]) -> Iterator[SourceNat]:
    configuration = context.configuration
    inside = tuple(
        interface.name
        for interface, section in _sections(context, interfaces)
        if any(item.get("side") == "inside" for item in section.all("ip nat"))
    )
    statements: list[tuple[Statement, tuple[NatClause, ...]]] = [
        (item, (_clause(configuration, item.get("acl"), takes=True),))
        for item in configuration.all("ip nat inside source list")
    ]
    statements += [
        (item, tuple(_route_map(configuration, item.get("route_map"))))
        for item in configuration.all("ip nat inside source route-map")
    ]
    for statement, clauses in statements:
        if not inside:
            context.note(statement, "no interface is `ip nat inside`, so there is nothing to translate")
            continue
        yield SourceNat(statement.get("interface").linux, inside, clauses)


def _clause(configuration: Configuration, acl: object, *, takes: bool) -> NatClause:
    return NatClause(takes, str(acl), access_list(configuration, acl))


def _route_map(configuration: Configuration, name: str) -> Iterator[NatClause]:
    clauses = [clause for clause in configuration.all("route-map") if clause.get("map") == name]
    for clause in sorted(clauses, key=lambda item: int(item.get("sequence"))):
        for match in clause.all("match ip address"):
            for acl in match.every("acl"):
                yield _clause(configuration, acl, takes=clause.get("action") == "permit")


def _static_nat(context: Context) -> Iterator[StaticNat]:
    outside = [
        section.get("interface").linux
        for section in context.configuration.all("interface")
        if any(item.get("side") == "outside" for item in section.all("ip nat"))
    ]
    for statement in context.configuration.all("ip nat inside source static"):
        for interface in outside:
            yield StaticNat(interface, IPv4Address(statement.get("inside")), IPv4Address(statement.get("outside")))
