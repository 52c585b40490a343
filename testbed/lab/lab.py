"""A lab: a topology that runs."""

from __future__ import annotations

import contextlib
import threading
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from testbed.deadline import Deadline
from testbed.device import build_devices
from testbed.errors import LabNotRunningError, SettingError, TestbedError
from testbed.events import EventStream
from testbed.faults import inject, parse_fault
from testbed.ios.reader import read_configuration
from testbed.lab.converge import HOOKED, Convergence
from testbed.lab.dataplane import choose_dataplane
from testbed.lab.node import Link, Node
from testbed.lab.parallel import on_each
from testbed.lab.provision import Provision, first_failure
from testbed.lab.reconfigure import carried_devices, reconfigure
from testbed.lab.routers import RouterStore, as_they_run, bare
from testbed.lab.ssh import start_ssh, stop_ssh
from testbed.lab.state import LabRecord, StateFolder, state_root, valid_name
from testbed.network.links import Wiring
from testbed.network.path import take_path
from testbed.plan import build_plan
from testbed.prerequisites import require
from testbed.runtime import DockerRuntime
from testbed.runtime.files import update_files
from testbed.successor import MEND, succeeded
from testbed.topology import load_topology
from testbed.topology.routers import bare_text
from testbed.verify import LiveLab, Verifier
from testbed.verify.negotiate import negotiate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from testbed.device import Device
    from testbed.ios.configuration import Configuration
    from testbed.network.capture import Frame
    from testbed.network.wire import Wire
    from testbed.plan import Plan
    from testbed.runtime import NodeState, Runtime
    from testbed.topology import LoadedTopology
    from testbed.verify import Verdict

__all__ = ["Lab", "running_labs", "take_down"]

_SILENCE_S = 10.0
UP_TIMEOUT_S = 600.0  # the first run builds images
DOWN_TIMEOUT_S = 120.0


@dataclass
class _Path:
    """A path that is taken, from which end, and by how many."""

    wire: Wire
    end: str
    stack: contextlib.ExitStack
    users: int = 0


