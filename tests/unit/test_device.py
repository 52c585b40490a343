"""From a topology to devices: who protects what from whom, and where packets go."""

from __future__ import annotations

from testbed.device import build_devices
from testbed.device.build import shared_bytes
from testbed.topology import load_topology
from tests.unit.topologies import NATIVE, PAIR, loaded


def test_both_ends_mirror_each_other() -> None:
    devices = build_devices(loaded(PAIR))
    (one,), (two,) = devices["one"].connections, devices["two"].connections
    assert (one.local, one.remote) == (two.remote, two.local)
    assert (one.initiator, two.initiator) == (True, False)
    for mine, theirs in zip(one.children, two.children, strict=True):
        assert mine.name == theirs.name
        assert mine.local_selectors == theirs.remote_selectors
        assert mine.remote_selectors == theirs.local_selectors


def test_ikev1_has_one_child_for_each_pair_and_both_ends_agree_on_which() -> None:
    text = PAIR.replace("[10.1.0.0/16]", "[10.1.0.0/16, 10.3.0.0/16]").replace("  tunnel:", "  tunnel:\n    version: 1")
    devices = build_devices(loaded(text))
    ours = {
        child.name: (child.local_selectors, child.remote_selectors) for child in devices["one"].connections[0].children
    }
    theirs = {
        child.name: (child.remote_selectors, child.local_selectors) for child in devices["two"].connections[0].children
    }
    assert ours == theirs
    assert set(ours) == {"tunnel-1", "tunnel-2"}


def test_ikev2_has_one_child_for_all_selectors() -> None:
    text = PAIR.replace("[10.1.0.0/16]", "[10.1.0.0/16, 10.3.0.0/16]")
    (child,) = build_devices(loaded(text))["one"].connections[0].children
    assert [str(selector) for selector in child.local_selectors] == ["10.1.0.0/16", "10.3.0.0/16"]


def test_hosts_get_a_default_route_to_the_router_of_their_link() -> None:
    devices = build_devices(load_topology(NATIVE))
    (route,) = devices["pc-kisii"].routes
    assert (str(route.destination), str(route.gateway)) == ("0.0.0.0/0", "192.168.10.1")
    outsider = {str(route.destination): str(route.gateway) for route in devices["outsider"].routes}
    assert outsider == {"0.0.0.0/0": "192.0.2.1", "::/0": "2001:db8:0:3::1"}


def test_a_default_route_of_both_families() -> None:
    routes = build_devices(load_topology(NATIVE))["kisii"].routes
    assert {str(route.destination) for route in routes} == {"0.0.0.0/0", "::/0"}


def test_a_link_is_protected_by_its_prefix() -> None:
    (connection,) = build_devices(load_topology(NATIVE))["kisumu"].connections
    assert [str(selector) for selector in connection.children[0].local_selectors] == ["192.168.20.0/24"]


def test_generated_files_are_the_same_every_time_and_differ_from_each_other() -> None:
    one = shared_bytes("fs", "docs", "a.bin", 4096)
    assert one == shared_bytes("fs", "docs", "a.bin", 4096)
    assert len(one) == 4096
    blocks = {one[i : i + 16] for i in range(0, 4096, 16)}
    other = shared_bytes("fs", "docs", "b.bin", 4096)
    assert not blocks & {other[i : i + 16] for i in range(0, 4096, 16)}


def test_a_raw_swanctl_file_makes_a_router_run_charon() -> None:
    assert not build_devices(load_topology(NATIVE))["internet"].runs_ike
