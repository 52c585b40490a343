"""A router that plays a peer: on the path, in the peer's place, while the true peer's tunnel goes on.

The rogue sends with the peer's address over its link to the node on the path, which puts its frames into the line of
the near end, and hands over to it what the near end answers. What belongs to the rogue is told by the SPIs that it
chose, so nothing of the true peer's is touched.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.daemons.connection import vici_connection
from testbed.deadline import Deadline
from testbed.errors import DaemonError, NegotiationError
from testbed.network.capture import Capture
from testbed.network.packet import dissect
from testbed.network.wire import Sender
from testbed.successor import RESTORE, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from testbed.daemons.charon import Charon
    from testbed.device import ConnectionConfig
    from testbed.network.capture import Frame
    from testbed.network.wire import Transit
    from testbed.plan import Attachment
    from testbed.proof.scene import OnPath, Scene
    from testbed.topology.models import Rogue

__all__ = ["Impersonation", "RogueRouter", "find_rogue", "initiator_spi"]

_ATTEMPT_S = 12.0  # more than charon's patience with a peer that does not answer
_SPI = 8
_NAME = "rogue"


@dataclass(frozen=True)
class RogueRouter:
    """The node, and both ends of the link from it to the node on the path."""

    spec: Rogue
    own: Attachment
    tap: Attachment

    @property
    def node(self) -> str:
        return self.spec.node


def find_rogue(scene: Scene) -> RogueRouter | None:
    """The lab's rogue, if it has one that reaches the node on this path."""
    spec, path = scene.lab.loaded.topology.rogue, scene.live.plan.links[scene.near.link]
    if spec is None or path.through is None:
        return None
    for link in scene.live.plan.links.values():
        members = {end.node: end for end in link.ends}
        if spec.node in members and path.through[0].node in members:
            return RogueRouter(spec, members[spec.node], members[path.through[0].node])
    return None


def initiator_spi(data: bytes, offset: int) -> bytes:
    return data[offset : offset + _SPI]


@dataclass
class Impersonation:
    """The rogue in the far end's place. Made by `playing`."""

    scene: Scene
    path: OnPath
    rogue: RogueRouter
    answers: bool = False  # what the near end begins: then all of its IKE goes to the rogue
    first_messages: list[bytes] = field(default_factory=list)
    _spis: set[bytes] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _to_rogue: Sender = field(init=False)

    @classmethod
    @contextlib.contextmanager
    def playing(
        cls, scene: Scene, path: OnPath, rogue: RogueRouter, *, answers: bool = False
    ) -> Iterator[Impersonation]:
        """Give the rogue the peer's address, and the path to the near end, while the context lasts."""
        made = cls(scene, path, rogue, answers)
        tap = (scene.live.state(rogue.tap.node).namespace, rogue.tap.interface)
        with (
            Sender(*tap) as made._to_rogue,
            Capture(*tap, made._from_rogue),
            path.rule(made._from_near),
            made._addressed(),
        ):
            yield made

    @contextlib.contextmanager
    def _addressed(self) -> Iterator[None]:
        near, far = self.scene.near, self.scene.far
        mac = next(
            end.mac
            for _, end in self.scene.live.plan.attachments_of(near.node)
            if end.interface == near.connection.interface
        )
        device, own, peer = self.rogue.own.interface, f"{far.outer}/{far.outer.max_prefixlen}", str(near.outer)
        steps = [
            ["address", "replace", own, "dev", device],
            ["neighbour", "replace", peer, "lladdr", mac, "dev", device],
            ["route", "replace", peer, "dev", device, "src", str(far.outer)],
        ]
        undo = [
            ["route", "del", peer, "dev", device],
            ["neighbour", "del", peer, "dev", device],
            ["address", "del", own, "dev", device],
        ]
        commands = [[self.rogue.node, "ip", *step] for step in undo]
        with succeeded(self.scene.lab, RESTORE, {"commands": commands, "nodes": [self.rogue.node]}):
            yield from self._stepped(steps, undo)

    def _stepped(self, steps: list[list[str]], undo: list[list[str]]) -> Iterator[None]:
        try:
            for step in steps:
                done = self.scene.live.execute(self.rogue.node, ["ip", *step])
                if done.exit_code != 0:
                    told = done.stderr.decode(errors="replace").strip()
                    raise DaemonError("the rogue cannot take the peer's place", node=self.rogue.node, seen=told)
            yield
        finally:
            for step in undo:
                self.scene.live.execute(self.rogue.node, ["ip", *step])
            self.scene.live.execute(self.rogue.node, ["/usr/lib/testbed/load-connections", "--clear"])

    def _from_rogue(self, frame: Frame) -> None:
        """In the capture's thread: into the line of the near end."""
        packet = dissect(frame.data)
        if packet.source != self.scene.far.outer or packet.destination != self.scene.near.outer:
            return  # what it says to its neighbour
        if packet.kind == "ike":
            spi = initiator_spi(frame.data, packet.offset)
            with self._lock:
                if spi not in self._spis:
                    self.first_messages.append(frame.data)
                self._spis.add(spi)
        self.path.inject("backward", [frame.data])

    def _from_near(self, transit: Transit) -> Iterable[Transit]:
        """In the wire's thread: what is for the rogue goes to it, and not to the peer."""
        packet = transit.packet
        if transit.direction != "forward" or packet.kind != "ike":
            return (transit,)
        with self._lock:
            if not self.answers and initiator_spi(transit.data, packet.offset) not in self._spis:
                return (transit,)
        self._to_rogue.send(bytes.fromhex(self.rogue.own.mac.replace(":", "")) + transit.data[6:])
        return ()

    def attempt(
        self, config: ConnectionConfig, secret: bytes | None, key: bytes, certificate: bytes
    ) -> tuple[bool, str]:
        """Let the rogue negotiate as the far end: whether either end then had an SA, and what said who had begun.

        It has these credentials and no other: IKEv1 would choose among all that it has.
        """
        charon, near = self.scene.live.charon(self.rogue.node), self.scene.charon(self.scene.near)
        self._load(charon, config, secret, key, certificate)
        known, told = {sa.unique_id for sa in near.sas()}, ""
        try:
            if self.answers:
                child = self.scene.near.connection.children[0].name
                near.initiate(child=child, deadline=Deadline(_ATTEMPT_S))
            else:
                charon.initiate(child=_NAME, deadline=Deadline(_ATTEMPT_S))
        except NegotiationError as failure:
            told = failure.seen or str(failure)
        finally:
            # Asked before the rogue takes down what it may have.
            gained = any(sa.established and sa.unique_id not in known for sa in near.sas())
            gained = gained or any(sa.established for sa in charon.sas(_NAME))
            charon.terminate(ike=_NAME, deadline=Deadline(2.0))
            charon.unload_connection(_NAME)
        return gained or not told, told

    def _load(
        self, charon: Charon, config: ConnectionConfig, secret: bytes | None, key: bytes, certificate: bytes
    ) -> None:
        charon.clear_credentials()
        connection = vici_connection(config)
        connection["children"] = {_NAME: next(iter(connection["children"].values()))}
        if secret is not None:
            names = [config.local.identity, config.remote.identity, str(self.scene.near.outer)]
            charon.load_shared(_NAME, secret, names)
        else:
            connection["local"] |= {"certs": [certificate]}
            charon.load_certificate(self.scene.authority(), authority=True)
            charon.load_key(key)
        charon.load_connections({_NAME: connection})
