"""What an access list says of ICMP messages and of TCP's flags, and how netfilter says it: RFC 792, RFC 9293."""

from __future__ import annotations

__all__ = ["ICMP_TYPES", "TCP_FLAGS"]

# The type of a message, and its code where the keyword means one: icmp(7) of nftables, in numbers.
ICMP_TYPES: dict[str, tuple[int, int | None]] = {
    "administratively-prohibited": (3, 13),
    "echo": (8, None),
    "echo-reply": (0, None),
    "general-parameter-problem": (12, 0),
    "host-unreachable": (3, 1),
    "net-unreachable": (3, 0),
    "packet-too-big": (3, 4),
    "parameter-problem": (12, None),
    "port-unreachable": (3, 3),
    "protocol-unreachable": (3, 2),
    "redirect": (5, None),
    "source-quench": (4, None),
    "time-exceeded": (11, None),
    "timestamp-reply": (14, None),
    "timestamp-request": (13, None),
    "traceroute": (30, None),
    "ttl-exceeded": (11, 0),
    "unreachable": (3, None),
}
TCP_FLAGS = ("ack", "fin", "psh", "rst", "syn", "urg")
