"""What somebody can send who knows a tunnel's SPIs, and none of its keys: packets and messages that belong to it, but
for what only a key could have made.
"""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING

from testbed.proof.packets import ip_packet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.daemons.sa import ChildSa, IkeSa
    from testbed.proof.scene import Scene

__all__ = ["forged_esp", "forged_ike"]

_LATER = 1 << 16  # a sequence number that no window has seen
_SEALED = 96  # octets of what looks like ciphertext
_NON_ESP = bytes(4)  # RFC 3948, section 2.2
# The encrypted payload, the informational exchange and a request of the SA's initiator or responder, by version:
# RFC 7296, section 3.1; RFC 2408, section 3.1.
_INFORMATIONAL = {1: (8, 0x10, 5, 0x01), 2: (46, 0x20, 37, 0x00)}
_FROM_INITIATOR = 0x08


def forged_esp(scene: Scene, sa: IkeSa, child: ChildSa, count: int) -> Iterator[bytes]:
    """IP packets of the far end's to an inbound SA of the near end's, whose ICV is no such thing."""
    for number in range(count):
        header = struct.pack("!II", int(child.spi_in or "0", 16), _LATER + number)
        sealed = header + secrets.token_bytes(_SEALED)
        ports = (sa.remote_port, sa.local_port) if child.encapsulated else None
        yield ip_packet(scene.far.outer, scene.near.outer, sealed, ports)


def forged_ike(scene: Scene, sa: IkeSa, count: int) -> Iterator[bytes]:
    """IP packets with informational messages of the far end's, sealed with nothing: its own could end the SA."""
    payload, version, exchange, flags = _INFORMATIONAL[sa.version]
    if sa.version == 2 and not sa.initiator:
        flags |= _FROM_INITIATOR
    for number in range(count):
        body = struct.pack("!BBH", 0, 0, 4 + _SEALED) + secrets.token_bytes(_SEALED)
        head = bytes.fromhex(sa.initiator_spi + sa.responder_spi)
        message_id = number if sa.version == 2 else secrets.randbits(32)
        head += struct.pack("!BBBBII", payload, version, exchange, flags, message_id, 28 + len(body))
        marker = _NON_ESP if sa.local_port == 4500 else b""
        yield ip_packet(scene.far.outer, scene.near.outer, marker + head + body, (sa.remote_port, sa.local_port))
