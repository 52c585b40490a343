"""Changing what routers are told while they run: only what is different is touched."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from testbed.daemons.ca import CertificateAuthority
from testbed.daemons.charon import Charon, vici_socket
from testbed.daemons.process import daemon_signal, is_running, start_daemons
from testbed.deadline import Deadline
from testbed.device import build_devices
from testbed.errors import DaemonError, DeadlineExceeded, NegotiationError, PrerequisiteError
from testbed.network.links import reconcile
from testbed.plan import build_plan, without_what_cannot_be_carried
from testbed.render import CA_SETTINGS, CONNECTIONS
from testbed.runtime.files import read_log, update_files
from testbed.runtime.vclock import CLOCK_FILE, read_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testbed.device import Device
    from testbed.ios.configuration import Configuration
    from testbed.lab.lab import Lab
    from testbed.plan import DaemonPlan, DataPlane, NodePlan, Plan
    from testbed.runtime import NodeState, Runtime
    from testbed.topology import LoadedTopology

__all__ = ["carried_devices", "reconfigure"]

_TABLES = ("inet testbed_guard", "inet testbed_filter", "ip testbed_nat", "inet testbed_private")
_MSS_TABLES = 32
_START_S, _STOP_S, _ENABLE_S = 30.0, 10.0, 30.0


def reconfigure(lab: Lab, changed: Mapping[str, Configuration], states: Mapping[str, NodeState]) -> dict[str, set[str]]:
    """Give routers other configurations. Returns what was changed on which node: paths of files, and `network`.

    A router's addresses mean something to the others' connections, so all routers are looked at; those that are the
    same are not touched. Raises PrerequisiteError, when all else is done, for what the data plane cannot carry.
    """
    loaded = lab.loaded.reconfigured(changed)
    devices, refused = carried_devices(loaded, lab.devices, lab.plan.dataplane)
    plan = build_plan(loaded, devices, lab.plan.dataplane)
    plan = replace(plan, lab=lab.name)
    done: dict[str, set[str]] = {}
    for name in loaded.configurations:
        if name in states and states[name].running and devices[name] != lab.devices[name]:
            change = _Change(lab.runtime, states[name], (lab.devices[name], devices[name]), (lab.plan, plan))
            done[name] = change.apply()
    lab.adopt(loaded, devices, plan)
    told = [text for name in changed for text in refused.get(name, ())]
    if told:
        raise PrerequisiteError("; ".join(told), node=next(iter(changed)))
    return done


def carried_devices(
    loaded: LoadedTopology, known: Mapping[str, Device] | None, dataplane: DataPlane
) -> tuple[dict[str, Device], dict[str, list[str]]]:
    """The devices, of routers without what the data plane cannot carry; and what that is, in words."""
    devices, refused = build_devices(loaded, known), {}
    for name in loaded.configurations:
        devices[name], refused[name] = without_what_cannot_be_carried(devices[name], dataplane)
    return devices, refused


class _Change:
    """From one device to another on one running node."""

    def __init__(
        self, runtime: Runtime, state: NodeState, devices: tuple[Device, Device], plans: tuple[Plan, Plan]
    ) -> None:
        self._runtime = runtime
        self._state = state
        self._before, self._after = devices
        self._old, self._new = plans

    @property
    def _plan(self) -> NodePlan:
        return self._new.nodes[self._state.name]

    def apply(self) -> set[str]:
        """In the order in which nothing that is protected could leave in clear: the guard before the addresses."""
        changed = update_files(self._state.identity.directory, self._plan.files, self._plan.folders)
        if "/etc/testbed/nftables.conf" in changed:
            self._filters()
        if self._network_differs():
            reconcile(self._state, (self._old, self._new))
            changed.add("network")
        self._clock(changed)
        if CA_SETTINGS in changed:
            self._authority()
        if "/etc/strongswan.conf" in changed:
            self._run(["swanctl", "--reload-settings"], "charon does not take its settings")
        if "/etc/swanctl/swanctl.conf" in changed or any(path.startswith(f"{CONNECTIONS}/") for path in changed):
            self._connections()
        return changed

    def _network_differs(self) -> bool:
        name = self._state.name
        old, new = self._old.nodes[name], self._new.nodes[name]
        ends = (self._old.attachments_of(name), self._new.attachments_of(name))
        before = (old.loopbacks, old.routes, old.tunnels, old.tunnel_routes, ends[0])
        return before != (new.loopbacks, new.routes, new.tunnels, new.tunnel_routes, ends[1])

    def _filters(self) -> None:
        """In one transaction, so that there is no moment without a guard."""
        tables = [*_TABLES, *(f"inet testbed_mss_{number}" for number in range(1, _MSS_TABLES))]
        fresh = "".join(f"table {table} {{ }}\ndelete table {table}\n" for table in tables)
        text = self._plan.files["/etc/testbed/nftables.conf"].content
        done = self._runtime.execute(self._state, ["nft", "-f", "-"], stdin=fresh.encode() + text)
        if done.exit_code != 0:
            told = done.stderr.decode(errors="replace").strip()
            raise DaemonError("nft takes no such filter", node=self._state.name, seen=told)

    def _clock(self, changed: set[str]) -> None:
        if "/etc/chrony/chrony.keys" in changed:
            self._run(["chronyc", "rekey"], "chronyd does not take the keys")
        if "/etc/chrony/sources.d/testbed.sources" in changed:
            self._run(["chronyc", "reload", "sources"], "chronyd does not take the servers")
        old, new = self._before.ntp, self._after.ntp
        if old is None or new is None:
            return
        if (old.authenticate, old.source) != (new.authenticate, new.source):
            self._restart(self._daemon("chronyd"))  # there is no command for it
        elif old.master != new.master:
            how = ["off"] if new.master is None else ["stratum", str(new.master)]
            self._run(["chronyc", "local", *how], "chronyd does not take its stratum")

    def _authority(self) -> None:
        daemon = next((item for item in self._plan.daemons if item.name == "testbed-ca"), None)
        known = next((item for item in self._old.nodes[self._state.name].daemons if item.name == "testbed-ca"), daemon)
        if known is not None:
            self._stop(known)
        if daemon is not None:
            start_daemons(self._runtime, self._state, [daemon], Deadline(_START_S), booting=False)
            reading = read_clock(self._state.identity.directory / "run" / CLOCK_FILE)
            if reading is None or reading.synchronised:  # else it waits for the time, and says so
                with contextlib.suppress(DeadlineExceeded):
                    CertificateAuthority(self._state).await_enabled(Deadline(_ENABLE_S))

    def _daemon(self, name: str) -> DaemonPlan:
        return next(item for item in self._plan.daemons if item.name == name)

    def _restart(self, daemon: DaemonPlan) -> None:
        self._stop(daemon)
        start_daemons(self._runtime, self._state, [daemon], Deadline(_START_S), booting=False)

    def _stop(self, daemon: DaemonPlan) -> None:
        if daemon_signal(self._runtime, self._state, daemon, "TERM"):
            gone = f"{self._state.name}: {daemon.name} still runs"
            Deadline(_STOP_S).until(lambda: not is_running(self._runtime, self._state, daemon), gone, every=0.02)

    def _connections(self) -> None:
        """Load what there is now; the SAs of what is no more are deleted, and those of the rest stay."""
        done = self._runtime.execute(self._state, ["/usr/lib/testbed/load-connections"])
        if done.exit_code != 0:
            told = read_log(self._state.identity.directory, "swanctl.out", tail=4)
            raise DaemonError("charon does not take the connections", node=self._state.name, seen=told)
        gone = _names(self._before) - _names(self._after)
        charon = Charon(self._state.name, vici_socket(self._state))
        for name in gone:
            if charon.sas(name):
                try:
                    charon.terminate(ike=name, deadline=Deadline(1.0))
                except NegotiationError:
                    continue  # the peer does not answer, and charon forgets them all the same
        for connection in self._after.connections:
            for sa in charon.sas(connection.name):
                if not sa.established:  # it negotiates by what was configured before, and others would join it
                    charon.terminate(ike_id=sa.unique_id, deadline=Deadline(1.0))

    def _run(self, argv: list[str], what: str) -> None:
        done = self._runtime.execute(self._state, argv)
        if done.exit_code != 0:
            seen = (done.text + done.stderr.decode(errors="replace")).strip()
            raise DaemonError(what, node=self._state.name, seen=seen)


def _names(device: Device) -> set[str]:
    connections: Iterable[str] = (connection.name for connection in device.connections)
    return set(connections)
