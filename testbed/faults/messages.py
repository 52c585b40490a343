"""Rules that pick single messages of IKE, by exchange and number."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

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
        self._held: list[Transit] = []
        self.counts: Counter[str] = Counter()

    def __call__(self, transit: Transit) -> Iterable[Transit]:
        if not self._picked(transit):
            released, self._held = self._held, []
            return (transit, *released)
        self.counts["picked"] += 1
        return getattr(self, f"_{self._fault.action}")(transit)  # type: ignore[no-any-return]

    def _picked(self, transit: Transit) -> bool:
        fault, packet = self._fault, transit.packet
        if packet.kind != "ike" or fault.direction not in ("both", transit.direction):
            return False
        if fault.exchange is not None and not packet.detail.endswith(fault.exchange):
            return False
        message_id = int.from_bytes(transit.data[packet.offset + 20 : packet.offset + 24], "big")
        if fault.message_id is not None and message_id != fault.message_id:
            return False
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
        """It is held until the next frame of any kind has gone before it."""
        self._held.append(transit)
        return ()

    def _mangle(self, transit: Transit) -> Iterable[Transit]:
        """One bit in the middle of what follows the header; without a checksum of UDP, so that IKE has to notice."""
        data, offset = bytearray(transit.data), transit.packet.offset
        data[offset + _HEADER + (len(data) - offset - _HEADER) // 2] ^= 0x10
        header = 14 + (data[14] & 0x0F) * 4
        data[header + 6 : header + 8] = b"\0\0"
        return (transit.with_data(bytes(data)),)
