"""Challenge passwords: one for all, or each good once; and patience with those who guess.

One-time passwords are of two kinds. Either each request needs one; or none does, but a request that has the one that
was made last is granted without an operator, as by `crypto pki server X password generate` on IOS.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import defaultdict, deque
from datetime import timedelta
from typing import TYPE_CHECKING

from testbed.pki.errors import FailInfo, RefusedError, WrongPasswordError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from testbed.pki.settings import Settings
    from testbed.pki.store import Store

__all__ = ["Passwords"]

_FAILURES, _WINDOW_S = 20, 60.0


class Passwords:
    """Those of one server. A wrong one is refused without a word on what was wrong with it."""

    def __init__(self, settings: Settings, store: Store, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._store = store
        self._now = now
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def check(self, given: bytes | None, peer: str) -> None:
        """Raise WrongPasswordError if one is needed and this is not it. A one-time password is looked at by `take`."""
        wanted = self._settings.challenge
        if wanted is None and not self._each_needs_one:
            return
        self._limit(peer)
        if given is None or (wanted is not None and not hmac.compare_digest(given, wanted.encode())):
            self._failed(peer)

    def grants(self, given: bytes | None) -> bool:
        """Whether it is a one-time password that makes an operator's word unnecessary. It is used up by `take`."""
        offered = self._settings.one_time_password_grants and given is not None
        return offered and self._store.knows_password(_digest(given or b""), self._now())

    def take(self, given: bytes | None, peer: str, *, granted: bool = False) -> None:
        """Use up a one-time password that is needed or has `granted`, within the transaction of what it is for.

        Raises WrongPasswordError if it is not good, or not any more.
        """
        if not granted and not self._each_needs_one:
            return
        if not self._store.take_password(_digest(given or b""), self._now()):
            self._failed(peer)

    def new(self, valid_s: int | None = None) -> tuple[str, datetime]:
        """A password that is good once, and until when; if it grants, the one before is good no more.

        Raises RefusedError where one-time passwords mean nothing.
        """
        lifetime_s = self._settings.one_time_password_s
        if lifetime_s is None:
            raise RefusedError(FailInfo.BAD_REQUEST, "the server is not told to use one-time passwords")
        password = secrets.token_hex(8).upper()
        expires = self._now() + timedelta(seconds=valid_s or lifetime_s)
        with self._store:
            if self._settings.one_time_password_grants:
                self._store.forget_passwords()
            self._store.add_password(_digest(password.encode()), expires)
        return password, expires

    @property
    def _each_needs_one(self) -> bool:
        return self._settings.one_time_password_s is not None and not self._settings.one_time_password_grants

    def _limit(self, peer: str) -> None:
        with self._lock:
            failures = self._failures[peer]
            while failures and failures[0] < time.monotonic() - _WINDOW_S:
                failures.popleft()
            count = len(failures)
            if not count:
                del self._failures[peer]
        if count >= _FAILURES:
            raise WrongPasswordError(FailInfo.BAD_REQUEST, f"too many wrong challenge passwords from {peer}")

    def _failed(self, peer: str) -> None:
        with self._lock:
            self._failures[peer].append(time.monotonic())
        raise WrongPasswordError(FailInfo.BAD_REQUEST, "the challenge password")


def _digest(password: bytes) -> bytes:
    return hashlib.sha256(password).digest()
