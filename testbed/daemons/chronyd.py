"""chrony's chronyd, asked through chronyc, and the clock that it disciplines.

Source of the fields: chronyc(1), `-c`: the reports as comma-separated values, in the order of their columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from testbed.errors import DaemonError, DeadlineExceeded
from testbed.runtime.vclock import CLOCK_FILE, ClockReading, read_clock

if TYPE_CHECKING:
    from testbed.deadline import Deadline
    from testbed.runtime import NodeState, Runtime

__all__ = ["Chronyd", "Source", "Tracking", "move_clock", "node_clock", "outside", "show_offset", "show_time"]

_STATES = {
    "*": "selected",
    "+": "combined",
    "-": "not combined",
    "x": "falseticker",
    "~": "too variable",
    "?": "unusable",
}

_UNITS = (("years", 31557600.0), ("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3))


@dataclass(frozen=True)
class Tracking:
    """How chronyd stands. `stratum` is 0 as long as it follows nobody; `offset_s` is positive if the clock is slow."""

    reference: str
    stratum: int
    offset_s: float
    frequency_ppm: float
    leap: str


@dataclass(frozen=True)
class Source:
    """A server that is asked. `reach` counts the last eight polls as bits; `authentication` is `-`, `SK` or `NTS`."""

    address: str
    state: str
    stratum: int
    reach: int
    authentication: str
    key: int | None


class Chronyd:
    """One node's daemon."""

    def __init__(self, runtime: Runtime, node: NodeState) -> None:
        self._runtime = runtime
        self._node = node

    def tracking(self) -> Tracking:
        row = self._report("tracking")[0]
        return Tracking(row[1], int(row[2]), float(row[4]), float(row[7]), row[13])

    def sources(self) -> list[Source]:
        proofs = {row[0]: (row[1], row[2]) for row in self._report("authdata")}
        found = []
        for row in self._report("sources"):
            proof, key = proofs.get(row[2], ("-", "0"))
            numbered = int(key) if proof == "SK" else None
            found.append(Source(row[2], _STATES.get(row[1], row[1]), int(row[3]), int(row[5], 8), proof, numbered))
        return found

    def command(self, *words: str) -> str:
        """A command of chronyc(1), such as `burst 2/4` or `minpoll 192.0.2.1 6`; what it says."""
        return self._chronyc(*words)

    def _report(self, name: str) -> list[list[str]]:
        return [line.split(",") for line in self._chronyc("-c", name).splitlines() if line]

    def _chronyc(self, *words: str) -> str:
        done = self._runtime.execute(self._node, ["chronyc", "-n", *words])
        if done.exit_code != 0:
            seen = (done.text + done.stderr.decode(errors="replace")).strip()
            raise DaemonError("chronyd does not answer", node=self._node.name, seen=seen or "nothing")
        return done.text

    def await_synchronised(self, deadline: Deadline) -> ClockReading:
        """Wait until chronyd has set the clock, as the clock itself tells. Raises DeadlineExceeded with the reason."""
        reading = node_clock(self._node)

        def look() -> bool:
            nonlocal reading
            reading = node_clock(self._node)
            return reading.synchronised

        try:
            deadline.until(look, "the clock", every=0.005)
        except DeadlineExceeded as failure:
            raise DeadlineExceeded(
                f"the clock is not synchronised after {deadline.seconds:g} s",
                node=self._node.name,
                expected="an answer of a server that is itself synchronised",
                seen=f"{show_offset(reading.offset_s)} off; {self._why()}",
                hint=f"`testbed exec LAB {self._node.name} chronyc -n sources`",
            ) from failure
        return reading

    def _why(self) -> str:
        told = [
            f"{source.address}: {source.state}, reach {source.reach:03o}, stratum {source.stratum}"
            for source in self.sources()
        ]
        return "; ".join(told) or "no server is configured"


def node_clock(node: NodeState) -> ClockReading:
    """A node's clock as its programs read it now. Raises DaemonError if the node has none of its own."""
    reading = read_clock(node.identity.directory / "run" / CLOCK_FILE)
    if reading is None:
        raise DaemonError(
            "the node has no clock of its own", node=node.name, expected="'clock' or 'ntp' in its topology"
        )
    return reading


def move_clock(runtime: Runtime, node: NodeState, how: str, value: str) -> ClockReading:
    """Change a node's clock at once: `step` by or `set` to nanoseconds, or let it `drift` by parts per million."""
    node_clock(node)
    done = runtime.execute(node, ["/usr/lib/testbed/vclock", f"/run/testbed/{CLOCK_FILE}", how, value])
    if done.exit_code != 0:
        raise DaemonError("the clock cannot be moved", node=node.name, seen=done.stderr.decode().strip())
    return node_clock(node)


def show_offset(seconds: float) -> str:
    """`+3.0 years`, `-12.5 ms`: as large a unit as makes sense."""
    for unit, size in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:+.1f} {unit}"
    return f"{seconds * 1e6:+.1f} us"


def outside(begin: datetime, end: datetime, now: datetime) -> str:
    """By how much a moment lies before or after a period of validity: `expired, by 2.0 h (at …)`."""
    if now < begin:
        by = show_offset((begin - now).total_seconds()).lstrip("+")
        return f"not yet valid, by {by} (from {begin:%Y-%m-%d %H:%M:%S})"
    by = show_offset((now - end).total_seconds()).lstrip("+")
    return f"expired, by {by} (at {end:%Y-%m-%d %H:%M:%S})"


def show_time(reading: ClockReading) -> str:
    """The wall-clock time in UTC, to the millisecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=reading.time_ns // 1000)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
