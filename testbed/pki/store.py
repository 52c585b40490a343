"""What a certificate server must never forget: SQLite, with every commit on the disk before anybody hears of it.

Serial numbers are taken in blocks, each block written down before the first of it is used, so that none is used twice
however the server ends; those left of a block are lost then, and nobody minds.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from testbed.pki.x509 import Certificate

__all__ = ["IssuedCertificate", "PendingRequest", "Store"]

_BLOCK = 32
_SCHEMA = """
create table if not exists counter (name text primary key, value integer not null);
create table if not exists certificate (
    serial integer primary key, authority integer not null, subject blob not null, spki blob not null,
    not_after integer not null, der blob not null, purpose text not null, revoked integer, reason integer);
create index if not exists certificate_subject on certificate (subject);
create index if not exists certificate_revoked on certificate (revoked) where revoked is not null;
create table if not exists request (
    id integer primary key autoincrement, transaction_id text not null, spki blob not null, signer text not null,
    state text not null, kind text not null, csr blob not null, received integer not null, serial integer);
create unique index if not exists request_once on request (transaction_id, spki, signer);
create index if not exists request_state on request (state, received);
create table if not exists password (digest blob primary key, expires integer not null);
"""
_REQUEST = "select id, transaction_id, spki, signer, state, kind, csr, received, serial from request "
_CERTIFICATE = "select serial, authority, subject, spki, not_after, der, purpose, revoked, reason from certificate "


@dataclass(frozen=True)
class IssuedCertificate:
    """A certificate as it was issued. `purpose` is `client`, or what the server made it for itself."""

    serial: int
    authority: int
    subject: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    not_after: datetime
    der: bytes = field(repr=False)
    purpose: str
    revoked: datetime | None
    reason: int

    @classmethod
    def of(cls, certificate: Certificate, authority: int, purpose: str) -> IssuedCertificate:
        """A certificate that has just been made."""
        made = certificate
        values = (made.serial, authority, made.subject, made.spki, made.not_after, made.der, purpose, None, 0)
        return cls(*values)


@dataclass(frozen=True)
class PendingRequest:
    """A request, in whatever state: pending, granted or rejected. `signer` is what it was signed by: nothing, its own
    key; a serial number, that certificate.
    """

    id: int
    transaction_id: str
    spki: bytes = field(repr=False)
    signer: str
    state: str
    kind: str
    csr: bytes = field(repr=False)
    received: datetime
    serial: int | None


class Store:
    """One database, used by several threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(f"pragma journal_mode=wal; pragma synchronous=full; {_SCHEMA}")
        self._serials: list[int] = []

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Store:
        """One transaction, for several calls that belong together."""
        self._lock.acquire()
        try:
            self._db.execute("begin immediate")
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._db.execute("commit")
        finally:
            if self._db.in_transaction:  # something went wrong, perhaps the commit itself: a full disk
                self._db.execute("rollback")
            self._lock.release()

    def _all(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, tuple(values)).fetchall()

    def counter(self, name: str) -> int:
        """The next number of a sequence, written down. Never again the same."""
        return self._advance(name, 1)

    def _advance(self, name: str, by: int) -> int:
        """Take the next numbers of a sequence, which begins with 1; the first of them."""
        sql = "insert into counter values (?, ?) on conflict (name) do update set value = value + ? returning value"
        return int(self._all(sql, (name, by, by))[0][0]) - by + 1

    def peek(self, name: str, default: int) -> int:
        rows = self._all("select value from counter where name = ?", (name,))
        return int(rows[0][0]) if rows else default

    def put(self, name: str, value: int) -> None:
        self._all("insert or replace into counter values (?, ?)", (name, value))

    def next_serial(self) -> int:
        """A serial number that was never used. Not to be called within a transaction, which might be undone."""
        with self._lock:
            if not self._serials:
                begin = self._advance("serial", _BLOCK)
                self._serials = list(range(begin + _BLOCK - 1, begin - 1, -1))
            return self._serials.pop()

    # -- certificates

    def add_certificate(self, issued: IssuedCertificate) -> None:
        row = (issued.serial, issued.authority, issued.subject, issued.spki, _seconds(issued.not_after), issued.der)
        sql = (
            "insert into certificate (serial, authority, subject, spki, not_after, der, purpose) values (?,?,?,?,?,?,?)"
        )
        self._all(sql, (*row, issued.purpose))

    def certificate(self, serial: int) -> IssuedCertificate | None:
        if not 0 < serial < 1 << 63:  # SQLite's integers end there, a foreign serial number need not
            return None
        return next(map(_issued, self._all(_CERTIFICATE + "where serial = ?", (serial,))), None)

    def certificates(self, *, purpose: str | None = None, subject: bytes | None = None) -> list[IssuedCertificate]:
        wanted = [
            (column, value) for column, value in (("purpose", purpose), ("subject", subject)) if value is not None
        ]
        where = " and ".join(f"{column} = ?" for column, _ in wanted)
        sql = _CERTIFICATE + (f"where {where} " if where else "") + "order by serial"
        return [_issued(row) for row in self._all(sql, [value for _, value in wanted])]

    def serials(self) -> list[int]:
        return [int(row[0]) for row in self._all("select serial from certificate order by serial")]

    def revoked(self, authority: int) -> list[IssuedCertificate]:
        rows = self._all(_CERTIFICATE + "where revoked is not null and authority = ? order by serial", (authority,))
        return [_issued(row) for row in rows]

    def revoke(self, serial: int, moment: datetime, reason: int) -> bool:
        """False if there is no such certificate, or it is revoked already."""
        sql = "update certificate set revoked = ?, reason = ? where serial = ? and revoked is null returning serial"
        return bool(self._all(sql, (_seconds(moment), reason, serial)))

    def unrevoke(self, serial: int) -> bool:
        sql = (
            "update certificate set revoked = null, reason = null where serial = ? and revoked is not null returning 1"
        )
        return bool(self._all(sql, (serial,)))

    def last_serial(self) -> int:
        """The largest serial number of any certificate, 0 if there is none."""
        return int(self._all("select coalesce(max(serial), 0) from certificate")[0][0])

    # -- requests

    def add_request(
        self, transaction_id: str, spki: bytes, signer: str, state: str, kind: str, csr: bytes, received: datetime
    ) -> int:
        sql = (
            "insert into request (transaction_id, spki, signer, state, kind, csr, received) "
            "values (?,?,?,?,?,?,?) returning id"
        )
        return int(self._all(sql, (transaction_id, spki, signer, state, kind, csr, _seconds(received)))[0][0])

    def request(self, number: int) -> PendingRequest | None:
        return next(map(_request, self._all(_REQUEST + "where id = ?", (number,))), None)

    def requests(self, *, transaction_id: str | None = None, state: str | None = None) -> list[PendingRequest]:
        """The newest first."""
        wanted = [
            (c, value) for c, value in (("transaction_id", transaction_id), ("state", state)) if value is not None
        ]
        where = " and ".join(f"{column} = ?" for column, _ in wanted)
        sql = _REQUEST + (f"where {where} " if where else "") + "order by id desc"
        return [_request(row) for row in self._all(sql, [value for _, value in wanted])]

    def settle_request(self, number: int, state: str, serial: int | None = None) -> None:
        self._all("update request set state = ?, serial = ? where id = ?", (state, serial, number))

    def remove_request(self, number: int) -> bool:
        return bool(self._all("delete from request where id = ? and state <> 'granted' returning id", (number,)))

    def waiting(self) -> int:
        """How many requests are pending."""
        return int(self._all("select count(*) from request where state = 'pending'")[0][0])

    def forget_request(self, number: int) -> None:
        self._all("delete from request where id = ?", (number,))

    def forget_requests(self, before: datetime) -> int:
        """Remove what has waited for longer than it may."""
        sql = "delete from request where state in ('pending', 'rejected') and received < ? returning id"
        return len(self._all(sql, (_seconds(before),)))

    # -- one-time passwords

    def add_password(self, digest: bytes, expires: datetime) -> None:
        self._all("insert or replace into password values (?, ?)", (digest, _seconds(expires)))

    def forget_passwords(self) -> None:
        self._all("delete from password")

    def knows_password(self, digest: bytes, moment: datetime) -> bool:
        """Whether it is good, which it still is afterwards."""
        return bool(self._all("select 1 from password where digest = ? and expires >= ?", (digest, _seconds(moment))))

    def take_password(self, digest: bytes, moment: datetime) -> bool:
        """Whether it was there and had not expired; it is gone in either case."""
        found = self._all("delete from password where digest = ? returning expires", (digest,))
        self._all("delete from password where expires < ?", (_seconds(moment),))
        return bool(found) and int(found[0][0]) >= _seconds(moment)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _issued(row: Any) -> IssuedCertificate:
    serial, authority, subject, spki, not_after, der, purpose, revoked, reason = row
    gone = None if revoked is None else _moment(revoked)
    return IssuedCertificate(serial, authority, subject, spki, _moment(not_after), der, purpose, gone, reason or 0)


def _request(row: Any) -> PendingRequest:
    number, transaction_id, spki, signer, state, kind, csr, received, serial = row
    return PendingRequest(number, transaction_id, spki, signer, state, kind, csr, _moment(received), serial)
