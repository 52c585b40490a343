"""PEM (RFC 7468) of certificates."""

from __future__ import annotations

import base64
import binascii

from testbed.pki.ber import BerError

__all__ = ["from_pem", "to_pem"]

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def to_pem(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    return "\n".join([_BEGIN, *(text[at : at + 64] for at in range(0, len(text), 64)), _END, ""])


def from_pem(data: bytes) -> bytes:
    """The first certificate, in DER. Raises BerError."""
    _, begin, rest = data.decode("ascii", errors="replace").partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    try:
        if begin and end:
            return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        pass
    raise BerError("no certificate in PEM")
