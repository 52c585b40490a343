"""Passwords in configurations: type 7, which only hides, and type 5, 8 and 9, which are hashes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import string

__all__ = ["decoded", "is_password"]

# The constant of type 7, which everybody has known since 1995.
_XLAT = b"dsfd;kfoA,.iyewrkldJKDHSUBsgvca69834ncxv9873254k;fg87"


def decoded(text: str) -> str | None:
    """The clear text of a type 7 password; None if it is none."""
    if len(text) < 4 or len(text) % 2 or not text[:2].isdecimal() or int(text[:2]) > 15:
        return None
    try:
        octets = bytes.fromhex(text[2:])
    except ValueError:
        return None
    seed = int(text[:2])
    plain = bytes(octet ^ _XLAT[(seed + at) % len(_XLAT)] for at, octet in enumerate(octets))
    return plain.decode("latin-1") if plain.isascii() else None


def is_password(kind: str | None, stored: str, typed: str) -> bool:
    """Whether what was typed is the password that is stored: in clear, of type 7, or hashed (types 5, 8 and 9)."""
    if kind in _HASHES:
        found = _HASHED.fullmatch(stored)
        if found is None or found[1] != _MARKS[kind]:
            return False
        made = _HASHES[kind](typed.encode(), found[2].encode())
        return hmac.compare_digest(stored.encode(), f"${found[1]}${found[2]}${made}".encode())
    if kind == "7":
        stored = decoded(stored) or ""
    elif kind not in (None, "0"):
        return False
    return bool(stored) and hmac.compare_digest(stored.encode(), typed.encode())


_HASHED = re.compile(r"\$([0-9])\$([./0-9A-Za-z]{1,16})\$[./0-9A-Za-z]{22,43}")
_MARKS = {"5": "1", "8": "8", "9": "9"}
_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _pbkdf2(password: bytes, salt: bytes) -> str:
    """Type 8: 20,000 rounds with SHA-256."""
    return _by_six(hashlib.pbkdf2_hmac("sha256", password, salt, 20000))


def _scrypt(password: bytes, salt: bytes) -> str:
    """Type 9: N = 16384, r = 1, p = 1."""
    return _by_six(hashlib.scrypt(password, salt=salt, n=16384, r=1, p=1, dklen=32))


def _by_six(octets: bytes) -> str:
    """Base 64 with crypt's digits, the high bits first, without padding."""
    standard = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    return base64.b64encode(octets).decode().rstrip("=").translate(str.maketrans(standard, _DIGITS))


def _md5_crypt(password: bytes, salt: bytes) -> str:
    """Type 5: md5-crypt with `$1$`, as FreeBSD's crypt(3) and glibc's have it, 1,000 rounds."""
    salt = salt[:8]

    def md5(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    inner = md5(password + salt + password)
    begin = password + b"$1$" + salt + (inner * (len(password) // 16 + 1))[: len(password)]
    length = len(password)
    while length:
        begin += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = md5(begin)
    for number in range(1000):
        data = password if number & 1 else digest
        data += (salt if number % 3 else b"") + (password if number % 7 else b"")
        digest = md5(data + (digest if number & 1 else password))
    return "".join(
        _low_first(digest[a] << 16 | digest[b] << 8 | digest[c], 4)
        for a, b, c in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
    ) + _low_first(digest[11], 2)


def _low_first(value: int, digits: int) -> str:
    return "".join(_DIGITS[value >> 6 * place & 0x3F] for place in range(digits))


_HASHES = {"5": _md5_crypt, "8": _pbkdf2, "9": _scrypt}
