"""What is to be created, in which order: pure, printable, and the same for the same lab."""

from testbed.plan.build import HOOKS, LOGS, NVRAM, build_plan, cannot_carry, without_what_cannot_be_carried
from testbed.plan.model import (
    Attachment,
    DaemonPlan,
    DataPlane,
    LinkPlan,
    NodeFile,
    NodePlan,
    Plan,
    TunnelPlan,
)

__all__ = [
    "HOOKS",
    "LOGS",
    "NVRAM",
    "Attachment",
    "DaemonPlan",
    "DataPlane",
    "LinkPlan",
    "NodeFile",
    "NodePlan",
    "Plan",
    "TunnelPlan",
    "build_plan",
    "cannot_carry",
    "without_what_cannot_be_carried",
]
