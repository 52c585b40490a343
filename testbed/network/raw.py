"""AF_PACKET sockets that hear every frame of an interface, whole: packet(7), linux/if_packet.h."""

from __future__ import annotations

import socket
import struct

from testbed.errors import NetworkFailure

__all__ = ["Ancillary", "count_lost", "open_raw", "receive"]

Ancillary = list[tuple[int, int, bytes]]

_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _BUFFER = 33, 64 * 1024 * 1024
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _AUXDATA, _IGNORE_OUTGOING, _PROMISCUOUS = 263, 1, 6, 8, 23, 1
_AUXILIARY = struct.Struct("IIIHHHH")  # struct tpacket_auxdata
_VLAN_VALID = 0x10
_ADDRESSES = 12  # octets of a frame before its type, or its tag
_ROOM = 128


def open_raw(interface: str, what: str, *, incoming: bool = False, timestamps: int | None = None) -> socket.socket:
    """A socket bound to an interface of this thread's namespace. With `incoming` it does not hear what leaves there.

    `timestamps` is a socket option that has each frame come with one. Raises NetworkFailure, which begins with `what`.
    """
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing arrives before it is bound
    try:
        raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        raw.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        if incoming:
            raw.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        if timestamps is not None:
            raw.setsockopt(socket.SOL_SOCKET, timestamps, 1)
        # On a bridge only promiscuous mode shows what passes between its ports.
        wish = struct.pack("iHH8s", socket.if_nametoindex(interface), _PROMISCUOUS, 0, b"")
        raw.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wish)
        raw.bind((interface, _ETH_P_ALL))
    except OSError as failure:
        raw.close()
        raise NetworkFailure(f"{what} {interface}", seen=failure.strerror or str(failure)) from failure
    return raw


def receive(raw: socket.socket, size: int) -> tuple[bytes, Ancillary]:
    """The next frame as it was on the wire, with its 802.1Q tag, which the kernel takes off and tells apart."""
    data, ancillary, _, _ = raw.recvmsg(size, _ROOM)
    for level, kind, value in ancillary:
        if (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, *_, tag, protocol = _AUXILIARY.unpack_from(value)
            if status & _VLAN_VALID:
                data = data[:_ADDRESSES] + struct.pack("!HH", protocol, tag) + data[_ADDRESSES:]
    return data, ancillary


def count_lost(raw: socket.socket) -> tuple[int, int]:
    """How many frames came and how many of them were lost, since this was last asked: the kernel forgets them."""
    received, dropped = struct.unpack("II", raw.getsockopt(_SOL_PACKET, _STATISTICS, 8))
    return received, dropped
