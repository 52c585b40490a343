"""Making what is there into what is planned: nodes, then links, then daemons. Doing it twice changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.daemons.charon import check_loaded
from testbed.daemons.process import is_running, start_daemon
from testbed.errors import DaemonError
from testbed.lab.parallel import on_each
from testbed.network.links import Wiring
from testbed.plan import HOOKS
from testbed.runtime import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testbed.deadline import Deadline
    from testbed.events import EventStream
    from testbed.lab.state import StateFolder
    from testbed.plan import DaemonPlan, NodePlan, Plan
    from testbed.runtime import NodeState, Runtime

__all__ = ["Convergence"]


class Convergence:
    """One run of it. `states` are the nodes as they are found and become, by name; `made` those of this run."""

    def __init__(
        self,
        plan: Plan,
        runtime: Runtime,
        folder: StateFolder,
        events: EventStream,
        run: str,
        deadline: Deadline,
    ) -> None:
        self.plan = plan
        self.runtime = runtime
        self.folder = folder
        self.events = events
        self.run = run
        self.deadline = deadline
        self.states: dict[str, NodeState] = {}
        self.made: set[str] = set()

    def all(self) -> dict[str, NodeState]:
        self.nodes()
        self.links()
        self.daemons()
        self.hooks("after_start", self.made)
        return self.states

    def images(self) -> Mapping[str, str]:
        names = [node.image for node in self.plan.nodes.values()]
        return self.runtime.prepare(names, lambda text: self.events.note("images", text))

    def nodes(self) -> None:
        """Keep the nodes that are as planned and run; remove all others of this lab; make those that are missing."""
        images = self.images()
        found = {state.name: state for state in self.runtime.nodes(self.plan.lab)}
        keep = {name: state for name, state in found.items() if self._is_as_planned(state)}
        stale = {name: state for name, state in found.items() if name not in keep}
        if stale:
            with self.events.step("nodes", f"removing {', '.join(stale)}: not as planned"):
                on_each(stale, self.runtime.remove, "removing nodes")
        self.states = dict(keep)
        missing = {name: node for name, node in self.plan.nodes.items() if name not in keep}

        def create(node: NodePlan) -> NodeState:
            with self.events.step("nodes", "started", node.name):
                identity = Identity(
                    self.plan.lab,
                    node.name,
                    self.run,
                    self.plan.digest(node.name),
                    self.folder.node(node.name),
                )
                self.made.add(node.name)
                return self.runtime.create(node, identity, images[node.image])

        self.states |= on_each(missing, create, "starting nodes")
        self.booted(self.states)

    def booted(self, names: Iterable[str]) -> None:
        """Wait until the first process of each node has done what must precede its links."""
        for name in names:
            sign = self.states[name].identity.directory / "run" / "booted"
            self.deadline.until(
                sign.exists,
                f"{name}: the node has not booted",
                every=0.002,
                hint=f"`docker logs testbed.{self.plan.lab}.{name}` shows why",
            )

    def _is_as_planned(self, state: NodeState) -> bool:
        planned = state.name in self.plan.nodes
        return planned and state.running and state.identity.digest == self.plan.digest(state.name)

    def links(self) -> None:
        """Make what is missing of the links, and give every node its addresses and routes."""
        wiring = Wiring(self.plan.lab, {name: state.namespace for name, state in self.states.items()})
        with self.events.step("links", f"{len(self.plan.links)} links"):
            made = wiring.connect(self.plan.links.values())
            touched = {end.node for name in made for end in self.plan.links[name].ends} | self.made
            for name in sorted(touched):
                wiring.configure(self.plan.nodes[name], self.plan.attachments_of(name))

    def daemons(self, only: Iterable[str] | None = None) -> None:
        """Start the daemons that do not run; a node that was just made runs none."""
        wanted = {
            f"{name}: {daemon.name}": (self.states[name], daemon)
            for name in (self.plan.nodes if only is None else only)
            for daemon in self.plan.nodes[name].daemons
        }

        def start(item: tuple[NodeState, DaemonPlan]) -> None:
            state, daemon = item
            if state.name not in self.made and is_running(self.runtime, state, daemon):
                return
            with self.events.step("daemons", f"{daemon.name} is ready", state.name):
                (state.identity.directory / "run" / "swanctl.status").unlink(missing_ok=True)
                start_daemon(self.runtime, state, daemon, self.deadline.within(30.0))
                if daemon.name == "charon":
                    check_loaded(state, self.deadline.within(30.0))

        on_each(wanted, start, "starting daemons")

    def hooks(self, hook: str, names: Iterable[str]) -> None:
        wanted = {name: self.states[name] for name in names if hook in self.plan.nodes[name].hooks}

        def run(state: NodeState) -> None:
            with self.events.step("hooks", hook, state.name):
                done = self.runtime.execute(state, [f"{HOOKS}/{hook}"])
            if done.exit_code != 0:
                seen = f"exit code {done.exit_code}: {(done.stderr or done.stdout).decode(errors='replace').strip()}"
                raise DaemonError(f"the hook {hook} failed", node=state.name, expected="exit code 0", seen=seen)

        on_each(wanted, run, f"the hook {hook}")
