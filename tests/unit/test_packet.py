"""Frames are told apart by what they are, and no bytes whatsoever confuse the dissection."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.network.capture import Frame
from testbed.network.packet import dissect
from testbed.network.pcapng import PcapngWriter
from testbed.verify.wire import inspect_frames

ETHERNET = bytes.fromhex("020000000002020000000001")


def ipv4(protocol: int, payload: bytes, source: str = "203.0.113.2", destination: str = "198.51.100.2") -> bytes:
    ends = b"".join(bytes(map(int, address.split("."))) for address in (source, destination))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + ends
    return ETHERNET + b"\x08\x00" + header + payload


def udp(source: int, destination: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def ike(version: int, exchange: int) -> bytes:
    return bytes(16) + bytes([1, version << 4, exchange, 0]) + struct.pack("!II", 0, 28)


@pytest.mark.parametrize(
    ("frame", "kind", "detail"),
    [
        (ipv4(17, udp(500, 500, ike(1, 2))), "ike", "IKEv1 main mode"),
        (ipv4(17, udp(500, 500, ike(1, 32))), "ike", "IKEv1 quick mode"),
        (ipv4(17, udp(500, 500, ike(2, 34))), "ike", "IKEv2 IKE_SA_INIT"),
        (ipv4(17, udp(4500, 4500, bytes(4) + ike(2, 35))), "ike", "IKEv2 IKE_AUTH"),
        (ipv4(17, udp(4500, 4500, b"\xff")), "nat-keepalive", "4500 > 4500"),
        (ipv4(17, udp(4500, 4500, b"\x12\x34\x56\x78" + bytes(40))), "esp", "spi 12345678 in UDP 4500 > 4500"),
        (ipv4(50, struct.pack("!II", 0xC0FFEE, 7) + bytes(40)), "esp", "spi 00c0ffee seq 7"),
        (ipv4(17, udp(500, 500, b"short")), "udp", "500 > 500"),
        (ipv4(17, udp(53, 1024, b"x")), "udp", "53 > 1024"),
        (ipv4(6, struct.pack("!HH", 445, 40000) + bytes(16)), "tcp", "445 > 40000"),
        (ipv4(1, b"\x08\x00\x00\x00"), "icmp", "type 8"),
        (ipv4(47, b""), "other", "protocol 47"),
        (ETHERNET + b"\x08\x06" + bytes(28), "arp", ""),
        (ETHERNET + b"\x88\xcc" + bytes(28), "other", "ethertype 0x88cc"),
    ],
)
def test_kinds(frame: bytes, kind: str, detail: str) -> None:
    packet = dissect(frame)
    assert (packet.kind, packet.detail) == (kind, detail)


def test_a_vlan_tag_is_stepped_over() -> None:
    plain = ipv4(50, struct.pack("!II", 1, 1))
    assert dissect(plain[:12] + b"\x81\x00\x00\x64" + plain[12:]).kind == "esp"


def test_ipv6() -> None:
    header = struct.pack("!IHBB", 0x60000000, 8, 50, 64) + bytes(15) + b"\x01" + bytes(15) + b"\x02"
    packet = dissect(ETHERNET + b"\x86\xdd" + header + struct.pack("!II", 1, 2))
    assert (packet.kind, str(packet.source), str(packet.destination)) == ("esp", "::1", "::2")


@given(st.binary(max_size=200))
def test_no_bytes_confuse_it(data: bytes) -> None:
    assert dissect(data).length == len(data)


@given(st.binary(max_size=60))
def test_no_payload_confuses_it(data: bytes) -> None:
    for protocol in (1, 6, 17, 50, 58):
        dissect(ipv4(protocol, data))


DATA = bytes(range(256)) * 4


def test_data_in_clear_is_found_at_any_offset() -> None:
    frame = Frame(0, ipv4(6, b"abc" + DATA[:48]))
    report = inspect_frames([frame], [DATA])
    assert report.blocks_seen == 3
    assert report.kinds["tcp"] == 1


def test_encrypted_data_is_not_found() -> None:
    frame = Frame(0, ipv4(50, struct.pack("!II", 1, 1) + bytes(byte ^ 0x5A for byte in DATA[:64])))
    report = inspect_frames([frame], [DATA])
    assert (report.blocks_seen, report.private) == (0, ())


@pytest.mark.parametrize("address", ["10.1.2.3", "172.31.0.1", "192.168.10.10"])
def test_private_addresses_are_noticed_in_both_places(address: str) -> None:
    for frame in (ipv4(1, b"\x08", source=address), ipv4(1, b"\x08", destination=address)):
        assert len(inspect_frames([Frame(0, frame)], []).private) == 1
    assert not inspect_frames([Frame(0, ipv4(1, b"\x08", source="172.32.0.1"))], []).private


def test_a_written_capture_has_the_format_of_pcapng(tmp_path: Path) -> None:
    """Read back by somebody else's reader."""
    from scapy.utils import PcapNgReader

    frames = [Frame(1_700_000_000_123_456_789, bytes(range(60))), Frame(1_700_000_001_000_000_000, bytes(61))]
    with (tmp_path / "x.pcapng").open("wb") as file:
        writer = PcapngWriter(file)
        first, second = writer.add_interface("path"), writer.add_interface("r1:wan")
        writer.write(frames[0], first)
        writer.write(frames[1], second, comment="dropped: the ICV is wrong")
    with PcapNgReader(str(tmp_path / "x.pcapng")) as reader:
        read = list(reader)
    assert [bytes(packet) for packet in read] == [frame.data for frame in frames]
    assert [int(packet.time * 10**9) for packet in read] == [frame.time_ns for frame in frames]
    assert [packet.sniffed_on for packet in read] == ["path", "r1:wan"]
    assert b"dropped" in (read[1].comment or b"")
