"""`clear crypto …`: SAs are deleted at both ends, as IOS's own deletes do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.console.numbers import conn_ids
from testbed.console.session import Exec
from testbed.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.console.session import Session
    from testbed.daemons.sa import IkeSa
    from testbed.ios.grammar import Match

__all__ = ["COMMANDS"]

_PATIENCE_S = 2.0


def _clear_isakmp(session: Session, match: Match[Exec]) -> None:
    wanted = match.get("id")
    sas = conn_ids(session.router.sas())
    if wanted is not None and wanted not in sas:
        session.out(f"%There is no ISAKMP SA with connection id {wanted}\n")
        return
    _end(session, [sa for number, sa in sas.items() if wanted in (None, number)])


def _clear_session(session: Session, match: Match[Exec]) -> None:
    peer = match.get("peer")
    _end(session, [sa for sa in session.router.sas() if peer is None or sa.remote_address == str(peer)])


def _end(session: Session, sas: Iterable[IkeSa]) -> None:
    for name in dict.fromkeys(sa.name for sa in sas):
        session.router.charon.terminate(ike=name, deadline=Deadline(_PATIENCE_S))


def _clear_sa(session: Session, match: Match[Exec]) -> None:
    """The IPsec SAs alone; the IKE SAs stay."""
    peer = match.get("peer")
    charon = session.router.charon
    for sa in session.router.sas():
        if peer is None or sa.remote_address == str(peer):
            for child in {child.name for child in sa.children}:
                charon.terminate(child=child, deadline=Deadline(_PATIENCE_S))


COMMANDS = (
    Exec("clear crypto isakmp [{<id:1-100000> | sa}]", _clear_isakmp),
    Exec("clear crypto ikev2 sa [{<id:1-100000> | fast | remote <peer:ip>}]", _clear_session),
    Exec("clear crypto session [remote <peer:ip>]", _clear_session),
    Exec("clear crypto sa [{peer <peer:ip> | counters | map <map:name>}]", _clear_sa),
)
