"""Each kind of expectation, checked on the live lab. A check never raises for what it finds: it reports it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.daemons.keywords import child_proposal, ike_proposal, matches_proposal
from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, TestbedError
from testbed.network.probe import Echo, Knock, echo, knock
from testbed.topology import split_end
from testbed.verify.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Address, IPv6Address

    from testbed.daemons.sa import IkeSa
    from testbed.device import ConnectionConfig, IkeEnd
    from testbed.topology.models import Reachability, SameFile, Tunnel
    from testbed.verify.live import LiveLab
    from testbed.verify.verdict import Phase

    Address = IPv4Address | IPv6Address

__all__ = ["check_reachability", "check_same_file", "check_tunnel", "file_content", "timed"]

# Patience for what must answer, and for what must not. Everything here is on one machine, where an answer takes a
# millisecond; what must not answer is asked three times, and a control beside it shows that answers do come.
_TRIES, _TRY_S = 100, 0.1
_SILENT_TRIES, _SILENT_INTERVAL_S, _SILENT_WAIT_S = 3, 0.05, 0.25
_SETTLE_S = 5.0  # for a tunnel that comes up by itself


_STEPS: dict[Phase, str] = {"tunnel down": "reachability", "tunnel up": "traffic"}


def timed(
    claim: str, expected: str, phase: Phase, check: Callable[[], tuple[bool, str]], step: str | None = None
) -> Verdict:
    """A verdict from a check that returns whether it held and what was seen; what it raises is seen, too.

    What belongs to the set-up names its step at the beginning of its claim.
    """
    begun = time.monotonic()
    try:
        held, seen = check()
    except TestbedError as failure:
        held, seen = False, str(failure).replace("\n ", ";")
    belongs = step or _STEPS.get(phase) or claim.partition(":")[0]
    return Verdict(claim, expected, seen, held, phase, time.monotonic() - begun, belongs)


@dataclass(frozen=True)
class _Pair:
    """One probe of an expectation."""

    source: str
    target: str
    destination: Address
    from_address: Address | None

    def __str__(self) -> str:
        return f"{self.source} > {self.target} ({self.destination})"


def check_reachability(live: LiveLab, expectation: Reachability, phase: Phase) -> Verdict:
    """Every source reaches every address of every target, or no source reaches any."""
    pairs = list(_pairs(live, expectation))
    how = f"TCP to port {expectation.tcp}" if expectation.tcp else "ping"
    sources, targets = ", ".join(expectation.source), ", ".join(expectation.to)
    wanted = expectation.expect == "reachable"
    claim = f"{how if wanted else f'no {how}'}: {sources} → {targets}"
    expected = f"{len(pairs)} of {len(pairs)} answer" if wanted else f"0 of {len(pairs)} answer"

    def check() -> tuple[bool, str]:
        lost = _without_common_family(live, expectation)
        if lost:
            return False, f"no address family in common: {', '.join(lost)}"
        return (_answering if wanted else _silent)(live, expectation, pairs)

    return timed(claim, expected, phase, check)


def _without_common_family(live: LiveLab, expectation: Reachability) -> list[str]:
    return [
        f"{source} and {target}"
        for source in expectation.source
        for target in expectation.to
        if not live.families(split_end(source)[0]) & {address.version for address in live.addresses(target)}
    ]


def _pairs(live: LiveLab, expectation: Reachability) -> Iterator[_Pair]:
    for source in expectation.source:
        node = split_end(source)[0]
        for target in expectation.to:
            for destination in live.addresses(target):
                if destination.version in live.families(node):
                    yield _Pair(source, target, destination, live.source(source, destination.version))


def _answering(live: LiveLab, expectation: Reachability, pairs: list[_Pair]) -> tuple[bool, str]:
    if expectation.tcp:
        answers = knock(_knocks(live, pairs, expectation.tcp), _TRIES * _TRY_S)
    else:
        results = echo(_echoes(live, pairs), count=_TRIES, interval_s=_TRY_S, wait_s=_TRY_S, until_answered=True)
        answers = [result.answered for result in results]
    silent = [pair for pair, answered in zip(pairs, answers, strict=True) if not answered]
    seen = f"{len(pairs) - len(silent)} of {len(pairs)} answer"
    return not silent and bool(pairs), seen + (f"; not {_some(silent)}" if silent else "")


def _silent(live: LiveLab, expectation: Reachability, pairs: list[_Pair]) -> tuple[bool, str]:
    controls = list(_controls(live, pairs))
    if expectation.tcp:
        answers = knock(_knocks(live, pairs, expectation.tcp), _SILENT_WAIT_S)
        idle = _not_listening(live, pairs, expectation.tcp)
        if idle:
            return False, f"nobody listens there, so this shows nothing: {_some(idle)}"
    else:
        results = echo(_echoes(live, pairs), count=_SILENT_TRIES, interval_s=_SILENT_INTERVAL_S, wait_s=_SILENT_WAIT_S)
        answers = [result.answered for result in results]
    # Sent last, so that whatever was slow has had its chance: the control is what makes the silence mean something.
    control = echo(_echoes(live, controls), count=_TRIES, interval_s=_TRY_S, wait_s=_TRY_S, until_answered=True)
    deaf = [pair for pair, result in zip(controls, control, strict=True) if not result.answered]
    answered = [pair for pair, answer in zip(pairs, answers, strict=True) if answer]
    seen = f"{len(answered)} of {len(pairs)} answer"
    if answered:
        seen += f": {_some(answered)}"
    if deaf or not controls:
        return False, f"{seen}, but the control does not answer either: {_some(deaf) or 'none'}"
    return not answered and bool(pairs), seen


def _not_listening(live: LiveLab, pairs: list[_Pair], port: int) -> list[_Pair]:
    """Those targets that do not even accept a connection from their own node."""
    own = [Knock(live.state(split_end(pair.target)[0]).namespace, pair.destination, port) for pair in pairs]
    return [pair for pair, accepted in zip(pairs, knock(own, _TRIES * _TRY_S), strict=True) if not accepted]


def _controls(live: LiveLab, pairs: list[_Pair]) -> Iterator[_Pair]:
    """For each source something that must answer it: its first gateway, or else a neighbour."""
    for source in dict.fromkeys(pair.source for pair in pairs):
        node = split_end(source)[0]
        gateways = [gateway for _, gateway, _ in live.plan.nodes[node].routes]
        neighbours = [
            address.ip
            for link, _ in live.plan.attachments_of(node)
            for end in link.ends
            if end.node != node
            for address in end.addresses
        ]
        for address in (gateways or neighbours)[:1]:
            yield _Pair(source, "its gateway", address, None)


def _echoes(live: LiveLab, pairs: list[_Pair]) -> list[Echo]:
    return [
        Echo(live.state(split_end(pair.source)[0]).namespace, pair.destination, pair.from_address) for pair in pairs
    ]


def _knocks(live: LiveLab, pairs: list[_Pair], port: int) -> list[Knock]:
    return [
        Knock(live.state(split_end(pair.source)[0]).namespace, pair.destination, port, pair.from_address)
        for pair in pairs
    ]


def _some(pairs: list[_Pair]) -> str:
    shown = ", ".join(str(pair) for pair in pairs[:3])
    return shown + (f" and {len(pairs) - 3} more" if len(pairs) > 3 else "")


def check_tunnel(live: LiveLab, expectation: Tunnel, failure: str | None) -> Verdict:
    """Both ends have the SAs as configured. `failure` is why the negotiation failed, if it did."""
    ends = {
        name: connection
        for name, device in live.devices.items()
        for connection in device.connections
        if connection.name == expectation.connection
    }
    if len(ends) < 2:
        seen = f"{' and '.join(ends)} alone has it" if ends else "no router is configured for it"
        what = "both ends configured"
        return timed(f"tunnel {expectation.connection} is up", what, "tunnel up", lambda: (False, seen), "IPsec")
    first = next(iter(ends.values()))
    mode = ("aggressive mode, " if first.aggressive else "main mode, ") if first.version == 1 else ""
    expected = (
        f"IKEv{first.version}, {mode}{' or '.join(first.proposals)}; "
        f"ESP {' or '.join(first.children[0].proposals)}; "
        + ", ".join(
            f"{_selectors(child.local_selectors)} - {_selectors(child.remote_selectors)}" for child in first.children
        )
    )

    def check() -> tuple[bool, str]:
        if failure is not None:
            return False, failure
        wrong: list[str] = []

        def look() -> bool:
            wrong[:] = [
                f"{name}: {fault}"
                for name, connection in ends.items()
                for fault in _faults(live.charon(name).sas(connection.name), connection)
            ]
            return not wrong

        try:
            Deadline(_SETTLE_S).until(look, "the tunnel", every=0.05)
        except DeadlineExceeded:
            return False, "; ".join(wrong)
        sas = [sa for sa in live.charon(next(iter(ends))).sas(expectation.connection) if sa.established]
        sa, children = sas[-1], [child for one in sas for child in one.children if child.state == "INSTALLED"]
        return True, (
            f"IKEv{sa.version}, {ike_proposal(sa)}; {children[0].protocol} {child_proposal(children[0])}; "
            f"{len(children)} CHILD SA{'s' if len(children) > 1 else ''} installed at both ends"
        )

    return timed(f"tunnel {expectation.connection} is up", expected, "tunnel up", check, "IPsec")


def _selectors(prefixes: tuple[object, ...]) -> str:
    return "+".join(str(prefix) for prefix in prefixes)


def _faults(sas: list[IkeSa], connection: ConnectionConfig) -> list[str]:
    """Everything in which one end's SAs differ from its configuration."""
    living = [sa for sa in sas if sa.established]
    if not living:
        return ["no IKE SA is established"]
    sa = living[-1]
    faults: list[str] = []
    if sa.version != connection.version:
        faults.append(f"IKEv{sa.version} instead of IKEv{connection.version}")
    if not any(matches_proposal(ike_proposal(sa), proposal) for proposal in connection.proposals):
        faults.append(f"IKE proposal {ike_proposal(sa)}")
    if not _same_identity(sa.local_identity, connection.local) or not _same_identity(
        sa.remote_identity, connection.remote
    ):
        faults.append(f"identities {sa.local_identity} and {sa.remote_identity}")
    for child in connection.children:
        everything = [found for one in living for found in one.children]
        installed = [found for found in everything if found.name == child.name and found.state == "INSTALLED"]
        if not installed:
            faults.append(f"no CHILD SA '{child.name}' is installed")
            continue
        found = installed[-1]
        if not any(matches_proposal(child_proposal(found), proposal) for proposal in child.proposals):
            faults.append(f"ESP proposal {child_proposal(found)}")
        if set(found.local_selectors) != set(map(str, child.local_selectors)):
            faults.append(f"local selectors {', '.join(found.local_selectors)}")
        if set(found.remote_selectors) != set(map(str, child.remote_selectors)):
            faults.append(f"remote selectors {', '.join(found.remote_selectors)}")
    return faults


