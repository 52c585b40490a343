"""Planned addresses: legal, unique, of the right ranges, and the same every time."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.topology.addressing import PRIVATE_V4, PUBLIC_V4, PUBLIC_V6, Prefix
from tests.unit.topologies import PAIR, loaded


def star(hosts: int, lans: int) -> str:
    """A provider with `lans` routers, each with a LAN of `hosts` hosts."""
    nodes = ["  core: {role: router}"]
    links = []
    for lan in range(lans):
        nodes.append(f"  r{lan}: {{role: router}}")
        links.append(f'  w{lan}: {{ends: ["core:w{lan}", "r{lan}:wan"], zone: public}}')
        ends = [f"r{lan}:lan"]
        for host in range(hosts):
            nodes.append(f"  h{lan}-{host}: {{role: host}}")
            ends.append(f"h{lan}-{host}:eth0")
        links.append(f"  l{lan}: {{ends: {ends}}}".replace("'", '"'))
    return "\n".join(["version: 1", "name: star", "nodes:", *nodes, "links:", *links])


@settings(max_examples=20)
@given(hosts=st.integers(1, 12), lans=st.integers(1, 12))
def test_every_plan_is_sound(hosts: int, lans: int) -> None:
    made = loaded(star(hosts, lans))
    addresses = [address for found in made.addressing.interfaces.values() for address in found]
    assert max(Counter(address.ip for address in addresses).values()) == 1
    prefixes = [prefix for found in made.addressing.prefixes.values() for prefix in found]
    for index, one in enumerate(prefixes):
        for other in prefixes[index + 1 :]:
            assert one.version != other.version or not one.overlaps(other)
    for name, link in made.topology.links.items():
        for end in link.ends:
            node, interface = end.split(":")
            for address in made.addressing.interfaces[node, interface]:
                assert address.network in made.addressing.prefixes[name]
                if address.version == 4:
                    assert address.ip not in (address.network.network_address, address.network.broadcast_address)


def test_the_same_topology_has_the_same_plan() -> None:
    assert loaded(star(5, 5)).addressing == loaded(star(5, 5)).addressing


def inside(prefix: Prefix, pools: Iterable[Prefix]) -> bool:
    return any(prefix.version == pool.version and prefix[0] in pool and prefix[-1] in pool for pool in pools)


def test_public_links_take_documentation_prefixes() -> None:
    prefixes = loaded(PAIR).addressing.prefixes["wire"]
    assert {prefix.version for prefix in prefixes} == {4, 6}
    assert all(inside(prefix, [*PUBLIC_V4, PUBLIC_V6]) for prefix in prefixes)


def test_private_links_take_private_prefixes() -> None:
    (prefix,) = loaded(star(2, 1)).addressing.prefixes["l0"]
    assert inside(prefix, [PRIVATE_V4])


def test_routers_come_first_and_hosts_start_at_ten() -> None:
    interfaces = loaded(star(3, 1)).addressing.interfaces
    assert [str(a.ip).rsplit(".")[-1] for a in interfaces["r0", "lan"]] == ["1"]
    assert [str(interfaces["h0-1", "eth0"][0].ip).rsplit(".")[-1]] == ["11"]


def test_given_addresses_are_kept_and_planned_ones_avoid_them() -> None:
    text = """
version: 1
name: mixed
nodes:
  r: {role: router}
  h: {role: host, interfaces: {eth0: {addresses: [192.168.77.1/24]}}}
links:
  lan: {ends: ["r:lan", "h:eth0"]}
"""
    interfaces = loaded(text).addressing.interfaces
    assert str(interfaces["h", "eth0"][0]) == "192.168.77.1/24"
    assert str(interfaces["r", "lan"][0]) == "192.168.77.2/24"


@pytest.mark.parametrize("length", [31, 127])
def test_point_to_point_prefixes_use_both_addresses(length: int) -> None:
    prefix = "203.0.113.0/31" if length == 31 else "2001:db8::/127"
    made = loaded(PAIR.replace("zone: public", f"zone: public, prefixes: ['{prefix}']"))
    ips = {address.ip for found in made.addressing.interfaces.values() for address in found}
    assert ips == set(ipaddress.ip_network(prefix))
