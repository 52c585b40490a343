"""One live router, as its console needs it: what it is told, and what its daemons say."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from testbed.daemons.ca import CertificateAuthority
from testbed.daemons.charon import Charon, vici_socket
from testbed.daemons.enrolment import Enrolment, node_time
from testbed.device import router_context
from testbed.errors import DaemonError, LabNotRunningError, SettingError, TestbedError
from testbed.network.facts import interface_facts
from testbed.runtime.files import read_log
from testbed.runtime.vclock import CLOCK_FILE, read_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.daemons.sa import IkeSa
    from testbed.device import ConnectionConfig, Device, TrustpointConfig
    from testbed.device.ios import Context
    from testbed.ios.configuration import Configuration
    from testbed.lab import Lab
    from testbed.network.facts import InterfaceFacts
    from testbed.runtime import NodeState
    from testbed.runtime.vclock import ClockReading

__all__ = ["LiveRouter"]

_QUERY_S = 10.0


class LiveRouter:
    """Raises LabNotRunningError, or SettingError for a node that is no IOS router."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.store = lab.router(name)
        self._state: NodeState | None = None
        if self.store.origin() is None:
            raise LabNotRunningError(f"lab '{lab.name}' is not up", hint=f"`testbed up {lab.name}`")

    # -- what it is told

    @property
    def configuration(self) -> Configuration:
        """The running configuration, to be read only."""
        return self.store.current()

    def editable(self) -> Configuration:
        """A copy of the running configuration."""
        return self.store.running()

    @property
    def flavor(self) -> str:
        return self.device.flavor or "ios15"

    @property
    def is_xe(self) -> bool:
        return self.flavor == "iosxe17"

    @property
    def device(self) -> Device:
        return self.lab.devices[self.name]

    @property
    def context(self) -> Context:
        return router_context(self.lab.loaded, self.name)

    def refresh(self) -> None:
        """Take what other consoles have configured meanwhile."""
        self.lab.refresh()

    def configure(self, configuration: Configuration) -> dict[str, set[str]]:
        """Apply a configuration at once. It is kept even if a daemon, or the data plane, does not take all of it."""
        try:
            return self.lab.configure(self.name, configuration)
        except TestbedError:
            self.store.save_running(configuration)
            raise

    def connection_of(self, name: str) -> ConnectionConfig | None:
        return next((item for item in self.device.connections if item.name == name), None)

    def trustpoint(self, name: str) -> TrustpointConfig | None:
        return next((item for item in self.device.trustpoints if item.name == name), None)

    # -- what its daemons say

    @property
    def state(self) -> NodeState:
        """The node, looked up again when it has been restarted. Raises LabNotRunningError."""
        if self._state is None or not self._state.namespace.exists():
            self._state = self.lab.live().state(self.name)
        return self._state

    @property
    def charon(self) -> Charon:
        return Charon(self.name, vici_socket(self.state))

    def sas(self) -> list[IkeSa]:
        """IKE SAs in the order in which they came."""
        return sorted(self.charon.sas(), key=lambda sa: sa.unique_id)

    @property
    def authority(self) -> CertificateAuthority | None:
        """The certificate server, if one is enabled."""
        return CertificateAuthority(self.state) if self.device.certificate_server is not None else None

    def enrolment(self, trustpoint: TrustpointConfig) -> Enrolment:
        return Enrolment(self.lab.runtime, self.state, trustpoint)

    def ask(self, *argv: str) -> str:
        """What a program of the node prints, entered directly: an engine's own way in costs ten times as much."""
        command = ["nsenter", "--target", str(self.state.pid), "--mount", "--net", "--", *argv]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_QUERY_S, check=False)
        except (OSError, subprocess.SubprocessError) as failure:
            raise DaemonError(f"`{argv[0]}` does not answer", node=self.name, seen=str(failure)) from failure
        if done.returncode != 0:
            told = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise DaemonError(f"`{' '.join(argv)}` failed", node=self.name, seen=told)
        return done.stdout.decode(errors="replace")

    def chrony(self, *reports: str) -> list[list[str]]:
        """Rows of chronyc's reports, in its columns; see chronyc(1)."""
        return [line.split(",") for line in self.ask("chronyc", "-n", "-c", "-m", *reports).splitlines() if line]

    def execute(self, argv: Sequence[str], *, stdin: bytes | None = None) -> str:
        done = self.lab.runtime.execute(self.state, argv, stdin=stdin)
        if done.exit_code != 0:
            told = (done.text + done.stderr.decode(errors="replace")).strip()
            raise DaemonError(f"`{argv[0]}` failed", node=self.name, seen=told[-500:])
        return done.text

    def interfaces(self) -> dict[str, InterfaceFacts]:
        """The interfaces as the kernel has them, by their names in Linux."""
        return interface_facts(self.state.namespace)

    def clock(self) -> ClockReading | None:
        return read_clock(self.state.identity.directory / "run" / CLOCK_FILE)

    def now(self) -> datetime:
        """The time by its own clock, in UTC."""
        return node_time(self.state)

    def started(self) -> datetime:
        """When the node's first process began, by this machine's clock."""
        return datetime.fromtimestamp(time.time() - self.uptime_s(), UTC)

    def uptime_s(self) -> float:
        with open(f"/proc/{self.state.pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - proc
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as file:  # noqa: PTH123
            return float(file.read().split()[0]) - ticks / 100

    def log(self, daemon: str = "charon", suffix: str = "log") -> str:
        return read_log(self.state.identity.directory, f"{daemon}.{suffix}")

    # -- names

    def interface_name(self, linux: str) -> str:
        """The IOS name of an interface that Linux knows by another."""
        for section in self.lab.loaded.configurations[self.name].all("interface"):
            if section.get("interface").linux == linux:
                return str(section.get("interface"))
        return linux

    def fact(self, name: str, argument: str, default: Any = None) -> Any:
        return self.lab.loaded.configurations[self.name].value(name, argument, default)

    def require_trustpoint(self, name: str) -> TrustpointConfig:
        found = self.trustpoint(name)
        if found is None:
            raise SettingError(f"there is no trustpoint {name} with an enrolment URL")
        return found
