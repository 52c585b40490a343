"""What several claims do with what the tunnel carries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded
from testbed.verify.drops import total_drops

if TYPE_CHECKING:
    from testbed.network.wire import Direction, Transit
    from testbed.proof.result import Findings
    from testbed.proof.scene import End, Scene
    from testbed.proof.stream import Stream
    from testbed.verify.drops import Drops
    from testbed.verify.live import LiveLab

__all__ = ["ARRIVAL_S", "await_drops", "carries", "dropped_clear", "expect_valid", "unharmed"]

ARRIVAL_S = 5.0
_SETTLE_S = 5.0
_VALID = 10


def carries(transit: Transit, stream: Stream, direction: Direction) -> bool:
    """Whether a frame on the path may be a datagram of the stream: ESP in its direction, or the datagram in clear."""
    packet = transit.packet
    if transit.direction != direction:
        return False
    if packet.kind == "esp":
        return stream.outer is None or (packet.source, packet.destination) == stream.outer
    return packet.kind == "udp" and stream.belongs(packet.source, packet.destination)


def await_drops(live: LiveLab, end: End, before: Drops, expected: int) -> Drops:
    """What a node has dropped since: waits until it is as much as expected, which counters take a moment to be."""

    def look() -> Drops | None:
        seen = total_drops(live, end.node).since(before)
        return seen if seen.replayed + seen.forged >= expected else None

    try:
        return Deadline(_SETTLE_S).until(look, "the receiver's counters")
    except DeadlineExceeded:
        return total_drops(live, end.node).since(before)


def dropped_clear(live: LiveLab, node: str) -> int | None:
    """What the guard of a router has dropped because it came in clear; None where there is no guard."""
    done = live.execute(node, ["nft", "-j", "list", "counter", "inet", "testbed_guard", "clear_in"])
    if done.exit_code != 0:
        return None
    found = [item["counter"]["packets"] for item in json.loads(done.stdout)["nftables"] if "counter" in item]
    return int(found[0]) if found else None


def expect_valid(stream: Stream, found: Findings, when: str) -> bool:
    """A valid packet after each attack: the receiver still takes what is genuine."""
    numbers = stream.deliver(_VALID, Deadline(ARRIVAL_S))
    arrived = stream.delivered(numbers)
    return found.expect(
        arrived == _VALID, f"{arrived} of {_VALID} valid packets pass {when}", f"{arrived} of {_VALID} pass {when}"
    )


def unharmed(scene: Scene, found: Findings, before: tuple[set[str], set[str]]) -> bool:
    """The same SAs as before, at both ends."""
    now = (scene.spis(scene.near), scene.spis(scene.far))
    return found.expect(now == before, "both ends have the SAs that they had", "the SAs are others than before")
