"""Just enough of a frame to say what it is: who sent it to whom, and whether it is IKE, ESP or something in clear.

Dissection proper is Wireshark's; this is what the checks count by.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

__all__ = ["EXCHANGES", "Kind", "Packet", "dissect"]

Kind = Literal["ike", "esp", "nat-keepalive", "arp", "icmp", "nd", "tcp", "udp", "other"]

_ICMP, _TCP, _UDP, _ESP, _ICMPV6 = 1, 6, 17, 50, 58
_NEIGHBOUR = range(133, 138)  # router and neighbour discovery, RFC 4861
_IKE_PORTS = {500, 4500}
# The exchanges of IKE by version and the number in the header: RFC 2408, 3.1, and RFC 2409; RFC 7296, 3.1.
EXCHANGES = {
    (1, 2): "main mode",
    (1, 4): "aggressive mode",
    (1, 5): "informational",
    (1, 6): "transaction",
    (1, 32): "quick mode",
    (2, 34): "IKE_SA_INIT",
    (2, 35): "IKE_AUTH",
    (2, 36): "CREATE_CHILD_SA",
    (2, 37): "INFORMATIONAL",
}


@dataclass(frozen=True)
class Packet:
    """A frame as far as the checks read it. `source` and `destination` are None where there is no IP header."""

    kind: Kind
    source: IPv4Address | IPv6Address | None
    destination: IPv4Address | IPv6Address | None
    length: int
    detail: str = ""
    offset: int = 0  # where the ESP packet, the IKE message or what UDP carries begins in the frame
    udp: int = 0  # where the header of UDP begins, if there is one

    def __str__(self) -> str:
        ends = f"{self.source} > {self.destination} " if self.source else ""
        return f"{ends}{self.kind.upper()} {self.detail}".rstrip() + f", {self.length} bytes"


def dissect(frame: bytes) -> Packet:
    """What an Ethernet frame carries. Never raises, whatever the bytes."""
    try:
        return _ethernet(frame)
    except (struct.error, IndexError, ValueError):
        return Packet("other", None, None, len(frame), "malformed")


def _ethernet(frame: bytes) -> Packet:
    kind, offset = struct.unpack_from("!H", frame, 12)[0], 14
    if kind == 0x8100:
        kind, offset = struct.unpack_from("!H", frame, 16)[0], 18
    if kind == 0x0806:
        return Packet("arp", None, None, len(frame))
    if kind == 0x0800:
        header = (frame[offset] & 0x0F) * 4
        fragment = struct.unpack_from("!H", frame, offset + 6)[0] & 0x1FFF
        ends = (IPv4Address(frame[offset + 12 : offset + 16]), IPv4Address(frame[offset + 16 : offset + 20]))
        return _transport(frame, frame[offset + 9], offset + header, ends, fragment=fragment != 0)
    if kind == 0x86DD:
        ends6 = (IPv6Address(frame[offset + 8 : offset + 24]), IPv6Address(frame[offset + 24 : offset + 40]))
        return _transport(frame, frame[offset + 6], offset + 40, ends6, fragment=False)
    return Packet("other", None, None, len(frame), f"ethertype {kind:#06x}")


def _transport(
    frame: bytes,
    protocol: int,
    offset: int,
    ends: tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address],
    *,
    fragment: bool,
) -> Packet:
    def packet(kind: Kind, detail: str = "", at: int = 0, udp: int = 0) -> Packet:
        return Packet(kind, ip_address(ends[0]), ip_address(ends[1]), len(frame), detail, at, udp)

    if protocol == _ESP:
        spi, sequence = struct.unpack_from("!II", frame, offset) if not fragment else (0, 0)
        return packet("esp", f"spi {spi:08x} seq {sequence}" if not fragment else "fragment", 0 if fragment else offset)
    if fragment:
        return packet("other", f"fragment of protocol {protocol}")
    if protocol == _UDP:
        kind, detail, begins = _udp(frame, offset)
        return packet(kind, detail, begins, offset)
    if protocol == _TCP:
        ports = struct.unpack_from("!HH", frame, offset)
        return packet("tcp", f"{ports[0]} > {ports[1]}")
    if protocol == _ICMPV6:
        return packet("nd" if frame[offset] in _NEIGHBOUR or frame[offset] == 143 else "icmp", f"type {frame[offset]}")
    if protocol == _ICMP:
        return packet("icmp", f"type {frame[offset]}")
    if protocol == 0:  # hop-by-hop options: multicast listener reports of IPv6 hosts
        return packet("nd", "hop-by-hop")
    return packet("other", f"protocol {protocol}")


def _udp(frame: bytes, offset: int) -> tuple[Kind, str, int]:
    source, destination, length = struct.unpack_from("!HHH", frame, offset)
    payload = frame[offset + 8 : offset + length]
    ports, begins = f"{source} > {destination}", offset + 8
    if not {source, destination} & _IKE_PORTS:
        return "udp", ports, begins
    if 4500 in (source, destination):
        if payload == b"\xff":
            return "nat-keepalive", ports, begins
        if payload[:4] != bytes(4):  # no non-ESP marker: RFC 3948
            return "esp", f"spi {payload[:4].hex()} in UDP {ports}", begins
        payload, begins = payload[4:], begins + 4
    if len(payload) < 28:
        return "udp", ports, begins
    version, number = payload[17] >> 4, payload[18]
    return "ike", f"IKEv{version} {EXCHANGES.get((version, number), f'exchange {number}')}", begins
