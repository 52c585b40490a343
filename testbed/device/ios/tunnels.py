"""Tunnel interfaces with `tunnel protection`: what IOS calls a static virtual tunnel interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.device.model import TunnelInterface
from testbed.ios.addresses import interface_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.device.ios.context import Context
    from testbed.device.model import InterfaceConfig
    from testbed.ios.configuration import Statement

__all__ = ["compile_tunnels", "tunnel_section"]

_FIRST_ID = 1  # 0 means none


def tunnel_section(context: Context, name: str) -> Statement:
    """The section of a tunnel interface, by its name in Linux."""
    return next(item for item in context.configuration.all("interface") if item.get("interface").linux == name)


def compile_tunnels(context: Context, interfaces: Sequence[InterfaceConfig]) -> tuple[TunnelInterface, ...]:
    return tuple(_tunnels(context, interfaces))


def _tunnels(context: Context, interfaces: Sequence[InterfaceConfig]) -> Iterator[TunnelInterface]:
    addresses = interface_addresses(context.configuration)
    for section in context.configuration.all("interface"):
        name = section.get("interface").linux
        if not name.startswith("tu"):
            continue
        source = _source(section, interfaces)
        missing = _missing(section, source)
        if missing:
            context.note(section, f"{section.get('interface')} has no effect: {missing}")
            continue
        yield TunnelInterface(
            name,
            _FIRST_ID + int(name.removeprefix("tu").partition("-")[0]),
            source or "",
            addresses.get(name, ()),
            not section.says("shutdown"),
            section.value("mtu", "mtu"),
        )


def _missing(section: Statement, source: str | None) -> str:
    if section.one("tunnel mode") is None:
        return "GRE, which it is without `tunnel mode ipsec ipv4`, is not built"
    if source is None:
        return "its `tunnel source` is no interface with an address"
    if section.one("tunnel destination") is None:
        return "it has no `tunnel destination`"
    return "" if section.one("tunnel protection ipsec profile") else "it has no `tunnel protection`"


def _source(section: Statement, interfaces: Sequence[InterfaceConfig]) -> str | None:
    """The interface whose address is the tunnel's outer one."""
    statement = section.one("tunnel source")
    if statement is None:
        return None
    for interface in interfaces:
        own = [item.ip for item in interface.addresses if item.version == 4]
        wanted = statement.get("interface")
        if own and ((wanted is not None and wanted.linux == interface.name) or statement.get("address") in own):
            return interface.name
    return None
