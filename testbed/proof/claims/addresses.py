"""Hidden addresses: no private address is seen on any link that is not trusted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.proof.claims.confidentiality import inner_headers
from testbed.proof.claims.traffic import ARRIVAL_S
from testbed.proof.result import UntriedError
from testbed.verify.wire import inspect_frames

if TYPE_CHECKING:
    from testbed.proof.result import Findings
    from testbed.proof.scene import OnPath, Scene

__all__ = ["hidden_addresses"]

_DATAGRAMS = 20


def hidden_addresses(scene: Scene, path: OnPath, found: Findings) -> None:
    """All untrusted links are watched while a tunnel is set up and used; and the inside, as control."""
    inside = next(
        (
            link.name
            for link, end in scene.live.plan.attachments_of(scene.near.host)
            if scene.near.inner in [address.ip for address in end.addresses]
        ),
        None,
    )
    if inside is None or inside == scene.near.link or inside in scene.untrusted_links():
        raise UntriedError(f"{scene.near.host} has no link inside on which it would be seen what an observer sees")
    watched = [name for name in scene.untrusted_links() if name != scene.near.link]
    mark = path.mark
    with contextlib.ExitStack() as stack:
        captures = {name: stack.enter_context(scene.lab.link(name).capture()) for name in [*watched, inside]}
        scene.take_down()
        scene.bring_up()
        streams = [stack.enter_context(scene.stream(back=back)) for back in (False, True)]
        for stream in streams:
            numbers = stream.deliver(_DATAGRAMS, Deadline(ARRIVAL_S))
            found.expect(
                stream.delivered(numbers) == _DATAGRAMS, f"{_DATAGRAMS} datagrams crossed to {stream.destination}"
            )
    frames = {name: capture.frames for name, capture in captures.items()} | {scene.near.link: path.since(mark)}
    control = inspect_frames(frames.pop(inside), [])
    for name, seen in frames.items():
        report = inspect_frames(seen, [])
        private = len(report.private) + inner_headers(seen, streams)
        found.numbers[f"frames_{name}"] = len(seen)
        what = f": {report.private[0]}" if report.private else ""
        told = f"{name}: none in {len(seen)} frames" if seen else f"{name}: nothing crossed it"
        found.expect(private == 0, told, f"{name}: {private} frames{what}")
    found.numbers["control_private"] = len(control.private)
    found.expect(
        len(control.private) >= 2 * _DATAGRAMS,
        f"control: on {inside}, inside, {len(control.private)} frames name them",
        f"the control fails: on {inside} {len(control.private)} frames name them",
    )
