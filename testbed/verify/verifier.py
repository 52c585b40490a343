"""All expectations of a lab in the order in which they can be true: without the tunnels, then with them."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from testbed.errors import TestbedError
from testbed.network.capture import Capture
from testbed.topology.models import Certified, Encrypted, Reachability, SameFile, Synchronised, Tunnel
from testbed.verify.checks import check_reachability, check_same_file, check_tunnel, file_content, timed
from testbed.verify.negotiate import negotiate
from testbed.verify.services import check_certified, check_synchronised
from testbed.verify.wire import inspect_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.deadline import Deadline
    from testbed.events import EventStream
    from testbed.network.capture import Frame
    from testbed.topology.addressing import Prefix
    from testbed.verify.live import LiveLab
    from testbed.verify.verdict import Phase, Verdict

__all__ = ["Verifier"]

E = TypeVar("E")


# Of the files' blocks that the control must show in clear; a block that two frames share stands in neither.
_CONTROL_SHARE = 0.9


class Verifier:
    """Checks the expectations of one live lab; the tunnels that are set up by hand are set up by it."""

    def __init__(self, live: LiveLab, events: EventStream, deadline: Deadline) -> None:
        self._live = live
        self._events = events
        self._deadline = deadline
        self._expectations = live.loaded.topology.expectations
        self._failures: dict[str, str] = {}
        self.captures: dict[str, list[Frame]] = {}

    def run(self) -> list[Verdict]:
        """A verdict for each expectation and each phase in which it must hold, in the order of checking."""
        return [*self.without_tunnels(), *self.time(), *self.certificates(), *self.with_tunnels()]

    def without_tunnels(self) -> list[Verdict]:
        """What must hold as long as the tunnels are down; those that traffic sets up are kept from it meanwhile."""
        self._traps("uninstall")
        try:
            self.terminate()
            return self._reachability("tunnel down", ("any", "down"))
        finally:
            self._traps("install")

    def _traps(self, command: str) -> None:
        for tunnel in self._live.plan.tunnels:
            for node in (tunnel.initiator, tunnel.responder) if tunnel.on_traffic else ():
                charon = self._live.charon(node)
                for child in tunnel.children:
                    getattr(charon, command)(child, tunnel.connection)

    def time(self) -> list[Verdict]:
        wanted = [e for e in self._expectations if isinstance(e, Synchronised)]
        return self._each(wanted, lambda e: check_synchronised(self._live, e))

    def certificates(self) -> list[Verdict]:
        wanted = [e for e in self._expectations if isinstance(e, Certified)]
        return self._each(wanted, lambda e: check_certified(self._live, e))

    def with_tunnels(self) -> list[Verdict]:
        """What must hold while the tunnels are set up, and when they are up."""
        verdicts: list[Verdict] = []
        with self._watching():
            self.initiate()
            tunnels = [e for e in self._expectations if isinstance(e, Tunnel)]
            by_hand = {tunnel.connection for tunnel in self._live.plan.tunnels}
            verdicts += self._each([e for e in tunnels if e.connection in by_hand], self._tunnel)
            verdicts += self._reachability("tunnel up", ("any", "up"))
            # These are set up by the traffic there has been by now, if by anything.
            verdicts += self._each([e for e in tunnels if e.connection not in by_hand], self._tunnel)
            fetches = [e for e in self._expectations if isinstance(e, SameFile)]
            verdicts += self._each(fetches, lambda e: check_same_file(self._live, e))
        verdicts += self._each([e for e in self._expectations if isinstance(e, Encrypted)], self._encrypted)
        return verdicts

    def terminate(self) -> None:
        """End the tunnels that are set up by hand, so that the phase without them is what it says."""
        for tunnel in self._live.plan.tunnels:
            for node in (tunnel.initiator, tunnel.responder):
                charon = self._live.charon(node)
                if charon.sas(tunnel.connection):
                    charon.terminate(ike=tunnel.connection, deadline=self._deadline.within(1.0))

    def initiate(self) -> None:
        """Set up the tunnels; a failure is remembered for the verdict on the tunnel."""
        for tunnel in self._live.plan.tunnels:
            try:
                with self._events.step("tunnels", f"{tunnel.initiator} - {tunnel.responder}", tunnel.connection):
                    deadline = self._deadline.within(30.0)
                    negotiate(self._live, tunnel.initiator, tunnel.responder, tunnel.children, deadline)
            except TestbedError as failure:
                self._failures[tunnel.connection] = failure.seen or str(failure)

    def _each(self, expectations: list[E], check: Callable[[E], Verdict]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        with ThreadPoolExecutor(4, thread_name_prefix="check") as pool:
            for verdict in pool.map(check, expectations):
                verdicts.append(verdict)
                self._announce(verdict)
        return verdicts

    def _announce(self, verdict: Verdict) -> None:
        with contextlib.suppress(_NotHeldError), self._events.step("checks", verdict.claim, verdict.phase):
            if not verdict.held:
                raise _NotHeldError(f"expected {verdict.expected}, seen {verdict.seen}")

    def _reachability(self, phase: Phase, states: tuple[str, ...]) -> list[Verdict]:
        wanted = [e for e in self._expectations if isinstance(e, Reachability) and e.tunnel in states]
        return self._each(wanted, lambda e: check_reachability(self._live, e, phase))

    def _tunnel(self, expectation: Tunnel) -> Verdict:
        return check_tunnel(self._live, expectation, self._failures.get(expectation.connection))

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        links = {link for e in self._expectations if isinstance(e, Encrypted) for link in (e.link, e.control)}
        captures = {link: Capture(*self._live.tap(link)) for link in sorted(links)}
        with contextlib.ExitStack() as stack:
            for capture in captures.values():
                stack.enter_context(capture)
            yield
        self.captures = {link: capture.frames for link, capture in captures.items()}

    def _encrypted(self, expectation: Encrypted) -> Verdict:
        files = [file_content(self._live, e) for e in self._expectations if isinstance(e, SameFile)]

        def check() -> tuple[bool, str]:
            wire = inspect_frames(self.captures[expectation.link], files, self._protected())
            control = inspect_frames(self.captures[expectation.control], files)
            faults = []
            if not wire.kinds["ike"] or not wire.kinds["esp"]:
                faults.append("there was no IKE or no ESP")
            if wire.blocks_seen:
                faults.append(f"{wire.blocks_seen} blocks of the files are in clear")
            if wire.private:
                faults.append(f"private addresses: {wire.private[0]}")
            if wire.protected:
                faults.append(f"protected addresses: {wire.protected[0]}")
            strange = wire.spis - self._spis()
            if strange or not wire.spis:
                faults.append(f"ESP of SAs that no peer has: {', '.join(sorted(strange)) or 'all'}")
            if control.blocks_seen < _CONTROL_SHARE * control.blocks or not control.blocks:
                faults.append(f"the control saw {control.blocks_seen} of {control.blocks} blocks only")
            seen = f"{wire}; {control.blocks_seen} on {expectation.control}"
            return not faults, "; ".join([*faults, seen])

        expected = f"IKE and ESP, no byte of the files, no private address; all of the files on {expectation.control}"
        return timed(f"{expectation.link} carries nothing in clear", expected, "tunnel up", check)

    def _protected(self) -> list[tuple[Prefix, Prefix]]:
        """The pairs of selectors that only a tunnel may carry."""
        return [
            (local, remote)
            for device in self._live.devices.values()
            for connection in device.connections
            for child in connection.children
            for local in child.local_selectors
            for remote in child.remote_selectors
        ]

    def _spis(self) -> set[str]:
        """The SPIs of all CHILD SAs that any peer has now."""
        return {
            spi
            for name, device in self._live.devices.items()
            if device.runs_ike
            for sa in self._live.charon(name).sas()
            for child in sa.children
            for spi in (child.spi_in, child.spi_out)
            if spi
        }


class _NotHeldError(Exception):
    """An expectation did not hold; only to let the step that announces it end with an error."""
