"""Which nodes of a lab are started before the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.deadline import Deadline
from testbed.device import build_devices
from testbed.events import EventStream
from testbed.lab.converge import Convergence
from testbed.lab.state import StateFolder
from testbed.plan import build_plan
from testbed.topology import load_topology
from tests.unit.topologies import SAFARI


@pytest.mark.parametrize(
    ("folder", "first"),
    [(SAFARI.with_name("moigetech-pki"), ["internet", "ntp", "ca"]), (SAFARI, [])],
    ids=["moigetech-pki", "safari-sacco"],
)
def test_those_that_others_get_the_time_from(folder: Path, first: list[str]) -> None:
    loaded = load_topology(folder)
    devices = build_devices(loaded)
    plan = build_plan(loaded, devices, "userspace")
    runtime = None  # nothing is run
    convergence = Convergence(
        plan,
        devices,
        runtime,
        StateFolder("none"),
        EventStream(),
        "run",
        Deadline(1.0),  # type: ignore[arg-type]
    )
    assert convergence._first() == first
