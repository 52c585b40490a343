"""Captures are complete, in order, and see both directions, on a wire and on a bridge."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from testbed.deadline import Deadline
from testbed.errors import NetworkFailure
from testbed.network.capture import Capture, Frame
from testbed.network.esp import kernel_has_esp
from testbed.network.kernel import kernel_features
from testbed.network.links import Wiring, fabric_name
from testbed.network.namespace import named_path
from testbed.network.packet import dissect
from testbed.network.probe import Echo, echo
from testbed.plan import Plan
from tests.net.test_links import build, plan, reaches, wiring

__all__ = ["plan", "wiring"]

PINGS = 50


def ping(namespace: Path, destination: str) -> int:
    (result,) = echo([Echo(namespace, ipaddress.ip_address(destination))], count=PINGS, interval_s=0.0, wait_s=3.0)
    assert result.sent == PINGS
    return result.received


def icmp(frames: list[Frame]) -> int:
    return sum(dissect(frame.data).kind == "icmp" for frame in frames)


def test_every_frame_of_a_wire_is_seen_once(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    build(wiring, plan)
    with Capture(namespaces["a"], "wire") as capture:
        assert ping(namespaces["b"], "203.0.113.1") == PINGS
    assert icmp(capture.frames) == 2 * PINGS
    times = [frame.time_ns for frame in capture.frames]
    assert times == sorted(times)


def test_a_bridge_shows_what_passes_between_its_ports(
    wiring: Wiring, plan: Plan, namespaces: dict[str, Path], lab_name: str
) -> None:
    build(wiring, plan)
    with Capture(named_path(fabric_name(lab_name)), plan.links["lan"].bridge) as capture:
        assert ping(namespaces["b"], "192.168.7.11") == PINGS
    assert icmp(capture.frames) == 2 * PINGS


def test_checksums_are_whole_on_the_wire(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    """With offloading on, a UDP checksum on a veth is that of the pseudo header only."""
    import socket
    import struct

    from testbed.network.namespace import run_in_namespace

    build(wiring, plan)
    assert reaches(namespaces, "b", "203.0.113.1")

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"some data", ("203.0.113.1", 9))

    with Capture(namespaces["a"], "wire") as capture:
        run_in_namespace(namespaces["b"], send)
        Deadline(5.0).until(lambda: any(dissect(f.data).kind == "udp" for f in capture.frames), "the datagram")
    (frame,) = [f.data for f in capture.frames if dissect(f.data).kind == "udp"]
    segment = frame[34:]
    pseudo = frame[26:34] + struct.pack("!BBH", 0, 17, len(segment))
    data = pseudo + segment + b"\0" * (len(segment) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_frames_can_be_passed_on_instead_of_kept(wiring: Wiring, plan: Plan, namespaces: dict[str, Path]) -> None:
    build(wiring, plan)
    passed: list[Frame] = []
    with Capture(namespaces["a"], "wire", passed.append) as capture:
        ping(namespaces["b"], "203.0.113.1")
    assert icmp(passed) == 2 * PINGS
    assert capture.frames == []


def test_an_interface_that_is_not_there(namespaces: dict[str, Path]) -> None:
    with pytest.raises(NetworkFailure, match="cannot capture nothing0"):
        Capture(namespaces["a"], "nothing0").start()


def test_the_kernel_is_asked_and_left_as_it_was() -> None:
    able, answer = kernel_has_esp()
    assert isinstance(able, bool)
    assert "ESP" in answer
    features = kernel_features()
    assert features["veth"][0]
    assert features["bridge"][0]
