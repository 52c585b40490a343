"""Who plays in a proof: the two ends of a connection, the hosts behind them, and whoever stands on the path."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.errors import SettingError
from testbed.network.capture import Frame
from testbed.proof.stream import Stream
from testbed.runtime.files import read_file
from testbed.successor import RESTORE, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from testbed.daemons.charon import Charon
    from testbed.daemons.sa import IkeSa
    from testbed.device import ConnectionConfig
    from testbed.lab import Lab
    from testbed.network.wire import Direction, Rule, Transit, Wire
    from testbed.topology.addressing import Prefix
    from testbed.verify import LiveLab

    Address = IPv4Address | IPv6Address

__all__ = ["End", "OnPath", "Scene", "find_scene"]

_NEGOTIATION_S, _FORGOTTEN_S = 30.0, 0.5


@dataclass(frozen=True)
class End:
    """One end of the connection: its router, and a node behind it whose traffic the tunnel protects."""

    node: str
    link: str
    connection: ConnectionConfig
    host: str
    inner: Address

    @property
    def outer(self) -> Address:
        return self.connection.local.address

    @property
    def selectors(self) -> list[Prefix]:
        return [prefix for child in self.connection.children for prefix in child.local_selectors]


@dataclass
class OnPath:
    """Standing on the path of the near end: all frames that arrive there are kept, and all that leave.

    The latter are others where somebody flips, drops and repeats: both are evidence.
    """

    wire: Wire
    frames: list[Frame] = field(default_factory=list)
    left: list[Frame] = field(default_factory=list)

    def keep(self, transit: Transit) -> Iterable[Transit]:
        self.frames.append(Frame(time.time_ns(), transit.data))
        return (transit,)

    def keep_left(self, transit: Transit) -> None:
        self.left.append(Frame(time.time_ns(), transit.data))

    def forget(self) -> None:
        self.frames.clear()
        self.left.clear()

    def since(self, mark: int) -> list[Frame]:
        return self.frames[mark:]

    @property
    def mark(self) -> int:
        return len(self.frames)

    def rule(self, rule: Rule) -> contextlib.AbstractContextManager[None]:
        return self.wire.rule(rule)

    def inject(self, direction: Direction, frames: Iterable[bytes]) -> int:
        return self.wire.inject(direction, frames)


@dataclass
class Scene:
    """A connection of a running lab, and what it takes to try what it promises. `near` is the end that initiates."""

    lab: Lab
    live: LiveLab
    near: End
    far: End

    @property
    def connection(self) -> str:
        return self.near.connection.name

    def charon(self, end: End) -> Charon:
        return self.live.charon(end.node)

    def sas(self, end: End) -> list[IkeSa]:
        return [sa for sa in self.charon(end).sas(self.connection) if sa.established]

    @property
    def is_up(self) -> bool:
        """Whether every CHILD SA of the connection is installed at both ends."""
        wanted = {child.name for child in self.near.connection.children}
        return all(
            wanted <= {child.name for sa in self.sas(end) for child in sa.children if child.state == "INSTALLED"}
            for end in (self.near, self.far)
        )

    def bring_up(self) -> None:
        """Negotiate the tunnel, unless it is up. Raises NegotiationError.

        What only one end has, since the other was killed, is forgotten first: it would not negotiate another.
        """
        if self.is_up:
            return
        left = [end for end in (self.near, self.far) if self.sas(end)]
        if len(left) == 1:
            self.charon(left[0]).terminate(ike=self.connection, deadline=Deadline(_FORGOTTEN_S))
        self.lab.initiate(self.connection, timeout_s=_NEGOTIATION_S)

    def take_down(self) -> None:
        self.lab.terminate(self.connection)

    def reload(self, end: End, *, clear: bool = False) -> None:
        """Give a router's charon what the node's files say, in place of what was loaded by VICI. Raises DaemonError."""
        self.live.reload_charon(end.node, clear=clear)

    def restored(
        self, ends: Sequence[End] = (), commands: Sequence[Sequence[str]] = ()
    ) -> contextlib.AbstractContextManager[None]:
        """What somebody changes meanwhile at these ends, both if none is named, is put right if his process is killed.

        `commands`, each with its node, are run before that.
        """
        nodes = [end.node for end in ends or (self.near, self.far)]
        memo = {"nodes": nodes, "initiate": self.connection if self.is_up else None, "commands": commands}
        return succeeded(self.lab, RESTORE, memo)

    def spis(self, end: End) -> set[str]:
        found = (spi for sa in self.sas(end) for child in sa.children for spi in (child.spi_in, child.spi_out))
        return {spi for spi in found if spi}

    def stream(self, *, back: bool = False) -> Stream:
        """Datagrams from the near host to the far one, or back: what the tunnel is for."""
        source, destination = (self.far, self.near) if back else (self.near, self.far)
        spaces = (self.live.state(source.host).namespace, self.live.state(destination.host).namespace)
        return Stream(spaces, source.inner, destination.inner, (source.outer, destination.outer))

    def clear_stream(self) -> Stream:
        """Datagrams from router to router, which no tunnel protects: what an observer would see without one."""
        spaces = (self.live.state(self.near.node).namespace, self.live.state(self.far.node).namespace)
        return Stream(spaces, self.near.outer, self.far.outer)

    @contextlib.contextmanager
    def on_path(self) -> Iterator[OnPath]:
        """Take the path at the near end. `forward` is away from it."""
        with self.lab.path(self.near.link, self.near.node) as wire:
            path = OnPath(wire)
            with wire.rule(path.keep), wire.watch(path.keep_left):
                yield path

    def authority(self) -> bytes:
        """The CA's certificate that the near end trusts, PEM; empty without one."""
        trusted = sorted((self.live.state(self.near.node).identity.directory / "nvram-x509ca").glob("*.pem"))
        return read_file(trusted[0]) or b"" if trusted else b""

    def untrusted_links(self) -> list[str]:
        """The links of the zone `public`."""
        return [name for name, link in self.lab.loaded.topology.links.items() if link.zone == "public"]


