"""What a router says of a packet that is too long for its next line, by Scapy."""

from __future__ import annotations

__all__ = ["too_long"]

_ETHERNET = 14
_ERRORS = {3, 4, 5, 11, 12}  # of ICMP: RFC 792
_QUOTED_V6 = 1280 - 48  # RFC 4443, section 2.4: as much as fits into the least MTU, behind the two headers


def too_long(frame: bytes, mtu: int) -> bytes | None:
    """A frame that tells its sender, in the name of the receiver of the frame; None where nobody is to be told.

    That is what is no IP packet, what may be fragmented (RFC 1191, section 4), a later fragment, a multicast and what
    is such a message itself (RFC 1122, section 3.2.2; RFC 4443, section 2.4). Sources: RFC 1191, RFC 4443, section 3.2.
    """
    from scapy.layers.inet import ICMP, IP  # noqa: PLC0415
    from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    head = Ether(src=_mac(frame[:6]), dst=_mac(frame[6:12]))
    packet = frame[_ETHERNET:]
    if frame[12:14] == b"\x08\x00":
        v4 = IP(packet)
        if "DF" not in v4.flags or v4.frag or frame[0] & 1 or (ICMP in v4 and v4[ICMP].type in _ERRORS):
            return None
        quoted = packet[: v4.ihl * 4 + 8]
        answer = head / IP(src=v4.dst, dst=v4.src) / ICMP(type=3, code=4, nexthopmtu=mtu) / quoted
    elif frame[12:14] == b"\x86\xdd":
        v6 = IPv6(packet)
        answer = head / IPv6(src=v6.dst, dst=v6.src) / ICMPv6PacketTooBig(mtu=mtu) / packet[:_QUOTED_V6]
    else:
        return None
    return bytes(answer)


def _mac(octets: bytes) -> str:
    return octets.hex(":")
