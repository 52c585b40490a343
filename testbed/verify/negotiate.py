"""Setting a tunnel up, and telling from the logs of both ends why it does not come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from testbed.daemons.enrolment import node_time
from testbed.daemons.reasons import explain_refusal
from testbed.errors import DaemonError, DeadlineExceeded, NegotiationError
from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from testbed.daemons.sa import ChildSa
    from testbed.deadline import Deadline
    from testbed.verify.live import LiveLab

__all__ = ["negotiate"]

_LOG = "charon.log"
_RESPONDER_S = 1.0


def negotiate(live: LiveLab, initiator: str, responder: str, children: Iterable[str], deadline: Deadline) -> None:
    """Negotiate CHILD SAs, and return when both ends have installed them.

    The initiator of IKEv1 is done when it has sent quick mode's last message: for the responder it is waited a second,
    and no longer, since a message that was lost is not said again. Raises NegotiationError, with the reasons that the
    daemons of both ends have logged meanwhile.
    """
    children = tuple(children)
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
    if responder in ends:
        _await_responder(live, initiator, responder, children, deadline.within(_RESPONDER_S))


def _await_responder(
    live: LiveLab, initiator: str, responder: str, children: Collection[str], deadline: Deadline
) -> None:
    with contextlib.suppress(DaemonError, DeadlineExceeded):
        made = {child.spi_out for child in _installed(live, initiator) if child.name in children}
        deadline.until(lambda: made <= {child.spi_in for child in _installed(live, responder)}, "the responder's SA")


def _installed(live: LiveLab, node: str) -> list[ChildSa]:
    return [child for sa in live.charon(node).sas() for child in sa.children if child.state == "INSTALLED"]


def _reasons(live: LiveLab, before: dict[str, int]) -> list[str]:
    found: list[str] = []
    for name, size in before.items():
        log = _log(live, name)[size:]
        found += [f"{name}: {reason}" for reason in explain_refusal(log, node_time(live.state(name)))]
    return found


def _log(live: LiveLab, node: str) -> str:
    return read_log(live.state(node).identity.directory, _LOG)
