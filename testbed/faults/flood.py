"""A flood of half-open negotiations, which IKEv2 answers with cookies (RFC 7296, section 2.6)."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.lab import Lab
    from testbed.network.wire import Transit

__all__ = ["FloodReport", "flood"]

_SA, _NOTIFY = 33, 41  # types of payloads
_COOKIE = 16390
_ANSWER_S = 5.0


@dataclass(frozen=True)
class FloodReport:
    """Of `sent` first messages: how many were answered in full, only with a cookie, or with an error."""

    sent: int
    accepted: int
    cookies: int
    refused: int = 0

    @property
    def silent(self) -> int:
        return self.sent - self.accepted - self.cookies - self.refused


def flood(lab: Lab, link: str, victim: str, *, count: int = 60) -> FloodReport:
    """Send so many IKE_SA_INIT requests to a router in the name of its peer, and count what it answers.

    From the path of `link`, at the victim's end; the answers are taken from the path, so the peer hears of nothing.
    Raises SettingError if the victim has no IKEv2 connection on that link.
    """
    end, source, target = _ends(lab, link, victim)
    answers: dict[bytes, str] = {}
    spis = [secrets.token_bytes(8) for _ in range(count)]
    wanted = set(spis)

    def take(transit: Transit) -> Iterable[Transit]:
        packet = transit.packet
        if packet.kind != "ike" or transit.data[packet.offset : packet.offset + 8] not in wanted:
            return (transit,)
        answers[transit.data[packet.offset : packet.offset + 8]] = _answer(transit.data[packet.offset :])
        return ()

    with lab.path(link, end=victim) as wire, wire.rule(take):
        macs = _macs(lab, link, victim)
        for spi in spis:
            wire.inject("backward", [_first_message(spi, macs, source, target)])
        with contextlib.suppress(DeadlineExceeded):
            Deadline(_ANSWER_S).until(lambda: len(answers) == count, end)
    told = Counter(answers.values())
    return FloodReport(count, told["accepted"], told["cookie"], told["refused"])


def _ends(lab: Lab, link: str, victim: str) -> tuple[str, str, str]:
    name = lab.link(link).name
    interface = next((end.interface for end in lab.plan.links[name].ends if end.node == victim), None)
    for config in lab.devices[victim].connections if victim in lab.devices else ():
        if config.interface == interface and config.version == 2:
            return f"answers of {victim}", str(config.remote.address), str(config.local.address)
    raise SettingError(f"'{victim}' has no IKEv2 connection on link '{link}'", expected="cookies are of IKEv2")


def _macs(lab: Lab, link: str, victim: str) -> tuple[str, str]:
    ends = lab.plan.links[link].ends
    return next(end.mac for end in ends if end.node != victim), next(end.mac for end in ends if end.node == victim)


def _first_message(spi: bytes, macs: tuple[str, str], source: str, target: str) -> bytes:
    """IKE_SA_INIT with AES-256, SHA-256 and group 14. A key that is no power of the generator is as good as one."""
    from scapy.contrib.ikev2 import (  # noqa: PLC0415
        IKEv2,
        IKEv2_KE,
        IKEv2_Nonce,
        IKEv2_Proposal,
        IKEv2_SA,
        IKEv2_Transform,
    )
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    more, last = 3, 0  # the next payload of a transform: RFC 7296, section 3.3.2
    transforms = (
        IKEv2_Transform(transform_type=1, transform_id=12, length=12, key_length=256, next_payload=more)
        / IKEv2_Transform(transform_type=2, transform_id=5, next_payload=more)
        / IKEv2_Transform(transform_type=3, transform_id=12, next_payload=more)
        / IKEv2_Transform(transform_type=4, transform_id=14, next_payload=last)
    )
    proposal = IKEv2_Proposal(proto=1, trans_nb=4, trans=transforms, next_payload=last)
    message = (
        IKEv2(init_SPI=spi, next_payload="SA", exch_type="IKE_SA_INIT", flags="Initiator")
        / IKEv2_SA(next_payload="KE", prop=proposal)
        / IKEv2_KE(next_payload="Nonce", group=14, ke=b"\x01" + secrets.token_bytes(255))
        / IKEv2_Nonce(next_payload=last, nonce=secrets.token_bytes(32))
    )
    layer = IPv6 if ":" in source else IP
    frame = Ether(src=macs[0], dst=macs[1]) / layer(src=source, dst=target) / UDP(sport=500, dport=500) / message
    return bytes(frame)


def _answer(data: bytes) -> str:
    """What a response is, by its first payload: RFC 7296, sections 3.2 and 3.10."""
    if data[16] == _SA:
        return "accepted"
    return "cookie" if data[16] == _NOTIFY and int.from_bytes(data[34:36], "big") == _COOKIE else "refused"
