"""Plans: least privilege, stable names, and a digest that changes with everything that matters."""

from __future__ import annotations

import pytest

from testbed.device import build_devices
from testbed.plan import build_plan
from testbed.topology import load_topology
from tests.unit.topologies import NATIVE, PAIR, loaded


def plan(text: str = PAIR, dataplane: str = "userspace"):  # type: ignore[no-untyped-def]  # noqa: ANN201
    made = loaded(text)
    return build_plan(made, build_devices(made), dataplane)  # type: ignore[arg-type]


def test_nobody_has_a_capability_beyond_its_role() -> None:
    made = load_topology(NATIVE)
    nodes = build_plan(made, build_devices(made), "userspace").nodes
    assert nodes["kisii"].capabilities == ("NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW")
    assert nodes["pc-kisii"].capabilities == ("NET_RAW",)
    assert nodes["fs-kisii"].capabilities == ("NET_RAW", "SETGID", "SETUID")


def test_only_who_needs_the_tun_device_has_it() -> None:
    made = load_topology(NATIVE)
    devices = build_devices(made)
    assert build_plan(made, devices, "userspace").nodes["kisii"].devices == ("/dev/net/tun",)
    assert build_plan(made, devices, "userspace").nodes["internet"].devices == ()
    assert build_plan(made, devices, "kernel").nodes["kisii"].devices == ()


def test_hosts_do_not_forward() -> None:
    made = load_topology(NATIVE)
    nodes = build_plan(made, build_devices(made), "userspace").nodes
    assert nodes["pc-kisii"].sysctls["net.ipv4.ip_forward"] == "0"
    assert nodes["internet"].sysctls["net.ipv6.conf.all.forwarding"] == "1"


def test_hardware_addresses_are_local_unicast_and_unique() -> None:
    made = load_topology(NATIVE)
    macs = [end.mac for link in build_plan(made, build_devices(made), "kernel").links.values() for end in link.ends]
    assert len(set(macs)) == len(macs)
    assert all(int(mac.split(":")[0], 16) & 0b11 == 0b10 for mac in macs)


def test_interface_names_fit_the_kernel() -> None:
    made = load_topology(NATIVE)
    for link in build_plan(made, build_devices(made), "kernel").links.values():
        assert len(link.bridge) <= 15
        assert all(len(end.port) <= 15 for end in link.ends)


@pytest.mark.parametrize(
    "change",
    [
        ('secret: "pair-key"', 'secret: "other-key"'),
        ("zone: public", "zone: public, mtu: 1400"),
        ("10.1.0.0/16", "10.9.0.0/16"),
        ("one: {role: router}", "one: {role: router, hostname: other}"),
        ("one: {role: router}", "one: {role: router, loopbacks: {lo0: [10.0.0.1/32]}}"),
        ("one: {role: router}", "one: {role: router, image: other}"),
        ("one: {role: router}", "one: {role: router, drop_private: true}"),
    ],
)
def test_the_digest_changes_with_what_matters(change: tuple[str, str]) -> None:
    assert plan().digest("one") != plan(PAIR.replace(*change)).digest("one")


def test_the_digest_is_the_same_for_the_same_plan() -> None:
    assert plan().digest("one") == plan().digest("one")
    assert plan().digest("one") != plan(dataplane="kernel").digest("one")


def test_only_manual_tunnels_are_set_up_by_the_testbed() -> None:
    assert [tunnel.connection for tunnel in plan().tunnels] == ["tunnel"]
    assert plan(PAIR.replace("  tunnel:", "  tunnel:\n    start: on-traffic")).tunnels == ()


def test_a_plan_shows_no_secret() -> None:
    assert "pair-key" not in repr(plan())
    assert "pair-key" not in str(plan().to_dict())


def test_files_with_secrets_are_for_root_only() -> None:
    assert plan().nodes["one"].files["/etc/swanctl/swanctl.conf"].mode == 0o600
