"""The testbed's own commands, each as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from testbed.deadline import Deadline
from testbed.lab import Lab
from tests.unit.topologies import ROOT

MAIN = [sys.executable, "-c", "from testbed.cli import main; main()"]


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*MAIN, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
        cwd=ROOT,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def killed_when(there: Callable[[], bool], lab: Lab, command: str, *typed: str) -> None:
    """Let a process change a lab, and kill it when the change is there."""
    with subprocess.Popen([*MAIN, command, lab.name, *typed], stdout=subprocess.DEVNULL) as process:
        try:
            Deadline(60.0).until(there, f"{command} {' '.join(typed)}: the change", every=0.002)
        finally:
            process.kill()
