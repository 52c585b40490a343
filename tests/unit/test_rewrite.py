"""Frames that are changed: Scapy, which makes checksums anew, is of the same opinion about them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from testbed.network.rewrite import flipped, replaced

V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")


def made(layer: Any, payload: bytes) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / layer / payload)


def whole(frame: bytes) -> bool:
    """Whether UDP's checksum is the one that Scapy makes."""
    seen = Ether(frame)
    told = seen[UDP].chksum
    del seen[UDP].chksum
    return bool(Ether(bytes(seen))[UDP].chksum == told)


@given(st.binary(min_size=1, max_size=99), st.data(), st.sampled_from([V4, V6, Dot1Q(vlan=7) / V4]))
def test_any_octets_anywhere_leave_a_right_checksum(payload: bytes, data: st.DataObject, layer: Any) -> None:
    frame = made(layer / UDP(sport=1000, dport=2000), payload)
    at = data.draw(st.integers(0, len(payload) - 1))
    new = data.draw(st.binary(min_size=1, max_size=len(payload) - at))
    begins = len(frame) - len(payload) + at
    got = replaced(frame, begins, new)
    assert got[begins : begins + len(new)] == new
    assert len(got) == len(frame)
    assert whole(got)


def test_one_bit() -> None:
    frame = made(V4 / UDP(sport=4500, dport=4500), b"\x12\x34\x56\x78 sealed")
    got = flipped(frame, 45, 0x01)
    assert got[45] == frame[45] ^ 1
    assert whole(got)


@pytest.mark.parametrize("checksum", [0, 0x1234])
def test_none_stays_none_and_a_wrong_one_stays_wrong(checksum: int) -> None:
    got = flipped(made(V4 / UDP(sport=1, dport=2, chksum=checksum), b"data"), 43, 0x10)
    assert (Ether(got)[UDP].chksum == 0) == (checksum == 0)
    assert not whole(got)


def test_a_checksum_that_would_be_zero_is_all_ones() -> None:
    frame = made(V4 / UDP(sport=1, dport=2), bytes(2))
    got = replaced(frame, 42, Ether(frame)[UDP].chksum.to_bytes(2, "big"))  # what makes the sum come out as zero
    assert Ether(got)[UDP].chksum == 0xFFFF


def test_what_is_no_udp_is_changed_there_and_nowhere_else() -> None:
    frame = made(V4 / TCP(), b"data")
    got = replaced(frame, len(frame) - 4, b"DATA")
    assert got == frame[:-4] + b"DATA"
