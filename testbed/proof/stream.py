"""Numbered datagrams from one node to another, whose content is known, and an exact account of what arrived."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING

from testbed.errors import DeadlineExceeded, NetworkFailure
from testbed.network.namespace import run_in_namespace
from testbed.proof.packets import ip_packet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path
    from types import TracebackType

    from testbed.deadline import Deadline

    Address = IPv4Address | IPv6Address

__all__ = ["Stream"]

_SIZE = 480  # with all headers below any link's MTU
_TEXT = b"The ledger of the sacco is nobody's business but its members'. Loan %d of %d is paid back. "
_HEAD = struct.Struct("!8sQ")
_MARK = b"testbed\0"
_BATCH = 16
_BUFFER = 8 * 1024 * 1024


class Stream:
    """UDP from `source` to `destination`, from inside both nodes' namespaces. A context manager.

    Plain text, as what people send is: an observer who sees any 16 bytes of it, or bytes that are not evenly
    distributed, sees something. `arrived` counts how often each number came, `changed` what came and is no datagram
    of this stream.
    """

    def __init__(
        self,
        ends: tuple[Path, Path],
        source: Address,
        destination: Address,
        outer: tuple[Address, Address] | None = None,
    ) -> None:
        """`outer` are the addresses of the tunnel that carries it."""
        self._ends = ends
        self.source = source
        self.destination = destination
        self.outer = outer
        self.sent = 0
        self.arrived: Counter[int] = Counter()
        self.changed = 0

    def __enter__(self) -> Stream:
        self._out = run_in_namespace(self._ends[0], lambda: _bound(self.source, 0))
        try:
            self._in = run_in_namespace(self._ends[1], lambda: _bound(self.destination, 0))
        except BaseException:
            self._out.close()
            raise
        self._port = self._in.getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()
        self._in.close()

    def send(self, count: int = 1) -> range:
        """Send the next datagrams, and return their numbers. What the node itself refuses to send counts as sent."""
        numbers = range(self.sent, self.sent + count)
        for number in numbers:
            try:
                self._out.sendto(self.payload(number), (str(self.destination), self._port))
            except OSError:  # no route, or the filter said no: it has not left, which is all that matters here
                continue
            finally:
                self.sent += 1
        return numbers

    def deliver(self, count: int, deadline: Deadline) -> range:
        """Send the next datagrams no faster than they arrive, which no buffer on the way can overflow.

        Returns their numbers; those that have not arrived by the deadline are not sent again.
        """
        first = self.sent
        while self.sent < first + count:
            self.await_arrival(self.send(min(_BATCH, first + count - self.sent)), deadline)
        return range(first, self.sent)

    def forged(self, count: int) -> tuple[range, list[bytes]]:
        """The next datagrams as IP packets, for somebody else to send. They count as sent."""
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        ports = (self._out.getsockname()[1], self._port)
        return numbers, [ip_packet(self.source, self.destination, self.payload(number), ports) for number in numbers]

    def payload(self, number: int) -> bytes:
        text = _TEXT % (number, number * number)
        return (_HEAD.pack(_MARK, number) + text * (_SIZE // len(text) + 1))[:_SIZE]

    def drain(self) -> None:
        """Take what has arrived up to now into account."""
        while True:
            try:
                data = self._in.recv(65535)
            except BlockingIOError:
                return
            number = _HEAD.unpack_from(data)[1] if len(data) >= _HEAD.size else -1
            if number in range(self.sent) and data == self.payload(number):
                self.arrived[number] += 1
            else:
                self.changed += 1

    def await_arrival(self, numbers: Iterable[int], deadline: Deadline) -> bool:
        """Whether all these have arrived before the deadline; returns at once when they have."""
        missing = set(numbers)

        def look() -> bool:
            self.drain()
            return not missing - self.arrived.keys()

        try:
            return deadline.until(look, "datagrams", every=0.002)
        except DeadlineExceeded:
            return False

    def delivered(self, numbers: Iterable[int]) -> int:
        """How many of these have arrived at least once."""
        self.drain()
        return sum(number in self.arrived for number in numbers)

    def belongs(self, source: Address | None, destination: Address | None) -> bool:
        """Whether an IP header with these addresses may be one of this stream."""
        return (source, destination) == (self.source, self.destination)


def _bound(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.setblocking(False)
        made.bind((str(address), port))
    except OSError as failure:
        made.close()
        raise NetworkFailure(f"cannot use the address {address}", seen=failure.strerror) from failure
    return made
