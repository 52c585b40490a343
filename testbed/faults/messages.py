"""Rules that pick single messages of IKE, by exchange and number."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from testbed.network.rewrite import flipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.network.wire import Transit
    from testbed.topology.faults import IkeMessages

__all__ = ["IkeRule"]

_SOON_S = 0.3  # when a message that is replayed comes again
_HEADER = 28


class IkeRule:
    """An `IkeMessages` as a rule of a wire. `counts["picked"]` says of how many messages it took hold."""

    def __init__(self, fault: IkeMessages) -> None:
        self._fault = fault
        self._seen = 0
        self._known: set[int] = set()
        self._held: dict[str, Transit] = {}
        self.counts: Counter[str] = Counter()

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        held = self._held.pop(transit.direction, None)
        if held is not None:
            return (transit, held)
        if not self._picked(transit):
            return (transit,)
        self.counts["picked"] += 1
        return getattr(self, f"_{self._fault.action}")(transit)  # type: ignore[no-any-return]

    def _picked(self, transit: Transit) -> bool:
        fault, packet = self._fault, transit.packet
        if packet.kind != "ike" or fault.direction not in ("both", transit.direction):
            return False
        if fault.exchange is not None and packet.detail.partition(" ")[2] != fault.exchange:
            return False
        message_id = int.from_bytes(transit.data[packet.offset + 20 : packet.offset + 24], "big")
        if fault.message_id is not None and message_id != fault.message_id:
            return False
        message = hash(transit.data[packet.offset :])
        if message not in self._known:  # what is said again is the same message
            self._known.add(message)
            self._seen += 1
        first = fault.message or 1
        return first <= self._seen and self.counts["picked"] < fault.count

    def _drop(self, _transit: Transit) -> Iterable[Transit]:
        return ()

    def _duplicate(self, transit: Transit) -> Iterable[Transit]:
        return (transit, transit)

    def _delay(self, transit: Transit) -> Iterable[Transit]:
        return (transit.delayed(self._fault.delay_ms / 1000),)

    def _replay(self, transit: Transit) -> Iterable[Transit]:
        return (transit, transit.delayed(_SOON_S))

    def _reorder(self, transit: Transit) -> Iterable[Transit]:
        """It is held until the next frame of any kind in its direction has gone before it."""
        self._held[transit.direction] = transit
        return ()

    def held(self) -> list[Transit]:
        """What nothing has overtaken yet: it is not lost when the fault ends."""
        found = [*self._held.values()]
        self._held.clear()
        return found

    def _mangle(self, transit: Transit) -> Iterable[Transit]:
        """One bit in the middle of what follows the header, with a checksum of UDP that is right: IKE has to notice."""
        data, begins = transit.data, transit.packet.offset + _HEADER
        if len(data) <= begins:
            return (transit,)  # nothing follows
        return (transit.with_data(flipped(data, begins + (len(data) - begins) // 2, 0x10)),)
