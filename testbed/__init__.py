"""A containerised emulation testbed for IPsec and PKI, with real daemons.

In ten lines:

    from testbed import Lab

    with Lab.from_folder("topologies/safari-sacco").up() as lab:
        for verdict in lab.verdicts:
            print("ok " if verdict.held else "NO ", verdict.claim, "-", verdict.seen)
        kisii = lab.node("kisii")
        print(kisii.charon.sas()[0].children)
        print(kisii.ping("pc-kisumu", source="GigabitEthernet0/1"))
        print(kisii.execute(["ip", "route", "show", "table", "220"]).text)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.deadline import Deadline
    from testbed.errors import TestbedError, TopologyError
    from testbed.events import EventStream
    from testbed.lab import Lab, Node
    from testbed.proof import Proof, prove
    from testbed.topology import load_topology
    from testbed.verify import Verdict

__all__ = [
    "Deadline",
    "EventStream",
    "Lab",
    "Node",
    "Proof",
    "TestbedError",
    "TopologyError",
    "Verdict",
    "load_topology",
    "prove",
]

_HOMES = {
    "Deadline": "testbed.deadline",
    "EventStream": "testbed.events",
    "Lab": "testbed.lab",
    "Node": "testbed.lab",
    "Proof": "testbed.proof",
    "TestbedError": "testbed.errors",
    "TopologyError": "testbed.errors",
    "Verdict": "testbed.verify",
    "load_topology": "testbed.topology",
    "prove": "testbed.proof",
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are first used: `python -m testbed.prerequisites` needs no dependency."""
    if name not in _HOMES:
        raise AttributeError(f"module 'testbed' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
