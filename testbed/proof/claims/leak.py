"""No leak: without a tunnel there is no traffic, rather than traffic in clear."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.proof.claims.confidentiality import inner_headers
from testbed.proof.claims.traffic import expect_valid
from testbed.verify.wire import inspect_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.proof.result import Findings
    from testbed.proof.scene import OnPath, Scene
    from testbed.proof.stream import Stream

__all__ = ["no_leak"]

_PACE_S = 0.002
_QUIET_S = 0.3  # how long traffic goes on after each step
_REKEY_S, _RESTART_S = 10.0, 30.0


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
    """Traffic runs all the while: as the tunnel is rekeyed, taken down, and as charon is killed."""
    selectors = [(scene.near.selectors, scene.far.selectors), (scene.far.selectors, scene.near.selectors)]
    pairs = [(local, remote) for ours, theirs in selectors for local in ours for remote in theirs]
    with scene.stream() as there, scene.stream(back=True) as back:
        streams = [there, back]

        def phase(name: str, step: Callable[[], None]) -> None:
            mark, sent = path.mark, sum(stream.sent for stream in streams)
            step()
            traffic.more()
            frames = path.since(mark)
            during = sum(stream.sent for stream in streams) - sent
            report = inspect_frames(frames, [], pairs)
            clear = len(report.protected) + inner_headers(frames, streams)
            key = name.replace(" ", "_")
            found.numbers |= {f"sent_{key}": during, f"clear_{key}": clear}
            found.expect(clear == 0, f"{name}: {during} sent, none in clear", f"{name}: {clear} of {during} in clear")

        expect_valid(there, found, "at first")
        with _Traffic(streams) as traffic:
            phase("rekeying", lambda: _rekey(scene))
            phase("tunnel down", scene.take_down)
            # Traffic may set it up again, as that of a crypto map does; nothing is in clear then either.
            phase("charon killed", lambda: scene.lab.node(scene.near.node).kill_daemon("charon"))
            phase("charon back", lambda: _restart(scene))
        scene.bring_up()
        for stream in streams:
            expect_valid(stream, found, f"afterwards to {stream.destination}")
    found.expect(scene.is_up, "the tunnel is up again")


def _rekey(scene: Scene) -> None:
    """Rekey all CHILD SAs, and wait until the new ones are there."""
    before = scene.spis(scene.near)
    scene.charon(scene.near).rekey(ike=None, child=scene.near.connection.children[0].name)
    Deadline(_REKEY_S).until(lambda: scene.spis(scene.near) - before, "the rekeying")


def _restart(scene: Scene) -> None:
    scene.lab.start_daemons(scene.near.node, timeout_s=_RESTART_S)
    scene.bring_up()
