"""`clear crypto …`: SAs are deleted at both ends, as IOS's own deletes do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.console.numbers import conn_ids, tunnel_ids
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
    _clear_numbered(session, match, 1, "ISAKMP")


def _clear_ikev2(session: Session, match: Match[Exec]) -> None:
    _clear_numbered(session, match, 2, "IKEv2")


def _clear_numbered(session: Session, match: Match[Exec], version: int, kind: str) -> None:
    """IKE SAs of one version: all of them, or those that a number or a peer's address means."""
    wanted, peer = match.get("id"), match.get("peer")
    living = session.router.sas()
    numbers = conn_ids(living) if version == 1 else tunnel_ids(living)
    sas = {number: sa for number, sa in numbers.items() if sa.version == version}
    if wanted is not None and wanted not in sas:
        session.out(f"%There is no {kind} SA with connection id {wanted}\n")
        return
    _end(
        session,
        [
            sa
            for number, sa in sas.items()
            if wanted in (None, number) and (peer is None or sa.remote_address == str(peer))
        ],
    )


def _clear_session(session: Session, match: Match[Exec]) -> None:
    remote, local = match.get("remote"), match.get("local")
    _end(
        session,
        [
            sa
            for sa in session.router.sas()
            if (remote is None or sa.remote_address == str(remote))
            and (local is None or sa.local_address == str(local))
        ],
    )


def _end(session: Session, sas: Iterable[IkeSa]) -> None:
    for sa in sas:
        session.router.charon.terminate(ike_id=sa.unique_id, deadline=Deadline(_PATIENCE_S))


def _clear_sa(session: Session, match: Match[Exec]) -> None:
    """The IPsec SAs alone; the IKE SAs stay."""
    peer, of_map = match.get("peer"), match.get("map")
    charon = session.router.charon
    for sa in session.router.sas():
        connection = session.router.connection_of(sa.name)
        if of_map is not None and (connection is None or not connection.origin.startswith(f"crypto map {of_map} ")):
            continue
        if peer is None or sa.remote_address == str(peer):
            for child in {child.name for child in sa.children}:
                charon.terminate(child=child, deadline=Deadline(_PATIENCE_S))


def _clear_counters(session: Session, _match: Match[Exec]) -> None:
    session.out("% The counters are charon's own, and last as long as their SA.\n")


COMMANDS = (
    Exec("clear crypto isakmp [{<id:1-100000> | sa}]", _clear_isakmp),
    Exec("clear crypto ikev2 sa [{<id:1-100000> | fast | remote <peer:ip>}]", _clear_ikev2),
    Exec("clear crypto session [{remote <remote:ip> | local <local:ip>}...]", _clear_session),
    Exec("clear crypto sa [{peer <peer:ip> | map <map:name>}]", _clear_sa),
    Exec("clear crypto sa counters", _clear_counters),
)
