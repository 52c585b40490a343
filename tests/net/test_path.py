"""Taking a path: each way carries what the link carried, rules decide, and afterwards all is as before."""

from __future__ import annotations

import ipaddress
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from testbed.deadline import Deadline
from testbed.device import build_devices
from testbed.errors import NetworkFailure, SettingError
from testbed.network.capture import Capture, Frame
from testbed.network.links import Wiring, fabric_name
from testbed.network.namespace import named_path, run_in_namespace
from testbed.network.packet import dissect
from testbed.network.path import take_path
from testbed.network.probe import Echo, EchoResult, echo
from testbed.network.wire import Sender, Transit, Wire
from testbed.plan import Plan, build_plan
from tests.net.test_links import build, interfaces
from tests.unit.topologies import loaded

TEXT = """
version: 1
name: paths
nodes:
  a: {role: router}
  b: {role: router}
  c: {role: host}
links:
  straight: {ends: ["a:straight", "b:straight"], prefixes: [203.0.113.0/30, "2001:db8:7::/64"], mtu: 1400}
  tapped: {ends: ["a:tapped", "b:tapped"], prefixes: [198.51.100.0/30, "2001:db8:8::/64"], through: c}
  lan: {ends: ["a:lan", "b:lan"], prefixes: [192.168.7.0/24]}
"""
B = {"straight": "203.0.113.2", "tapped": "198.51.100.2", "lan": "192.168.7.2"}


@pytest.fixture
def plan(lab_name: str) -> Plan:
    made = loaded(TEXT)
    plan = build_plan(made, build_devices(made), "kernel")
    lan = replace(plan.links["lan"], kind="lan")
    return replace(plan, lab=lab_name, links={**plan.links, "lan": lan})


@pytest.fixture
def wired(plan: Plan, namespaces: dict[str, Path]) -> Plan:
    build(Wiring(plan.lab, namespaces), plan)
    warm(namespaces)
    return plan


def warm(namespaces: dict[str, Path]) -> None:
    """Wait until each link carries: the kernel may take a second over a carrier, and one over an address."""
    probes = [Echo(namespaces["a"], ipaddress.ip_address(address)) for address in B.values()]
    assert all(r.answered for r in echo(probes, count=100, interval_s=0.1, wait_s=0.1, until_answered=True))


def pings(namespaces: dict[str, Path], address: str, count: int = 5, interval_s: float = 0.01) -> EchoResult:
    probe = Echo(namespaces["a"], ipaddress.ip_address(address))
    return echo([probe], count=count, interval_s=interval_s, wait_s=0.5)[0]


def icmp(transit: Transit) -> bool:
    return transit.packet.kind == "icmp"


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
@pytest.mark.parametrize("end", ["a", "b"])
def test_a_taken_path_carries_everything_and_is_given_back(
    wired: Plan, namespaces: dict[str, Path], link: str, end: str
) -> None:
    before = {name: interfaces(path) for name, path in namespaces.items()}
    assert pings(namespaces, B[link]).received == 5
    with take_path(wired, namespaces, link, end) as wire:
        assert pings(namespaces, B[link]).received == 5
        assert wire.passed.arrived["forward"] >= 5
        assert wire.passed.arrived["backward"] >= 5
    assert wire.lost == 0
    assert pings(namespaces, B[link]).received == 5
    assert {name: interfaces(path) for name, path in namespaces.items()} == before
    fabric = interfaces(named_path(fabric_name(wired.lab)))
    assert not [name for name in fabric if name.startswith("cut-")]


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
def test_rules_drop_repeat_delay_and_change(wired: Plan, namespaces: dict[str, Path], link: str) -> None:
    with take_path(wired, namespaces, link, "a") as wire:

        def drop(transit: Transit) -> Iterable[Transit]:
            return () if icmp(transit) else (transit,)

        with wire.rule(drop):
            assert pings(namespaces, B[link], count=2).received == 0
        assert pings(namespaces, B[link], count=2).received == 2

        def twice(transit: Transit) -> Iterable[Transit]:
            return (transit, transit) if transit.direction == "forward" else (transit,)

        with wire.rule(twice), Capture(namespaces["b"], link) as seen:
            assert pings(namespaces, B[link], count=3).received == 3
        requests = [frame for frame in seen.frames if dissect(frame.data).detail == "type 8"]
        assert len(requests) == 6

        with wire.rule(lambda transit: [transit.delayed(0.05)]):
            begun = time.monotonic()
            assert pings(namespaces, B[link], count=1).received == 1
            assert time.monotonic() - begun >= 0.1


