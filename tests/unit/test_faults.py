"""Faults: what may be said of them, and what their rules do to a frame."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from testbed.errors import SettingError
from testbed.faults import parse_fault
from testbed.faults.icmp import too_long
from testbed.faults.line import BadLine, by_netem
from testbed.faults.messages import IkeRule
from testbed.network.packet import dissect
from testbed.network.wire import Direction, Transit
from testbed.topology.faults import IkeMessages, Line
from tests.unit.test_exchange import encrypted, frame, header
from tests.unit.topologies import loaded

ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"  # Scapy would ask the network for an address that is not given
TOPOLOGY = loaded(
    """
version: 1
name: faulty
nodes:
  a: {role: router}
  b: {role: router}
links:
  one: {ends: ["a:one", "b:one"]}
  two: {ends: ["a:two", "b:two"]}
faults:
  bad-line: {kind: line, link: one, loss: 10}
  cut: {kind: partition, links: [one, two]}
"""
).topology


def test_a_fault_by_its_kind_and_by_its_name() -> None:
    assert parse_fault(TOPOLOGY, "line", {"link": "two", "loss": "20", "icmp": "false"}) == Line(
        kind="line", link="two", loss=20.0, icmp=False
    )
    assert parse_fault(TOPOLOGY, "bad-line", {}).loss == 10
    assert parse_fault(TOPOLOGY, "bad-line", {"loss": 30}).loss == 30
    assert parse_fault(TOPOLOGY, "cut", {}).links == ["one", "two"]
    assert parse_fault(TOPOLOGY, "partition", {"links": "one"}).links == ["one"]


@pytest.mark.parametrize(
    ("what", "settings", "words"),
    [
        ("lines", {}, "did you mean 'line'"),
        ("line", {"loss": 10}, "link: field required"),
        ("line", {"link": "three"}, "there is no link 'three'"),
        ("line", {"link": "one", "loss": 101}, "loss: input should be less than or equal to 100"),
        ("line", {"link": "one", "lose": 1}, "lose: extra inputs are not permitted"),
        ("line", {"link": "one", "direction": "up"}, "direction"),
        ("ike", {"link": "one", "action": "eat"}, "action"),
        ("ike", {"link": "one", "action": "drop", "message": 0}, "message"),
        ("daemon", {"node": "c"}, "there is no node 'c'"),
        ("partition", {"links": []}, "links"),
        ("clock", {"node": "a", "seconds": "soon"}, "seconds"),
    ],
)
def test_what_is_no_fault(what: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_fault(TOPOLOGY, what, settings)
    assert words in str(caught.value)


def ipv4(size: int, *, direction: Direction = "forward") -> Transit:
    return Transit(
        direction, bytes(Ether(src=ONE, dst=TWO) / IP(flags="DF", src="192.0.2.1", dst="192.0.2.2") / bytes(size - 20))
    )


def line(**settings: Any) -> tuple[BadLine, list[tuple[Direction, bytes]]]:
    told: list[tuple[Direction, bytes]] = []

    def inject(direction: Direction, frames: list[bytes]) -> int:
        told.extend((direction, data) for data in frames)
        return len(frames)

    return BadLine(Line(kind="line", link="one", **settings), inject), told


def test_a_perfect_line_changes_nothing() -> None:
    rule, _ = line()
    transit = ipv4(100)
    assert list(rule(transit)) == [transit]
    assert sum(rule.counts.values()) == 0


def test_chance_is_repeatable_and_about_right() -> None:
    def outcome(seed: int) -> list[int]:
        rule, _ = line(loss=20, duplicate=10, seed=seed)
        return [len(list(rule(ipv4(100)))) for _ in range(2000)]

    first = outcome(7)
    assert first == outcome(7) != outcome(8)
    assert 320 < first.count(0) < 480
    assert 110 < first.count(2) < 210


def test_one_setting_does_not_change_the_course_of_another() -> None:
    def lost(**settings: Any) -> list[bool]:
        rule, _ = line(loss=20, seed=3, **settings)
        found = []
        for _ in range(300):
            before = rule.counts["lost"]
            list(rule(ipv4(100)))
            found.append(rule.counts["lost"] > before)
        return found

    assert any(lost())
    assert lost() == lost(corrupt=50, duplicate=30, reorder=20, jitter_ms=3, delay_ms=5) == lost(mtu=1400)


def test_a_setting_beside_a_named_fault_says_no_more_than_it_says() -> None:
    """A default that nobody asked for is none that netem cannot do."""
    made = parse_fault(TOPOLOGY, "bad-line", {"delay_ms": "5"})
    assert made.model_fields_set == {"kind", "link", "loss", "delay_ms"}
    assert by_netem(made, kernel_has_it=True)


def test_what_is_the_kernels_to_do() -> None:
    def asked(**settings: Any) -> Line:
        return Line(kind="line", link="one", **settings)

    assert by_netem(asked(loss=5, delay_ms=3, direction="forward"), kernel_has_it=True)
    assert not by_netem(asked(loss=5), kernel_has_it=False)
    assert not by_netem(asked(loss=5, by="forwarder"), kernel_has_it=True)
    for beyond in ({"seed": 1}, {"mtu": 1000}, {"reorder": 5}, {"rate_kbit": 100}):
        assert not by_netem(asked(**beyond), kernel_has_it=True)
        with pytest.raises(SettingError, match="netem does not do"):
            by_netem(asked(by="netem", **beyond), kernel_has_it=True)
    with pytest.raises(SettingError, match="has no netem"):
        by_netem(asked(by="netem"), kernel_has_it=False)


def test_only_the_direction_that_is_meant() -> None:
    rule, _ = line(loss=100, direction="forward")
    assert list(rule(ipv4(100))) == []
    back = ipv4(100, direction="backward")
    assert list(rule(back)) == [back]


def test_delay_and_jitter() -> None:
    rule, _ = line(delay_ms=50, jitter_ms=10)
    delays = [next(iter(rule(ipv4(100)))).delay_s for _ in range(200)]
    assert 0.040 <= min(delays) < 0.043
    assert 0.057 < max(delays) <= 0.060


def test_a_corrupted_frame_differs_in_one_bit_behind_its_addresses() -> None:
    rule, _ = line(corrupt=100)
    sent = ipv4(200)
    for _ in range(100):
        (got,) = rule(sent)
        differing = [a ^ b for a, b in zip(sent.data, got.data, strict=True)]
        assert sum(value.bit_count() for value in differing) == 1
        assert not any(differing[:14])


def test_a_rate_makes_frames_wait_and_then_drops_them() -> None:
    rule, _ = line(rate_kbit=80)  # 10,000 bytes in a second: 0.1 s for each of these frames
    delays = [transit.delay_s for _ in range(20) for transit in rule(ipv4(986))]
    assert 2 <= len(delays) <= 4
    assert delays == sorted(delays)
    assert delays[1] - delays[0] == pytest.approx(0.1, abs=0.01)
    assert rule.counts["queue full"] == 20 - len(delays)


def test_too_long_for_the_line() -> None:
    rule, told = line(mtu=500)
    fits, long = ipv4(500), ipv4(501)
    assert list(rule(fits)) == [fits]
    assert list(rule(long)) == []
    ((direction, answer),) = told
    assert direction == "backward"
    packet = Ether(answer)
    assert (packet[IP].src, packet[IP].dst) == ("192.0.2.2", "192.0.2.1")
    assert (packet[ICMP].type, packet[ICMP].code, packet[ICMP].nexthopmtu) == (3, 4, 500)
    assert len(answer) == 14 + 20 + 8 + 28
    may_be_cut = Transit("forward", long.data[:20] + bytes(2) + long.data[22:])
    assert list(rule(may_be_cut)) == []
    assert len(told) == 1
    silent, told = line(mtu=500, icmp=False)
    assert list(silent(long)) == []
    assert told == []


def test_too_long_by_ipv6_and_what_is_no_packet() -> None:
    sent = bytes(Ether(src=ONE, dst=TWO) / IPv6(src="2001:db8::1", dst="2001:db8::2") / bytes(1400))
    answer = Ether(too_long(sent, 1280) or b"")
    assert answer[ICMPv6PacketTooBig].mtu == 1280
    assert len(answer) - 14 == 1280
    assert too_long(bytes(12) + b"\x08\x06" + bytes(100), 500) is None


def ike(data: bytes, *, back: bool = False) -> Transit:
    return Transit("backward" if back else "forward", frame(data, back=back).data)


def rule(**settings: Any) -> IkeRule:
    return IkeRule(IkeMessages(**{"kind": "ike", "link": "one", **settings}))


AUTH, ANSWER = encrypted(35, response=False), encrypted(35, response=True)
OTHER = encrypted(37, response=False, message_id=2)


def test_the_message_that_is_meant_and_no_other() -> None:
    made = rule(action="drop", exchange="IKE_AUTH", message=2)
    sent = [ike(OTHER), ike(AUTH), ike(ANSWER, back=True), ike(AUTH)]
    assert [len(list(made(transit))) for transit in sent] == [1, 1, 0, 1]
    assert made.counts["picked"] == 1


def test_what_is_said_again_is_no_further_message() -> None:
    made = rule(action="drop", exchange="IKE_AUTH", message=2)
    sent = [ike(AUTH), ike(AUTH), ike(ANSWER, back=True), ike(ANSWER, back=True)]
    assert [len(list(made(transit))) for transit in sent] == [1, 1, 0, 1]
    made = rule(action="drop", message=1, count=3)
    assert [len(list(made(ike(AUTH)))) for _ in range(4)] == [0, 0, 0, 1], "each time it is said, as often as told"


def test_by_message_id_and_direction() -> None:
    made = rule(action="drop", message_id=2, count=10)
    assert [len(list(made(ike(data)))) for data in (AUTH, OTHER, AUTH, OTHER)] == [1, 0, 1, 0]
    made = rule(action="drop", direction="backward", count=10)
    assert [len(list(made(ike(AUTH, back=back)))) for back in (False, True)] == [1, 0]


def test_messages_of_version_one_by_their_mode() -> None:
    main = header(2, flags=0, message_id=0, following=1, size=60, version=1) + bytes(32)
    made = rule(action="drop", exchange="main mode")
    assert list(made(ike(main))) == []


def test_twice_late_and_again() -> None:
    assert len(list(rule(action="duplicate")(ike(AUTH)))) == 2
    assert [item.delay_s for item in rule(action="delay", delay_ms=250)(ike(AUTH))] == [0.25]
    assert [item.delay_s for item in rule(action="replay")(ike(AUTH))] == [0.0, 0.3]


def test_messages_overtake_each_other_in_their_own_direction_and_none_is_lost() -> None:
    made = rule(action="reorder", count=4)
    first, back, second = ike(AUTH), ike(ANSWER, back=True), ike(OTHER)
    assert list(made(first)) == []
    assert list(made(back)) == []
    assert list(made(second)) == [second, first]
    assert list(made(first)) == []
    assert made.held() == [back, first]
    assert made.held() == []


def test_a_message_that_is_overtaken() -> None:
    made = rule(action="reorder")
    first, second = ike(AUTH), ike(OTHER)
    assert list(made(first)) == []
    assert list(made(second)) == [second, first]
    assert list(made(second)) == [second]


@pytest.mark.parametrize("layer", [IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")])
@pytest.mark.parametrize(("port", "marker"), [(500, b""), (4500, bytes(4))])
def test_a_mangled_message_has_a_right_checksum(layer: Any, port: int, marker: bytes) -> None:
    sent = bytes(Ether(src=ONE, dst=TWO) / layer / UDP(sport=port, dport=port) / (marker + AUTH + b"x"))
    (got,) = rule(action="mangle")(Transit("forward", sent))
    changed = Ether(got.data)
    assert dissect(got.data).kind == "ike"
    told = changed[UDP].chksum
    del changed[UDP].chksum
    assert Ether(bytes(changed))[UDP].chksum == told
    assert sum((a ^ b).bit_count() for a, b in zip(sent[-len(AUTH) :], got.data[-len(AUTH) :], strict=True)) == 1


def test_a_message_with_nothing_behind_its_header_is_left_alone() -> None:
    sent = ike(AUTH[:28])
    assert list(rule(action="mangle")(sent)) == [sent]


def test_a_mangled_message_that_had_no_checksum_has_none() -> None:
    sent = ike(AUTH)
    (got,) = rule(action="mangle")(sent)
    differing = [number for number, (a, b) in enumerate(zip(sent.data, got.data, strict=True)) if a != b]
    assert len(differing) == 1
    assert dissect(got.data).kind == "ike"
    assert got.data[40:42] == b"\0\0"
