"""The certificate server: who gets a certificate, and what became of those it gave."""

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from testbed.pki import clock
from testbed.pki.algorithms import LEGACY_DIGESTS, MAX_RSA_BITS, MIN_RSA_BITS, UnknownAlgorithmError
from testbed.pki.authority import RA_UNIT, Authority, load_authorities, make_authority, prepare_keys
from testbed.pki.ber import BerError
from testbed.pki.errors import FailInfo, RefusedError
from testbed.pki.names import attributes
from testbed.pki.passwords import Passwords
from testbed.pki.pkcs10 import Request, read_request
from testbed.pki.store import IssuedCertificate, PendingRequest, Store
from testbed.pki.x509 import Certificate, alternative_names, read_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from testbed.pki.settings import Settings

__all__ = ["CertificateServer", "Enrolment", "Outcome"]

log = logging.getLogger("ca")
_CURRENT = "current"
_ORGANISATIONAL_UNIT = "2.5.4.11"
_SUPERSEDED = 4
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}
_MAX_WAITING = 1000  # requests that nobody has granted yet


@dataclass(frozen=True)
class Enrolment:
    """A request as a protocol hands it over, with the challenge password that came with it. `signer` is a certificate
    that vouches for it, None if its own key does.
    """

    request: Request
    transaction_id: str
    signer: Certificate | None
    kind: str
    peer: str
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a request. Without a certificate it waits for an operator."""

    certificate: Certificate | None
    authority: Authority | None = None


class CertificateServer:
    """One CA. It is disabled until the clock is right, and then for good."""

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = clock.now) -> None:
        self.settings = settings
        self.now = now
        directory = Path(settings.directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.store = Store(directory / "ca.db")
        self._authorities: list[Authority] = []
        self._crls: dict[int, tuple[bytes, datetime, int]] = {}
        self._prepared = False
        self._revocations = 0  # counts what makes the lists that there are old
        self._lock = threading.RLock()
        self._passwords = Passwords(settings, self.store, now)
        self.changed = threading.Event()  # set when something was issued, revoked or published

    # -- authorities

    @property
    def enabled(self) -> bool:
        return bool(self._authorities)

    def clock_is_right(self) -> bool:
        return not self.settings.waits_for_clock or clock.is_synchronised()

    def prepare(self) -> None:
        """What takes time and needs no clock, before the server is enabled for the first time."""
        if not self._prepared and not self.enabled and not self.store.certificates(purpose="ca"):
            prepare_keys(self.settings)
        self._prepared = True

    def enable(self) -> bool:
        """Begin to serve, if the clock is right; the first time, with a new key. False as long as it is not."""
        with self._lock:
            if not self._authorities and self.clock_is_right():
                found = load_authorities(self.settings, self.store, self.now())
                self._authorities = found or [make_authority(self.settings, self.store, self.now())]
                self.changed.set()
                log.info("enabled, CA certificate %s", self.current.certificate.fingerprint("sha256"))
            return self.enabled

    @property
    def authorities(self) -> list[Authority]:
        return list(self._authorities)

    @property
    def current(self) -> Authority:
        """The authority that issues. Raises RefusedError while the server is disabled."""
        if not self._authorities:
            raise RefusedError(FailInfo.BAD_TIME, "the server is disabled: its clock is not synchronised")
        number = self.store.peek(_CURRENT, self._authorities[0].number)
        return next(authority for authority in self._authorities if authority.number == number)

    @property
    def upcoming(self) -> Authority | None:
        """The authority that will take over, if it was made already."""
        newest = self._authorities[-1] if self._authorities else None
        return newest if newest and newest.number > self.current.number else None

    def prepare_rollover(self) -> Authority:
        """Make the authority that will take over, if there is none yet."""
        with self._lock:
            if self.upcoming is None:
                self._authorities = [*self._authorities, make_authority(self.settings, self.store, self.now())]
                log.info("rollover certificate %s", self._authorities[-1].certificate.fingerprint("sha256"))
                self.changed.set()
            return self._authorities[-1]

    def roll_over(self) -> Authority:
        """Let the next authority take over now. What the last one issued stays valid, and can still be revoked."""
        with self._lock:
            following = self.prepare_rollover()
            self.store.put(_CURRENT, following.number)
            self.changed.set()
            return following

    def housekeeping(self) -> None:
        """What time brings: the clock that is right at last, the next authority, requests nobody granted."""
        if not self.enable():
            return
        now, settings = self.now(), self.settings
        ends = self.current.certificate.not_after
        if settings.auto_rollover_s is not None and now >= ends - timedelta(seconds=settings.auto_rollover_s):
            self.prepare_rollover()
            if now >= ends:
                self.roll_over()
        self.store.forget_requests(now - timedelta(seconds=settings.request_lifetime_s))
        if any(not self._is_fresh(made, now) for _, made, _ in list(self._crls.values())):
            self.changed.set()  # for the files, since nobody may be asking for the lists

    # -- enrolment

    def read_request(self, data: bytes) -> Request:
        """A PKCS #10 request that may be granted at all. Raises RefusedError."""
        try:
            request = read_request(data)
            key = request.public_key()
            names = attributes(request.subject_name)
        except BerError as failure:
            raise RefusedError(FailInfo.BAD_REQUEST, f"PKCS #10: {failure}") from None
        except InvalidSignature:
            raise RefusedError(FailInfo.BAD_MESSAGE_CHECK, "PKCS #10: no proof of possession") from None
        except UnknownAlgorithmError as failure:
            raise RefusedError(FailInfo.BAD_ALG, f"PKCS #10: {failure}") from None
        if request.digest in LEGACY_DIGESTS and not self.settings.legacy:
            raise RefusedError(FailInfo.BAD_ALG, f"PKCS #10: {request.digest}")
        if isinstance(key, rsa.RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise RefusedError(FailInfo.BAD_REQUEST, f"PKCS #10: a key of {key.key_size} bits")
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
            raise RefusedError(FailInfo.BAD_ALG, f"PKCS #10: a key on {key.curve.name}")
        if not names or request.subject in [authority.certificate.subject for authority in self._authorities]:
            raise RefusedError(FailInfo.BAD_REQUEST, "PKCS #10: no subject, or the CA's own")
        return request

    def enrol(self, enrolment: Enrolment) -> Outcome:
        """Grant a request, keep it for an operator, or raise RefusedError. The same request has the same answer."""
        self._check_time()
        by_password = enrolment.signer is None and self._passwords.grants(enrolment.password)
        known, stale = self._known(enrolment)
        if known is not None and not (by_password and known.certificate is None):
            return known
        from_ra = False
        if enrolment.signer is None:
            self._passwords.check(enrolment.password, enrolment.peer)
        else:
            from_ra = self._vouched(enrolment.signer, enrolment.request)
        granted = self.settings.grant == "auto" or (self.settings.grant == "ra-auto" and from_ra) or by_password
        # Who signs itself an RA has to be known to the operator: its word would be good for every name.
        granted = granted and (from_ra or not _claims_ra(enrolment.request))
        try:
            return self._issue(enrolment, stale, by_password=by_password) if granted else self._keep(enrolment, stale)
        except sqlite3.IntegrityError:  # the same request came twice at once, and the other one was first
            known, _ = self._known(enrolment)
            if known is None:
                raise
            return known

    def _vouched(self, signer: Certificate, request: Request) -> bool:
        """Whether the signer is a registration authority; if not, it may renew its own certificate and no other."""
        # Before anything of it is believed, or even read.
        if self.check_issued(signer).purpose in ("ra", "ra-client"):
            return True
        same_names = sorted(request.names) == sorted(alternative_names(signer.der))
        if signer.subject != request.subject or not same_names:
            raise RefusedError(FailInfo.BAD_REQUEST, "a renewal for another subject, or for other names")
        return False

    def _check_time(self) -> None:
        if not self.current.certificate.valid_at(self.now()) or not self.clock_is_right():
            raise RefusedError(FailInfo.BAD_TIME, "the CA's clock is not right, or its certificate is not valid now")

    def _known(self, enrolment: Enrolment) -> tuple[Outcome | None, int | None]:
        """What became of the same request before: the same transaction, key, signer and names. And the number of the
        request that this one takes the place of, if it is not the same or is granted now.
        """
        for row in self.store.requests(transaction_id=enrolment.transaction_id):
            if row.spki != enrolment.request.spki:
                raise RefusedError(FailInfo.BAD_REQUEST, "the transaction ID is in use with another key")
            if row.signer == _signer_name(enrolment.signer):
                before = read_request(row.csr)
                same = (before.subject, before.names) == (enrolment.request.subject, enrolment.request.names)
                outcome = self._outcome(row) if same else None
                if outcome is not None and (outcome.certificate is None or self._is_of_use(outcome)):
                    return outcome, row.id
                return None, row.id
        return None, None

    def _is_of_use(self, outcome: Outcome) -> bool:
        """Whether a certificate is worth being delivered again: it lives, and is of the authority of now."""
        issued = self.store.certificate(outcome.certificate.serial) if outcome.certificate else None
        lives = issued is not None and issued.revoked is None and issued.not_after > self.now()
        return lives and outcome.authority is self.current

    def _outcome(self, row: PendingRequest) -> Outcome:
        if row.state == "rejected":
            raise RefusedError(FailInfo.BAD_REQUEST, f"request {row.id} was rejected")
        issued = self.store.certificate(row.serial) if row.serial is not None else None
        if issued is None:
            return Outcome(None)
        return Outcome(read_certificate(issued.der), self.authority(issued.authority))

    def authority(self, number: int) -> Authority:
        return next(authority for authority in self._authorities if authority.number == number)

    def check_issued(self, certificate: Certificate) -> IssuedCertificate:
        """A certificate of this CA that may be used now. Raises RefusedError."""
        issued = self.store.certificate(certificate.serial)
        if issued is None or issued.der != certificate.der or issued.revoked is not None:
            raise RefusedError(FailInfo.BAD_CERT_ID, "signed by a certificate that is not one of this CA, or revoked")
        if not certificate.valid_at(self.now()):
            raise RefusedError(FailInfo.BAD_TIME, "signed by a certificate that is not valid now")
        return issued

    def _check_duplicates(self, request: Request) -> None:
        """What the policy wants if the subject has a certificate for another key that still lives."""
        if self.settings.duplicates == "allow":
            return
        now = self.now()
        for other in self.store.certificates(purpose="client", subject=request.subject):
            if other.spki != request.spki and other.revoked is None and other.not_after > now:
                if self.settings.duplicates == "reject":
                    raise RefusedError(FailInfo.BAD_REQUEST, "the subject has a certificate for another key")
                self.store.revoke(other.serial, now, _SUPERSEDED)

    def _keep(self, enrolment: Enrolment, stale: int | None) -> Outcome:
        if self.store.waiting() >= _MAX_WAITING:
            raise RefusedError(FailInfo.BAD_REQUEST, f"{_MAX_WAITING} requests wait already")
        with self.store:
            self._add_request(enrolment, "pending", stale)
        self.changed.set()
        return Outcome(None)

    def _issue(self, enrolment: Enrolment, stale: int | None, *, by_password: bool) -> Outcome:
        authority, request = self.current, enrolment.request
        certificate = authority.issue(
            self.store.next_serial(), request.subject, request.spki, request.names, self.now()
        )
        with self.store:
            number = self._add_request(enrolment, "granted", stale, by_password=by_password)
            if enrolment.signer is None:
                self._check_duplicates(request)
            self._add_certificate(authority, certificate, number, self._purpose(enrolment))
        if self.settings.duplicates == "supersede":
            self.publish()
        self.changed.set()
        return Outcome(certificate, authority)

    def _purpose(self, enrolment: Enrolment) -> str:
        """A registration authority that renews its certificate stays one; what it vouches for does not become one."""
        signer = enrolment.signer
        issued = self.store.certificate(signer.serial) if signer is not None else None
        renews = issued is not None and issued.subject == enrolment.request.subject
        return "ra-client" if renews and issued is not None and issued.purpose == "ra-client" else "client"

    def _add_request(self, enrolment: Enrolment, state: str, stale: int | None, *, by_password: bool = False) -> int:
        """Write a request down, once; only then is its one-time password used up."""
        request = enrolment.request
        if stale is not None:
            self.store.forget_request(stale)
        signer = _signer_name(enrolment.signer)
        values = (enrolment.transaction_id, request.spki, signer, state, enrolment.kind, request.der, self.now())
        number = self.store.add_request(*values)
        if enrolment.signer is None:
            self._passwords.take(enrolment.password, enrolment.peer, granted=by_password)
        return number

    def _add_certificate(self, authority: Authority, made: Certificate, request: int, purpose: str = "client") -> None:
        self.store.add_certificate(IssuedCertificate.of(made, authority.number, purpose))
        self.store.settle_request(request, "granted", made.serial)

    def poll(self, transaction_id: str, signer: Certificate) -> Outcome:
        """What became of a request. Raises RefusedError if it is not known, or was rejected, or is somebody else's."""
        rows = self.store.requests(transaction_id=transaction_id)
        if not rows:
            raise RefusedError(FailInfo.BAD_CERT_ID, "no request of that transaction ID")
        issued = self.store.certificate(signer.serial)
        own = str(signer.serial) if issued is not None and issued.der == signer.der else None
        mine = [row for row in rows if row.spki == signer.spki or row.signer == own]
        if not mine:
            raise RefusedError(FailInfo.BAD_MESSAGE_CHECK, "asked by somebody else")
        return self._outcome(mine[0])

    # -- the operator

    def grant(self, number: int) -> Certificate:
        """Grant a request that waits. Raises RefusedError."""
        self._check_time()
        row = self._waiting(number)
        request = read_request(row.csr)
        authority = self.current
        made = authority.issue(self.store.next_serial(), request.subject, request.spki, request.names, self.now())
        with self.store:
            if not self._waiting(number).signer:
                self._check_duplicates(request)
            self._add_certificate(authority, made, number, "ra-client" if _claims_ra(request) else "client")
        self.publish()
        return made

    def reject(self, number: int) -> None:
        with self.store:
            self._waiting(number)
            self.store.settle_request(number, "rejected")

    def remove(self, number: int) -> None:
        """Forget a request that was not granted, so that it may be made again."""
        if not self.store.remove_request(number):
            raise RefusedError(FailInfo.BAD_REQUEST, f"there is no request {number} that could be removed")

    def _waiting(self, number: int) -> PendingRequest:
        row = self.store.request(number)
        if row is None or row.state != "pending":
            seen = "there is none" if row is None else f"it was {row.state}"
            raise RefusedError(FailInfo.BAD_REQUEST, f"no request {number} waits: {seen}")
        return row

    def revoke(self, serial: int, reason: int = 0) -> None:
        issued = self.store.certificate(serial)
        if issued is None or issued.purpose == "ca":
            raise RefusedError(FailInfo.BAD_CERT_ID, f"no certificate {serial:#x} that could be revoked")
        if not self.store.revoke(serial, self.now(), reason):
            raise RefusedError(FailInfo.BAD_CERT_ID, f"certificate {serial:#x} is revoked already")
        self.publish()

    def unrevoke(self, serial: int) -> None:
        if not self.store.unrevoke(serial):
            raise RefusedError(FailInfo.BAD_CERT_ID, f"certificate {serial:#x} is not revoked")
        self.publish()

    def new_password(self, valid_s: int | None = None) -> tuple[str, datetime]:
        """A password that is good once, and until when. Raises RefusedError where one means nothing."""
        return self._passwords.new(valid_s)

    # -- revocation lists

    def crl(self, authority: Authority) -> bytes:
        """The list as it is now; a new one if something has changed, or the last one is at its end."""
        with self._lock:
            now, revocations = self.now(), self._revocations  # read before the list of them is
            known = self._crls.get(authority.number)
            if known is None or known[2] != revocations or not self._is_fresh(known[1], now):
                revoked = self.store.revoked(authority.number)
                known = authority.crl(revoked, self.store.counter("crl"), now), now, revocations
                self._crls[authority.number] = known
            return known[0]

    def _is_fresh(self, made: datetime, now: datetime) -> bool:
        return made <= now < made + timedelta(seconds=self.settings.crl_lifetime_s) * 0.9

    def publish(self) -> None:
        """Make new lists when they are next asked for, whether anything has changed or not."""
        self._revocations += 1
        self.changed.set()


def _claims_ra(request: Request) -> bool:
    """Whether a subject is marked as IOS marks a registration authority's."""
    return (_ORGANISATIONAL_UNIT, RA_UNIT) in attributes(request.subject_name)


def _signer_name(signer: Certificate | None) -> str:
    return "" if signer is None else str(signer.serial)