def test_frames_of_ones_own_reach_the_end_and_pass_no_rule(wired: Plan, namespaces: dict[str, Path]) -> None:
    kept: list[bytes] = []

    def keep(transit: Transit) -> Iterable[Transit]:
        if icmp(transit) and transit.direction == "forward":
            kept.append(transit.data)
        return [transit]

    with take_path(wired, namespaces, "tapped", "a") as wire, wire.rule(keep):
        assert pings(namespaces, B["tapped"], count=1).received == 1
        with Capture(namespaces["b"], "tapped") as seen, Capture(namespaces["a"], "tapped") as answers:
            assert wire.inject("forward", [kept[0]] * 3) == 3
            assert pings(namespaces, B["tapped"], count=1).received == 1

            def answered() -> list[Frame]:
                return [frame for frame in answers.frames if dissect(frame.data).detail == "type 0"]

            Deadline(2.0).until(lambda: len(answered()) >= 4, "the answers")
        assert len([frame for frame in seen.frames if frame.data == kept[0]]) == 3
        assert len(answered()) == 4


def test_a_late_answer_is_none_to_a_later_question(wired: Plan, namespaces: dict[str, Path]) -> None:
    """The answer of the first call comes while the second one waits, whose own is lost."""
    with take_path(wired, namespaces, "tapped", "a") as wire:

        def late(transit: Transit) -> Iterable[Transit]:
            return [transit.delayed(0.7)] if icmp(transit) and transit.direction == "backward" else [transit]

        with wire.rule(late):
            assert pings(namespaces, B["tapped"], count=1).received == 0
        with wire.rule(lambda transit: () if icmp(transit) else (transit,)):
            assert pings(namespaces, B["tapped"], count=1).received == 0


def test_a_path_is_taken_once(wired: Plan, namespaces: dict[str, Path]) -> None:
    for link in ("straight", "tapped", "lan"):
        with take_path(wired, namespaces, link, "a"):
            with pytest.raises(NetworkFailure, match="taken already"), take_path(wired, namespaces, link, "a"):
                pass
            assert pings(namespaces, B[link]).received == 5
    with pytest.raises(SettingError, match="does not end at 'c'"), take_path(wired, namespaces, "tapped", "c"):
        pass


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
def test_wiring_leaves_a_taken_path_alone(wired: Plan, namespaces: dict[str, Path], link: str) -> None:
    """As `up` and `node start` do it, in this process or another."""
    with take_path(wired, namespaces, link, "a") as wire:
        with wire.rule(lambda transit: () if icmp(transit) else (transit,)):
            assert pings(namespaces, B[link], count=2).received == 0
            build(Wiring(wired.lab, namespaces), wired)
            assert pings(namespaces, B[link], count=2).received == 0
        with Capture(namespaces["b"], link) as seen:
            assert pings(namespaces, B[link], count=3).received == 3
        assert len([frame for frame in seen.frames if dissect(frame.data).detail == "type 8"]) == 3
    assert pings(namespaces, B[link]).received == 5


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
def test_a_rule_that_fails_is_told_and_its_frames_pass(wired: Plan, namespaces: dict[str, Path], link: str) -> None:
    def fail(transit: Transit) -> Iterable[Transit]:
        raise ValueError(transit.direction)

    with pytest.raises(ValueError, match="ward"), take_path(wired, namespaces, link, "a") as wire, wire.rule(fail):
        assert pings(namespaces, B[link], count=2).received == 2
    assert pings(namespaces, B[link]).received == 5


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
def test_a_path_whose_node_does_not_run(wired: Plan, namespaces: dict[str, Path], link: str) -> None:
    without = {name: path for name, path in namespaces.items() if name != "b"}
    with pytest.raises(NetworkFailure, match="does not run"), take_path(wired, without, link, "a"):
        pass
    assert pings(namespaces, B[link]).received == 5


