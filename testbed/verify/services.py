"""Expectations of time and certificates, checked on the live lab."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from testbed.daemons.chronyd import node_clock, show_offset
from testbed.daemons.enrolment import describe, validity_error
from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded
from testbed.verify.checks import timed

if TYPE_CHECKING:
    from testbed.daemons.enrolment import Enrolment
    from testbed.device import TrustpointConfig
    from testbed.topology.models import Certified, Synchronised
    from testbed.verify.live import LiveLab
    from testbed.verify.verdict import Verdict

__all__ = ["check_certified", "check_synchronised"]

_SETTLE_S = 10.0
# The router's own public key; what its own pki, by its own clock and over its own network, thinks of its certificate.
_EXAMINE = """
pki --pub --type priv --in "/etc/swanctl/private/$2.pem" --outform pem
pki --verify --in "/etc/swanctl/x509/$1.pem" --cacert "/etc/swanctl/x509ca/$1.pem" --online 2>&1
"""


def check_synchronised(live: LiveLab, expectation: Synchronised) -> Verdict:
    """Each node's chronyd follows a server at that stratum, and its clock is this machine's to within the bound."""
    within_s = expectation.within_ms / 1000
    stratum = f" at stratum {expectation.stratum}" if expectation.stratum is not None else ""
    seen: list[str] = []

    def look() -> bool:
        seen[:] = []
        right = True
        for name in expectation.nodes:
            reading, tracking = node_clock(live.state(name)), live.chronyd(name).tracking()
            follows = tracking.leap != "Not synchronised"
            at = expectation.stratum in (None, tracking.stratum)
            right = right and follows and at and abs(reading.offset_s) <= within_s
            state = f"stratum {tracking.stratum}" if follows else "not synchronised"
            seen.append(f"{name}: {state}, {show_offset(reading.offset_s)}")
        return right

    def check() -> tuple[bool, str]:
        try:
            Deadline(_SETTLE_S).until(look, "the clocks", every=0.05)
        except DeadlineExceeded:
            return False, "; ".join(seen)
        return True, "; ".join(seen)

    claim = f"time: {', '.join(expectation.nodes)} by NTP{stratum}"
    return timed(claim, f"within {expectation.within_ms:g} ms{stratum}", "set-up", check)


def check_certified(live: LiveLab, expectation: Certified) -> Verdict:
    """Each node's certificate is valid, for its key, with its names, and its own `pki` accepts it online."""

    def check() -> tuple[bool, str]:
        seen, held = [], True
        for name in expectation.nodes:
            for trustpoint in live.devices[name].trustpoints:
                if expectation.trustpoint in (None, trustpoint.name):
                    faults = _faults(live, name, trustpoint)
                    held = held and not faults
                    certificate = live.enrolment(name, trustpoint).certificate
                    what = describe(certificate) if certificate is not None and not faults else "; ".join(faults)
                    seen.append(f"{name}: {what}")
        return held, "; ".join(seen)

    of = f" of {expectation.trustpoint}" if expectation.trustpoint else ""
    claim = f"certificate: {', '.join(expectation.nodes)}{of}"
    return timed(claim, "valid now, for the key there, with its names, not revoked", "set-up", check)


def _faults(live: LiveLab, name: str, trustpoint: TrustpointConfig) -> list[str]:
    enrolment: Enrolment = live.enrolment(name, trustpoint)
    certificate = enrolment.certificate
    if certificate is None:
        return ["waits for the CA's operator" if enrolment.pending else "there is none"]
    faults = []
    if not certificate.valid_at(enrolment.now()):
        faults.append(validity_error(certificate, enrolment.now()))
    done = live.execute(name, ["/bin/sh", "-c", _EXAMINE, "sh", trustpoint.name, trustpoint.key_label])
    key, _, verified = done.text.partition("-----END PUBLIC KEY-----")
    if "".join(key.split("-----")[-1].split()) != base64.b64encode(certificate.spki).decode():
        faults.append("it is for another key")
    if done.exit_code != 0:
        told = [line.strip() for line in verified.splitlines() if "revoked" in line or "untrusted" in line]
        faults.append("; ".join(told) or verified.strip()[-200:])
    if trustpoint.fqdn.encode() not in certificate.der:
        faults.append(f"it does not hold the name {trustpoint.fqdn}")
    return faults
