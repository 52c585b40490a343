"""Passwords in configurations: type 7, which only hides, and type 5, 8 and 9, which are hashes."""

from __future__ import annotations

import hmac

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
    """Whether what was typed is the password that is stored.

    Of the hashes none is computed here: a configuration that was pasted with them logs nobody in.
    """
    if kind == "7":
        stored = decoded(stored) or ""
    elif kind not in (None, "0"):
        return False
    return bool(stored) and hmac.compare_digest(stored.encode(), typed.encode())
