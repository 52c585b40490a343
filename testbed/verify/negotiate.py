"""Setting a tunnel up, and telling from the logs of both ends why it does not come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.daemons.enrolment import node_time
from testbed.daemons.reasons import explain_refusal
from testbed.errors import NegotiationError
from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.deadline import Deadline
    from testbed.verify.live import LiveLab

__all__ = ["negotiate"]

_LOG = "charon.log"


def negotiate(live: LiveLab, initiator: str, responder: str, children: Iterable[str], deadline: Deadline) -> None:
    """Negotiate CHILD SAs, and return when they are established.

    Raises NegotiationError, with the reasons that the daemons of both ends have logged meanwhile.
    """
    ends = [name for name in (initiator, responder) if name in live.states and live.states[name].running]
    before = {name: len(_log(live, name)) for name in ends}
    try:
        for child in children:
            live.charon(initiator).initiate(child=child, deadline=deadline)
    except NegotiationError as failure:
        reasons = _reasons(live, before)
        if not reasons:
            raise
        raise NegotiationError(failure.what, node=failure.node, seen="; ".join(reasons), hint=failure.hint) from failure


def _reasons(live: LiveLab, before: dict[str, int]) -> list[str]:
    found: list[str] = []
    for name, size in before.items():
        log = _log(live, name)[size:]
        found += [f"{name}: {reason}" for reason in explain_refusal(log, node_time(live.state(name)))]
    return found


def _log(live: LiveLab, node: str) -> str:
    return read_log(live.state(node).identity.directory, _LOG)
