"""Interfaces and routes as the kernel of a namespace has them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from pyroute2 import IPRoute

from testbed.network.namespace import run_in_namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address
    from pathlib import Path

__all__ = ["InterfaceFacts", "RouteFacts", "interface_facts", "route_facts", "routes_to"]


@dataclass(frozen=True)
class InterfaceFacts:
    """An interface as the kernel has it. Counters are those of rtnl_link_stats64, include/uapi/linux/if_link.h."""

    name: str
    up: bool
    carrier: bool
    mtu: int
    mac: str
    addresses: tuple[str, ...]
    counters: Mapping[str, int]


@dataclass(frozen=True)
class RouteFacts:
    """A route of the main table. `gateway` is empty for what is on a link."""

    destination: str
    gateway: str
    interface: str
    source: str
    protocol: int
    metric: int


def interface_facts(namespace: Path) -> dict[str, InterfaceFacts]:
    """The interfaces of a namespace by name, in the kernel's order."""
    return run_in_namespace(namespace, _interface_facts)


def _interface_facts() -> dict[str, InterfaceFacts]:
    found: dict[str, InterfaceFacts] = {}
    with IPRoute() as netlink:
        addresses: dict[int, list[str]] = {}
        for item in netlink.get_addr():
            addresses.setdefault(item["index"], []).append(f"{item.get_attr('IFA_ADDRESS')}/{item['prefixlen']}")
        for link in netlink.get_links():
            name = link.get_attr("IFLA_IFNAME")
            found[name] = InterfaceFacts(
                name,
                bool(link["flags"] & 1),
                bool(link.get_attr("IFLA_CARRIER")),
                int(link.get_attr("IFLA_MTU")),
                str(link.get_attr("IFLA_ADDRESS") or ""),
                tuple(addresses.get(link["index"], ())),
                {key: int(value) for key, value in (link.get_attr("IFLA_STATS64") or {}).items()},
            )
    return found


def route_facts(namespace: Path) -> list[RouteFacts]:
    """The IPv4 routes of a namespace's main table."""
    return run_in_namespace(namespace, _route_facts)


def routes_to(target: IPv4Address, routes: Iterable[RouteFacts]) -> list[RouteFacts]:
    """Those by which the kernel may reach an address: the most specific, and of these the ones of the lowest metric."""
    known = [(route, IPv4Network(route.destination)) for route in routes]
    ranks = [(-network.prefixlen, route.metric) for route, network in known if target in network]
    return [route for route, network in known if target in network and (-network.prefixlen, route.metric) == min(ranks)]


def _route_facts() -> list[RouteFacts]:
    with IPRoute() as netlink:
        names = dict(socket.if_nameindex())
        return [
            RouteFacts(
                f"{route.get_attr('RTA_DST') or '0.0.0.0'}/{route['dst_len']}",  # noqa: S104
                str(route.get_attr("RTA_GATEWAY") or ""),
                names.get(route.get_attr("RTA_OIF"), ""),
                str(route.get_attr("RTA_PREFSRC") or ""),
                int(route["proto"]),
                int(route.get_attr("RTA_PRIORITY") or 0),
            )
            for route in netlink.get_routes(family=socket.AF_INET, table=254)
        ]