def find_scene(lab: Lab, connection: str | None = None, hosts: tuple[str, str] | None = None) -> Scene:
    """The scene of a connection, or of the lab's first. `hosts` are the nodes behind its ends, near one first.

    Raises SettingError if the lab has no such connection, LabNotRunningError if it does not run.
    """
    lab.refresh()
    live = lab.live()
    found = {
        config.name: (name, config)
        for name, device in lab.devices.items()
        for config in device.connections
        if config.initiator and config.remote_node
    }
    name = connection or next(iter(found), "")
    if name not in found:
        known = ", ".join(found) or "none: no router has a connection to another of this lab"
        raise SettingError(f"there is no connection '{name}' to prove anything of", expected=f"one of {known}")
    near, own = found[name]
    far = own.remote_node
    other = next((config for config in lab.devices[far].connections if config.name == name), None)
    if other is None:
        raise SettingError(f"'{far}' has no connection '{name}'", expected="both ends configured")
    given = hosts or _hosts(lab, own)
    return Scene(lab, live, _end(lab, near, own, given[0]), _end(lab, far, other, given[1]))


def _end(lab: Lab, node: str, connection: ConnectionConfig, host: str) -> End:
    link = next(
        (link.name for link, end in lab.plan.attachments_of(node) if end.interface == connection.interface), None
    )
    if link is None:
        raise SettingError(f"the connection '{connection.name}' of '{node}' is on no link")
    prefixes = [prefix for child in connection.children for prefix in child.local_selectors]
    behind = host
    addresses = [address.ip for _, address in lab.loaded.addressing.of_node(behind)]
    inner = [address for address in addresses if any(address in prefix for prefix in prefixes)] or addresses
    if not inner:
        raise SettingError(f"'{behind}' has no address")
    return End(node, link, connection, behind, inner[0])


def _hosts(lab: Lab, connection: ConnectionConfig) -> tuple[str, str]:
    """Two nodes whose traffic one of the CHILD SAs protects: the first that has a node at each of its ends."""
    for child in connection.children:
        near, far = _host_in(lab, child.local_selectors), _host_in(lab, child.remote_selectors)
        if near and far:
            return near, far
    told = "; ".join(
        f"{', '.join(map(str, child.local_selectors))} - {', '.join(map(str, child.remote_selectors))}"
        for child in connection.children
    )
    raise SettingError(f"the connection '{connection.name}' protects {told}, between which there are no two nodes")


def _host_in(lab: Lab, prefixes: Sequence[Prefix]) -> str | None:
    """A host, rather than the router itself."""
    for name in sorted(lab.devices, key=lambda name: lab.devices[name].forwards):
        for _, address in lab.loaded.addressing.of_node(name):
            if any(address.ip in prefix for prefix in prefixes):
                return name
    return None
