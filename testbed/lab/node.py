"""One node of a running lab, for scripts and tests."""

from __future__ import annotations

import signal as signals
from ipaddress import ip_address
from typing import TYPE_CHECKING

from testbed.daemons.chronyd import move_clock, node_clock
from testbed.daemons.process import daemon_signal, is_running
from testbed.daemons.traffic import TrafficMeter
from testbed.deadline import Deadline
from testbed.errors import DaemonError, SettingError
from testbed.network.capture import Capture
from testbed.network.probe import Echo, echo
from testbed.runtime.files import read_log
from testbed.topology import split_end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from testbed.daemons.ca import CertificateAuthority
    from testbed.daemons.charon import Charon
    from testbed.daemons.chronyd import Chronyd
    from testbed.daemons.enrolment import Enrolment
    from testbed.network.capture import Frame
    from testbed.network.probe import EchoResult
    from testbed.plan import DaemonPlan
    from testbed.runtime import Completed
    from testbed.runtime.vclock import ClockReading
    from testbed.verify.live import Address, LiveLab

__all__ = ["Link", "Node"]

SIGNALS = {name.name.removeprefix("SIG") for name in signals.Signals}


class Link:
    """A link of a running lab."""

    def __init__(self, name: str, live: LiveLab) -> None:
        self.name = name
        self._live = live

    @property
    def ends(self) -> list[str]:
        """`node:interface` of each end."""
        return [f"{end.node}:{end.interface}" for end in self._live.plan.links[self.name].ends]

    def capture(self, handle: Callable[[Frame], None] | None = None) -> Capture:
        """All frames that cross the link, as a context manager; passed to `handle` instead of kept if there is one."""
        return Capture(*self._live.tap(self.name), handle)


