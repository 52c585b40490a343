"""What a lab's routers do before there can be a tunnel: get the time, a key pair, the CA's certificate, their own.

The steps of the articles, in their order. Each is shown as it happens and gives a verdict for each node; what stands
already is kept. The first step that fails is the last.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from testbed.daemons.chronyd import show_offset
from testbed.daemons.enrolment import describe
from testbed.errors import DaemonError, TestbedError
from testbed.network.probe import Knock, knock
from testbed.pki.names import show_name
from testbed.verify.checks import timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Address, IPv6Address

    from testbed.daemons.enrolment import Enrolment
    from testbed.deadline import Deadline
    from testbed.device import TrustpointConfig
    from testbed.events import EventStream
    from testbed.verify import LiveLab, Verdict

    Step = Callable[[Enrolment], str]

__all__ = ["Provision", "first_failure"]

_CLOCK_S, _CA_S = 30.0, 30.0
_TOLD = ("CA", "enrol")  # steps whose outcome is shown at once, as a router's console does


class Provision:
    """The steps on one live lab."""

    def __init__(self, live: LiveLab, events: EventStream, deadline: Deadline) -> None:
        self._live = live
        self._events = events
        self._deadline = deadline
        self._trusted_anew: set[tuple[str, str]] = set()

    @property
    def needed(self) -> bool:
        """Whether the lab has any step at all."""
        return any(device.ntp or device.trustpoints for device in self._live.devices.values())

    def clocks(self) -> list[Verdict]:
        """Every clock that NTP sets is set; a verdict for each that is not."""
        names = [name for name, device in self._live.devices.items() if device.ntp and device.ntp.servers]
        with ThreadPoolExecutor(len(names) or 1, "time") as pool:
            verdicts = list(pool.map(self._clock, names))
        return [verdict for verdict in verdicts if not verdict.held]

    def _clock(self, name: str) -> Verdict:
        def check() -> tuple[bool, str]:
            with self._events.step("time", "its clock is synchronised", name):
                reading = self._live.chronyd(name).await_synchronised(self._deadline.within(_CLOCK_S))
            if reading.steps:
                self._events.note("time", f"{name}: stepped by {show_offset(reading.last_step_s)}")
            return True, show_offset(reading.offset_s)

        return timed(f"time: {name} by NTP", "synchronised", "set-up", check)

    def key_pairs(self) -> list[Verdict]:
        return self._on_each("key pair", "a key pair", self._key_pair)

    def _key_pair(self, enrolment: Enrolment) -> str:
        trustpoint = enrolment.trustpoint
        enrolment.make_key()
        return f"{trustpoint.key_type.upper()} {trustpoint.key_bits}, label {trustpoint.key_label}"

    def trustpoints(self) -> list[Verdict]:
        return self._on_each("trustpoint", "its CA serves", self._trustpoint)

    def _trustpoint(self, enrolment: Enrolment) -> str:
        trustpoint = enrolment.trustpoint
        if trustpoint.server is not None:
            self._live.certificate_authority(trustpoint.server).await_enabled(self._deadline.within(_CA_S))
            address, port = self._address_of(trustpoint), 443 if trustpoint.protocol == "est" else 80
            if not knock([Knock(enrolment.node.namespace, address, port)], 5.0)[0]:
                raise DaemonError("the CA cannot be reached", node=enrolment.node.name, expected=trustpoint.url)
        ways = ", ".join([*trustpoint.revocation, *(["none"] if trustpoint.revocation_optional else [])])
        return f"{trustpoint.url}, revocation check {ways}"

    def _address_of(self, trustpoint: TrustpointConfig) -> IPv4Address | IPv6Address:
        return next(item.ip for _, item in self._live.loaded.addressing.of_node(trustpoint.server or ""))

    def authentication(self) -> list[Verdict]:
        return self._on_each("CA", "authenticated", self._authenticate)

    def _authenticate(self, enrolment: Enrolment) -> str:
        """What the operator of the CA says its fingerprint is, is compared with what came over the network."""
        trustpoint, known = enrolment.trustpoint, enrolment.ca_certificate
        if (
            known is not None
            and known.valid_at(enrolment.now())
            and self._stands(trustpoint, known.fingerprint("sha256"))
        ):
            return f"{show_name(known.subject_name)}, SHA-256 {_grouped(known.fingerprint('sha256'))}: kept"
        expected = self._live.expected_fingerprint(trustpoint)
        found = enrolment.authenticate(expected)
        self._trusted_anew.add((enrolment.node.name, trustpoint.name))
        fresh = enrolment.ca_certificate
        name = show_name(fresh.subject_name) if fresh else "?"
        compared = "compared" if expected else "not compared: nobody has told it"
        return f"{name}, SHA-256 {_grouped(found.sha256)}: {compared}"

    def _stands(self, trustpoint: TrustpointConfig, fingerprint: str) -> bool:
        if trustpoint.server is None:
            return True
        authorities = self._live.certificate_authority(trustpoint.server).info()["authorities"]
        return any(authority["fingerprints"]["sha256"] == fingerprint for authority in authorities)

    def certificates(self) -> list[Verdict]:
        return self._on_each("enrol", "a certificate", self._enrol)

    def _enrol(self, enrolment: Enrolment) -> str:
        key, certificate = (enrolment.node.name, enrolment.trustpoint.name), enrolment.certificate
        kept = (
            certificate is not None
            and certificate.valid_at(enrolment.now())
            and key not in self._trusted_anew
            and enrolment.is_of_its_ca(certificate)
        )
        if not kept:
            if enrolment.request() == "pending":
                raise DaemonError(
                    "the request waits for the CA's operator",
                    node=enrolment.node.name,
                    hint="`testbed ca LAB requests`, `testbed ca LAB grant all`; the router asks again by itself",
                )
            certificate = enrolment.certificate
        if certificate is None:
            raise DaemonError("there is no certificate", node=enrolment.node.name)
        until = f"valid until {certificate.not_after:%Y-%m-%d %H:%M:%S}"
        return f"{describe(certificate)}, {until}" + (": kept" if kept else "")

    def _on_each(self, phase: str, expected: str, step: Step) -> list[Verdict]:
        with ThreadPoolExecutor(8, phase.replace(" ", "-")) as pool:
            return list(pool.map(lambda enrolment: self._one(phase, expected, step, enrolment), self._enrolments()))

    def _one(self, phase: str, expected: str, step: Step, enrolment: Enrolment) -> Verdict:
        name, trustpoint = enrolment.node.name, enrolment.trustpoint.name

        def check() -> tuple[bool, str]:
            with self._events.step(phase, f"{trustpoint}: {expected}", name):
                seen = step(enrolment)
            if phase in _TOLD:
                self._events.note(phase, f"{name}: {seen}")
            return True, seen

        return timed(f"{phase}: {name}, trustpoint {trustpoint}", expected, "set-up", check)

    def _enrolments(self) -> Iterator[Enrolment]:
        for name, device in self._live.devices.items():
            for trustpoint in device.trustpoints:
                yield self._live.enrolment(name, trustpoint)


def _grouped(fingerprint: str) -> str:
    """In groups of eight, as IOS shows it, and as people compare it."""
    return " ".join(fingerprint[at : at + 8] for at in range(0, len(fingerprint), 8))


def first_failure(verdicts: list[Verdict]) -> TestbedError | None:
    """The first verdict that does not hold, as an error."""
    for verdict in verdicts:
        if not verdict.held:
            return DaemonError(verdict.claim, expected=verdict.expected, seen=verdict.seen)
    return None
