"""`up` and `down` are killed at a hundred random moments; `down` cleans and `up` repairs whatever that leaves.

The moments cannot be repeated exactly, but the sequence of delays can: TESTBED_SEED=<number in the failure>.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded
from testbed.events import EventStream
from testbed.lab import Lab, take_down
from testbed.runtime import DockerRuntime
from tests.integration.machine import Machine

KILLS_OF_UP, KILLS_OF_DOWN = 60, 40
REPAIR_EVERY = 4

# Says when it begins, so that the moment of the kill falls into the work and not into the imports.
_DRIVER = """
import sys
from testbed.events import EventStream
from testbed.lab import Lab, take_down
from testbed.runtime import DockerRuntime
command, folder, name = sys.argv[1:]
lab = Lab.from_folder(folder, name=name)
print("go", flush=True)
lab.up(verify=False) if command == "up" else take_down(name, DockerRuntime(), EventStream())
"""


@dataclass
class Killer:
    """Runs a command in a process of its own and kills it after a while."""

    folder: Path
    name: str
    seed: int
    random: random.Random
    usual_s: dict[str, float] = field(default_factory=dict)

    def run(self, command: str, *, kill: bool) -> None:
        argv = [sys.executable, "-c", _DRIVER, command, str(self.folder), self.name]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"go\n", process.communicate()[1].decode()
            begun = time.monotonic()
            if kill:
                try:
                    process.wait(self.random.uniform(0.0, self.usual_s[command]))
                except subprocess.TimeoutExpired:
                    process.kill()
            _, errors = process.communicate()
            if not kill:
                assert process.returncode == 0, errors.decode()
                self.usual_s[command] = 1.1 * (time.monotonic() - begun)


@pytest.fixture
def killer(pair: Path, lab_name: str) -> Killer:
    seed = int(os.environ.get("TESTBED_SEED", random.SystemRandom().randrange(1_000_000)))
    made = Killer(pair, lab_name, seed, random.Random(seed))
    for command in ("up", "down", "up", "down"):  # once cold, once as it usually is
        made.run(command, kill=False)
    return made


def down_leaves_nothing(killer: Killer, before: Machine) -> None:
    """`down`, and the machine is as before. What the engine was told by the dead process it may still be doing."""

    def clean() -> bool:
        take_down(killer.name, DockerRuntime(), EventStream())
        return Machine.now(killer.name).difference(before) == {}

    try:
        Deadline(10.0).until(clean, "a clean machine", every=0.05)
    except DeadlineExceeded:
        pytest.fail(f"TESTBED_SEED={killer.seed}: left behind: {Machine.now(killer.name).difference(before)}")


def works(lab: Lab) -> None:
    assert [verdict for verdict in lab.verdicts if not verdict.held] == []
    assert len(lab.verdicts) == 3


def test_up_is_killed(killer: Killer) -> None:
    before = Machine.now(killer.name)
    for number in range(KILLS_OF_UP):
        killer.run("up", kill=True)
        if number % REPAIR_EVERY == 0:
            works(Lab.from_folder(killer.folder, name=killer.name).up())
        down_leaves_nothing(killer, before)


def test_down_is_killed(killer: Killer) -> None:
    before = Machine.now(killer.name)
    for number in range(KILLS_OF_DOWN):
        Lab.from_folder(killer.folder, name=killer.name).up(verify=False)
        killer.run("down", kill=True)
        if number % REPAIR_EVERY == 0:
            works(Lab.from_folder(killer.folder, name=killer.name).up())
        down_leaves_nothing(killer, before)


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_an_interrupted_up_undoes_what_it_made(pair: Path, lab_name: str, signal: str) -> None:
    hook = pair / "hold.sh"  # it must not be done before the signal comes
    hook.write_text("#!/bin/sh\nsleep 2\n")
    hook.chmod(0o755)
    text = (pair / "topology.yaml").read_text()
    (pair / "topology.yaml").write_text(text.replace("one: {role", "one: {hooks: {after_start: hold.sh}, role", 1))
    before = Machine.now(lab_name)
    argv = [sys.executable, "-c", "from testbed.cli import main; main()", "up", str(pair), "--name", lab_name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "started" in line:  # the first node is there
                break
        process.send_signal({"INT": 2, "TERM": 15}[signal])
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in output + errors
    assert Machine.now(lab_name).difference(before) == {}