class Node:
    """A node as it runs now; after a restart ask the lab for it again."""

    def __init__(self, name: str, live: LiveLab) -> None:
        self.name = name
        self._live = live
        self._state = live.state(name)

    @property
    def charon(self) -> Charon:
        """The IKE daemon. Raises DaemonError at the first call if none runs here."""
        return self._live.charon(self.name)

    @property
    def chronyd(self) -> Chronyd:
        """The NTP daemon. Raises DaemonError at the first call if none runs here."""
        return self._live.chronyd(self.name)

    @property
    def certificate_authority(self) -> CertificateAuthority:
        """Its certificate server. Raises DaemonError at the first call if none runs here."""
        return self._live.certificate_authority(self.name)

    @property
    def enrolments(self) -> dict[str, Enrolment]:
        """Its trustpoints by name, and how to enrol with them."""
        trustpoints = self._live.devices[self.name].trustpoints
        return {trustpoint.name: self._live.enrolment(self.name, trustpoint) for trustpoint in trustpoints}

    @property
    def clock(self) -> ClockReading:
        """Its wall clock at this moment. Raises DaemonError if it has none of its own."""
        return node_clock(self._state)

    def step_clock(self, seconds: float) -> ClockReading:
        """Move its clock; NTP, if it speaks it, moves it back."""
        return move_clock(self._live.runtime, self._state, "step", str(round(seconds * 1e9)))

    def set_clock(self, moment: datetime | None = None) -> ClockReading:
        """Set its clock to a moment, or to this machine's time."""
        if moment is None:
            return self.step_clock(-self.clock.offset_s)  # as far as it is off, however long this takes
        ns = round(moment.timestamp() * 1e9)
        return move_clock(self._live.runtime, self._state, "set", str(ns))

    def drift_clock(self, ppm: float) -> ClockReading:
        """Let its oscillator run fast (or, negative, slow) by so many parts per million from now on."""
        return move_clock(self._live.runtime, self._state, "drift", repr(float(ppm)))

    def traffic(self) -> TrafficMeter:
        """Counts what the node's CHILD SAs carry, through every rekeying; a context manager."""
        return TrafficMeter(self.charon)

    def execute(self, argv: Sequence[str], *, stdin: bytes | None = None, check: bool = False) -> Completed:
        """Run a command as root in the node and wait for it. With `check` a non-zero exit code is a DaemonError."""
        done = self._live.runtime.execute(self._state, argv, stdin=stdin)
        if check and done.exit_code != 0:
            seen = f"exit code {done.exit_code}: {(done.stderr or done.stdout).decode(errors='replace').strip()}"
            raise DaemonError(f"`{' '.join(argv)}` failed", node=self.name, expected="exit code 0", seen=seen)
        return done

    @property
    def addresses(self) -> list[Address]:
        """All its addresses, in the order of its interfaces."""
        return [address.ip for _, address in self._live.loaded.addressing.of_node(self.name)]

    @property
    def interfaces(self) -> list[str]:
        return [end.interface for _, end in self._live.plan.attachments_of(self.name)]

    def ping(
        self,
        target: str,
        *,
        count: int = 3,
        interval_s: float = 0.2,
        wait_s: float = 1.0,
        source: str | None = None,
        size: int = 56,
        until_answered: bool = False,
    ) -> EchoResult:
        """ICMP echo to an address, a node or `node:interface`, from this node's own network stack.

        `source` is an interface whose address is used; `until_answered` ends with the first reply.
        """
        destination = self.resolve(target)
        sender = self._live.source(f"{self.name}:{source}", destination.version) if source else None
        if source and sender is None:
            known = {name for name, _ in self._live.loaded.addressing.of_node(self.name)}
            what = f"{self.name} has no address of IPv{destination.version} on '{source}'"
            raise SettingError(what, expected=f"one of {', '.join(sorted(known))}")
        probe = Echo(self._state.namespace, destination, sender, size)
        return echo([probe], count=count, interval_s=interval_s, wait_s=wait_s, until_answered=until_answered)[0]

    def resolve(self, target: str) -> Address:
        """An address as given, or the first one of `node` or `node:interface` in a family that this node speaks."""
        try:
            return ip_address(target)
        except ValueError:
            pass
        if split_end(target)[0] not in self._live.plan.nodes:
            known = ", ".join(self._live.plan.nodes)
            raise SettingError(
                f"'{target}' is neither an address nor a node", expected=f"an address, or one of {known}"
            )
        families = self._live.families(self.name)
        for address in self._live.addresses(target):
            if address.version in families:
                return address
        raise SettingError(
            f"'{target}' has no address that {self.name} could reach", expected="a common address family"
        )

    def capture(self, interface: str, handle: Callable[[Frame], None] | None = None) -> Capture:
        """Frames of one of its interfaces, as a context manager; see `Link.capture`."""
        interface = split_end(f"{self.name}:{interface}")[1]
        if interface not in self.interfaces:
            known = ", ".join(self.interfaces)
            raise SettingError(f"{self.name} has no interface '{interface}'", expected=f"one of {known}")
        return Capture(self._state.namespace, interface, handle)

    def log(self, daemon: str = "charon", *, tail: int | None = None) -> str:
        """The log of a daemon; empty if it has written none."""
        plan = next((plan for plan in self._plans() if plan.name == daemon and plan.log), None)
        name = plan.log.rsplit("/", 1)[-1] if plan and plan.log else f"{daemon}.log"
        return read_log(self._state.identity.directory, name, tail=tail)

    @property
    def daemons(self) -> dict[str, bool]:
        """Each daemon of the node, and whether it runs."""
        return {plan.name: is_running(self._live.runtime, self._state, plan) for plan in self._plans()}

    def signal_daemon(self, name: str, signal: str) -> None:
        """Send a daemon a signal, as STOP and CONT, and wait for nothing. Raises DaemonError if it does not run."""
        if not daemon_signal(self._live.runtime, self._state, self._daemon(name), signal):
            raise DaemonError(f"{name} does not run", node=self.name)

    def _daemon(self, name: str) -> DaemonPlan:
        plan = next((plan for plan in self._plans() if plan.name == name), None)
        if plan is None:
            known = ", ".join(daemon.name for daemon in self._plans()) or "none"
            raise DaemonError(f"no daemon is named '{name}'", node=self.name, expected=f"one of {known}")
        return plan

    def kill_daemon(self, name: str, *, signal: str = "KILL", timeout_s: float = 10.0) -> None:
        """Send a daemon a signal and wait until it is gone. The node and its links stay. Raises DaemonError."""
        plan = self._daemon(name)
        if signal not in SIGNALS:
            raise SettingError(f"there is no signal '{signal}'", expected=f"one of {', '.join(sorted(SIGNALS))}")
        if not daemon_signal(self._live.runtime, self._state, plan, signal):
            raise DaemonError(f"{name} does not run", node=self.name)
        deadline = Deadline(timeout_s)
        deadline.until(lambda: not is_running(self._live.runtime, self._state, plan), f"{self.name}: {name} still runs")

    def _plans(self) -> Sequence[DaemonPlan]:
        return self._live.plan.nodes[self.name].daemons