def test_ipv6_passes_a_cut_and_the_fabric_says_nothing_of_its_own(wired: Plan, namespaces: dict[str, Path]) -> None:
    probe = Echo(namespaces["a"], ipaddress.ip_address("2001:db8:7::2"))
    with Capture(namespaces["a"], "straight") as seen, take_path(wired, namespaces, "straight", "a") as wire:
        result = echo([probe], count=10, interval_s=0.2, wait_s=0.5, until_answered=True)[0]
        assert result.answered
        passed = wire.passed.left["backward"]
    assert len(seen.frames) >= passed > 0


def test_a_capture_whose_interface_is_replaced_says_so(wired: Plan, namespaces: dict[str, Path]) -> None:
    """Taking a point-to-point path from `a` gives `b` another interface: the capture there would have gone deaf."""
    deaf = Capture(namespaces["b"], "straight").start()
    with take_path(wired, namespaces, "straight", "a"):
        assert pings(namespaces, B["straight"]).received == 5
    with pytest.raises(NetworkFailure, match="not complete"):
        deaf.stop()
    with Capture(namespaces["a"], "straight") as seen, take_path(wired, namespaces, "straight", "a"):
        assert pings(namespaces, B["straight"]).received == 5
    assert len([frame for frame in seen.frames if dissect(frame.data).kind == "icmp"]) == 10


TAKER = """
import pickle, sys
from testbed.network.path import take_path
plan, namespaces, link = pickle.load(open(sys.argv[1], "rb"))
with take_path(plan, namespaces, link, "a"):
    print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
def test_up_mends_what_a_killed_process_left(
    wired: Plan, namespaces: dict[str, Path], link: str, tmp_path: Path
) -> None:
    (tmp_path / "arguments").write_bytes(pickle.dumps((wired, namespaces, link)))
    argv = [sys.executable, "-c", TAKER, str(tmp_path / "arguments")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as taker:
        assert taker.stdout is not None
        assert taker.stdout.readline() == b"taken\n"
        taker.kill()
    assert pings(namespaces, B[link], count=1).received == 0
    build(Wiring(wired.lab, namespaces), wired)
    warm(namespaces)
    assert pings(namespaces, B[link]).received == 5
    assert not [name for name in interfaces(named_path(fabric_name(wired.lab))) if name.startswith("cut-")]


def test_a_wire_outlives_an_interface_that_goes_down_and_comes_back(wired: Plan, namespaces: dict[str, Path]) -> None:
    def put(state: str) -> None:
        with IPRoute() as netlink:
            netlink.link("set", index=netlink.link_lookup(ifname="tapped")[0], state=state)

    with take_path(wired, namespaces, "tapped", "a") as wire:
        run_in_namespace(namespaces["a"], lambda: put("down"))
        wire.inject("backward", [bytes(64)])
        run_in_namespace(namespaces["a"], lambda: put("up"))
        warm(namespaces)
        assert pings(namespaces, B["tapped"], count=5).received == 5


@pytest.mark.parametrize("link", ["straight", "tapped", "lan"])
def test_a_tag_passes_a_wire_and_stands_in_captures(wired: Plan, namespaces: dict[str, Path], link: str) -> None:
    """802.1Q: the kernel takes a tag off before a raw socket sees the frame."""
    frame = bytes.fromhex("ffffffffffff 020000000001 8100 6007 88b5") + b"tagged" + bytes(40)
    with (
        take_path(wired, namespaces, link, "a") as wire,
        Capture(namespaces["b"], link) as seen,
        Sender(namespaces["a"], link) as sender,
    ):
        sender.send(frame)
        Deadline(5.0).until(lambda: [item for item in seen.frames if b"tagged" in item.data], "the frame")
        Deadline(5.0).until(lambda: wire.passed.left["forward"] >= 1, "the wire's count of it")
    assert [item.data for item in seen.frames if b"tagged" in item.data] == [frame]


def test_what_is_no_interface_is_said(namespaces: dict[str, Path]) -> None:
    with pytest.raises(NetworkFailure, match="no interface with this name"), Wire(namespaces["a"], "lo", "nothing"):
        pass
