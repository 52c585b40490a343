"""The proposal keywords of strongSwan, as far as Debian's build knows them.

Source: strongSwan `src/libstrongswan/crypto/proposal/proposal_keywords_static.txt` names the keywords;
`list-algs` of the nodes' daemon says which of them have an implementation.
"""

from __future__ import annotations

import difflib

__all__ = ["check_proposal"]

_BITS = ("128", "192", "256")
ENCRYPTION = {
    *(f"aes{bits}" for bits in _BITS),
    *(f"aes{bits}ctr" for bits in _BITS),
    *(f"camellia{bits}" for bits in _BITS),
    "3des",
    "des",
    "null",
}
AEAD = {
    *(f"aes{bits}{mode}{icv}" for bits in _BITS for mode in ("gcm", "ccm") for icv in ("8", "12", "16")),
    "chacha20poly1305",
}
INTEGRITY = {
    "md5",
    "sha1",
    "sha256",
    "sha384",
    "sha512",
    "aesxcbc",
    "aescmac",
    "sha2_256",
    "sha2_384",
    "sha2_512",
}
PRF = {"prfmd5", "prfsha1", "prfsha256", "prfsha384", "prfsha512", "prfaesxcbc", "prfaescmac"}
KEY_EXCHANGE = {
    *(f"modp{bits}" for bits in (768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)),
    "modp1024s160",
    "modp2048s224",
    "modp2048s256",
    *(f"ecp{bits}" for bits in (192, 224, 256, 384, 521)),
    *(f"ecp{bits}bp" for bits in (224, 256, 384, 512)),
    "curve25519",
    "x25519",
    "curve448",
    "x448",
}
ESN = {"esn", "noesn"}


def check_proposal(text: str, protocol: str) -> tuple[str, str | None] | None:
    """What is wrong with a proposal for `protocol` ("ike" or "esp"): a message and the nearest valid word.

    None if nothing is wrong. A proposal is keywords joined by '-', such as `aes256-sha256-modp2048`.
    """
    words = text.split("-")
    known = ENCRYPTION | AEAD | INTEGRITY | KEY_EXCHANGE | (PRF if protocol == "ike" else ESN)
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
            return f"'{word}' is no {protocol.upper()} algorithm", near[0] if near else None
    have = set(words)
    if not have & (ENCRYPTION | AEAD):
        return "the proposal names no encryption algorithm", None
    if have & AEAD and have & INTEGRITY:
        return "an AEAD algorithm takes no integrity algorithm beside it", None
    if not have & AEAD and not have & INTEGRITY:
        return "the proposal names no integrity algorithm", None
    if protocol == "ike" and not have & KEY_EXCHANGE:
        return "an IKE proposal needs a key exchange group", None
    if protocol == "ike" and have & AEAD and not have & PRF:
        return "an AEAD algorithm in an IKE proposal needs a PRF", None
    return None
