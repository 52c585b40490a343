"""IP packets and frames as somebody else would send them, made by Scapy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    Address = IPv4Address | IPv6Address

__all__ = ["ethernet", "ip_packet"]

_ESP = 50
_ETHERTYPES = {4: "0800", 6: "86dd"}


def ethernet(destination: str, source: str, version: int) -> bytes:
    """The header of a frame between two hardware addresses, for a packet of this version of IP."""
    return bytes.fromhex((destination + source).replace(":", "") + _ETHERTYPES[version])


def ip_packet(source: Address, destination: Address, data: bytes, ports: tuple[int, int] | None) -> bytes:
    """What UDP carries between these ports; an ESP packet without."""
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415 - half a second, and only for an attack
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415

    layer: Any = (IP if source.version == 4 else IPv6)(src=str(source), dst=str(destination))
    if ports is not None:
        return bytes(layer / UDP(sport=ports[0], dport=ports[1]) / data)
    setattr(layer, "proto" if source.version == 4 else "nh", _ESP)
    return bytes(layer / data)
