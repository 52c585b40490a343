"""What a capture proves: which protocols crossed a link, and whether any byte of known data did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from testbed.network.packet import dissect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from testbed.network.capture import Frame
    from testbed.network.packet import Packet
    from testbed.topology.addressing import Prefix

__all__ = ["BLOCK", "WireReport", "inspect_frames", "is_private"]

BLOCK = 16  # bytes: long enough never to be met by chance
_PRIVATE = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)


@dataclass(frozen=True)
class WireReport:
    """Counts over a capture. `blocks_seen` of `blocks` 16-byte blocks of the known data stood in some frame.

    `private` are the packets with a private address, `protected` those between two selectors of a tunnel, and `spis`
    what the ESP packets name, in eight hex digits.
    """

    kinds: Counter[str]
    private: tuple[Packet, ...]
    protected: tuple[Packet, ...]
    spis: frozenset[str]
    blocks: int
    blocks_seen: int

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind.upper()}" for kind, count in self.kinds.most_common())
        return f"{kinds or 'nothing'}; {self.blocks_seen} of {self.blocks} blocks of the files"


def is_private(packet: Packet) -> bool:
    """Whether an IP header names a private address (RFC 1918, RFC 4193)."""
    return any(
        address is not None and address in network
        for address in (packet.source, packet.destination)
        for network in _PRIVATE
    )


def inspect_frames(
    frames: Iterable[Frame], known: Sequence[bytes], selectors: Sequence[tuple[Prefix, Prefix]] = ()
) -> WireReport:
    """Count what crossed, and look for every aligned block of the known data at every offset of every frame."""
    blocks = {data[start : start + BLOCK] for data in known for start in range(0, len(data) - BLOCK + 1, BLOCK)}
    kinds: Counter[str] = Counter()
    private: list[Packet] = []
    protected: list[Packet] = []
    spis: set[str] = set()
    seen: set[bytes] = set()
    for frame in frames:
        packet = dissect(frame.data)
        kinds[packet.kind] += 1
        if is_private(packet):
            private.append(packet)
        if any(packet.source in local and packet.destination in remote for local, remote in selectors if packet.source):
            protected.append(packet)
        if packet.kind == "esp" and packet.detail.startswith("spi "):
            spis.add(packet.detail.split()[1])
        if blocks:
            data = frame.data
            windows = {data[start : start + BLOCK] for start in range(len(data) - BLOCK + 1)}
            seen |= blocks & windows
    return WireReport(kinds, tuple(private), tuple(protected), frozenset(spis), len(blocks), len(seen))
