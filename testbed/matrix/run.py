"""One cell after another on two routers that stay up: loaded, negotiated, looked at, used and taken down, by VICI."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from testbed.daemons.enrolment import node_time
from testbed.daemons.keywords import child_proposal, ike_proposal, matches_proposal
from testbed.daemons.reasons import explain_refusal
from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, NegotiationError, TestbedError
from testbed.matrix.cells import impossible
from testbed.matrix.credentials import Credentials, identity
from testbed.matrix.inner import InnerIpv6
from testbed.network.probe import Echo, echo
from testbed.proof import find_scene
from testbed.runtime.files import read_file, read_log, replace_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from testbed.daemons.sa import ChildSa, IkeSa
    from testbed.lab import Lab
    from testbed.matrix.cells import Cell
    from testbed.proof import Scene
    from testbed.proof.scene import Address, End
    from testbed.proof.stream import Stream

__all__ = ["Outcome", "run_matrix"]

Status = Literal["passed", "failed", "impossible"]
_NAME = "matrix"
_NEGOTIATION_S, _TRAFFIC_S, _REKEY_S, _END_S = 20.0, 2.0, 5.0, 1.0
_SETTINGS = "/etc/strongswan.conf"
_AGGRESSIVE = b"  i_dont_care_about_security_and_use_aggressive_mode_psk = yes\n"


@dataclass(frozen=True)
class Outcome:
    """What came of a cell: what was negotiated and how long that took, or why it was not."""

    cell: Cell
    status: Status
    reason: str = ""
    ike: str = ""
    esp: str = ""
    duration_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**self.cell.__dict__, **{key: value for key, value in self.__dict__.items() if key != "cell"}}


def run_matrix(
    lab: Lab,
    wanted: Iterable[Cell],
    *,
    connection: str | None = None,
    announce: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Try cells between the two routers of a connection, which is unloaded meanwhile and is back afterwards.

    No daemon is restarted, and no file of a node changes but for one setting, which charon wants for aggressive mode
    with a pre-shared key. Raises what keeps all cells from being tried; what fails in a cell is its outcome.
    """
    todo = list(wanted)
    scene = find_scene(lab, connection)
    credentials = Credentials({cell.credential for cell in todo})
    outcomes = []
    six = any(cell.feature == "inner-ipv6" for cell in todo)
    with (
        scene.restored(commands=InnerIpv6(scene).undo() if six else ()),
        _warmed(scene, credentials, todo),
        _Matrix(scene, credentials, inner_ipv6=six) as matrix,
    ):
        for cell in todo:
            outcomes.append(matrix.attempt(cell))
            if announce is not None:
                announce(outcomes[-1])
    return outcomes


@contextlib.contextmanager
def _warmed(scene: Scene, credentials: Credentials, todo: Sequence[Cell]) -> Iterator[None]:
    """Without the lab's own tunnel, with the matrix's credentials; afterwards as the nodes' files say."""
    was_up = scene.is_up
    ends = (scene.near, scene.far)
    weak = any(cell.aggressive and cell.authentication == "psk" for cell in todo)
    scene.take_down()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: scene.bring_up() if was_up else None)
        for end, role in zip(ends, ("near", "far"), strict=True):
            stack.callback(scene.reload, end, clear=True)  # which unloads what the node's files do not have
            if weak:
                stack.enter_context(_aggressive_allowed(scene, end))
            scene.charon(end).unload_connection(scene.connection)
            credentials.load(scene.charon(end), role)
        yield


@contextlib.contextmanager
def _aggressive_allowed(scene: Scene, end: End) -> Iterator[None]:
    directory = scene.live.state(end.node).identity.directory
    before = read_file(directory / "files" / _SETTINGS.lstrip("/"))
    if _AGGRESSIVE in before:
        yield
        return
    replace_content(directory, _SETTINGS, before.replace(b"charon {\n", b"charon {\n" + _AGGRESSIVE, 1))
    scene.live.execute(end.node, ["swanctl", "--reload-settings"])
    try:
        yield
    finally:
        replace_content(directory, _SETTINGS, before)
        scene.live.execute(end.node, ["swanctl", "--reload-settings"])


