"""What of a lab is measured, and how."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path

from testbed.daemons.charon import Charon
from testbed.deadline import Deadline
from testbed.events import Event, EventStream, StepFinished
from testbed.lab import Lab
from testbed.network.links import Wiring
from testbed.network.namespace import create_named, remove_named
from testbed.plan import Attachment, LinkPlan
from testbed.runtime import DockerRuntime

LINKS, TUNNELS = 200, 50


class LabRun:
    """One lab from nothing to verified traffic, then all checks, then down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: dict[str, float] = {}

    def measure(self) -> dict[str, float]:
        found = self._to_traffic()
        name = f"bench-{uuid.uuid4().hex[:8]}"
        begun = time.monotonic()
        lab = Lab.from_folder(self._folder, name=name).up()
        found["up with checks"] = time.monotonic() - begun
        assert all(verdict.held for verdict in lab.verdicts)
        lab.down()
        return found

    def _to_traffic(self) -> dict[str, float]:
        events = EventStream([self._note])
        lab = Lab.from_folder(self._folder, name=f"bench-{uuid.uuid4().hex[:8]}", events=events)
        begun = time.monotonic()
        lab.up(verify=False)
        live = lab.live()
        tunnel = lab.plan.tunnels[0]
        live.charon(tunnel.initiator).initiate(child=tunnel.children[0], deadline=Deadline(30.0))
        tunnel_up = time.monotonic()
        result = lab.node("pc-kisii").ping("pc-kisumu", count=50, interval_s=0.05, until_answered=True)
        traffic = time.monotonic()
        assert result.answered
        moments = [begun, self._ends["nodes"], self._ends["links"], self._ends["daemons"], tunnel_up, traffic]
        phases = ("nodes", "links", "daemons", "tunnel", "traffic")
        found = {f"phase {name}": end - start for name, start, end in zip(phases, moments, moments[1:], strict=False)}
        found["up to traffic"] = traffic - begun
        begun = time.monotonic()
        lab.down()
        found["down"] = time.monotonic() - begun
        return found

    def _note(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self._ends[event.phase] = time.monotonic()


def link_times() -> list[float]:
    """Seconds for each of many links between two namespaces, made one by one as a lab makes them."""
    names = [f"testbed-bench-{uuid.uuid4().hex[:6]}" for _ in range(2)]
    spaces = {node: create_named(name) for node, name in zip(("a", "b"), names, strict=True)}
    links = [
        LinkPlan(
            f"l{number}",
            "point-to-point",
            1500,
            tuple(
                Attachment(node, f"l{number}", f"02:00:00:{side:02x}:{number >> 8:02x}:{number & 255:02x}", ())
                for side, node in enumerate(("a", "b"))
            ),
        )
        for number in range(LINKS)
    ]
    try:
        begun = time.monotonic()
        Wiring("bench", spaces).connect(links)
        return [(time.monotonic() - begun) / LINKS]
    finally:
        for name in names:
            remove_named(name)


def tunnel_times(folder: Path) -> list[float]:
    """Seconds for each of many negotiations, one after the other."""
    found: list[float] = []
    with Lab.from_folder(folder, name=f"bench-{uuid.uuid4().hex[:8]}").up(verify=False) as lab:
        tunnel = lab.plan.tunnels[0]
        charon: Charon = lab.node(tunnel.initiator).charon
        for _ in range(TUNNELS):
            begun = time.monotonic()
            charon.initiate(child=tunnel.children[0], deadline=Deadline(30.0))
            found.append(time.monotonic() - begun)
            charon.terminate(ike=tunnel.connection, deadline=Deadline(10.0))
    return found


def memory_per_node(folder: Path) -> dict[str, float]:
    """Megabytes that the engine accounts to a node of each role, with its daemon running."""
    found: dict[str, float] = {}
    with Lab.from_folder(folder, name=f"bench-{uuid.uuid4().hex[:8]}").up() as lab:
        api = DockerRuntime().api
        for name, state in lab.states().items():
            usage = api.stats(state.reference, stream=False)["memory_stats"]
            cache = usage.get("stats", {}).get("total_inactive_file", usage.get("stats", {}).get("inactive_file", 0))
            role = lab.devices[name].role + (" with charon" if lab.devices[name].runs_ike else "")
            found[role] = (usage["usage"] - cache) / 1e6
    return found


def orchestrator_memory(folder: Path) -> float:
    """The largest resident size, in megabytes, of the process that brings the lab up and checks it."""
    code = (
        "import sys; from testbed.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        # Not ru_maxrss: a child inherits it from the process that forked it.
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')), file=sys.stderr)"
    )
    name = f"bench-{uuid.uuid4().hex[:8]}"
    argv = [sys.executable, "-c", code, "up", str(folder), "--name", name]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    Lab.attach(name).down()
    return int(done.stderr.strip().splitlines()[-1]) / 1000