class Lab:
    """A lab, whether it runs or not. As a context manager it goes down at the end.

    So this leaves nothing behind:

        with Lab.from_folder("topologies/safari-sacco").up() as lab:
            assert all(verdict.held for verdict in lab.verdicts)
            print(lab.node("kisii").charon.sas())
    """

    def __init__(
        self,
        loaded: LoadedTopology,
        *,
        name: str | None = None,
        dataplane: str | None = None,
        runtime: Runtime | None = None,
        events: EventStream | None = None,
        without_startup: bool = False,
    ) -> None:
        self.name = name or loaded.name
        self._folder = StateFolder(self.name)
        self.bare = without_startup
        self.loaded = as_they_run(bare(loaded) if without_startup else loaded, self._folder)
        self.devices = build_devices(self.loaded)
        self.events = events or EventStream()
        self.runtime: Runtime = runtime or DockerRuntime()
        self.verdicts: list[Verdict] = []
        self.captures: dict[str, list[Frame]] = {}
        self._wanted = dataplane or loaded.topology.dataplane
        self._plan: Plan | None = None
        self._marks: dict[str, tuple[int, int]] = {}
        self._paths: dict[str, _Path] = {}
        self._paths_lock = threading.Lock()

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        name: str | None = None,
        settings: Mapping[str, str | int | bool] | None = None,
        variants: Sequence[str] = (),
        dataplane: str | None = None,
        events: EventStream | None = None,
        runtime: Runtime | None = None,
        bare: bool = False,
    ) -> Lab:
        """A lab from its folder, not yet running. `name` lets one topology run several times side by side.

        `bare` routers of kind ios have no start-up configuration: they wait for somebody to configure them. Raises
        TopologyError with all that is wrong with the topology, or SettingError for a setting.
        """
        texts = {key: _setting(value) for key, value in (settings or {}).items()}
        loaded = load_topology(folder, settings=texts, variants=variants)
        return cls(
            loaded, name=_checked(name), dataplane=dataplane, events=events, runtime=runtime, without_startup=bare
        )

    @classmethod
    def attach(cls, name: str, *, events: EventStream | None = None, runtime: Runtime | None = None) -> Lab:
        """A lab that is up, by its name. Raises LabNotRunningError if there is none, or its record is gone."""
        record = StateFolder(_checked(name) or name).load()
        if record is None:
            known = ", ".join(sorted({state.identity.lab for state in (runtime or DockerRuntime()).nodes()}))
            raise LabNotRunningError(
                f"lab '{name}' is not up",
                expected=f"one of {known}" if known else "a lab that is up; none is",
                hint=f"`testbed up {name}`",
            )
        loaded = load_topology(record.folder, settings=record.settings, variants=record.variants, with_secrets=False)
        return cls(
            loaded, name=name, dataplane=record.dataplane, events=events, runtime=runtime, without_startup=record.bare
        )

    def router(self, name: str) -> RouterStore:
        """What a router of kind ios keeps. Raises SettingError for another node."""
        if name not in self.loaded.configurations:
            known = ", ".join(self.loaded.configurations) or "none"
            raise SettingError(f"'{name}' is not configured by IOS text", expected=f"one of {known}")
        return RouterStore(self._folder.node(name))

    @property
    def folder(self) -> StateFolder:
        """What it leaves on this machine while it runs."""
        return self._folder

    def states_directory(self, name: str) -> Path:
        """Where a node's files are on this machine."""
        return self._folder.node(name)

    def configure(self, name: str, configuration: Configuration) -> dict[str, set[str]]:
        """Give a running router another configuration, at once. Returns what was changed, by node."""
        with self.router(name).editing():
            self.refresh()
            changed = reconfigure(self, {name: configuration}, self.states())
            self.router(name).save_running(configuration)
        return changed

    def refresh(self) -> None:
        """Take what other processes have configured meanwhile."""
        marks = {name: self.router(name).mark() for name in self.loaded.configurations}
        if marks == self._marks:
            return
        loaded = as_they_run(self.loaded, self._folder)
        devices, _ = carried_devices(loaded, self.devices, self.plan.dataplane)
        plan = build_plan(loaded, devices, self.plan.dataplane)
        self.adopt(loaded, devices, _renamed(plan, self.name))
        self._marks = marks

    def adopt(self, loaded: LoadedTopology, devices: dict[str, Device], plan: Plan) -> None:
        """Take what the lab has become while it ran."""
        self.loaded, self.devices, self._plan = loaded, devices, plan

    @property
    def plan(self) -> Plan:
        """What is, or would be, created. Which data plane is used is found out at the first call."""
        if self._plan is None:
            dataplane = choose_dataplane(self._wanted)
            if any(self.router(name).origin() is not None for name in self.loaded.configurations):
                self.devices, _ = carried_devices(self.loaded, self.devices, dataplane)
            plan = build_plan(self.loaded, self.devices, dataplane)
            self._plan = plan if plan.lab == self.name else _renamed(plan, self.name)
        return self._plan

    def up(self, *, verify: bool = True, timeout_s: float = UP_TIMEOUT_S) -> Lab:
        """Bring the lab up, or repair it, and check what is expected of it; `verdicts` then holds the outcome.

        What stands as planned is kept, what does not is made anew. If this fails or is interrupted, what this call
        made is removed again. Expectations that do not hold raise nothing.
        """
        deadline = Deadline(timeout_s)
        require()
        plan = self.plan
        with self._folder.locked():
            run = uuid.uuid4().hex[:12]
            before = {state.reference for state in self.runtime.nodes(self.name)}
            record = LabRecord(
                str(self.loaded.folder), self.loaded.settings, self.loaded.variants, plan.dataplane, run, self.bare
            )
            convergence = Convergence(plan, self.devices, self.runtime, self._folder, self.events, run, deadline)
            try:
                self._folder.save(record)
                self._begin_routers()
                self.events.note("lab", f"{self.name}: {plan.dataplane} data plane")
                while not self._brought_up(convergence, verify=verify):
                    self.events.note("nodes", f"{', '.join(convergence.lost())} went away meanwhile: beginning again")
                if self.loaded.configurations:
                    start_ssh(self._folder)
            except BaseException:
                self._undo(before)
                raise
        return self

    def _begin_routers(self) -> None:
        """Their configurations, where they do not run yet with the ones that the lab folder has."""
        for name, configuration in self.loaded.configurations.items():
            store, origin = self.router(name), self.loaded.startup_digest(name)
            if store.origin() != origin:
                store.begin(configuration, origin)

    def _brought_up(self, convergence: Convergence, *, verify: bool) -> bool:
        """Whether all nodes are still there afterwards; what failed because one was not has to be done again."""
        try:
            states = convergence.all()
            self._set_up(states, convergence.deadline, verify=verify)
        except TestbedError:
            if not convergence.lost() or convergence.deadline.expired:
                raise
        return not convergence.lost() or convergence.deadline.expired

    def verify(self, *, timeout_s: float = 120.0) -> list[Verdict]:
        """Check all expectations on the running lab. Tunnels are down for the checks that want them down."""
        with self._folder.locked():
            self._verify(self.states(), Deadline(timeout_s))
        return self.verdicts

    def _set_up(self, states: Mapping[str, NodeState], deadline: Deadline, *, verify: bool) -> None:
        """The steps between daemons that run and tunnels that are up; the first one that fails is the last."""
        live = self._live(states)
        provision, verifier = Provision(live, self.events, deadline), Verifier(live, self.events, deadline)
        stages: list[Callable[[], list[Verdict]]] = [
            *([verifier.without_tunnels] if verify else []),
            provision.clocks,
            *([verifier.time] if verify else []),
            provision.key_pairs,
            provision.trustpoints,
            provision.authentication,
            provision.certificates,
            *([verifier.certificates, verifier.with_tunnels] if verify else []),
        ]
        self.verdicts = []
        for stage in stages:
            self.verdicts += stage()
            failure = first_failure(self.verdicts)
            if failure is not None and provision.needed:
                if not verify:
                    raise failure
                break
        self.captures = verifier.captures

    def _verify(self, states: Mapping[str, NodeState], deadline: Deadline) -> None:
        verifier = Verifier(self._live(states), self.events, deadline)
        self.verdicts = verifier.run()
        self.captures = verifier.captures

    def down(self, *, timeout_s: float = DOWN_TIMEOUT_S) -> bool:
        """Remove the lab and all that it left; False if there was nothing. Twice is no error."""
        with contextlib.suppress(TestbedError):  # a node that cannot run its hook has to go all the same
            self._before_stop(self.devices)
        return take_down(self.name, self.runtime, self.events, timeout_s=timeout_s)

    def _before_stop(self, names: Iterable[str]) -> None:
        wanted = [name for name in names if name in self.devices and "before_stop" in self.devices[name].hooks]
        if wanted:
            convergence = self._repair(30.0)
            convergence.hooks("before_stop", [name for name in wanted if name in convergence.states])

    def _undo(self, before: set[str]) -> None:
        """After a failure: remove what was not there before; if nothing was, remove everything."""
        with self.events.step("lab", "undoing what this run made"):
            if not before:
                _remove_all(self.name, self.runtime, self._folder)
                return
            mine = {state.name: state for state in self.runtime.nodes(self.name) if state.reference not in before}
            on_each(mine, self.runtime.remove, "removing nodes")

    def states(self) -> dict[str, NodeState]:
        """The nodes as they are now, by name, found by label."""
        return {state.name: state for state in self.runtime.nodes(self.name)}

    def live(self) -> LiveLab:
        """The running lab, for checks. Raises LabNotRunningError if no node runs."""
        states = self.states()
        if not any(state.running for state in states.values()):
            raise LabNotRunningError(f"lab '{self.name}' is not up", hint=f"`testbed up {self.name}`")
        return self._live(states)

    def _live(self, states: Mapping[str, NodeState]) -> LiveLab:
        return LiveLab(self.loaded, self.devices, self.plan, self.runtime, dict(states))

    def node(self, name: str) -> Node:
        """A node of the running lab. Raises LabNotRunningError, naming the nodes there are."""
        live = self.live()
        live.state(name)
        return Node(name, live)

    def initiate(self, connection: str, *, timeout_s: float = 30.0) -> None:
        """Set up a tunnel, from the end that the topology names first.

        Raises NegotiationError with the reasons that the daemons of both ends have logged.
        """
        live = self.live()
        for name, device in self.devices.items():
            for config in device.connections:
                if config.name == connection and config.initiator:
                    children = [child.name for child in config.children]
                    negotiate(live, name, config.remote_node, children, Deadline(timeout_s))
                    return
        known = sorted({config.name for device in self.devices.values() for config in device.connections})
        raise SettingError(f"there is no connection '{connection}'", expected=f"one of {', '.join(known) or 'none'}")

    def terminate(self, connection: str, *, timeout_s: float = 10.0) -> None:
        """Delete the SAs of a tunnel at both ends. Nothing to delete is no error."""
        live = self.live()
        for name, device in self.devices.items():
            if any(config.name == connection for config in device.connections):
                charon = live.charon(name)
                if charon.sas(connection):
                    charon.terminate(ike=connection, deadline=Deadline(timeout_s))

    def link(self, name: str) -> Link:
        """A link of the running lab. Raises SettingError, naming the links there are."""
        if name not in self.plan.links:
            raise SettingError(f"there is no link '{name}'", expected=f"one of {', '.join(self.plan.links)}")
        return Link(name, self.live())

    @contextlib.contextmanager
    def path(self, link: str, end: str | None = None) -> Iterator[Wire]:
        """Stand on the path of a link while the context lasts: every frame passes the wire, whose rules decide.

        `forward` is away from the node `end`: the one whose tunnel uses the link, if none is named. In one process
        several may stand there, one behind the other. Raises SettingError, or NetworkFailure if another process does.
        """
        live, name = self.live(), self.link(link).name
        chosen = end or self.path_end(name)
        with self._paths_lock:
            if name not in self._paths:
                namespaces = {key: state.namespace for key, state in live.states.items() if state.running}
                with contextlib.ExitStack() as stack:
                    stack.enter_context(succeeded(self, MEND, None))
                    wire = stack.enter_context(take_path(self.plan, namespaces, name, chosen))
                    self._paths[name] = _Path(wire, chosen, stack.pop_all())
            taken = self._paths[name]
            if taken.end != chosen:
                raise SettingError(f"the path of link '{name}' is taken from '{taken.end}'", seen=chosen)
            taken.users += 1
        try:
            yield taken.wire
        finally:
            with self._paths_lock:
                taken.users -= 1
                if not taken.users:
                    del self._paths[name]
                    taken.stack.close()
                    self._rewire(name, live)

    def mend_links(self) -> None:
        """Make links whole that a process has left cut, and give their nodes what those interfaces had."""
        with self._folder.locked():
            states = {name: state for name, state in self.states().items() if state.running}
            self._wire(states, states.keys() & self.plan.nodes.keys())

    def _wire(self, states: Mapping[str, NodeState], names: Iterable[str]) -> None:
        """Make what is missing of the links, and give these nodes what their interfaces should have."""
        wiring = Wiring(self.name, {name: state.namespace for name, state in states.items()})
        wiring.connect(list(self.plan.links.values()))
        for name in names:
            wiring.configure(self.plan.nodes[name], self.plan.attachments_of(name))

    def _rewire(self, link: str, before: LiveLab) -> None:
        """Make a link whole of which a node was started anew while its path was taken."""
        states = {name: state for name, state in self.states().items() if state.running}
        planned = self.plan.links[link]
        nodes = {end.node for end in (*planned.ends, *(planned.through or ()))}
        anew = [name for name in nodes & states.keys() if states[name].pid != before.states[name].pid]
        if anew:
            self._wire(states, anew)

    def path_end(self, link: str) -> str:
        """The node from which `forward` leads away on a link: the one whose tunnel uses it, else its first."""
        ends = self.plan.links[link].ends
        for end in ends:
            if any(config.interface == end.interface for config in self.devices[end.node].connections):
                return end.node
        return ends[0].node

    def fault(self, what: str, **settings: Any) -> contextlib.AbstractContextManager[Counter[str]]:
        """A fault, by its kind or by the name that the topology gives it, while the context lasts.

            with lab.fault("line", link="wan-kisii", loss=20, delay_ms=50) as counts:
                ...
            assert counts["lost"] > 0

        Kinds and settings are those of `faults` in a topology. Raises SettingError.
        """
        return inject(self, parse_fault(self.loaded.topology, what, settings))

    def configure_links(self, name: str) -> None:
        """Give a node the addresses and routes that its plan says, where they are gone."""
        live = self.live()
        wiring = Wiring(self.name, {name: live.state(name).namespace})
        wiring.configure(self.plan.nodes[name], self.plan.attachments_of(name))

    def nodes(self) -> Iterator[Node]:
        """The nodes that run, in the topology's order."""
        live = self.live()
        for name in self.plan.nodes:
            if name in live.states and live.states[name].running:
                yield Node(name, live)

    def restart_node(self, name: str, *, timeout_s: float = 60.0) -> None:
        """Reboot a node: all its processes end, and it comes back with its links, addresses and daemons."""
        with self._folder.locked():
            self._stop(name, timeout_s)
            self._start(name, timeout_s)

    def stop_node(self, name: str, *, timeout_s: float = 60.0) -> None:
        """Stop a node. Its links end with it; `start_node` makes them again. Stopping twice is no error."""
        with self._folder.locked():
            self._stop(name, timeout_s)

    def start_node(self, name: str, *, timeout_s: float = 60.0) -> None:
        """Start a stopped node with all that belongs to it. Starting twice is no error."""
        with self._folder.locked(Deadline(timeout_s)):  # it may be undoing something: it waits
            self._start(name, timeout_s)

    def _stop(self, name: str, timeout_s: float) -> None:
        state = self._existing(name)
        if state.running:
            self._before_stop([name])
            with self.events.step("nodes", "stopped", name):
                self.runtime.stop(state, Deadline(min(10.0, timeout_s)))
                self._await_silence(name)

    def _await_silence(self, name: str) -> None:
        """Wait until nothing of a stopped node answers any more."""
        running = {key: state.namespace for key, state in self.states().items() if state.running}
        wiring, ends = Wiring(self.name, running), self.plan.attachments_of(name)
        Deadline(_SILENCE_S).until(lambda: not wiring.remains_of(name, ends), f"{name}: the end of its links")

    def _start(self, name: str, timeout_s: float) -> None:
        state = self._existing(name)
        if name in self.loaded.configurations and not state.running:
            self._load_startup(name, state)
        convergence = self._repair(timeout_s)
        if not state.running:
            (state.identity.directory / HOOKED).unlink(missing_ok=True)
            with self.events.step("nodes", "started", name):
                convergence.states[name] = self.runtime.start(state, self.plan.nodes[name])
            convergence.made.add(name)
            convergence.booted([name])
        convergence.settle([name])

    def _load_startup(self, name: str, state: NodeState) -> None:
        """A router boots with its start-up configuration, whatever it ran before."""
        store = self.router(name)
        text = store.startup() or bare_text(self.loaded.base or self.loaded.topology, name)
        configuration = read_configuration(text).configuration
        with store.editing():
            store.save_running(configuration)
            reconfigure(self, {name: configuration}, self.states())
            node = self.plan.nodes[name]
            update_files(state.identity.directory, node.files, node.folders)

    def start_daemons(self, name: str, *, timeout_s: float = 60.0) -> None:
        """Start the daemons of a node that do not run, as after `Node.kill_daemon`."""
        with self._folder.locked(Deadline(timeout_s)):  # it may be undoing something: it waits
            self.node(name)
            self._repair(timeout_s).daemons([name])

    def _repair(self, timeout_s: float) -> Convergence:
        convergence = Convergence(
            self.plan, self.devices, self.runtime, self._folder, self.events, "", Deadline(timeout_s)
        )
        convergence.states = {name: state for name, state in self.states().items() if state.running}
        return convergence

    def _existing(self, name: str) -> NodeState:
        states = self.states()
        if name not in states:
            raise LabNotRunningError(
                "there is no such node", node=name, expected=f"one of {', '.join(sorted(states)) or 'none'}"
            )
        return states[name]

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


