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
        data, offset = bytearray(transit.data), transit.packet.offset
        if len(data) - offset <= _HEADER:
            return (transit,)  # nothing follows
        at = offset + _HEADER + (len(data) - offset - _HEADER) // 2
        checksum = _udp_header(data, offset) + 6
        word = at - (at - checksum) % 2  # checksums are over words, and the header begins with one
        before = int.from_bytes(data[word : word + 2].ljust(2, b"\0"), "big")
        data[at] ^= 0x10
        after = int.from_bytes(data[word : word + 2].ljust(2, b"\0"), "big")
        old = int.from_bytes(data[checksum : checksum + 2], "big")
        data[checksum : checksum + 2] = _updated(old, before, after).to_bytes(2, "big")
        return (transit.with_data(bytes(data)),)


def _udp_header(data: bytearray, offset: int) -> int:
    """Where the UDP header of an IKE message begins: on port 4500 a marker of four octets stands between (RFC 3948)."""
    ports = {int.from_bytes(data[at : at + 2], "big") for at in (offset - 8, offset - 6)}
    return offset - 8 if 500 in ports else offset - 12


def _updated(checksum: int, before: int, after: int) -> int:
    """RFC 1624, equation 3. None is none."""
    if checksum == 0:
        return 0
    total = (~checksum & 0xFFFF) + (~before & 0xFFFF) + after
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF) or 0xFFFF
