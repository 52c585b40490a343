"""Mutated messages against SCEP, OCSP and PKCS #10: `python -m tests.pki.fuzz --count 50000`.

Seeded, so a failure can be had again. What must hold: each message is refused or answered, nothing raises anything
else, and a certificate is issued only for the request that some client did sign.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from testbed.pki import cms, ocsp, scep
from testbed.pki.errors import RefusedError
from testbed.pki.scep import Scep, UnanswerableError
from testbed.pki.server import CertificateServer
from testbed.pki.settings import Settings
from tests.pki.client import Client, make_key, make_request

INTERESTING = (0x00, 0x01, 0x02, 0x03, 0x04, 0x06, 0x0C, 0x13, 0x17, 0x30, 0x31, 0x7F, 0x80, 0x84, 0xA0, 0xA3, 0xFF)


@dataclass
class Report:
    """What came of the messages, and the certificates that nobody had earned."""

    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    unearned: list[str] = field(default_factory=list)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The message with one to a few things changed."""
    octets = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        at = dice.randrange(len(octets)) if octets else 0
        kind = dice.randrange(8)
        if kind == 0 and octets:
            octets[at] ^= 1 << dice.randrange(8)
        elif kind == 1 and octets:
            octets[at] = dice.choice(INTERESTING)
        elif kind == 2:
            del octets[at : at + dice.randrange(1, 40)]
        elif kind == 3:
            octets[at:at] = dice.randbytes(dice.randrange(1, 40))
        elif kind == 4:
            octets[at:at] = octets[at : at + dice.randrange(1, 200)]
        elif kind == 5:
            del octets[at:]
        elif kind == 6:
            octets[at : at + 2] = bytes((dice.choice((0x30, 0x31, 0xA0, 0x24)), 0x80))
        else:
            other = dice.randrange(len(octets)) if octets else 0
            size = dice.randrange(1, 60)
            octets[at : at + size], octets[other : other + size] = octets[other : other + size], octets[at : at + size]
    return bytes(octets)


class Fuzz:
    """One certificate server, and clients that know it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        subject = (("CN", "ca"), ("O", "Fuzz"))
        self.server = CertificateServer(
            Settings("CA", subject, ("192.0.2.6",), str(folder), grant="auto", challenge="right", legacy=True)
        )
        self.server.enable()
        self.scep = Scep(self.server)
        ca = self.server.current.certificate
        self.client = Client(ca, key=make_key(0))
        good = self.client.enrolment("good", "right")
        issued = self.client.read(self.scep.operate(good, "peer")).certificates[0]
        self.earned = {issued.serial}
        request = make_request(make_key(0), "kisii", "right")
        self.messages = [
            good,
            self.client.enrolment("no-challenge"),
            self.client.message(scep.PKCS_REQ, request, "other"),
            self.client.poll("good"),
            self.client.by_serial(scep.GET_CERT, issued.serial),
            self.client.by_serial(scep.GET_CRL, issued.serial),
        ]
        self.request = make_request(make_key(0), "kisii", "wrong", ["kisii.test"])
        self.ocsp_request = _ocsp_request(self.server)

    def run(self, count: int) -> Report:
        report = Report()
        for number in range(count):
            way = self.dice.randrange(10)
            try:
                report.outcomes[self._one(way)] += 1
            except (RefusedError, UnanswerableError) as refusal:
                report.outcomes[type(refusal).__name__] += 1
            except Exception as failure:  # noqa: BLE001 - whatever it is, it would have been an HTTP 500
                report.crashes.append(f"message {number}, way {way}: {failure!r}")
        for item in self.server.store.certificates(purpose="client"):
            if item.serial not in self.earned and item.spki != self.client.own.spki:
                report.unearned.append(f"{item.serial:#x}")
        return report

    def _peer(self) -> str:
        """Each time somebody else, so that nobody is shut out for guessing passwords."""
        return f"peer-{self.dice.randrange(1 << 40)}"

    def _one(self, way: int) -> str:
        if way < 6:  # the message itself: its signature seldom survives
            self.scep.operate(mutated(self.dice.choice(self.messages), self.dice), self._peer())
            return "answered"
        if way < 8:  # what is inside, in a message that is signed and encrypted all right
            inner = mutated(self.request, self.dice)
            kind = self.dice.choice((scep.PKCS_REQ, scep.RENEWAL_REQ, scep.CERT_POLL, scep.GET_CERT))
            answer = self.scep.operate(self.client.message(kind, inner, "inner"), self._peer())
            status = self.client.read(answer).status
            if status == "0" and kind in (scep.PKCS_REQ, scep.RENEWAL_REQ):
                raise AssertionError("a request without the challenge password was granted")
            return f"inner {status}"
        if way == 8:  # the envelope
            envelope = mutated(cms.encrypt(self.request, self.client.ca, "aes128"), self.dice)
            self.scep.operate(self.client.sign(envelope, scep.PKCS_REQ, "envelope"), self._peer())
            return "envelope answered"
        ocsp.respond(self.server, mutated(self.ocsp_request, self.dice))
        return "ocsp answered"


def _ocsp_request(server: CertificateServer) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509 import ocsp as client

    certificate = x509.load_der_x509_certificate(server.current.certificate.der)
    builder = client.OCSPRequestBuilder().add_certificate(certificate, certificate, hashes.SHA256())
    return builder.build().public_bytes(serialization.Encoding.DER)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=20261124)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        report = Fuzz(Path(folder), arguments.seed).run(arguments.count)
        took = time.monotonic() - begun
    print(f"{arguments.count} messages in {took:.0f} s, seed {arguments.seed}")
    for outcome, count in report.outcomes.most_common():
        print(f"  {count:7d}  {outcome}")
    for trouble in (*report.crashes, *(f"unearned certificate {serial}" for serial in report.unearned)):
        print(f"  FAILED   {trouble}")
    return 1 if report.crashes or report.unearned else 0


if __name__ == "__main__":
    sys.exit(main())
