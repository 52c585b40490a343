"""Perfect forward secrecy: a rekeying makes new keys from a key exchange of its own, not from the old ones."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from testbed.daemons.connection import vici_connection, without_groups
from testbed.deadline import Deadline
from testbed.network.packet import dissect
from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.proof.result import Findings
    from testbed.proof.scene import End, OnPath, Scene

__all__ = ["forward_secrecy", "rekeying_payloads"]

_REKEY_S, _LOAD_S = 10.0, 10.0
# charon's words, `src/libcharon/encoding/message.c`: the payloads of a message, which are encrypted on the wire.
_MESSAGE = re.compile(r"(generating|parsed) (?:CREATE_CHILD_SA|QUICK_MODE) (?:request|response) \d+ \[([^\]]*)\]")


def forward_secrecy(scene: Scene, path: OnPath, found: Findings) -> None:
    """The tunnel is rekeyed as it is configured, and then, as control, without a group for its CHILD SA."""
    scene.bring_up()
    payloads, size, group = _rekeyed(scene, path)
    found.numbers |= {"group": group or "none", "bytes_on_path": size}
    found.expect(
        _have_exchange(payloads),
        f"rekeying carries a key exchange: {' | '.join(payloads)} ({size} bytes on the path, group {group})",
        f"rekeying carries no key exchange: {' | '.join(payloads) or 'no message was seen'}",
    )
    found.expect(group is not None, f"the new CHILD SA has a group: {group}", "the new CHILD SA has no group")
    with _without_group(scene):
        plain, plain_size, plain_group = _rekeyed(scene, path)
    found.numbers["bytes_on_path_without"] = plain_size
    found.expect(
        bool(plain) and not _have_exchange(plain) and plain_group is None,
        f"control: without a group it does not: {' | '.join(plain)} ({plain_size} bytes)",
        f"the control fails: without a group {' | '.join(plain) or 'no message was seen'}",
    )


def _have_exchange(payloads: list[str]) -> bool:
    return len(payloads) >= 2 and all("KE" in text.split() for text in payloads[:2])


def rekeying_payloads(log: str) -> list[str]:
    """What the first messages of CREATE_CHILD_SA or Quick Mode in a log hold: a request's, and its answer's."""
    return [match[2].strip() for match in _MESSAGE.finditer(log)][:2]


def _rekeyed(scene: Scene, path: OnPath) -> tuple[list[str], int, str | None]:
    """Rekey one CHILD SA: the payloads, how many bytes of IKE crossed the path, and the new SA's group."""
    child, near = scene.near.connection.children[0].name, scene.near
    before, mark, written = scene.spis(near), path.mark, len(_log(scene, near))
    scene.charon(near).rekey(child=child)

    def fresh() -> bool:
        return bool(scene.spis(near) - before) and len(rekeying_payloads(_log(scene, near)[written:])) == 2

    Deadline(_REKEY_S).until(fresh, "the rekeying")
    size = sum(len(frame.data) for frame in path.since(mark) if dissect(frame.data).kind == "ike")
    new = [
        item
        for sa in scene.sas(near)
        for item in sa.children
        if item.state == "INSTALLED" and item.spi_in not in before and item.name == child
    ]
    return rekeying_payloads(_log(scene, near)[written:]), size, new[-1].group if new else None


@contextlib.contextmanager
def _without_group(scene: Scene) -> Iterator[None]:
    """The same connection at both ends, but for the group of its CHILD SAs; afterwards as the nodes' files say."""
    ends = (scene.near, scene.far)
    try:
        for end in ends:
            config = without_groups(end.connection)
            scene.charon(end).load_connections({config.name: vici_connection(config)})
        scene.take_down()
        scene.bring_up()
        yield
    finally:
        for end in ends:
            scene.reload(end)
        scene.take_down()
        scene.bring_up()


def _log(scene: Scene, end: End) -> str:
    return read_log(scene.live.state(end.node).identity.directory, "charon.log")
