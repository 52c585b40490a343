"""Recording a negotiation, a rekeying and the end of a tunnel on a live lab, and what was measured of each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from testbed.daemons.connection import vici_connection
from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, TestbedError
from testbed.exchange.keys import KeyLog
from testbed.exchange.messages import read_messages, with_names_of
from testbed.proof import find_scene
from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from testbed.exchange.messages import Message
    from testbed.lab import Lab
    from testbed.network.capture import Frame
    from testbed.proof import Scene

__all__ = ["Exchange", "Phase", "compare", "record", "together"]

_REKEY_S, _SETTLE_S, _DELETED_S = 10.0, 2.0, 2.0
_KINDS = {"ikev1-main": (1, False), "ikev1-aggressive": (1, True), "ikev2": (2, False)}


@dataclass(frozen=True)
class Phase:
    """What belongs together: a step of the recording, and the exchanges of it, with what was measured of them."""

    name: str
    messages: tuple[Message, ...]

    @property
    def exchanges(self) -> list[tuple[str, int]]:
        """Each exchange and how many messages it had, without retransmissions, in their order."""
        counts: dict[tuple[str, int, str], int] = {}
        for message in self.messages:
            if not message.retransmission:
                key = (message.exchange, message.message_id, message.initiator_spi)
                counts[key] = counts.get(key, 0) + 1
        return [(exchange, count) for (exchange, _, _), count in counts.items()]

    @property
    def count(self) -> int:
        return sum(not message.retransmission for message in self.messages)

    @property
    def round_trips(self) -> float:
        """Half of the messages: each waits for the one before it. An exchange in which nobody answers has none."""
        sources: dict[tuple[str, int, str], list[str]] = {}
        for message in self.messages:
            if not message.retransmission:
                key = (message.exchange, message.message_id, message.initiator_spi)
                sources.setdefault(key, []).append(message.source)
        return sum(len(said) for said in sources.values() if len(set(said)) > 1) / 2

    @property
    def bytes(self) -> int:
        return sum(message.size for message in self.messages)

    @property
    def duration_ms(self) -> float:
        if not self.messages:
            return 0.0
        return (self.messages[-1].time_ns - self.messages[0].time_ns) / 1e6

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "messages": [message.to_dict() for message in self.messages],
            "exchanges": self.exchanges,
            "count": self.count,
            "round_trips": self.round_trips,
            "bytes": self.bytes,
            "duration_ms": self.duration_ms,
        }


@dataclass(frozen=True)
class Exchange:
    """A recording: who is who, and the phases in their order."""

    title: str
    ends: tuple[tuple[str, str], tuple[str, str]]  # node and address, the initiator first
    phases: tuple[Phase, ...]
    link: str = ""
    frames: tuple[Frame, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "ends": [list(end) for end in self.ends],
            "phases": [phase.to_dict() for phase in self.phases],
        }


def record(lab: Lab, connection: str | None = None, *, keys: Path | None = None) -> Exchange:
    """Take the tunnel down, set it up, rekey it and take it down, with everything on the wire recorded.

    Afterwards it is up again if it was. In the folder `keys`, what Wireshark decrypts the frames by is written. Raises
    NegotiationError if it does not come up.
    """
    scene = find_scene(lab, connection)
    was_up = scene.is_up
    steps = {
        "set-up": scene.bring_up,
        "rekeying of the CHILD SA": lambda: _rekey(scene, child=True),
        "rekeying of the IKE SA": lambda: _rekey(scene, child=False),
        "end": scene.take_down,
    }
    scene.take_down()
    try:
        with _keys_to(keys, scene) as log:
            return _recorded(scene, steps, _title(scene), log)
    finally:
        if was_up:
            scene.bring_up()


def compare(lab: Lab, connection: str | None = None, *, keys: Path | None = None) -> list[Exchange]:
    """The set-up of the same tunnel by each version and mode, on the same daemons.

    One that charon does not do in this configuration has a phase without messages, whose name says why.
    """
    scene = find_scene(lab, connection)
    was_up = scene.is_up
    found = []
    try:
        with scene.restored(), _keys_to(keys, scene) as log:
            for kind, (version, aggressive) in _KINDS.items():
                scene.take_down()
                for end in (scene.near, scene.far):
                    config = replace(end.connection, version=version, aggressive=aggressive)  # type: ignore[arg-type]
                    scene.charon(end).load_connections({config.name: vici_connection(config)})
                try:
                    found.append(_recorded(scene, {"set-up": scene.bring_up}, kind, log))
                except TestbedError as failure:
                    reason = Phase(f"not possible here: {failure.seen or failure.what}", ())
                    found.append(Exchange(kind, _ends(scene), (reason,)))
    finally:
        for end in (scene.near, scene.far):
            scene.reload(end)
        scene.take_down()
        if was_up:
            scene.bring_up()
    return found


@contextlib.contextmanager
def _keys_to(folder: Path | None, scene: Scene) -> Iterator[KeyLog | None]:
    if folder is None:
        yield None
        return
    with KeyLog(scene) as log:
        yield log
    log.write(folder)


def _recorded(
    scene: Scene, steps: Mapping[str, Callable[[], object]], title: str, log: KeyLog | None = None
) -> Exchange:
    frames: list[Frame] = []
    marks: list[tuple[str, int]] = []
    written = {end.node: len(_log(scene, end.node)) for end in (scene.near, scene.far)}
    with scene.lab.link(scene.near.link).capture(frames.append):
        _quiet(frames)  # of a tunnel that has just been taken down
        for name, step in steps.items():
            marks.append((name, len(frames)))
            step()
            if log is not None:
                log.look()
            _quiet(frames)
    logs = {str(end.outer): _log(scene, end.node)[written[end.node] :] for end in (scene.near, scene.far)}
    begins = [at for _, at in marks] + [len(frames)]
    messages = with_names_of(read_messages(frames), logs)
    times = [frames[at].time_ns if at < len(frames) else None for at in begins]
    phases = []
    for number, (name, _) in enumerate(marks):
        since, until = times[number], times[number + 1]
        phases.append(Phase(name, tuple(_between(messages, since, until))))
    kept = tuple(phase for phase in phases if phase.messages)
    return Exchange(title, _ends(scene), kept, scene.near.link, tuple(frames))


def _between(messages: list[Message], since: int | None, until: int | None) -> Iterator[Message]:
    for message in messages:
        if since is not None and message.time_ns >= since and (until is None or message.time_ns < until):
            yield message


def _quiet(frames: list[Frame]) -> None:
    """Wait until no frame has come for a while: the last message of an exchange may follow the SA."""
    deadline, last = Deadline(_SETTLE_S), -1
    while not deadline.expired:
        last = len(frames)
        with contextlib.suppress(TestbedError):
            Deadline(0.15).until(lambda: len(frames) > last, "another frame")  # noqa: B023 - called at once
            continue
        return


def _rekey(scene: Scene, *, child: bool) -> None:
    """Rekey, and wait for what replaces the old SA. IKEv1 reauthenticates its IKE SA instead."""
    charon = scene.charon(scene.near)
    before = scene.spis(scene.near), {sa.unique_id for sa in scene.sas(scene.near)}
    if child:
        charon.rekey(child=scene.near.connection.children[0].name)
        Deadline(_REKEY_S).until(lambda: scene.spis(scene.near) - before[0], "the rekeying")
    else:
        charon.rekey(ike=scene.connection)
        Deadline(_REKEY_S).until(lambda: {sa.unique_id for sa in scene.sas(scene.near)} - before[1], "the rekeying")
    if scene.near.connection.version == 2:  # who has rekeyed deletes what is old; in IKEv1 it expires
        with contextlib.suppress(DeadlineExceeded):
            Deadline(_DELETED_S).until(lambda: not _old(scene, *before, child=child), "the old SA to be deleted")


def _old(scene: Scene, spis: set[str], sas: set[int], *, child: bool) -> bool:
    """Whether an SA of before is still in use; charon keeps a CHILD SA a while that is deleted."""
    now = scene.charon(scene.near).sas(scene.connection)
    if not child:
        return any(sa.unique_id in sas for sa in now)
    return any(item.spi_in in spis and item.state != "DELETED" for sa in now for item in sa.children)


def _ends(scene: Scene) -> tuple[tuple[str, str], tuple[str, str]]:
    return (scene.near.node, str(scene.near.outer)), (scene.far.node, str(scene.far.outer))


def together(found: list[Exchange]) -> Exchange:
    """Several recordings between the same ends as one, whose phases are named by what they were."""
    if len(found) == 1:
        return found[0]
    phases = [replace(phase, name=f"{item.title}: {phase.name}") for item in found for phase in item.phases]
    return replace(found[0], title="IKEv1 and IKEv2", phases=tuple(phases))


def _title(scene: Scene) -> str:
    config = scene.near.connection
    return next(kind for kind, facts in _KINDS.items() if facts == (config.version, config.aggressive))


def _log(scene: Scene, node: str) -> str:
    return read_log(scene.live.state(node).identity.directory, "charon.log")
