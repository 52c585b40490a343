"""Addresses that the topology leaves out are planned here; the same file always gives the same plan.

Prefixes come from the documentation ranges for public links (RFC 5737, RFC 3849) and from RFC 1918 for private
ones; a link takes the first that overlaps nothing else. Routers get the low host numbers of a link, in the order of
its ends, and everything else starts at 10, as people do.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)
from typing import TYPE_CHECKING

from testbed.ios.names import is_ios_name, parse_interface

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.topology.models import Link, Topology
    from testbed.topology.source import Source

__all__ = ["Address", "Addressing", "Prefix", "plan_addresses", "split_end", "through_interface"]

Prefix = IPv4Network | IPv6Network
InterfaceAddress = IPv4Interface | IPv6Interface
Address = IPv4Address | IPv6Address

PUBLIC_V4 = tuple(IPv4Network(text) for text in ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"))
PUBLIC_V6 = IPv6Network("2001:db8::/32")
PRIVATE_V4 = IPv4Network("192.168.0.0/16")
FIRST_HOST = 10


@dataclass(frozen=True)
class Addressing:
    """`prefixes` by link name, `interfaces` by (node, interface), in the order in which they are configured."""

    prefixes: Mapping[str, tuple[Prefix, ...]]
    interfaces: Mapping[tuple[str, str], tuple[InterfaceAddress, ...]]

    def of_node(self, node: str) -> Iterator[tuple[str, InterfaceAddress]]:
        """Each address of a node with the interface that has it."""
        for (owner, interface), addresses in self.interfaces.items():
            if owner == node:
                for address in addresses:
                    yield interface, address


def split_end(end: str) -> tuple[str, str]:
    """`node:interface` as a pair; the interface is empty if none is named, and may be an IOS one."""
    node, _, interface = end.partition(":")
    if interface and is_ios_name(interface):
        interface = parse_interface(interface).linux
    return node, interface


def through_interface(neighbour: str) -> str:
    """The interface, towards one end of a link, of a node that the link goes through."""
    return f"to-{neighbour}"[:15].rstrip("-")


def plan_addresses(topology: Topology, source: Source) -> Addressing:
    """Plan all addresses. What does not fit is added to the problems of `source`."""
    planner = _Planner(topology, source)
    prefixes = {name: planner.link_prefixes(name, link) for name, link in topology.links.items()}
    interfaces: dict[tuple[str, str], tuple[InterfaceAddress, ...]] = {}
    for name, link in topology.links.items():
        planner.assign(name, link, prefixes[name], interfaces)
    for node, spec in topology.nodes.items():
        for loopback, addresses in spec.loopbacks.items():
            interfaces[node, loopback] = tuple(addresses)
    return Addressing(prefixes, interfaces)


class _Planner:
    def __init__(self, topology: Topology, source: Source) -> None:
        self._topology = topology
        self._source = source
        self._taken: list[Prefix] = [prefix for link in topology.links.values() for prefix in link.prefixes]
        for node in topology.nodes.values():
            for interface in node.interfaces.values():
                self._taken += [address.network for address in interface.addresses]
            self._taken += [address.network for addresses in node.loopbacks.values() for address in addresses]
        for connection in topology.ipsec.values():
            for selector in (selector for peer in connection.peers.values() for selector in peer.protects):
                if selector not in topology.links:
                    with contextlib.suppress(ValueError):  # reported by the checks
                        self._taken.append(ip_network(selector))

    def link_prefixes(self, name: str, link: Link) -> tuple[Prefix, ...]:
        if link.prefixes:
            return tuple(link.prefixes)
        given = [network for end in link.ends for network in self._given_networks(end)]
        if given:
            return tuple(dict.fromkeys(given))
        found = list(self._free(link))
        if not found:
            problem = self._source.problem(("links", name), "no free prefix is left", "prefixes for this link")
            self._source.problems.append(problem)
        self._taken += found
        return tuple(found)

    def assign(
        self,
        name: str,
        link: Link,
        prefixes: tuple[Prefix, ...],
        interfaces: dict[tuple[str, str], tuple[InterfaceAddress, ...]],
    ) -> None:
        used: set[Address] = set()
        for end in link.ends:
            used |= {address.ip for address in self._given(end)}
        ends = sorted(link.ends, key=lambda end: not self._is_router(end))
        planned = {
            end: self._given(end) or (() if self._is_ios(end) else tuple(self._pick(name, end, prefixes, used)))
            for end in ends
        }
        for end in link.ends:
            interfaces[split_end(end)] = planned[end]

    def _pick(
        self, name: str, end: str, prefixes: tuple[Prefix, ...], used: set[Address]
    ) -> Iterator[InterfaceAddress]:
        for prefix in prefixes:
            address = self._first_free(prefix, used, router=self._is_router(end))
            if address is None:
                message = f"{prefix} has no address left for {end}"
                self._source.problems.append(self._source.problem(("links", name), message, "a larger prefix"))
                continue
            used.add(address)
            if isinstance(address, IPv4Address):
                yield IPv4Interface((address, prefix.prefixlen))
            else:
                yield IPv6Interface((address, prefix.prefixlen))

    def _first_free(self, prefix: Prefix, used: set[Address], *, router: bool) -> Address | None:
        size = prefix.num_addresses
        point_to_point = prefix.prefixlen == prefix.max_prefixlen - 1
        first = 0 if point_to_point else 1
        if not router and size > 2 * FIRST_HOST:
            first = FIRST_HOST
        last = size if point_to_point or prefix.version == 6 else size - 1
        for offset in range(first, min(last, first + 4096)):
            address = prefix[offset]
            if address not in used:
                return address
        return None

    def _free(self, link: Link) -> Iterator[Prefix]:
        if link.zone == "private":
            candidates: Iterator[Prefix] = iter(list(PRIVATE_V4.subnets(new_prefix=24))[1:])
            yield from self._first_disjoint(candidates)
            return
        length = 30 if len(link.ends) == 2 else 26
        yield from self._first_disjoint(block for pool in PUBLIC_V4 for block in pool.subnets(new_prefix=length))
        yield from self._first_disjoint(PUBLIC_V6[index << 64] for index in range(1, 4096))

    def _first_disjoint(self, candidates: Iterator[Prefix] | Iterator[IPv6Address]) -> Iterator[Prefix]:
        for candidate in candidates:
            prefix = ip_network(f"{candidate}/64") if isinstance(candidate, IPv6Address) else candidate
            if not any(other.version == prefix.version and prefix.overlaps(other) for other in self._taken):
                yield prefix
                return

    def _given(self, end: str) -> tuple[InterfaceAddress, ...]:
        node, interface = split_end(end)
        spec = self._topology.nodes.get(node)
        declared = spec.interfaces.get(interface) if spec else None
        return tuple(declared.addresses) if declared else ()

    def _given_networks(self, end: str) -> list[Prefix]:
        return [address.network for address in self._given(end)]

    def _is_router(self, end: str) -> bool:
        node = self._topology.nodes.get(split_end(end)[0])
        return node is not None and node.role == "router"

    def _is_ios(self, end: str) -> bool:
        """Whether the node's own configuration says all of its addresses."""
        node = self._topology.nodes.get(split_end(end)[0])
        return node is not None and node.kind == "ios"
