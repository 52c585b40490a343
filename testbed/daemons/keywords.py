"""The names that charon gives to algorithms, as the keywords that a proposal is written with.

Source: strongSwan `src/libstrongswan/crypto/{crypters,signers,prfs}/*.c` and `key_exchange.c`, the ENUM names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.daemons.sa import ChildSa, IkeSa

__all__ = ["child_proposal", "ike_proposal", "matches_proposal"]

_INTEGRITY = {
    "HMAC_MD5_96": "md5",
    "HMAC_MD5_128": "md5",
    "HMAC_SHA1_96": "sha1",
    "HMAC_SHA1_160": "sha1",
    "HMAC_SHA2_256_128": "sha256",
    "HMAC_SHA2_384_192": "sha384",
    "HMAC_SHA2_512_256": "sha512",
    "AES_XCBC_96": "aesxcbc",
    "AES_CMAC_96": "aescmac",
}
_PRF = {
    "PRF_HMAC_MD5": "prfmd5",
    "PRF_HMAC_SHA1": "prfsha1",
    "PRF_HMAC_SHA2_256": "prfsha256",
    "PRF_HMAC_SHA2_384": "prfsha384",
    "PRF_HMAC_SHA2_512": "prfsha512",
    "PRF_AES128_XCBC": "prfaesxcbc",
    "PRF_AES128_CMAC": "prfaescmac",
}
_SAME = {
    "x25519": "curve25519",
    "x448": "curve448",
    "sha2_256": "sha256",
    "sha2_384": "sha384",
    "sha2_512": "sha512",
}


def _encryption(name: str | None, bits: int | None) -> str | None:
    if name is None:
        return None
    if name in ("3DES_CBC", "DES_CBC", "NULL"):
        return {"3DES_CBC": "3des", "DES_CBC": "des", "NULL": "null"}[name]
    if name == "CHACHA20_POLY1305":
        return "chacha20poly1305"
    match = re.fullmatch(r"(AES|CAMELLIA)_(CBC|CTR|GCM_16|GCM_12|GCM_8|CCM_16|CCM_12|CCM_8)", name)
    if not match:
        return name.lower()
    mode = {"CBC": "", "CTR": "ctr"}.get(match[2], match[2].replace("_", "").lower())
    return f"{match[1].lower()}{bits}{mode}"


def _group(name: str | None) -> str | None:
    if name is None:
        return None
    simple = re.sub(r"^modp_(\d+)_(\d+)$", r"modp\1s\2", name.lower())  # RFC 5114: a subgroup's size as well
    return {"curve_25519": "curve25519", "curve_448": "curve448"}.get(
        simple, re.sub(r"^(modp|ecp)_(\d+)(_bp)?$", lambda m: f"{m[1]}{m[2]}{'bp' if m[3] else ''}", simple)
    )


def ike_proposal(sa: IkeSa) -> str:
    """What an IKE SA negotiated: `aes256-sha256-prfsha256-modp2048`."""
    words = [_encryption(sa.encryption, sa.encryption_bits), _INTEGRITY.get(sa.integrity or "", sa.integrity)]
    words += [_PRF.get(sa.prf or "", sa.prf), _group(sa.group)]
    return "-".join(word for word in words if word)


def child_proposal(sa: ChildSa) -> str:
    """What a CHILD SA negotiated: `aes256-sha256`, with the group if it had a key exchange of its own."""
    words = [_encryption(sa.encryption, sa.encryption_bits), _INTEGRITY.get(sa.integrity or "", sa.integrity)]
    return "-".join(word for word in [*words, _group(sa.group)] if word)


def matches_proposal(negotiated: str, configured: str) -> bool:
    """Whether what was negotiated is what was configured.

    A PRF that was not configured follows from the integrity algorithm. The group of a CHILD SA counts only where it
    has one: the first one of an IKE SA takes its keys from there (RFC 7296, section 1.2).
    """
    got = {_SAME.get(word, word) for word in negotiated.split("-")}
    want = {_SAME.get(word, word) for word in configured.split("-")}
    if not any(word.startswith("prf") for word in want):
        got = {word for word in got if not word.startswith("prf")}
    want -= {"noesn"}
    groups = {word for word in want if word.startswith(("modp", "ecp", "curve"))}
    return got in (want, want - groups)
