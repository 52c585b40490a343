"""Probes sent from inside a node's namespace: ICMP echo and TCP connections, many at once.

The sockets are opened in the node's network namespace, so what they send takes the node's own routes and filters.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import secrets
import selectors
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.errors import NetworkFailure
from testbed.network.namespace import run_in_namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

    Address = IPv4Address | IPv6Address

__all__ = ["Echo", "EchoResult", "Hop", "Knock", "echo", "hop", "knock"]

_ICMP_ECHO, _ICMP_REPLY = 8, 0
_ICMPV6_ECHO, _ICMPV6_REPLY = 128, 129
_ICMP_UNREACHABLE, _ICMP_EXCEEDED = 3, 11
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2  # include/uapi/linux/in.h


@dataclass(frozen=True)
class Echo:
    """An ICMP echo to be sent from a namespace; `source` None lets the kernel choose the address."""

    namespace: Path
    destination: Address
    source: Address | None = None
    size: int = 56
    dont_fragment: bool = False


@dataclass(frozen=True)
class Hop:
    """Who answered to a packet whose time to live ended on the way, or at its end. None: nobody."""

    address: str | None
    rtt_s: float
    arrived: bool
    unreachable: bool = False


@dataclass(frozen=True)
class EchoResult:
    """How many requests left and how many replies came; the round trip of the first reply in seconds."""

    sent: int
    received: int
    rtt_s: float | None
    error: str | None = None

    @property
    def answered(self) -> bool:
        return self.received > 0


def echo(
    probes: Sequence[Echo], *, count: int, interval_s: float, wait_s: float, until_answered: bool = False
) -> list[EchoResult]:
    """Send `count` requests for each probe, all probes at once; results in the order of the probes.

    Waits at most `wait_s` after the last request. With `until_answered` a probe that has one reply sends no more,
    and the call returns as soon as all have one.
    """
    with contextlib.ExitStack() as stack:
        first = secrets.randbelow(0x10000)  # another each time: a late answer to an earlier call is not one to this
        flights = [stack.enter_context(_Flight(probe, first + number)) for number, probe in enumerate(probes)]
        with selectors.DefaultSelector() as selector:
            for flight in flights:
                if flight.socket is not None:
                    selector.register(flight.socket, selectors.EVENT_READ, flight)
            for sequence in range(1, count + 1):
                for flight in flights:
                    if not (until_answered and flight.received):
                        flight.send(sequence)
                _collect(selector, flights, wait_s if sequence == count else interval_s, until_answered)
                if until_answered and all(flight.received for flight in flights):
                    break
        return [EchoResult(flight.sent, flight.received, flight.rtt_s, flight.error) for flight in flights]


def _collect(selector: selectors.BaseSelector, flights: list[_Flight], wait_s: float, until_answered: bool) -> None:
    ends = time.monotonic() + wait_s
    while (left := ends - time.monotonic()) > 0:
        if until_answered and all(flight.received for flight in flights):
            return
        if not until_answered and all(flight.received >= flight.sent for flight in flights):
            return
        for key, _ in selector.select(left):
            key.data.receive()
    for key, _ in selector.select(0):  # what came in time, if nobody looked
        key.data.receive()


class _Flight:
    """One probe under way."""

    def __init__(self, probe: Echo, number: int) -> None:
        self.probe = probe
        self.identifier = number & 0xFFFF
        self.socket: socket.socket | None = None
        self.sent = self.received = 0
        self.rtt_s: float | None = None
        self.error: str | None = None
        self._times: dict[int, float] = {}
        self._seen: set[int] = set()

    def __enter__(self) -> _Flight:
        self.socket = run_in_namespace(self.probe.namespace, self._open)
        return self

    def __exit__(self, *_: object) -> None:
        if self.socket is not None:
            self.socket.close()

    def _open(self) -> socket.socket | None:
        six = self.probe.destination.version == 6
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        raw = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, protocol)
        raw.setblocking(False)
        try:
            if self.probe.source is not None:
                raw.bind((str(self.probe.source), 0))
            if self.probe.dont_fragment and not six:
                raw.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        except OSError as failure:
            raw.close()
            raise NetworkFailure(f"cannot send from {self.probe.source}", seen=failure.strerror) from failure
        return raw

    def send(self, sequence: int) -> None:
        assert self.socket is not None  # noqa: S101 - entered
        six = self.probe.destination.version == 6
        body = bytes(index & 0xFF for index in range(self.probe.size))
        header = struct.pack("!BBHHH", _ICMPV6_ECHO if six else _ICMP_ECHO, 0, 0, self.identifier, sequence)
        if not six:  # the kernel fills in the checksum of ICMPv6 only
            header = header[:2] + struct.pack("!H", _checksum(header + body)) + header[4:]
        self.sent += 1
        self._times[sequence] = time.monotonic()
        try:
            self.socket.sendto(header + body, (str(self.probe.destination), 0))
            self.error = None
        except OSError as failure:
            self.error = failure.strerror

    def answered_by(self, sequence: int) -> tuple[int, str] | None:
        """The kind of an ICMP message that answers to this echo, and who sent it."""
        assert self.socket is not None  # noqa: S101
        try:
            data, sender = self.socket.recvfrom(65535)
        except (BlockingIOError, ConnectionError):
            return None
        message = data[(data[0] & 0x0F) * 4 :]
        if message[0] in (_ICMP_UNREACHABLE, _ICMP_EXCEEDED):  # they quote what they answer to
            quoted = message[8:]
            message = bytes((message[0],)) + quoted[(quoted[0] & 0x0F) * 4 :][1:8]
        elif message[0] != _ICMP_REPLY:
            return None
        identifier, number = struct.unpack_from("!HH", message, 4)
        return (message[0], sender[0]) if (identifier, number) == (self.identifier, sequence) else None

    def receive(self) -> None:
        assert self.socket is not None  # noqa: S101
        with contextlib.suppress(BlockingIOError, ConnectionError):
            data, sender = self.socket.recvfrom(65535)
            six = self.probe.destination.version == 6
            message = data if six else data[(data[0] & 0x0F) * 4 :]
            kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", message)
            reply = _ICMPV6_REPLY if six else _ICMP_REPLY
            ours = kind == reply and identifier == self.identifier and sequence in self._times
            if ours and sequence not in self._seen and sender[0] == str(self.probe.destination):
                self._seen.add(sequence)
                self.received += 1
                if self.rtt_s is None:
                    self.rtt_s = time.monotonic() - self._times[sequence]


def hop(probe: Echo, ttl: int, sequence: int, wait_s: float) -> Hop:
    """Send one echo (IPv4) with a time to live, and wait for whoever answers."""
    with _Flight(probe, secrets.randbelow(0x10000)) as flight:
        assert flight.socket is not None  # noqa: S101 - entered
        flight.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        begun = time.monotonic()
        flight.send(sequence)
        with selectors.DefaultSelector() as selector:
            selector.register(flight.socket, selectors.EVENT_READ)
            while (left := begun + wait_s - time.monotonic()) > 0:
                for _ in selector.select(left):
                    found = flight.answered_by(sequence)
                    if found is not None:
                        kind, address = found
                        arrived = kind == _ICMP_REPLY
                        rtt_s = time.monotonic() - begun
                        return Hop(address, rtt_s, arrived, kind == _ICMP_UNREACHABLE)
    return Hop(None, wait_s, arrived=False)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


@dataclass(frozen=True)
class Knock:
    """A TCP connection to be tried from a namespace."""

    namespace: Path
    destination: Address
    port: int
    source: Address | None = None


def knock(probes: Iterable[Knock], wait_s: float) -> list[bool]:
    """Whether each connection is accepted within `wait_s`. All are tried at once, and closed again."""
    wanted = list(probes)
    accepted = [False] * len(wanted)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        pending = 0
        for number, probe in enumerate(wanted):
            connection = stack.enter_context(run_in_namespace(probe.namespace, functools.partial(_stream, probe)))
            code = connection.connect_ex((str(probe.destination), probe.port))
            if code in (0, errno.EINPROGRESS):
                selector.register(connection, selectors.EVENT_WRITE, number)
                pending += 1
        ends = time.monotonic() + wait_s
        while pending and (left := ends - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                accepted[key.data] = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
                pending -= 1
    return accepted


def _stream(probe: Knock) -> socket.socket:
    family = socket.AF_INET6 if probe.destination.version == 6 else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    if probe.source is not None:
        connection.bind((str(probe.source), 0))
    return connection
