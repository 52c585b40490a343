"""Enrolling a router with its trustpoints' CAs, by strongSwan's `pki` in the node; see images/bin/enrol."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from testbed.daemons.chronyd import outside
from testbed.errors import DaemonError, EnrolmentError
from testbed.pki.ber import BerError
from testbed.pki.names import show_name
from testbed.pki.pem import from_pem
from testbed.pki.x509 import Certificate, authority_key_id, key_id, read_certificate
from testbed.runtime.files import read_file
from testbed.runtime.vclock import CLOCK_FILE, read_clock

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.device import TrustpointConfig
    from testbed.runtime import Completed, NodeState, Runtime

__all__ = ["Enrolment", "EnrolmentStatus", "Fingerprints", "describe", "node_time", "validity_error"]

EnrolmentStatus = Literal["granted", "pending"]
_OTHER_FINGERPRINT, _PENDING, _NOT_VALID, _NOT_LOADED = 3, 4, 5, 6
_NOISE = ("building CRED_CONTAINER", "transaction ID", "plugin '", "going to sleep", "reply status")


@dataclass(frozen=True)
class Fingerprints:
    """Of a certificate, hexadecimal in upper case."""

    md5: str
    sha1: str
    sha256: str

    @classmethod
    def of(cls, certificate: Certificate) -> Fingerprints:
        return cls(*(certificate.fingerprint(digest) for digest in ("md5", "sha1", "sha256")))

    def __str__(self) -> str:
        return f"MD5 {self.md5}, SHA-1 {self.sha1}, SHA-256 {self.sha256}"


@dataclass(frozen=True)
class Enrolment:
    """One trustpoint of one node."""

    runtime: Runtime = field(repr=False)
    node: NodeState
    trustpoint: TrustpointConfig

    # -- the steps, in their order

    def make_key(self) -> None:
        """A key pair, if there is none yet. It never leaves the node."""
        path = self.node.identity.directory / "nvram-private" / f"{self.trustpoint.key_label}.pem"
        if path.exists():  # the node's enrold has made it meanwhile
            return
        done = self._run("key")
        if done.exit_code != 0:
            raise self._failed("cannot make a key pair", done)

    def authenticate(self, fingerprint: str | None = None) -> Fingerprints:
        """Fetch the CA's certificate, and trust it if it has this fingerprint, or the configured one.

        Raises EnrolmentError if it has another, if the CA cannot be reached, or if its certificate is not valid by the
        node's clock; the last says by how much.
        """
        done = self._run("authenticate", fingerprint or "")
        if done.exit_code == _NOT_VALID:
            raise self._invalid("the CA's certificate is not valid", self.ca_certificate, done)
        if done.exit_code == _OTHER_FINGERPRINT:
            wanted = fingerprint or self.trustpoint.fingerprint
            other = _certificate(self.node.identity.directory / "nvram" / f"{self.trustpoint.name}-ca.other")
            raise EnrolmentError(
                "the CA is another one",
                node=self.node.name,
                expected=f"a certificate with the fingerprint {wanted}",
                seen=str(Fingerprints.of(other)) if other else "a certificate that cannot be read",
                hint="ask the CA's operator for its fingerprint: `testbed ca LAB info`",
            )
        if done.exit_code != 0 or self.ca_certificate is None:
            raise self._failed("the CA's certificate could not be fetched", done)
        return Fingerprints.of(self.ca_certificate)

    def request(self) -> EnrolmentStatus:
        """Ask for a certificate, or what became of a request that waits. Charon uses it at once; its SAs stay.

        Raises EnrolmentError.
        """
        return self._asked("request", "the CA gives no certificate")

    def renew(self) -> EnrolmentStatus:
        """Ask for the next certificate, signed with this one. Charon uses it at once; its SAs stay.

        For some milliseconds, while charon exchanges its credentials, it may refuse a negotiation. Raises
        EnrolmentError.
        """
        return self._asked("renew", "the CA renews no certificate")

    def forget(self) -> None:
        """Remove the certificates of the CA and of the router, and what waits. The key pair stays. Charon is told."""
        directory, name = self.node.identity.directory, self.trustpoint.name
        for folder in ("nvram-x509", "nvram-x509ca"):
            (directory / folder / f"{name}.pem").unlink(missing_ok=True)
        for path in (directory / "nvram").glob(f"{name}.*"):
            path.unlink(missing_ok=True)
        (directory / "nvram" / f"{name}-ra.pem").unlink(missing_ok=True)
        self.runtime.execute(self.node, ["/usr/lib/testbed/load-connections", "--clear"])

    # -- what there is

    @property
    def certificate(self) -> Certificate | None:
        """The router's own certificate; None if it has none."""
        return _certificate(self.node.identity.directory / "nvram-x509" / f"{self.trustpoint.name}.pem")

    @property
    def ca_certificate(self) -> Certificate | None:
        """The CA's certificate, if the CA has been authenticated."""
        return _certificate(self.node.identity.directory / "nvram-x509ca" / f"{self.trustpoint.name}.pem")

    def is_of_its_ca(self, certificate: Certificate) -> bool:
        """Whether the CA that is trusted now has issued it, and not one before a rollover."""
        ca = self.ca_certificate
        return ca is not None and authority_key_id(certificate.der) == key_id(ca.spki)

    @property
    def pending(self) -> bool:
        """Whether a request waits for an operator."""
        return (self.node.identity.directory / "nvram" / f"{self.trustpoint.name}.pending").exists()

    def now(self) -> datetime:
        """The node's own time, by which it judges certificates."""
        return node_time(self.node)

    # -- how

    def _run(self, step: str, *arguments: str) -> Completed:
        return self.runtime.execute(self.node, ["/usr/lib/testbed/enrol", step, self.trustpoint.name, *arguments])

    def _asked(self, step: str, what: str) -> EnrolmentStatus:
        done = self._run(step)
        if done.exit_code == _PENDING:
            return "pending"
        if done.exit_code == _NOT_VALID:
            path = self.node.identity.directory / "nvram" / f"{self.trustpoint.name}.invalid"
            raise self._invalid("the certificate issued is not valid", _certificate(path), done)
        if done.exit_code == _NOT_LOADED:
            told = done.stderr.decode(errors="replace").strip().splitlines()
            raise EnrolmentError(
                "the certificate is there, and charon does not take it",
                node=self.node.name,
                expected="every credential and connection loaded",
                seen="; ".join(told[-4:]),
                hint="the node's enrold tries again",
            )
        if done.exit_code != 0:
            raise self._failed(what, done)
        return "granted"

    def _failed(self, what: str, done: Completed) -> EnrolmentError:
        told = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        seen = [line for line in told if not line.startswith(_NOISE)] or told
        return EnrolmentError(
            what,
            node=self.node.name,
            expected=f"an answer of {self.trustpoint.url}",
            seen="; ".join(seen[-4:]) or f"exit code {done.exit_code}",
        )

    def _invalid(self, what: str, certificate: Certificate | None, done: Completed) -> EnrolmentError:
        if certificate is not None and certificate.valid_at(self.now()) and not self.is_of_its_ca(certificate):
            return EnrolmentError(
                "the certificate issued is of another CA than the one that is trusted, perhaps after a rollover",
                node=self.node.name,
                expected="a certificate of the CA that was authenticated",
                hint=f"`testbed enrol LAB {self.node.name} --authenticate` fetches the CA's certificate anew",
            )
        if certificate is None or certificate.valid_at(self.now()):
            return self._failed(what, done)
        return EnrolmentError(
            f"{what}: it is {validity_error(certificate, self.now())}",
            node=self.node.name,
            expected="a certificate that is valid by the node's own clock",
            seen=f"{self.now():%Y-%m-%d %H:%M:%S} on that clock",
            hint=f"`testbed clock LAB {self.node.name}` compares it with this machine's",
        )


def node_time(node: NodeState) -> datetime:
    """What a node's programs take for the time: that of its own clock, or this machine's."""
    reading = read_clock(node.identity.directory / "run" / CLOCK_FILE)
    return datetime.now(UTC) if reading is None else datetime.fromtimestamp(reading.time_ns / 1e9, UTC)


def validity_error(certificate: Certificate, now: datetime) -> str:
    """`not yet valid, by 3.0 years (from …)` or `expired, by 2.0 h (at …)`."""
    return outside(certificate.not_before, certificate.not_after, now)


def describe(certificate: Certificate) -> str:
    return f"serial {certificate.serial:#x}, {show_name(certificate.subject_name)}"


def _certificate(path: Path) -> Certificate | None:
    content = read_file(path)
    if not content:
        return None
    try:
        return read_certificate(from_pem(content))
    except BerError as failure:
        raise DaemonError(f"{path} holds no certificate", seen=str(failure)) from None