class _Failed(Exception):
    """A cell is not as it should be."""


class _Matrix:
    """The two daemons, and sockets at both hosts that stay open. A context manager."""

    def __init__(self, scene: Scene, credentials: Credentials, *, inner_ipv6: bool) -> None:
        self._scene = scene
        self._six = inner_ipv6
        self._credentials = credentials
        self._near, self._far = scene.charon(scene.near), scene.charon(scene.far)

    def __enter__(self) -> _Matrix:
        self._stack = contextlib.ExitStack()
        with self._stack:
            self._streams = [self._stack.enter_context(self._scene.stream(back=back)) for back in (False, True)]
            self._routers = [self._stack.enter_context(self._scene.clear_stream())]
            self._inner = self._stack.enter_context(InnerIpv6(self._scene)) if self._six else None
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def attempt(self, cell: Cell) -> Outcome:
        reason = impossible(cell, self._scene.live.plan.dataplane) or self._lacking(cell)
        if reason is not None:
            return Outcome(cell, "impossible", reason)
        written = {end.node: len(self._log(end)) for end in (self._scene.near, self._scene.far)}
        try:
            return self._tried(cell, written)
        except NegotiationError as failure:
            return Outcome(cell, "failed", self._why(written) or failure.seen or failure.what)
        except (_Failed, TestbedError, ValueError) as failure:
            return Outcome(cell, "failed", str(failure).replace("\n", ";"))
        finally:
            self._end()

    def _lacking(self, cell: Cell) -> str | None:
        """What the routers of this lab have not got for it."""
        if cell.feature == "inner-ipv6":
            return self._inner.lacking if self._inner else None
        if cell.feature == "outer-ipv6":
            for end in (self._scene.near, self._scene.far):
                if self._outer(end, 6) is None:
                    return f"{end.node} has no IPv6 address on {end.link}"
        return None

    def _tried(self, cell: Cell, written: dict[str, int]) -> Outcome:
        self._near.load_connections({_NAME: self._connection(cell, "near")})
        self._far.load_connections({_NAME: self._connection(cell, "far")})
        begun = time.monotonic()
        for child in self._children(cell):
            self._near.initiate(child=child, deadline=Deadline(_NEGOTIATION_S))
        duration_ms = (time.monotonic() - begun) * 1000
        self._await_far_end(cell)
        sa, esp = self._negotiated(cell)
        self._traffic(cell)
        if cell.number == 2:
            esp = self._rekeyed(cell)
            self._traffic(cell)
        if cell.feature == "fragmentation":
            log = self._log(self._scene.near)[written[self._scene.near.node] :]
            _expect("fragments" in log or "FRAG(" in log, "no message was sent in fragments")
        return Outcome(cell, "passed", "", ike_proposal(sa), esp, duration_ms)

    # -- what is configured

    def _children(self, cell: Cell) -> list[str]:
        return [f"{_NAME}-{number}" for number in (1, 2)] if cell.feature == "children" else [f"{_NAME}-1"]

    def _connection(self, cell: Cell, end: str) -> dict[str, Any]:
        own, peer = (self._scene.near, self._scene.far) if end == "near" else (self._scene.far, self._scene.near)
        other = "far" if end == "near" else "near"
        version = 6 if cell.feature == "outer-ipv6" else own.outer.version
        kind = "psk" if cell.authentication == "psk" else "pubkey"
        local: dict[str, Any] = {"auth": kind, "id": identity(end, cell.credential)}
        if kind == "pubkey":
            local["certs"] = [self._credentials.certificate(end, cell.credential)]
        return {
            "version": str(cell.number),
            "aggressive": "yes" if cell.aggressive else "no",
            "mobike": "yes" if cell.feature == "mobike" else "no",
            "encap": "yes" if cell.feature == "nat-t" else "no",
            "fragmentation": "force" if cell.feature == "fragmentation" else "yes",
            "local_addrs": [str(self._outer(own, version))],
            "remote_addrs": [str(self._outer(peer, version))],
            "proposals": [cell.ike],
            "local": local,
            "remote": {"auth": kind, "id": identity(other, cell.credential)},
            "children": {
                name: self._child(cell, number, own, peer, end) for number, name in enumerate(self._children(cell))
            },
        }

    def _child(self, cell: Cell, number: int, own: End, peer: End, end: str) -> dict[str, Any]:
        ours, theirs = self._selectors(cell, number, own), self._selectors(cell, number, peer)
        if cell.feature == "narrowing" and end == "near":
            ours = [str(own.selectors[0].supernet(2))]
        made: dict[str, Any] = {"local_ts": ours, "remote_ts": theirs, "esp_proposals": [cell.esp_proposal]}
        if cell.feature == "transport":
            made["mode"] = "transport"
        if cell.feature == "compression":
            made["ipcomp"] = "yes"
        return made

    def _selectors(self, cell: Cell, number: int, end: End) -> list[str]:
        """Of two CHILD SAs the first is for UDP, the second for ICMP, so that both can carry something."""
        if cell.feature == "transport":
            return [f"{end.outer}/{end.outer.max_prefixlen}"]
        if cell.feature == "inner-ipv6":
            return [InnerIpv6.selector(near=end is self._scene.near)]
        prefix = next(item for item in end.selectors if end.inner in item)
        protocol = ("[17]", "[1]")[number] if cell.feature == "children" else ""
        return [f"{prefix}{protocol}"]

    def _outer(self, end: End, version: int) -> Address | None:
        addresses = self._scene.lab.loaded.addressing.of_node(end.node)
        own = [item.ip for name, item in addresses if name == end.connection.interface and item.version == version]
        return own[0] if own else None

    # -- what came of it

    def _await_far_end(self, cell: Cell) -> None:
        """The responder of IKEv1 has the CHILD SA only when quick mode's third message has arrived and is computed."""

        def installed() -> bool:
            children = [child for sa in self._far.sas(_NAME) for child in sa.children if child.state == "INSTALLED"]
            return len(children) == len(self._children(cell))

        with contextlib.suppress(DeadlineExceeded):  # what is missing is told by what follows
            Deadline(_REKEY_S).until(installed, "the responder's CHILD SAs", every=0.001)

    def _negotiated(self, cell: Cell) -> tuple[IkeSa, str]:
        """What both ends say of the SAs, which has to be what was configured."""
        found: list[tuple[IkeSa, str]] = []
        for end, charon in (("near", self._near), ("far", self._far)):
            sas = [sa for sa in charon.sas(_NAME) if sa.established]
            _expect(len(sas) == 1, f"{end}: {len(sas)} IKE SAs")
            sa = sas[0]
            _expect(sa.version == cell.number, f"{end}: IKEv{sa.version}")
            _expect(matches_proposal(ike_proposal(sa), cell.ike), f"{end}: IKE {ike_proposal(sa)}")
            _expect(sa.remote_identity == identity("far" if end == "near" else "near", cell.credential), end)
            installed = [child for child in sa.children if child.state == "INSTALLED"]
            _expect(len(installed) == len(self._children(cell)), f"{end}: {len(installed)} CHILD SAs")
            for child in installed:
                self._judge(cell, end, sa, child)
            found.append((sa, child_proposal(installed[0])))
        return found[0]

    def _judge(self, cell: Cell, end: str, sa: IkeSa, child: ChildSa) -> None:
        esp = child_proposal(child)
        _expect(matches_proposal(esp, cell.esp_proposal), f"{end}: ESP {esp}")
        if cell.pfs and cell.number == 1:
            _expect(child.group is not None, f"{end}: no group, and there should be forward secrecy")
        if not cell.pfs:
            _expect(child.group is None, f"{end}: group {child.group}, and there should be none")
        mode = "TRANSPORT" if cell.feature == "transport" else "TUNNEL"
        _expect(child.mode == mode, f"{end}: mode {child.mode}")
        if cell.feature == "nat-t":
            _expect(child.encapsulated and sa.local_port == 4500, f"{end}: ESP is not in UDP")
        if cell.feature == "compression":
            _expect(child.compressed, f"{end}: nothing is compressed")
        if cell.feature == "mobike":
            _expect(sa.local_port == 4500, f"{end}: port {sa.local_port}, and MOBIKE moves to 4500")
        if cell.feature == "outer-ipv6":
            _expect(":" in sa.remote_address, f"{end}: {sa.remote_address}")
        if cell.feature == "inner-ipv6":
            _expect(child.local_selectors == (InnerIpv6.selector(near=end == "near"),), f"{child.local_selectors}")
        if cell.feature == "narrowing" and end == "near":
            _expect(child.local_selectors == (str(self._scene.near.selectors[0]),), f"{child.local_selectors}")

    def _rekeyed(self, cell: Cell) -> str:
        """IKEv2 shows the group of a CHILD SA only when it is rekeyed: the first one has the IKE SA's keys."""
        name = self._children(cell)[0]
        before = {child.spi_in for sa in self._near.sas(_NAME) for child in sa.children}
        self._near.rekey(child=name)

        def fresh() -> list[ChildSa]:
            children = [child for sa in self._near.sas(_NAME) for child in sa.children if child.name == name]
            return [child for child in children if child.spi_in not in before and child.state == "INSTALLED"]

        child = Deadline(_REKEY_S).until(fresh, "the rekeying", every=0.002)[0]
        if not cell.pfs:
            _expect(child.group is None, f"group {child.group} after rekeying, and there should be none")
        else:
            _expect(child.group is not None, "no group after rekeying, and there should be forward secrecy")
            esp = child_proposal(child)
            _expect(matches_proposal(esp, cell.esp_proposal), f"{esp} after rekeying, instead of {cell.esp_proposal}")
        return child_proposal(child)

    def _traffic(self, cell: Cell) -> None:
        """A datagram each way, by the cell's own SAs: the counters of both ends say so."""
        before = self._carried()
        for stream in self._streams_of(cell):
            arrived = stream.await_arrival(stream.send(), Deadline(_TRAFFIC_S))
            _expect(arrived, f"no datagram passes from {stream.source} to {stream.destination}")
        if cell.feature == "children":
            self._echo(self._scene.near.inner, self._scene.far.inner)
        if cell.feature == "inner-ipv6":
            self._echo(InnerIpv6.host(near=True), InnerIpv6.host(near=False))
        after = self._carried()
        for name in self._children(cell):
            for end in ("near", "far"):
                _expect(after[end, name] > before.get((end, name), 0), f"{end}: {name} carried nothing")

    def _streams_of(self, cell: Cell) -> Sequence[Stream]:
        if cell.feature == "inner-ipv6":
            return ()
        return self._routers if cell.feature == "transport" else self._streams

    def _echo(self, source: Address, destination: Address) -> None:
        probe = Echo(self._scene.live.state(self._scene.near.host).namespace, destination, source)
        answered = echo([probe], count=5, interval_s=0.1, wait_s=0.5, until_answered=True)[0].answered
        _expect(answered, f"no echo passes from {source} to {destination}")

    def _carried(self) -> dict[tuple[str, str], int]:
        """Packets that each CHILD SA has sent, by end and name; those of SAs that are being replaced count as well."""
        found: dict[tuple[str, str], int] = {}
        for end, charon in (("near", self._near), ("far", self._far)):
            for child in (child for sa in charon.sas(_NAME) for child in sa.children):
                found[end, child.name] = found.get((end, child.name), 0) + child.packets_out
        return found

    def _end(self) -> None:
        """Take the cell's SAs down at both ends, whatever the peer says."""
        for charon in (self._near, self._far):
            with contextlib.suppress(DeadlineExceeded):
                if charon is self._far:  # it has been told by the near one
                    Deadline(_END_S).until(lambda: not self._far.sas(_NAME), "the end", every=0.001)
                    return
            with contextlib.suppress(TestbedError):
                charon.terminate(ike=_NAME, deadline=Deadline(_END_S))

    def _log(self, end: End) -> str:
        return read_log(self._scene.live.state(end.node).identity.directory, "charon.log")

    def _why(self, written: dict[str, int]) -> str:
        """What the logs of both ends say of it."""
        reasons = []
        for end in (self._scene.near, self._scene.far):
            text = self._log(end)[written[end.node] :]
            reasons += [
                f"{end.node}: {why}" for why in explain_refusal(text, node_time(self._scene.live.state(end.node)))
            ]
        return "; ".join(reasons)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Failed(otherwise)
