"""Ladders of recordings, and the messages that they are made of."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from testbed.exchange import Exchange, Message, Phase, read_messages, to_svg, to_text
from testbed.exchange.draw import summary
from testbed.exchange.keys import read_keys
from testbed.exchange.messages import with_names_of
from testbed.network.capture import Frame

ONE, OTHER = "203.0.113.1", "198.51.100.2"
ENDS = (("r1", ONE), ("r2", OTHER))


def header(exchange: int, *, flags: int, message_id: int, following: int, size: int, version: int = 2) -> bytes:
    spis = b"\x11" * 8 + b"\x22" * 8
    return spis + struct.pack("!BBBBII", following, version << 4, exchange, flags, message_id, size)


def frame(message: bytes, *, back: bool = False, time_ns: int = 0, port: int = 500) -> Frame:
    """An IKE message in UDP, IPv4 and Ethernet."""
    body = (bytes(4) if port == 4500 else b"") + message
    udp = struct.pack("!HHHH", port, port, 8 + len(body), 0) + body
    addresses = [bytes(map(int, text.split("."))) for text in ((OTHER, ONE) if back else (ONE, OTHER))]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + b"".join(addresses)
    return Frame(time_ns, bytes(12) + b"\x08\x00" + ip + udp)


def encrypted(exchange: int, *, response: bool, message_id: int = 1, size: int = 64) -> bytes:
    flags = 0x20 if response else 0x08
    head = header(exchange, flags=flags, message_id=message_id, following=46, size=size)
    return head + struct.pack("!BBH", 35, 0, size - 28) + bytes([exchange + response]) * (size - 32)


def fragment(number: int, total: int, *, response: bool) -> bytes:
    flags = 0x20 if response else 0x08
    head = header(35, flags=flags, message_id=1, following=53, size=64)
    return head + struct.pack("!BBHHH", 35 if number == 1 else 0, 0, 36, number, total) + bytes([number]) * 28


def message(**changes: object) -> Message:
    made = Message(1_000_000, ONE, OTHER, 2, "IKE_AUTH", 1, False, True, 1560, ("IDi", "AUTH"), "11" * 8, 35)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_requests_responses_and_what_is_encrypted() -> None:
    frames = [
        frame(encrypted(37, response=False)),
        frame(encrypted(37, response=True), back=True, port=4500),
        Frame(0, bytes(60)),
    ]
    first, second = read_messages(frames)
    assert (first.exchange, first.kind, first.source, first.encrypted, first.payloads) == (
        "INFORMATIONAL",
        "request",
        ONE,
        True,
        ("SK",),
    )
    assert (second.kind, second.source, second.size, second.message_id) == ("response", OTHER, 64, 1)


def test_fragments_are_one_message() -> None:
    found = read_messages([frame(fragment(number, 3, response=False), time_ns=number) for number in (1, 2, 3)])
    assert [(item.datagrams, item.size, item.time_ns) for item in found] == [(3, 192, 1)]


def test_a_retransmission_is_marked_and_not_counted() -> None:
    sent = frame(encrypted(35, response=False))
    found = read_messages([sent, replace(sent, time_ns=5), frame(encrypted(35, response=True), back=True)])
    assert [item.retransmission for item in found] == [False, True, False]
    assert Phase("set-up", tuple(found)).count == 2


def test_version_one_tells_the_answer_by_who_began() -> None:
    body = b"\0" * 32
    quick = [header(32, flags=1, message_id=77, following=8, size=60, version=1) + bytes([n]) + body for n in range(3)]
    found = read_messages([frame(quick[0]), frame(quick[1], back=True), frame(quick[2])])
    assert [(item.exchange, item.kind, item.encrypted) for item in found] == [
        ("quick mode", "request", True),
        ("quick mode", "response", True),
        ("quick mode", "request", True),
    ]
    assert Phase("set-up", tuple(found)).round_trips == 1.5


def test_fragments_of_version_one() -> None:
    parts = [
        header(2, flags=0, message_id=0, following=132, size=60, version=1) + struct.pack("!BBHHBB", 0, 0, 32, 1, n, 0)
        for n in (1, 2)
    ]
    (found,) = read_messages([frame(part) for part in parts])
    assert (found.exchange, found.datagrams, found.encrypted, found.size) == ("main mode", 2, True, 120)


def test_the_senders_log_names_what_is_encrypted() -> None:
    messages = read_messages([frame(encrypted(35, response=False)), frame(encrypted(35, response=True), back=True)])
    logs = {
        ONE: "[ENC] <a|1> generating IKE_AUTH request 1 [ IDi AUTH SA ]\n"
        "[ENC] <a|1> generating IKE_AUTH request 1 [ EF(1/2) ]\n",
        OTHER: "[ENC] <a|1> parsed IKE_AUTH request 1 [ IDi AUTH SA ]\n",
    }
    named = with_names_of(messages, logs)
    assert named[0].payloads == ("IDi", "AUTH", "SA")
    assert named[1].payloads == ("SK",)


@pytest.mark.parametrize("junk", [b"", b"\0", bytes(27), b"\xff" * 40, bytes(range(256))])
def test_no_datagram_breaks_the_reader(junk: bytes) -> None:
    read_messages([frame(junk), frame(junk, port=4500)])


def test_a_ladder_says_who_sent_what_and_when() -> None:
    phase = Phase(
        "set-up",
        (
            message(exchange="IKE_SA_INIT", message_id=0, encrypted=False, payloads=("SA", "KE", "No"), size=464),
            message(source=OTHER, destination=ONE, response=True, time_ns=3_500_000, datagrams=2),
        ),
    )
    text = to_text(Exchange("ikev2", ENDS, (phase,)))
    assert "│── IKE_SA_INIT request 0 ─" in text
    assert "─ IKE_AUTH response 1, in 2 fragments ──│      2.5 ms  1560 B" in text
    assert "🔒 IDi AUTH" in text
    assert summary(phase) == "IKE_SA_INIT 1, IKE_AUTH 1: 2 messages, 0 round trips, 2024 bytes, 2.5 ms"


def test_a_drawing_is_xml_whatever_the_names() -> None:
    hostile = message(exchange='<script>"&', payloads=("]]>", "<KE>"))
    drawn = to_svg(Exchange("a < b", (("r<1>", ONE), ("r2", OTHER)), (Phase("x & y", (hostile,)),)))
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert root.tag.endswith("svg")
    assert "<script>" not in drawn


KEY_LOG = """\
14[IKE] IKE_SA a[2] state change: CREATED => CONNECTING
10[IKE] Sk_ei secret => 20 bytes @ 0x7f0e28012c10
10[IKE]    0: 63 88 AE 0D 32 94 B0 C6 43 C7 BB FB 93 D5 D7 A1  c...2...C.......
10[IKE]   16: 97 E4 1D 8B                                      ....
10[IKE] Sk_er secret => 2 bytes @ 0x7f0e28012c30
10[IKE]    0: 01 02  ..
11[CHD] encryption initiator key => 2 bytes @ 0x7f0e3c005a90
11[CHD]    0: 0A 0B  ..
11[CHD] encryption responder key => 2 bytes @ 0x7f0e3c006db0
11[CHD]    0: 0C 0D  ..
11[CHD] adding inbound ESP SA
11[CHD]   SPI 0x0518d38c, src 198.51.100.2 dst 203.0.113.1
11[CHD] adding outbound ESP SA
11[CHD]   SPI 0x9c6a1ff8, src 203.0.113.1 dst 198.51.100.2
11[CHD] CHILD_SA a{2} state change: INSTALLING => INSTALLED
"""


def test_keys_of_a_log() -> None:
    found = read_keys(KEY_LOG)
    assert found.ike[0]["Sk_ei"].hex() == "6388ae0d3294b0c643c7bbfb93d5d7a197e41d8b"
    assert found.ike[0]["Sk_er"] == b"\x01\x02"
    (child,) = found.children
    assert child.dumps["encryption initiator key"] == b"\x0a\x0b"
    assert child.outbound == ("9c6a1ff8", "203.0.113.1", "198.51.100.2")
    assert child.inbound == ("0518d38c", "198.51.100.2", "203.0.113.1")
    assert read_keys("nothing of it\n").ike == []
