"""Which nodes of a lab are started before the others, and which are lost."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from testbed.deadline import Deadline
from testbed.device import build_devices
from testbed.events import EventStream
from testbed.lab.converge import Convergence
from testbed.lab.state import StateFolder
from testbed.plan import build_plan
from testbed.runtime import Identity, NodeState
from testbed.topology import load_topology
from tests.unit.topologies import SAFARI

MOIGETECH = SAFARI.with_name("moigetech-pki")


def convergence(folder: Path) -> Convergence:
    """One that never runs anything."""
    loaded = load_topology(folder)
    devices = build_devices(loaded)
    runtime: Any = None
    plan = build_plan(loaded, devices, "userspace")
    return Convergence(plan, devices, runtime, StateFolder("none"), EventStream(), "run", Deadline(1.0))


@pytest.mark.parametrize(
    ("folder", "first"), [(MOIGETECH, ["internet", "ntp", "ca"]), (SAFARI, [])], ids=["moigetech-pki", "safari-sacco"]
)
def test_those_that_others_get_the_time_from_are_first(folder: Path, first: list[str]) -> None:
    assert convergence(folder)._first() == first


def test_a_node_whose_process_is_a_zombie_is_lost(tmp_path: Path) -> None:
    """Met under the kill test: the process was still there, and its namespace was not."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        made = convergence(SAFARI)
        identity = Identity("lab", "kisii", "run", "digest", tmp_path)
        made.states["kisii"] = NodeState(identity, "reference", "running", process.pid)
        assert made.lost() == []
        process.kill()
        Deadline(5.0).until(lambda: state_of(process.pid) == "Z", "a zombie", every=0.01)
        assert Path(f"/proc/{process.pid}").exists()
        assert made.lost() == ["kisii"]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
