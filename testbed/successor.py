"""A process beside the one that has changed a lab for a while: it puts things right if that one is killed.

It is told by a pipe, which the kernel closes when its other end is gone, however that came; until then it sleeps, and
has not even loaded the testbed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from testbed.deadline import Deadline
from testbed.errors import NegotiationError, TestbedError
from testbed.runtime.files import update_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.lab import Lab

__all__ = ["MEND", "RESTORE", "mend", "restore", "succeeded", "take_over"]

MEND, RESTORE = f"{__name__}:mend", f"{__name__}:restore"
_SLEEP = f"""
import sys
told = sys.stdin.buffer.readline()
sys.stdin.buffer.read()
from {__name__} import take_over
take_over(told)
"""
_PATIENCE_S = 1.0  # with a peer that may have forgotten the SA
_SETTINGS, _KEYS = "/etc/strongswan.conf", "keys"


@contextlib.contextmanager
def succeeded(lab: Lab, do: str, memo: Any) -> Iterator[None]:
    """If this process ends before the context does, another one calls `do`, a `module:function`, with lab and memo.

    `memo` is what JSON can hold: what has to be known to put things right.
    """
    told = json.dumps({"lab": lab.name, "do": do, "memo": memo}).encode() + b"\n"
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what interrupts this one from a terminal is not meant for it
    ) as successor:
        assert successor.stdin is not None  # noqa: S101 - a pipe
        try:
            successor.stdin.write(told)
            successor.stdin.flush()
            yield
        finally:
            successor.kill()


def take_over(told: bytes) -> None:
    """What `succeeded` has told, done by the process that is left."""
    from testbed.lab import Lab  # noqa: PLC0415 - it uses what uses this module

    data = json.loads(told)
    module, _, function = data["do"].partition(":")
    getattr(importlib.import_module(module), function)(Lab.attach(data["lab"]), data["memo"])


def mend(lab: Lab, _memo: None) -> None:
    """Make links whole whose path somebody has taken."""
    lab.mend_links()


def restore(lab: Lab, memo: Mapping[str, Any]) -> None:
    """Give routers (`nodes`) what the lab's plan says of their daemons, after some `commands` in nodes.

    Files that were changed, connections and credentials that were loaded, SAs of connections that there are not or that
    are others now. `initiate` is a connection that was up.
    """
    for node, *argv in memo.get("commands", ()):
        with contextlib.suppress(TestbedError):  # it has gone meanwhile
            lab.node(node).execute(argv)
    for node in memo.get("nodes", ()):
        _restore_charon(lab, node)
    if memo.get("initiate"):
        with contextlib.suppress(NegotiationError):  # it is up
            lab.initiate(memo["initiate"])


def _restore_charon(lab: Lab, name: str) -> None:
    live = lab.live()
    state, plan = live.state(name), lab.plan.nodes[name]
    (state.identity.directory / "run" / _KEYS).unlink(missing_ok=True)
    if _SETTINGS in update_files(state.identity.directory, plan.files, plan.folders):
        live.execute(name, ["swanctl", "--reload-settings"])
    live.reload_charon(name, clear=True)
    versions = {config.name: config.version for config in lab.devices[name].connections}
    for sa in live.charon(name).sas():
        if versions.get(sa.name) != sa.version:
            live.charon(name).terminate(ike_id=sa.unique_id, deadline=Deadline(_PATIENCE_S))
