"""Making what is there into what is planned: nodes, then links, then daemons. Doing it twice changes nothing."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.daemons.charon import check_loaded
from testbed.daemons.process import is_running, start_daemon
from testbed.errors import DaemonError, RuntimeFailure
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

__all__ = ["HOOKED", "Convergence"]

HOOKED = "hooked"  # in a node's directory: its after_start hook has run
BOOT_TIMEOUT_S = 30.0


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
        self.after_start(self.states)
        return self.states

    def images(self) -> Mapping[str, str]:
        names = [node.image for node in self.plan.nodes.values()]
        return self.runtime.prepare(names, lambda text: self.events.note("images", text))

    def nodes(self) -> None:
        """Keep the nodes that are as planned and run; remove all others of this lab; make those that are missing."""
        images = self.images()
        digests = {name: self._digest(name, images[node.image]) for name, node in self.plan.nodes.items()}
        found = {state.name: state for state in self.runtime.nodes(self.plan.lab)}
        keep = {name: state for name, state in found.items() if self._is_as_planned(state, digests)}
        stale = {name: state for name, state in found.items() if name not in keep}
        if stale:
            with self.events.step("nodes", f"removing {', '.join(stale)}: not as planned"):
                on_each(stale, self.runtime.remove, "removing nodes")
        self.states = dict(keep)
        missing = {name: node for name, node in self.plan.nodes.items() if name not in keep}

        def create(node: NodePlan) -> NodeState:
            with self.events.step("nodes", "started", node.name):
                directory = self.folder.node(node.name)
                identity = Identity(self.plan.lab, node.name, self.run, digests[node.name], directory)
                (directory / HOOKED).unlink(missing_ok=True)
                self.made.add(node.name)
                return self.runtime.create(node, identity, images[node.image])

        self.states |= on_each(missing, create, "starting nodes")
        self.booted(self.states)

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

    def links(self) -> None:
        """Make what is missing of the links, and give every node its addresses and routes."""
        running = {name: state for name, state in self.states.items() if name in self.plan.nodes}
        wiring = Wiring(self.plan.lab, {name: state.namespace for name, state in running.items()})
        with self.events.step("links", f"{len(self.plan.links)} links"):
            wiring.connect(self.plan.links.values())
            for name in running:  # all of them: an earlier run may have been killed between the two steps
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
