"""What a router says of a packet that is too long for its next line, by Scapy."""

from __future__ import annotations

__all__ = ["too_long"]

_ETHERNET = 14
_QUOTED_V6 = 1232 - 48  # RFC 4443, section 2.4: as much as fits into the least MTU


def too_long(frame: bytes, mtu: int) -> bytes | None:
    """A frame that tells its sender; None for what is no IP packet. In the name of the receiver of the frame.

    Sources: RFC 1191, section 4 (fragmentation needed), RFC 4443, section 3.2 (packet too big).
    """
    from scapy.layers.inet import ICMP, IP  # noqa: PLC0415
    from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    head = Ether(src=_mac(frame[:6]), dst=_mac(frame[6:12]))
    packet = frame[_ETHERNET:]
    if frame[12:14] == b"\x08\x00":
        v4 = IP(packet)
        answer = head / IP(src=v4.dst, dst=v4.src) / ICMP(type=3, code=4, nexthopmtu=mtu) / packet[:28]
    elif frame[12:14] == b"\x86\xdd":
        v6 = IPv6(packet)
        answer = head / IPv6(src=v6.dst, dst=v6.src) / ICMPv6PacketTooBig(mtu=mtu) / packet[:_QUOTED_V6]
    else:
        return None
    return bytes(answer)


def _mac(octets: bytes) -> str:
    return octets.hex(":")
