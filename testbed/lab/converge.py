"""Making what is there into what is planned: nodes, then links, then daemons. Doing it twice changes nothing."""

from __future__ import annotations

import hmac
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.daemons.charon import check_loaded, check_serving
from testbed.daemons.process import is_running, start_daemons
from testbed.errors import DaemonError, RuntimeFailure
from testbed.lab.guard import guard_loaded_connections
from testbed.lab.parallel import collect, on_each
from testbed.network.links import Wiring
from testbed.plan import HOOKS
from testbed.render import NTS_PEERS
from testbed.runtime import Identity
from testbed.runtime.files import read_file, replace_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from testbed.deadline import Deadline
    from testbed.device import Device
    from testbed.events import EventStream
    from testbed.lab.state import StateFolder
    from testbed.plan import Plan
    from testbed.runtime import NodeState, Runtime

__all__ = ["HOOKED", "Convergence"]

HOOKED = "hooked"  # in a node's directory: its after_start hook has run
BOOT_TIMEOUT_S = DAEMON_TIMEOUT_S = 30.0


class Convergence:
    """One run of it. `states` are the nodes as they are found and become, by name; `made` those of this run."""

    def __init__(
        self,
        plan: Plan,
        devices: Mapping[str, Device],
        runtime: Runtime,
        folder: StateFolder,
        events: EventStream,
        run: str,
        deadline: Deadline,
    ) -> None:
        self.plan = plan
        self.devices = devices
        self.runtime = runtime
        self.folder = folder
        self.events = events
        self.run = run
        self.deadline = deadline
        self.states: dict[str, NodeState] = {}
        self.made: set[str] = set()
        self._images: Mapping[str, str] = {}
        self._wired: set[str] = set()  # of those made: have some of their links already
        self._begun: set[str] = set()  # and have had their daemons started

    def all(self) -> dict[str, NodeState]:
        """Nodes, links and daemons as planned, and the hooks of those nodes that were made."""
        self.made, self._wired, self._begun = set(), set(), set()
        missing = self._prune()
        first = self._first() if missing.keys() == self.plan.nodes.keys() else []
        self.states |= on_each({name: missing[name] for name in first}, self._create, "starting nodes")
        with ThreadPoolExecutor(1, "first") as beside:
            head = beside.submit(self._begin, first)
            rest = {name: item for name, item in missing.items() if name not in first}
            self.states |= on_each(rest, self._create, "starting nodes")
        head.result()
        self.booted(self.states)
        self.settle(self.states)
        return self.states

    def _first(self) -> list[str]:
        """Nodes worth having before the others: those that others get the time from, and the routers between them.

        A clock takes half a second to be set, mostly in waiting, and meanwhile the other nodes can be started.
        """
        asked = {server.node for device in self.devices.values() if device.ntp for server in device.ntp.servers}
        between = {name for name, node in self.plan.nodes.items() if self.devices[name].forwards and not node.daemons}
        return [name for name in self.plan.nodes if name in asked | between] if asked - {None} else []

    def _begin(self, names: list[str]) -> None:
        """Wire these nodes with each other, and start the daemons of those that have no other links."""
        self.booted(names)
        states = {name: self.states[name] for name in names}
        wiring = Wiring(self.plan.lab, {name: state.namespace for name, state in states.items()})
        links = [
            link
            for link in self.plan.links.values()
            if link.kind == "point-to-point" and all(end.node in states for pair in link.pairs for end in pair)
        ]
        if not links:
            return
        wiring.connect(links, fresh=states)
        self._wired = set(names)
        whole = []
        for name in names:
            ends = [(link, end) for link in links for end in link.ends if end.node == name]
            prefixes = [address.network for _, end in ends for address in end.addresses]
            node = self.plan.nodes[name]
            reachable = [route for route in node.routes if any(route[1] in prefix for prefix in prefixes)]
            wiring.configure(replace(node, routes=tuple(reachable)), ends)
            complete = len(ends) == len(self.plan.attachments_of(name))
            if complete and node.daemons and not self.devices[name].initiates_at_once:
                whole.append(name)
        daemons: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(whole) or 1, "daemon") as pool:
            for name in sorted(whole, key=self._turn):
                self._submit(pool, daemons, name)
        collect(daemons, "starting daemons")
        self._begun |= set(whole)

    def lost(self) -> list[str]:
        """Nodes that were there and went away meanwhile: the engine finishes what a killed `down` has told it."""
        kept = {name: state for name, state in self.states.items() if name not in self.made}
        # Its namespace goes before its process, which may be a zombie for a while.
        return [name for name, state in kept.items() if not state.namespace.exists()]

    def _prune(self) -> dict[str, tuple[str, str]]:
        """Keep the nodes that are as planned and run, and remove all others of this lab.

        Returns name and digest of each node that is missing then.
        """
        names = [node.image for node in self.plan.nodes.values()]
        self._images = self.runtime.prepare(names, lambda text: self.events.note("images", text))
        digests = {name: self._digest(name, self._images[node.image]) for name, node in self.plan.nodes.items()}
        found = {state.name: state for state in self.runtime.nodes(self.plan.lab)}
        self.states = {name: state for name, state in found.items() if self._is_as_planned(state, digests)}
        stale = {name: state for name, state in found.items() if name not in self.states}
        if stale:
            with self.events.step("nodes", f"removing {', '.join(stale)}: not as planned"):
                on_each(stale, self.runtime.remove, "removing nodes")
        return {name: (name, digest) for name, digest in digests.items() if name not in self.states}

    def _create(self, missing: tuple[str, str]) -> NodeState:
        name, digest = missing
        node, directory = self.plan.nodes[name], self.folder.node(name)
        with self.events.step("nodes", "started", name):
            identity = Identity(self.plan.lab, name, self.run, digest, directory)
            (directory / HOOKED).unlink(missing_ok=True)
            self.made.add(name)
            return self.runtime.create(node, identity, self._images[node.image])

    def _digest(self, name: str, image: str) -> str:
        """Of a node's plan and image, keyed: it stands in a label, and a plan holds secrets that could be guessed."""
        facts = f"{self.plan.digest(name)} {image}".encode()
        return hmac.new(self.folder.salt(), facts, "sha256").hexdigest()[:16]

    def booted(self, names: Iterable[str]) -> None:
        """Wait until the first process of each node has done what must precede its links."""
        for name in names:
            sign = self.states[name].identity.directory / "run" / "booted"

            def look(name: str = name, sign: Path = sign) -> bool:
                if not Path(f"/proc/{self.states[name].pid}").exists():
                    raise RuntimeFailure(
                        "the node's first process ended", node=name, seen=self.runtime.last_words(self.states[name])
                    )
                return sign.exists()

            self.deadline.within(BOOT_TIMEOUT_S).until(look, f"{name}: the node has not booted", every=0.002)

    def _is_as_planned(self, state: NodeState, digests: Mapping[str, str]) -> bool:
        whole = (state.identity.directory / "run").is_dir()
        return state.running and whole and digests.get(state.name) == state.identity.digest

    def settle(self, with_daemons: Iterable[str]) -> None:
        """Make what is missing of the links; then each node gets its addresses, its daemons and its hook.

        Every node is configured, whether it has a new link or not: an earlier run may have been killed in between. A
        node's daemons start when its own links are up, while others are still being configured.
        """
        running = {name: state for name, state in self.states.items() if name in self.plan.nodes}
        wiring = Wiring(self.plan.lab, {name: state.namespace for name, state in running.items()})
        with self.events.step("links", f"{len(self.plan.links)} links"):
            wiring.connect(self.plan.links.values(), fresh=self.made - self._wired)
        starting = set(with_daemons)
        # One after the other, since Python would do no two at once; those with daemons first, which then start beside.
        order = sorted(running, key=self._turn)
        callers = [name for name in order if name in starting and self.devices[name].initiates_at_once]
        with ThreadPoolExecutor(len(order) or 1, "daemon") as pool:
            daemons: dict[str, Future[None]] = {}
            for name in order:
                wiring.configure(self.plan.nodes[name], self.plan.attachments_of(name))
                if name in starting - self._begun and name not in callers and self.plan.nodes[name].daemons:
                    self._submit(pool, daemons, name)
        collect(daemons, "starting daemons")
        self.daemons(callers)
        self.after_start(name for name in running if name in starting)

    def _turn(self, name: str) -> tuple[bool, int]:
        node = self.plan.nodes[name]
        return not node.daemons, len(node.starts_after)

    def _submit(self, pool: ThreadPoolExecutor, started: dict[str, Future[None]], name: str) -> None:
        """Start a node's daemons in the pool, after those it waits for; to be called in the order of turns."""
        before = [started[other] for other in self.plan.nodes[name].starts_after if other in started]
        started[name] = pool.submit(self._start_daemons, self.states[name], before)

    def daemons(self, names: Iterable[str]) -> None:
        """Start the daemons of these nodes that do not run."""
        on_each({name: self.states[name] for name in names}, self._start_daemons, "starting daemons")

    def _start_daemons(self, state: NodeState, after: Sequence[Future[None]] = ()) -> None:
        wait(after)  # whether they went well is told by themselves
        plans, booting = self.plan.nodes[state.name].daemons, state.name in self.made
        if not booting:
            plans = tuple(daemon for daemon in plans if not is_running(self.runtime, state, daemon))
        if not plans:
            return
        deadline = self.deadline.within(DAEMON_TIMEOUT_S)
        self._introduce(state)
        with self.events.step("daemons", f"{', '.join(plan.name for plan in plans)} ready", state.name):
            (state.identity.directory / "run" / "swanctl.status").unlink(missing_ok=True)
            start_daemons(self.runtime, state, plans, deadline, booting=booting)
            if any(plan.name == "charon" for plan in plans):
                check_loaded(state, deadline)
                own = "/etc/strongswan.conf" in self.devices[state.name].files
                needs_tun = self.plan.dataplane == "userspace"
                check_serving(state, needs_tun=needs_tun, port=None if own else 500)
                if self.devices[state.name].has_own_connections:
                    guard_loaded_connections(self.runtime, state, self.devices[state.name])

    def _introduce(self, state: NodeState) -> None:
        """Give a node the certificates of the time servers that it asks by NTS."""
        ntp = self.devices[state.name].ntp
        for name in ntp.nts_peers if ntp else ():
            if name in self.states:
                certificate = read_file(self.states[name].identity.directory / "nvram" / "nts.pem")
                replace_content(state.identity.directory, f"{NTS_PEERS}/{name}.pem", certificate)

    def after_start(self, names: Iterable[str]) -> None:
        """Run the hook of each node that has not had it since it was last started."""
        waiting = [name for name in names if not (self.states[name].identity.directory / HOOKED).exists()]
        self.hooks("after_start", waiting)
        for name in waiting:
            (self.states[name].identity.directory / HOOKED).touch()

    def hooks(self, hook: str, names: Iterable[str]) -> None:
        wanted = {name: self.states[name] for name in names if hook in self.plan.nodes[name].hooks}

        def run(state: NodeState) -> None:
            with self.events.step("hooks", hook, state.name):
                done = self.runtime.execute(state, [f"{HOOKS}/{hook}"])
            if done.exit_code != 0:
                seen = f"exit code {done.exit_code}: {(done.stderr or done.stdout).decode(errors='replace').strip()}"
                raise DaemonError(f"the hook {hook} failed", node=state.name, expected="exit code 0", seen=seen)

        on_each(wanted, run, f"the hook {hook}")