def _same_identity(seen: str, configured: IkeEnd) -> bool:
    """Charon writes an FQDN without the `@` that may mark it, and a DN with its own spacing."""

    def plain(identity: str) -> str:
        return identity.removeprefix("@").replace(", ", ",").lower()

    return configured.identity == "%any" or plain(seen) == plain(configured.identity)


# The names are arguments of the script, never part of it.
_FETCH = """
set -e
target=$(mktemp)
trap 'rm -f "$target"' EXIT
timeout 30 smbclient --no-pass --debuglevel=0 "//$1/$2" --command "get $3 $target" >&2
sha256sum < "$target"
"""


def file_content(live: LiveLab, expectation: SameFile) -> bytes:
    """What the server was given to offer."""
    return live.devices[expectation.server].shares[expectation.share].files[expectation.file]


def check_same_file(live: LiveLab, expectation: SameFile) -> Verdict:
    """Each source fetches the file over SMB and it has the checksum that the server computes of its own copy."""
    content = file_content(live, expectation)
    planned = hashlib.sha256(content).hexdigest()
    sources = ", ".join(expectation.source)
    claim = f"SMB: {sources} fetches {expectation.file} from {expectation.server}"

    def check() -> tuple[bool, str]:
        address = live.addresses(expectation.server)[0]
        path = f"/srv/{expectation.share}/{expectation.file}"
        there = live.execute(expectation.server, ["sha256sum", path]).text.split(" ")[0].strip()
        if there != planned:
            return False, f"the server's own copy has SHA-256 {there[:16] or 'none'}"
        for source in expectation.source:
            argv = ["/bin/sh", "-c", _FETCH, "sh", str(address), expectation.share, expectation.file]
            done = live.execute(split_end(source)[0], argv)
            fetched = done.text.split(" ")[0].strip()
            if done.exit_code != 0 or fetched != there:
                words = done.stderr.decode(errors="replace").strip().splitlines()
                return False, f"{source}: {fetched[:16] or 'nothing'} {'; '.join(words[-2:])}".strip()
        return True, f"SHA-256 {there[:16]}…, {len(content)} bytes"

    return timed(claim, f"SHA-256 {planned[:16]}…, {len(content)} bytes", "tunnel up", check)
