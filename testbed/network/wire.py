"""A wire in user space: what arrives at one interface leaves at the other, unless a rule has something to say.

For whoever stands on a path: an adversary that flips, holds, drops and repeats, and a bad line that loses and delays.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import select
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from testbed.errors import NetworkFailure
from testbed.network.namespace import run_in_namespace
from testbed.network.packet import dissect
from testbed.network.raw import count_lost, open_raw, receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from testbed.network.packet import Packet

__all__ = ["Direction", "Rule", "Sender", "Transit", "Wire"]

Direction = Literal["forward", "backward"]

_SNAP = 65535
_BATCH = 64
_LONGEST_MS = 60_000.0  # poll(2) takes no number however large


@dataclass(frozen=True)
class Transit:
    """A frame on its way; `forward` is from the first interface to the second. It is still held for `delay_s`."""

    direction: Direction
    data: bytes
    delay_s: float = 0.0

    @cached_property
    def packet(self) -> Packet:
        return dissect(self.data)

    def with_data(self, data: bytes) -> Transit:
        return Transit(self.direction, data, self.delay_s)

    def delayed(self, seconds: float) -> Transit:
        return replace(self, delay_s=self.delay_s + seconds)


@dataclass
class Passed:
    """Frames that arrived at the wire and that left it, by direction."""

    arrived: dict[Direction, int] = field(default_factory=lambda: {"forward": 0, "backward": 0})
    left: dict[Direction, int] = field(default_factory=lambda: {"forward": 0, "backward": 0})


class Rule(Protocol):
    """What becomes of a frame: nothing, itself, another one, several."""

    def __call__(self, transit: Transit, /) -> Iterable[Transit]: ...


class Wire:
    """Forwards between two interfaces of a namespace, in both directions, from entering the context until its end.

    `lost` counts frames that came faster than they were taken, which a proof has to know of.
    """

    def __init__(self, namespace: Path, first: str, second: str) -> None:
        self._namespace = namespace
        self._names = (first, second)
        self._rules: tuple[Rule, ...] = ()
        self._watchers: tuple[Callable[[Transit], None], ...] = ()
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int, Transit]] = []
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name=f"wire-{first}", daemon=True)
        self._ending = False
        self.passed = Passed()
        self._lost = 0
        self._failure: Exception | None = None

    def __enter__(self) -> Wire:
        self._sockets = run_in_namespace(self._namespace, self._open)
        self._wake = socket.socketpair()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is still held is let go at once. Raises what a rule has raised; its frames have passed."""
        self._ending = True
        self._wake[1].send(b"x")
        self._thread.join()
        self._count_lost()
        for raw in self._sockets:
            raw.close()
        for end in self._wake:
            end.close()
        if self._failure is not None and kind is None:
            raise self._failure

    @property
    def lost(self) -> int:
        """Frames that came, or were to leave, faster than they could, since the context began."""
        if not self._ending:
            self._count_lost()
        return self._lost

    def _count_lost(self) -> None:
        for raw in self._sockets:
            lost = count_lost(raw)[1]
            with self._lock:
                self._lost += lost

    @contextlib.contextmanager
    def rule(self, rule: Rule) -> Iterator[None]:
        """Let a rule decide of every frame while the context lasts; after those that are there already.

        It is called in the wire's thread, one frame at a time. Injected frames pass no rule.
        """
        with self._lock:
            self._rules = (*self._rules, rule)
        try:
            yield
        finally:
            with self._lock:
                self._rules = tuple(item for item in self._rules if item is not rule)

    @contextlib.contextmanager
    def watch(self, watcher: Callable[[Transit], None]) -> Iterator[None]:
        """Let somebody see every frame that leaves, injected ones and what rules have made of others included.

        It is called by whoever sends the frame, in this thread or the wire's.
        """
        with self._lock:
            self._watchers = (*self._watchers, watcher)
        try:
            yield
        finally:
            with self._lock:
                self._watchers = tuple(item for item in self._watchers if item is not watcher)

    def inject(self, direction: Direction, frames: Iterable[bytes]) -> int:
        """Send frames of one's own in a direction, in this order, and return how many."""
        sent = 0
        for data in frames:
            self._send(Transit(direction, data))
            sent += 1
        return sent

    def _open(self) -> tuple[socket.socket, socket.socket]:
        first = _open(self._names[0])
        try:
            return first, _open(self._names[1])
        except NetworkFailure:
            first.close()
            raise

    def _run(self) -> None:
        poller = select.poll()
        for handle in (*self._sockets, self._wake[0]):
            poller.register(handle, select.POLLIN)
        sources: dict[int, Direction] = {
            self._sockets[0].fileno(): "forward",
            self._sockets[1].fileno(): "backward",
        }
        while not self._ending:
            for number, _ in poller.poll(self._patience_ms()):
                if number in sources:
                    self._take(sources[number])
                else:
                    self._wake[0].recv(64)
            self._release(time.monotonic())
        for direction in sources.values():  # what was on its way when it ended
            self._take(direction)
        self._release(float("inf"))

    def _patience_ms(self) -> float | None:
        with self._lock:
            if not self._waiting:
                return None
            return min(_LONGEST_MS, max(0.0, (self._waiting[0][0] - time.monotonic()) * 1000))

    def _take(self, direction: Direction) -> None:
        raw = self._sockets[0 if direction == "forward" else 1]
        for _ in range(_BATCH):
            try:
                data, _ = receive(raw, _SNAP)
            except BlockingIOError:
                return
            except OSError as failure:  # the interface is down, or is being taken away
                if failure.errno not in (errno.ENETDOWN, errno.ENODEV, errno.ENXIO):
                    raise
                return
            self.passed.arrived[direction] += 1
            self._decide(Transit(direction, data))

    def _decide(self, arrived: Transit) -> None:
        transits = [arrived]
        try:
            for rule in self._rules:
                transits = [result for transit in transits for result in rule(transit)]
        except Exception as failure:  # noqa: BLE001 - of a rule: the wire goes on, and says so at its end
            self._failure = self._failure or failure
            transits = [arrived]
        for transit in transits:
            if transit.delay_s > 0:
                with self._lock:
                    heapq.heappush(self._waiting, (time.monotonic() + transit.delay_s, next(self._numbers), transit))
            else:
                self._send(transit)

    def _release(self, now: float) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._waiting[0][0] > now:
                    return
                transit = heapq.heappop(self._waiting)[2]
            self._send(transit)

    def _send(self, transit: Transit) -> None:
        raw = self._sockets[1 if transit.direction == "forward" else 0]
        try:
            raw.send(transit.data)
        except BlockingIOError:
            with self._lock:
                self._lost += 1
        except OSError as failure:  # a line that is down carries nothing; nor one a frame that is too long
            if failure.errno not in (errno.ENETDOWN, errno.ENODEV, errno.ENXIO, errno.EMSGSIZE, errno.ENOBUFS):
                raise
            return
        self.passed.left[transit.direction] += 1
        for watcher in self._watchers:
            watcher(transit)


class Sender:
    """Frames of one's own out of one interface of a namespace, whatever they say of their sender. A context manager."""

    def __init__(self, namespace: Path, interface: str) -> None:
        self._namespace = namespace
        self._interface = interface

    def __enter__(self) -> Sender:
        self._socket = run_in_namespace(self._namespace, lambda: _open(self._interface))
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.send(data)


def _open(interface: str) -> socket.socket:
    raw = open_raw(interface, "cannot take the wire at", incoming=True)  # else it would forward what it has sent itself
    raw.setblocking(False)
    return raw
