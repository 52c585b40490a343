"""Anti-replay: what was delivered once is not delivered again; what only comes late is, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.proof.claims.traffic import ARRIVAL_S, await_drops, carries, expect_valid, unharmed
from testbed.verify.drops import total_drops

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.network.wire import Transit
    from testbed.proof.result import Findings
    from testbed.proof.scene import OnPath, Scene
    from testbed.proof.stream import Stream

__all__ = ["anti_replay"]

_PACKETS = 32
_WINDOW = 128  # kernel-libipsec's, which takes no other; the kernel's is 32 unless told otherwise
_LATE = 10  # packets that overtake the one that is held: inside any window


class _Recorder:
    """Keeps the packets of a stream in flight, and holds one back if told so."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.kept: list[bytes] = []
        self.held: list[bytes] = []
        self.hold = False

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        if not carries(transit, self._stream, "forward"):
            return (transit,)
        if self.hold:
            self.hold = False
            self.held.append(transit.data)
            return ()
        self.kept.append(transit.data)
        return (transit,)


def anti_replay(scene: Scene, path: OnPath, found: Findings) -> None:
    """Captured packets are sent again: at once, and from behind the window. One packet is late, and comes twice."""
    before = (scene.spis(scene.near), scene.spis(scene.far))
    drops = total_drops(scene.live, scene.far.node)
    with scene.stream() as stream:
        recorder = _Recorder(stream)
        with path.rule(recorder):
            stream.deliver(_PACKETS, Deadline(ARRIVAL_S))
        captured = recorder.kept[:_PACKETS]
        found.count("captured", len(captured), _PACKETS, "packets were captured in flight, and delivered")

        path.inject("forward", captured)
        expected = _PACKETS
        seen = await_drops(scene.live, scene.far, drops, expected)
        found.count("replayed_at_once", seen.replayed, expected, "of them, sent again at once, were dropped")

        stream.deliver(2 * _WINDOW, Deadline(ARRIVAL_S))
        path.inject("forward", captured)
        expected += _PACKETS
        seen = await_drops(scene.live, scene.far, drops, expected)
        late = seen.replayed - _PACKETS
        found.count("replayed_late", late, _PACKETS, f"were dropped {2 * _WINDOW} packets later, out of the window")

        expected += _late_packet(path, recorder, stream, found)
        seen = await_drops(scene.live, scene.far, drops, expected)
        found.count("dropped", seen.replayed, expected, "packets were dropped as replayed in all")
        expect_valid(stream, found, "afterwards")
        _once(stream, found)
    unharmed(scene, found, before)


def _late_packet(path: OnPath, recorder: _Recorder, stream: Stream, found: Findings) -> int:
    """One packet is overtaken by others, and let go then: it is accepted; once more, and it is not."""
    recorder.hold = True
    with path.rule(recorder):
        held = stream.send(1)
        overtaking = stream.send(_LATE)
        stream.await_arrival(overtaking, Deadline(ARRIVAL_S))
    if not found.expect(len(recorder.held) == 1, "one packet was held on the path"):
        return 0
    found.count("held_delivered", stream.delivered(held), 0, "of it was delivered while it was held")
    path.inject("forward", recorder.held)
    stream.await_arrival(held, Deadline(ARRIVAL_S))
    found.count("late_accepted", stream.delivered(held), 1, f"was accepted after {_LATE} later ones")
    path.inject("forward", recorder.held)
    return 1


def _once(stream: Stream, found: Findings) -> None:
    more = [number for number, times in stream.arrived.items() if times > 1]
    found.count("twice", len(more), 0, f"of {stream.sent} datagrams were delivered more than once")
    missing = stream.sent - stream.delivered(range(stream.sent))
    found.count("missing", missing, 0, "were lost")