def take_down(lab: str, runtime: Runtime, events: EventStream, *, timeout_s: float = DOWN_TIMEOUT_S) -> bool:
    """Remove a lab by its labels alone, without its topology; False if there was nothing of it."""
    folder = StateFolder(_checked(lab) or lab)
    if not runtime.nodes(lab) and not folder.exists() and not Wiring(lab, {}).exists():
        return False
    with folder.locked(Deadline(timeout_s)), events.step("lab", f"{lab}: down"):
        _remove_all(lab, runtime, folder)
    return True


def _remove_all(lab: str, runtime: Runtime, folder: StateFolder) -> None:
    """Containers, the fabric, files; safe at whatever moment something before it was killed."""
    on_each({state.name: state for state in runtime.nodes(lab)}, runtime.remove, "removing nodes")
    Wiring(lab, {}).remove()
    stop_ssh(folder)
    folder.remove()


def running_labs(runtime: Runtime) -> dict[str, list[NodeState]]:
    """Every lab of which there is a node, found by label, or whose folder was left behind."""
    labs: dict[str, list[NodeState]] = {}
    if state_root().is_dir():
        labs = {path.name: [] for path in sorted(state_root().iterdir()) if path.is_dir()}
    for state in runtime.nodes():
        labs.setdefault(state.identity.lab, []).append(state)
    return labs


def _renamed(plan: Plan, name: str) -> Plan:
    return replace(plan, lab=name)


def _setting(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checked(name: str | None) -> str | None:
    if name is not None and not valid_name(name):
        raise SettingError(f"'{name}' cannot name a lab", expected="lower-case letters, digits and '-', at most 32")
    return name
