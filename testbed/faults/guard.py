"""A process beside the one that has put a fault into a lab: it takes the fault back if that one is killed.

It is told by a pipe, which the kernel closes when its other end is gone, however that came; until then it sleeps, and
has not even loaded the testbed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from testbed.topology.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.lab import Lab

__all__ = ["guarded", "take_back"]

_SLEEP = """
import sys
told = sys.stdin.buffer.readline()
sys.stdin.buffer.read()
from testbed.faults.guard import take_back
take_back(told)
"""


@contextlib.contextmanager
def guarded(lab: Lab, fault: Any, memo: Any) -> Iterator[None]:
    """If this process ends before the context does, another one takes the fault back, by `memo` of what was before."""
    told = json.dumps({"lab": lab.name, "fault": fault.model_dump(mode="json"), "memo": memo}).encode() + b"\n"
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what interrupts this one from a terminal is not meant for it
    ) as guard:
        assert guard.stdin is not None  # noqa: S101 - a pipe
        try:
            guard.stdin.write(told)
            guard.stdin.flush()
            yield
        finally:
            guard.kill()


def take_back(told: bytes) -> None:
    """What `guarded` has told: end the fault as its own process would have."""
    from testbed.faults.inject import end  # noqa: PLC0415 - it is that room which calls this one otherwise
    from testbed.lab import Lab  # noqa: PLC0415

    data = json.loads(told)
    end(Lab.attach(data["lab"]), TypeAdapter(Fault).validate_python(data["fault"]), data["memo"])
