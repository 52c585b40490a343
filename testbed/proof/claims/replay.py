"""Anti-replay: what was delivered once is not delivered again; what only comes late is, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.proof.claims.traffic import ARRIVAL_S, await_drops, carries, expect_valid, unharmed
from testbed.verify.drops import total_drops

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.network.wire import Direction, Transit
    from testbed.proof.result import Findings
    from testbed.proof.scene import End, OnPath, Scene
    from testbed.proof.stream import Stream

__all__ = ["anti_replay"]

_PACKETS = 32
_WINDOW = 128  # kernel-libipsec's, which takes no other; the kernel's is 32 unless the connection says otherwise
_LATE = 10  # packets that overtake the one that is held: inside any window


class _Recorder:
    """Keeps the packets of a stream in flight, and holds one back if told so."""

    def __init__(self, stream: Stream, direction: Direction) -> None:
        self._stream = stream
        self._direction = direction
        self.kept: list[bytes] = []
        self.held: list[bytes] = []
        self.hold = False

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        if not carries(transit, self._stream, self._direction):
            return (transit,)
        if self.hold:
            self.hold = False
            self.held.append(transit.data)
            return ()
        self.kept.append(transit.data)
        return (transit,)


def anti_replay(scene: Scene, path: OnPath, found: Findings) -> None:
    """Each way captured packets are sent again: at once, and from behind the window; one is late, and comes twice."""
    before = (scene.spis(scene.near), scene.spis(scene.far))
    with scene.stream() as there, scene.stream(back=True) as back:
        _Replay(scene, path, there, "forward", scene.far, found).run()
        _Replay(scene, path, back, "backward", scene.near, found).run()
    unharmed(scene, found, before)


@dataclass
class _Replay:
    """The attack in one direction; `receiver` is who must not take a packet twice."""

    scene: Scene
    path: OnPath
    stream: Stream
    direction: Direction
    receiver: End
    found: Findings

    def run(self) -> None:
        stream, path, found = self.stream, self.path, self.found
        drops = total_drops(self.scene.live, self.receiver.node)
        recorder, to = _Recorder(stream, self.direction), f"to {self.receiver.node}"
        with path.rule(recorder):
            stream.deliver(_PACKETS, Deadline(ARRIVAL_S))
        captured = recorder.kept[:_PACKETS]
        self._count("captured", len(captured), _PACKETS, f"packets {to} were captured in flight, and delivered")

        path.inject(self.direction, captured)
        expected = _PACKETS
        seen = await_drops(self.scene.live, self.receiver, drops, expected)
        self._count("replayed_at_once", seen.replayed, expected, "of them, sent again at once, were dropped")

        later = 2 * max([_WINDOW, *(child.replay_window or 0 for child in self.receiver.connection.children)])
        stream.deliver(later, Deadline(ARRIVAL_S))
        path.inject(self.direction, captured)
        expected += _PACKETS
        seen = await_drops(self.scene.live, self.receiver, drops, expected)
        late = seen.replayed - _PACKETS
        self._count("replayed_late", late, _PACKETS, f"were dropped {later} packets later, out of the window")

        expected += self._late_packet(recorder)
        seen = await_drops(self.scene.live, self.receiver, drops, expected)
        self._count("dropped", seen.replayed, expected, f"packets {to} were dropped as replayed in all")
        expect_valid(stream, found, "afterwards")
        self._once()

    def _count(self, name: str, seen: int, expected: int, what: str) -> None:
        self.found.count(f"{name}_{self.direction}", seen, expected, what)

    def _late_packet(self, recorder: _Recorder) -> int:
        """One packet is overtaken by others, and let go then: it is accepted; once more, and it is not."""
        recorder.hold = True
        with self.path.rule(recorder):
            held = self.stream.send(1)
            overtaking = self.stream.send(_LATE)
            self.stream.await_arrival(overtaking, Deadline(ARRIVAL_S))
        if not self.found.expect(len(recorder.held) == 1, "one packet was held on the path"):
            return 0
        self._count("held_delivered", self.stream.delivered(held), 0, "of it was delivered while it was held")
        self.path.inject(self.direction, recorder.held)
        self.stream.await_arrival(held, Deadline(ARRIVAL_S))
        self._count("late_accepted", self.stream.delivered(held), 1, f"was accepted after {_LATE} later ones")
        self.path.inject(self.direction, recorder.held)
        return 1

    def _once(self) -> None:
        more = [number for number, times in self.stream.arrived.items() if times > 1]
        self._count("twice", len(more), 0, f"of {self.stream.sent} datagrams were delivered more than once")
        missing = self.stream.sent - self.stream.delivered(range(self.stream.sent))
        self._count("missing", missing, 0, "were lost")
