"""Why a request is refused."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["FailInfo", "RefusedError", "WrongPasswordError"]


class FailInfo(IntEnum):
    """RFC 8894, section 3.2.1.4.5."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


class RefusedError(Exception):
    """A request that cannot be granted. The text is for the log; a client is told the FailInfo alone."""

    def __init__(self, fail_info: FailInfo, text: str) -> None:
        super().__init__(text)
        self.fail_info = fail_info


class WrongPasswordError(RefusedError):
    """No challenge password, or a wrong one; in EST that is HTTP 401."""
