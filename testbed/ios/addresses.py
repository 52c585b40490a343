"""The addresses that a configuration gives to interfaces."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

from testbed.ios.arguments import netmask_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.ios.configuration import Configuration, Statement

    InterfaceAddress = IPv4Interface | IPv6Interface

__all__ = ["interface_addresses", "loopback_addresses"]


def interface_addresses(configuration: Configuration, *, shut: bool = True) -> dict[str, tuple[InterfaceAddress, ...]]:
    """By the interface's name in Linux; those of a sub-interface are its interface's. Without those that are shut down
    unless `shut`.
    """
    found: dict[str, tuple[InterfaceAddress, ...]] = {}
    for section in configuration.all("interface"):
        name = section.get("interface")
        if not shut and section.says("shutdown"):
            continue
        linux = name.linux.partition(".")[0]
        found[linux] = (*found.get(linux, ()), *_addresses(section))
    return found


def loopback_addresses(configuration: Configuration) -> dict[str, tuple[InterfaceAddress, ...]]:
    found = interface_addresses(configuration, shut=False)
    return {name: addresses for name, addresses in found.items() if name.startswith("lo") and addresses}


def _addresses(section: Statement) -> Iterator[InterfaceAddress]:
    for statement in (*section.all("ip address"), *section.all("ip address secondary")):
        yield IPv4Interface((statement.get("address"), netmask_prefix(statement.get("mask"))))
    for statement in section.all("ipv6 address"):
        yield IPv6Interface(statement.get("address6"))
