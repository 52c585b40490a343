"""A whole router."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import TYPE_CHECKING

from testbed.device.ios.crypto import compile_crypto
from testbed.device.ios.lists import access_list, list_statements
from testbed.device.ios.pki import compile_certificate_server, compile_trustpoints
from testbed.device.ios.tunnels import compile_tunnels
from testbed.device.model import (
    Device,
    InterfaceConfig,
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
    from testbed.device.model import FilterEntry, TunnelInterface
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
        yield StaticRoute(prefix, statement.get("gateway"))
    for statement in context.configuration.all("ipv6 route"):
        yield StaticRoute(statement.get("prefix6").network, statement.get("gateway"))


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
            servers.append(
                NtpServerConfig(address, context.owners.get(address), key, nts=False, prefer=statement.has("prefer"))
            )
            continue
        context.note(statement, "a time server has to be named by its address")
    master = configuration.one("ntp master")
    stratum = None if master is None else master.get("stratum", _MASTER_STRATUM)
    return NtpConfig(tuple(servers), tuple(keys), stratum, configuration.says("ntp authenticate"), ())


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
    for statement in configuration.all("ip nat inside source list"):
        entries = access_list(configuration, statement.get("acl"))
        yield SourceNat(statement.get("interface").linux, entries, inside)
    for statement in configuration.all("ip nat inside source route-map"):
        entries = tuple(_route_map(configuration, statement.get("route_map")))
        yield SourceNat(statement.get("interface").linux, entries, inside)


def _route_map(configuration: Configuration, name: str) -> Iterator[FilterEntry]:
    clauses = [clause for clause in configuration.all("route-map") if clause.get("map") == name]
    for clause in sorted(clauses, key=lambda item: int(item.get("sequence"))):
        for match in clause.all("match ip address"):
            for acl in match.every("acl"):
                if clause.get("action") == "permit" and list_statements(configuration, acl):
                    yield from access_list(configuration, acl)


def _static_nat(context: Context) -> Iterator[StaticNat]:
    outside = [
        section.get("interface").linux
        for section in context.configuration.all("interface")
        if any(item.get("side") == "outside" for item in section.all("ip nat"))
    ]
    for statement in context.configuration.all("ip nat inside source static"):
        for interface in outside:
            yield StaticNat(interface, IPv4Address(statement.get("inside")), IPv4Address(statement.get("outside")))
