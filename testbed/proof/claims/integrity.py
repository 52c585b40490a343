"""Integrity: what was changed on the path is not delivered, and is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.network.rewrite import flipped
from testbed.proof.claims.traffic import await_drops, carries, dropped_clear, expect_valid, unharmed
from testbed.proof.packets import ethernet
from testbed.verify.drops import total_drops

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.network.wire import Direction, Transit
    from testbed.proof.result import Findings
    from testbed.proof.scene import End, OnPath, Scene
    from testbed.proof.stream import Stream

__all__ = ["integrity"]

_PACKETS, _FORGED, _FORGED_S = 64, 16, 0.3
_SPI_BITS = 32  # a packet of another SPI belongs to no SA: it is not this one's to count


class _Flipper:
    """Changes one bit of each of so many packets, spread over all of the packet."""

    def __init__(self, stream: Stream, direction: Direction) -> None:
        self._stream = stream
        self._direction = direction
        self.flipped = 0

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        if self.flipped == _PACKETS or not carries(transit, self._stream, self._direction):
            return (transit,)
        first = _SPI_BITS if transit.packet.kind == "esp" else 0
        bits = (len(transit.data) - transit.packet.offset) * 8 - first
        octet, bit = divmod(first + bits * self.flipped // _PACKETS, 8)
        self.flipped += 1
        return (transit.with_data(flipped(transit.data, transit.packet.offset + octet, 0x80 >> bit)),)


def integrity(scene: Scene, path: OnPath, found: Findings) -> None:
    """One bit of each of 64 packets in flight is flipped, in each direction; then datagrams are forged in clear."""
    before = (scene.spis(scene.near), scene.spis(scene.far))
    with scene.stream() as there, scene.stream(back=True) as back:
        _flip(scene, path, there, "forward", scene.far, found)
        _flip(scene, path, back, "backward", scene.near, found)
        _forge(scene, back, scene.near, found)
        _forge(scene, there, scene.far, found)
    unharmed(scene, found, before)


def _forge(scene: Scene, stream: Stream, receiver: End, found: Findings) -> None:
    """Datagrams in clear, with addresses from behind the peer, are put on the receiver's own line."""
    if receiver.connection.if_id is not None:
        return  # what a tunnel interface protects is what is routed into it: no addresses are its alone
    ends = scene.live.plan.links[receiver.link].ends
    own = next(end for end in ends if end.node == receiver.node)
    other = next(end for end in ends if end.node != receiver.node)
    header = ethernet(own.mac, other.mac, stream.source.version)
    before = dropped_clear(scene.live, receiver.node)
    numbers, packets = stream.forged(_FORGED)
    with scene.lab.path(receiver.link, receiver.node) as line:
        line.inject("backward", [header + packet for packet in packets])
        stream.await_arrival(numbers, Deadline(_FORGED_S))
    after = dropped_clear(scene.live, receiver.node)
    found.count(f"forged_delivered_{receiver.node}", stream.delivered(numbers), 0, f"in clear passed {receiver.node}")
    dropped = 0 if before is None or after is None else after - before
    found.count(f"forged_dropped_{receiver.node}", dropped, _FORGED, "forged in clear were dropped there and counted")


def _flip(scene: Scene, path: OnPath, stream: Stream, direction: Direction, receiver: End, found: Findings) -> None:
    expect_valid(stream, found, "before")
    drops = total_drops(scene.live, receiver.node)
    flipper = _Flipper(stream, direction)
    with path.rule(flipper):
        numbers = stream.send(_PACKETS)
        seen = await_drops(scene.live, receiver, drops, _PACKETS)
        stream.await_arrival(numbers, Deadline(0.0))
    to = f"to {receiver.node}"
    found.count(f"flipped_{direction}", flipper.flipped, _PACKETS, f"packets {to} had one bit flipped")
    dropped = seen.replayed + seen.forged
    found.count(f"dropped_{direction}", dropped, _PACKETS, f"were dropped and counted by {receiver.node}")
    found.count(f"delivered_{direction}", stream.delivered(numbers), 0, f"were delivered {to}")
    found.count(f"changed_{direction}", stream.changed, 0, f"changed datagrams were delivered {to}")
    expect_valid(stream, found, "afterwards")
