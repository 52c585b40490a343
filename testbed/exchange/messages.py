"""IKE messages of a capture, dissected by Scapy; what is encrypted is named by charon's log, which knows it.

Sources: RFC 2408 and RFC 2409 (IKEv1), RFC 7296 and RFC 7383 (IKEv2 and its fragments).
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from testbed.network.packet import EXCHANGES, dissect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testbed.network.capture import Frame

__all__ = ["Message", "read_messages", "with_names_of"]

# charon's names of the exchanges, `src/libcharon/encoding/payloads/ike_header.c`: those of IKEv2 are the RFC's.
_LOGGED = EXCHANGES | {
    (1, 2): "ID_PROT",
    (1, 4): "AGGRESSIVE",
    (1, 5): "INFORMATIONAL_V1",
    (1, 6): "TRANSACTION",
    (1, 32): "QUICK_MODE",
}
_PAYLOADS = {
    "SA": "SA",
    "KE": "KE",
    "Key Exchange": "KE",
    "Nonce": "No",
    "ID": "ID",
    "CERT": "CERT",
    "CR": "CERTREQ",
    "CERTREQ": "CERTREQ",
    "Hash": "HASH",
    "SIG": "SIG",
    "Notify": "N",
    "Notification": "N",
    "VendorID": "V",
    "Vendor ID": "V",
    "NAT_D": "NAT-D",
    "Encrypted": "SK",
    "Encrypted_Fragment": "SKF",
    "Delete": "D",
}
# `generating IKE_AUTH request 1 [ IDi AUTH … ]`; a fragment's line, `[ EF(1/2) ]`, says nothing of what is in it.
_GENERATED = re.compile(r"generating (\w+) (request|response) (\d+) \[ ([^\]]*?) ?\]")
_FRAGMENT_V1 = 132  # the payload of [MS-IKEE] 2.2.3.1, in which strongSwan and IOS wrap what is too long
_ENCRYPTED_V1 = 0x01
_RESPONSE_V2 = 0x20
_AGGRESSIVE = 4


@dataclass(frozen=True)
class Message:
    """One IKE message; several UDP datagrams are one message if it was fragmented.

    `payloads` are in the order of the message. Of an encrypted one they are what the log of its sender says, or `SK`.
    """

    time_ns: int
    source: str
    destination: str
    version: int
    exchange: str
    message_id: int
    response: bool
    encrypted: bool
    size: int
    payloads: tuple[str, ...]
    initiator_spi: str
    number: int  # of the exchange type, as in the header
    datagrams: int = 1
    retransmission: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "payloads": list(self.payloads)}

    @property
    def kind(self) -> str:
        return "response" if self.response else "request"


@dataclass
class _Reader:
    """Puts datagrams together to messages, and tells who began each exchange."""

    messages: list[Message] = field(default_factory=list)
    began: dict[tuple[str, int, int], str] = field(default_factory=dict)
    fragments: dict[tuple[str, int, int, bool], int] = field(default_factory=dict)
    seen: dict[bytes, int] = field(default_factory=dict)

    def take(self, frame: Frame) -> None:
        packet = dissect(frame.data)
        if packet.kind != "ike":
            return
        data = frame.data[packet.offset :]
        version, number, flags = data[17] >> 4, data[18], data[19]
        message_id = int.from_bytes(data[20:24], "big")
        spi = data[:8].hex()
        key = (spi, number, message_id)
        source = str(packet.source)
        first = self.began.setdefault(key, source)
        response = bool(flags & _RESPONSE_V2) if version == 2 else source != first
        payloads: tuple[str, ...] = ()
        if version == 1 and data[16] == _FRAGMENT_V1:
            # Only these messages are long: the certificates of main mode, and those of aggressive mode, whose answer is
            # in clear and whose third message is not.
            encrypted, payloads = number != _AGGRESSIVE or not response, ("SKF",)
        elif version == 1:
            encrypted = bool(flags & _ENCRYPTED_V1)
            payloads = ("SK",) if encrypted else _payloads(data, version)
        else:
            encrypted, payloads = data[16] in (46, 53), _payloads(data, version)
        message = Message(
            frame.time_ns,
            source,
            str(packet.destination),
            version,
            EXCHANGES.get((version, number), f"exchange {number}"),
            message_id,
            response,
            encrypted,
            int.from_bytes(data[24:28], "big"),
            payloads,
            spi,
            number,
        )
        self._add(message, data)

    def _add(self, message: Message, data: bytes) -> None:
        if data in self.seen:
            self.messages.append(replace(message, retransmission=True))
            return
        self.seen[data] = len(self.messages)
        key = (message.initiator_spi, message.number, message.message_id, message.response)
        if "SKF" in message.payloads and key in self.fragments:
            at = self.fragments[key]
            known = self.messages[at]
            self.messages[at] = replace(known, size=known.size + message.size, datagrams=known.datagrams + 1)
            return
        if "SKF" in message.payloads:
            self.fragments[key] = len(self.messages)
        self.messages.append(message)


def read_messages(frames: Iterable[Frame]) -> list[Message]:
    """All IKE messages of a capture in their order, retransmissions included and marked."""
    reader = _Reader()
    for frame in frames:
        reader.take(frame)
    return reader.messages


def _payloads(data: bytes, version: int) -> tuple[str, ...]:
    """By Scapy, which is loaded when it is first needed: it takes half a second."""
    if version == 2:
        from scapy.contrib.ikev2 import IKEv2  # noqa: PLC0415

        layer: Any = IKEv2(data)
    else:
        from scapy.layers.isakmp import ISAKMP  # noqa: PLC0415

        layer = ISAKMP(data)
    found: list[str] = []
    while layer.payload and len(found) < 64:
        layer = layer.payload
        name = type(layer).__name__.removeprefix("IKEv2_").removeprefix("ISAKMP_payload_").removeprefix("ISAKMP_")
        if name in ("Raw", "Padding", "NoPayload"):
            break
        found.append(_PAYLOADS.get(name, name))
    return tuple(found)


def with_names_of(messages: list[Message], logs: Mapping[str, str]) -> list[Message]:
    """Name the payloads of encrypted messages by the log of their sender: `logs` by address, from the first message on.

    The messages of a kind that a log speaks of, in their order, are those that the sender sent.
    """
    queues = {address: _generated(log) for address, log in logs.items()}
    named = []
    for message in messages:
        queue = queues.get(message.source, {}).get(
            (_LOGGED.get((message.version, message.number), ""), message.kind, message.message_id)
        )
        payloads = queue.popleft() if queue and not message.retransmission else ()
        named.append(replace(message, payloads=payloads) if payloads else message)
    return named


def _generated(log: str) -> dict[tuple[str, str, int], deque[tuple[str, ...]]]:
    found: dict[tuple[str, str, int], deque[tuple[str, ...]]] = defaultdict(deque)
    for match in _GENERATED.finditer(log):
        payloads = tuple(match[4].split())
        if not (payloads and payloads[0].startswith(("EF(", "FRAG("))):
            found[match[1], match[2], int(match[3])].append(payloads)
    return found
