"""The numbers by which IOS names SAs: IKE SAs from 1001, IPsec SAs from 1, in pairs of inbound and outbound."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.daemons.sa import ChildSa, IkeSa

__all__ = ["conn_ids", "flow_ids", "tunnel_ids"]

_FIRST = 1000


def conn_ids(sas: Iterable[IkeSa]) -> dict[int, IkeSa]:
    """IKE SAs by 1000 and charon's own number."""
    return {_FIRST + sa.unique_id: sa for sa in sas}


def tunnel_ids(sas: Iterable[IkeSa]) -> dict[int, IkeSa]:
    """IKEv2's, as `show crypto ikev2 sa` numbers them: by charon's own number."""
    return {sa.unique_id: sa for sa in sas}


def flow_ids(child: ChildSa) -> tuple[int, int]:
    """Of the inbound and of the outbound SA, from charon's number of the pair."""
    return child.unique_id * 2 - 1, child.unique_id * 2
