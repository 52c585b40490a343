"""No leak: without a tunnel there is no traffic, rather than traffic in clear."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded
from testbed.proof.claims.confidentiality import inner_headers
from testbed.proof.claims.traffic import ARRIVAL_S, expect_valid
from testbed.verify.wire import inspect_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.network.capture import Capture, Frame
    from testbed.proof.result import Findings
    from testbed.proof.scene import OnPath, Scene
    from testbed.proof.stream import Stream

__all__ = ["no_leak"]

_PACE_S = 0.002
_QUIET_S = 0.3  # how long traffic goes on after each step
_REKEY_S, _RESTART_S = 10.0, 30.0
_CONTROL = 5  # datagrams


class _Traffic:
    """Sends without a pause, in both directions, until the context ends."""

    def __init__(self, streams: list[Stream]) -> None:
        self._streams = streams
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> _Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_PACE_S):
            for stream in self._streams:
                stream.send()
                stream.drain()

    def more(self) -> None:
        """Return when the traffic has gone on for a while."""
        goal = [stream.sent + int(_QUIET_S / _PACE_S / 2) for stream in self._streams]
        Deadline(_RESTART_S).until(
            lambda: all(stream.sent >= least for stream, least in zip(self._streams, goal, strict=True)), "traffic"
        )


def no_leak(scene: Scene, path: OnPath, found: Findings) -> None:
    """Traffic runs all the while: as the tunnel is rekeyed, taken down, and as charon is killed and comes back.

    Watched are the lines of both routers, each before anybody could drop what left it in clear.
    """
    with scene.stream() as there, scene.stream(back=True) as back, scene.lab.link(scene.far.link).capture() as beyond:
        streams = [there, back]
        phases = _Phases(path, beyond, streams)
        expect_valid(there, found, "at first")
        try:
            with _Traffic(streams) as traffic:
                phases.run("rekeying", lambda: _rekey(scene), traffic)
                phases.run("tunnel down", scene.take_down, traffic)
                # Traffic may set it up again, as that of a crypto map does; nothing is in clear then either.
                for end in (scene.near, scene.far):
                    node = end.node
                    phases.run(f"charon of {node} killed", lambda node=node: _kill(scene, node), traffic)  # type: ignore[misc]
                    phases.run(f"charon of {node} back", lambda node=node: _restart(scene, node), traffic)  # type: ignore[misc]
        finally:
            _restart(scene, scene.near.node, scene.far.node)
        for stream in streams:
            expect_valid(stream, found, f"afterwards to {stream.destination}")
        _control(scene, path, beyond, found)
        phases.judge(scene, found)
    found.expect(scene.is_up, "the tunnel is up again")


class _Phases:
    """What was sent and what was seen on both lines, from the beginning of each phase to that of the next."""

    def __init__(self, path: OnPath, beyond: Capture, streams: list[Stream]) -> None:
        self._path = path
        self._beyond = beyond
        self._streams = streams
        self._begun: list[tuple[str, int, int, int]] = []

    def run(self, name: str, step: Callable[[], None], traffic: _Traffic) -> None:
        self._mark(name)
        step()
        traffic.more()

    def _mark(self, name: str) -> None:
        sent = sum(stream.sent for stream in self._streams)
        self._begun.append((name, self._path.mark, len(self._beyond.frames), sent))

    def judge(self, scene: Scene, found: Findings) -> None:
        ends = [(scene.near.selectors, scene.far.selectors), (scene.far.selectors, scene.near.selectors)]
        pairs = [(local, remote) for ours, theirs in ends for local in ours for remote in theirs]
        self._mark("")
        for (name, near, far, sent), (_, near_end, far_end, sent_end) in itertools.pairwise(self._begun):
            frames = [*self._path.frames[near:near_end], *self._beyond.frames[far:far_end]]
            report = inspect_frames(frames, [], pairs)
            clear = len(report.protected) + inner_headers(frames, self._streams)
            key, during = name.replace(" ", "_"), sent_end - sent
            found.numbers |= {f"sent_{key}": during, f"clear_{key}": clear}
            found.expect(clear == 0, f"{name}: {during} sent, none in clear", f"{name}: {clear} of {during} in clear")


def _rekey(scene: Scene) -> None:
    """Rekey the CHILD SA, and wait until the new one is there."""
    before = scene.spis(scene.near)
    scene.charon(scene.near).rekey(ike=None, child=scene.near.connection.children[0].name)
    Deadline(_REKEY_S).until(lambda: scene.spis(scene.near) - before, "the rekeying")


def _all_seen(frames: list[Frame], since: int, known: list[bytes]) -> bool:
    report = inspect_frames(frames[since:], known)
    return report.blocks == report.blocks_seen


def _kill(scene: Scene, node: str) -> None:
    scene.lab.node(node).kill_daemon("charon")


def _restart(scene: Scene, *nodes: str) -> None:
    for node in nodes:
        scene.lab.start_daemons(node, timeout_s=_RESTART_S)
    scene.bring_up()


def _control(scene: Scene, path: OnPath, beyond: Capture, found: Findings) -> None:
    """The same observers do see what no tunnel protects, on both lines."""
    near, far = path.mark, len(beyond.frames)
    with scene.clear_stream() as clear:
        known = [clear.payload(number) for number in clear.deliver(_CONTROL, Deadline(ARRIVAL_S))]
    for name, all_frames, since in ((scene.near.link, path.frames, near), (scene.far.link, beyond.frames, far)):
        with contextlib.suppress(DeadlineExceeded):  # a capture takes a moment to hand over what has passed
            Deadline(ARRIVAL_S).until(functools.partial(_all_seen, all_frames, since, known), "the control")
        report = inspect_frames(all_frames[since:], known)
        text = f"{report.blocks_seen} of {report.blocks} blocks of data in clear are seen on {name}"
        found.expect(report.blocks_seen == report.blocks > 0, f"control: {text}", f"the control fails: {text}")
