"""Links: born in place, repaired in part, and never seen outside their namespaces."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from testbed.device import build_devices
from testbed.errors import NetworkFailure
from testbed.network.links import Wiring, fabric_name
from testbed.network.namespace import named_path, run_in_namespace
from testbed.network.probe import Echo, Knock, echo, knock
from testbed.plan import Plan, build_plan
from tests.unit.topologies import loaded

TEXT = """
version: 1
name: wired
nodes:
  a: {role: router, loopbacks: {lo0: [10.9.9.1/32, "fd00:9::1/128"]}}
  b: {role: host}
  c: {role: host}
links:
  wire: {ends: ["a:wire", "b:wire"], prefixes: [203.0.113.0/30, "2001:db8:7::/64"], mtu: 1400}
  lan: {ends: ["a:lan", "b:eth0", "c:eth0"], prefixes: [192.168.7.0/24]}
"""


@pytest.fixture
def plan() -> Plan:
    made = loaded(TEXT)
    return build_plan(made, build_devices(made), "kernel")


@pytest.fixture
def wiring(lab_name: str, namespaces: dict[str, Path]) -> Wiring:
    return Wiring(lab_name, namespaces)


def build(wiring: Wiring, plan: Plan) -> list[str]:
    made = wiring.connect(plan.links.values())
    for name, node in plan.nodes.items():
        wiring.configure(node, plan.attachments_of(name))
    return made


def interfaces(path: Path) -> dict[str, dict[str, object]]:
    def look() -> dict[str, dict[str, object]]:
        with IPRoute() as netlink:
            return {
                str(link.get("ifname")): {
                    "mtu": link.get("mtu"),
                    "mac": link.get("address"),
                    "alias": link.get("ifalias"),
                    "up": bool(link["flags"] & 1),
                }
                for link in netlink.get_links()
            }

    return run_in_namespace(path, look)


def reaches(namespaces: dict[str, Path], source: str, *destinations: str) -> bool:
    probes = [Echo(namespaces[source], ipaddress.ip_address(destination)) for destination in destinations]
    return all(r.answered for r in echo(probes, count=100, interval_s=0.1, wait_s=0.1, until_answered=True))


def test_everything_planned_is_there(wiring: Wiring, plan: Plan, namespaces: dict[str, Path], lab_name: str) -> None:
    assert build(wiring, plan) == ["wire", "lan"]
    found = interfaces(namespaces["a"])
    assert set(found) == {"lo", "wire", "lan"}
    assert found["wire"]["mtu"] == 1400
    assert found["lan"]["mtu"] == 1500
    assert found["lan"]["alias"] == f"testbed {lab_name} lan"
    assert all(facts["up"] for facts in found.values())
    macs = {end.interface: end.mac for _, end in plan.attachments_of("a")}
    assert {name: found[name]["mac"] for name in macs} == macs
    assert reaches(namespaces, "b", "203.0.113.1", "2001:db8:7::1", "192.168.7.1", "192.168.7.11", "10.9.9.1")
    assert reaches(namespaces, "c", "192.168.7.10")


def test_the_host_never_sees_an_interface(wiring: Wiring, plan: Plan) -> None:
    before = set(interfaces(Path("/proc/self/ns/net")))
    build(wiring, plan)
    new = set(interfaces(Path("/proc/self/ns/net"))) - before
    assert not [name for name in new if not name.startswith(("veth", "docker", "br-"))]  # an engine's, meanwhile


def test_doing_it_again_changes_nothing(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    build(wiring, plan)
    before = {name: interfaces(path) for name, path in namespaces.items()}
    assert build(wiring, plan) == []
    assert {name: interfaces(path) for name, path in namespaces.items()} == before


@pytest.mark.parametrize(
    ("node", "interface", "link"), [("a", "wire", "wire"), ("b", "wire", "wire"), ("c", "eth0", "lan")]
)
def test_a_missing_end_is_made_again(
    wiring: Wiring, plan: Plan, namespaces: dict[str, Path], node: str, interface: str, link: str
) -> None:
    build(wiring, plan)

    def cut() -> None:
        with IPRoute() as netlink:
            netlink.link("del", index=netlink.link_lookup(ifname=interface)[0])

    run_in_namespace(namespaces[node], cut)
    assert build(wiring, plan) == [link]
    assert reaches(namespaces, "b", "203.0.113.1", "192.168.7.1", "192.168.7.11")


def test_a_lost_bridge_is_made_again(wiring: Wiring, plan: Plan, namespaces: dict[str, Path], lab_name: str) -> None:
    build(wiring, plan)
    wiring.remove()
    assert not named_path(fabric_name(lab_name)).exists()
    assert build(wiring, plan) == ["lan"]
    assert reaches(namespaces, "c", "192.168.7.1", "192.168.7.10")


def test_a_foreign_interface_in_the_way_is_replaced(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    def intrude() -> None:
        with IPRoute() as netlink:
            netlink.link("add", kind="veth", ifname="wire", peer={"ifname": "other"})

    run_in_namespace(namespaces["a"], intrude)
    build(wiring, plan)
    assert set(interfaces(namespaces["a"])) == {"lo", "wire", "lan"}
    assert reaches(namespaces, "b", "203.0.113.1")


def test_an_impossible_link_says_which(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    from dataclasses import replace

    broken = replace(plan.links["wire"], mtu=10_000_000)
    with pytest.raises(NetworkFailure, match="cannot make link 'wire' between a:wire and b:wire"):
        wiring.connect([broken])
    assert set(interfaces(namespaces["a"])) == {"lo"}


def test_tcp_is_accepted_only_where_somebody_listens(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    import socket

    build(wiring, plan)
    assert reaches(namespaces, "c", "192.168.7.10")

    def listen() -> socket.socket:
        return socket.create_server(("192.168.7.10", 8080))

    with run_in_namespace(namespaces["b"], listen):
        address = ipaddress.ip_address("192.168.7.10")
        silent = ipaddress.ip_address("192.168.7.99")
        probes = [Knock(namespaces["c"], address, 8080), Knock(namespaces["c"], address, 8081)]
        assert knock([*probes, Knock(namespaces["c"], silent, 8080)], 1.0) == [True, False, False]
