"""Proposals are checked before a daemon ever sees them, and read back from what it negotiated."""

from __future__ import annotations

import pytest

from testbed.daemons.keywords import child_proposal, ike_proposal, matches_proposal
from testbed.daemons.sa import ChildSa, IkeSa
from testbed.topology.proposals import check_proposal


@pytest.mark.parametrize(
    "proposal",
    [
        "aes256-sha256-modp2048",
        "3des-md5-modp1024",
        "des-sha1-modp768",
        "aes256gcm16-prfsha384-ecp384",
        "chacha20poly1305-prfsha256-curve25519",
        "aes128ctr-aesxcbc-x25519",
        "camellia256-sha512-modp4096",
        "aes128-aes256-sha1-sha256-modp1536-modp2048",
    ],
)
def test_good_ike_proposals(proposal: str) -> None:
    assert check_proposal(proposal, "ike") is None


@pytest.mark.parametrize(
    "proposal", ["aes256-sha256", "aes128gcm16", "null-md5", "3des-sha1-modp1024", "aes256-sha1-esn"]
)
def test_good_esp_proposals(proposal: str) -> None:
    assert check_proposal(proposal, "esp") is None


@pytest.mark.parametrize(
    ("proposal", "protocol", "near"),
    [
        ("aes257-sha256-modp2048", "ike", "aes256"),
        ("aes256-sha265-modp2048", "ike", "sha256"),
        ("aes256-sha256-modp2047", "ike", "modp2048"),
        ("aes-256-sha256", "esp", None),
        ("", "esp", None),
        ("aes256-prfsha256", "esp", None),
    ],
)
def test_unknown_words(proposal: str, protocol: str, near: str | None) -> None:
    wrong = check_proposal(proposal, protocol)
    assert wrong is not None
    if near is not None:
        assert wrong[1] == near


def ike(**fields: str) -> IkeSa:
    return IkeSa.read("t", {"version": "1", "state": "ESTABLISHED", **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"encr-alg": "AES_CBC", "encr-keysize": "256", "integ-alg": "HMAC_SHA2_256_128"}
            | {"prf-alg": "PRF_HMAC_SHA2_256", "dh-group": "MODP_2048"},
            "aes256-sha256-prfsha256-modp2048",
        ),
        (
            {"encr-alg": "3DES_CBC", "integ-alg": "HMAC_MD5_96", "prf-alg": "PRF_HMAC_MD5", "dh-group": "MODP_1024"},
            "3des-md5-prfmd5-modp1024",
        ),
        (
            {"encr-alg": "AES_GCM_16", "encr-keysize": "256", "prf-alg": "PRF_HMAC_SHA2_384", "dh-group": "ECP_384"},
            "aes256gcm16-prfsha384-ecp384",
        ),
        (
            {"encr-alg": "CHACHA20_POLY1305", "encr-keysize": "256", "prf-alg": "PRF_HMAC_SHA2_256"}
            | {"dh-group": "CURVE_25519"},
            "chacha20poly1305-prfsha256-curve25519",
        ),
    ],
)
def test_negotiated_ike(fields: dict[str, str], words: str) -> None:
    assert ike_proposal(ike(**fields)) == words


def test_negotiated_esp() -> None:
    child = ChildSa.read({"encr-alg": "AES_CTR", "encr-keysize": "128", "integ-alg": "AES_XCBC_96"})
    assert child_proposal(child) == "aes128ctr-aesxcbc"


@pytest.mark.parametrize(
    ("negotiated", "configured", "same"),
    [
        ("aes256-sha256-prfsha256-modp2048", "aes256-sha256-modp2048", True),
        ("aes256-sha256-prfsha256-modp2048", "aes256-sha256-prfsha256-modp2048", True),
        ("aes256-sha256-prfsha256-modp2048", "aes128-sha256-modp2048", False),
        ("aes256-sha256-prfsha256-modp2048", "aes256-sha256-prfsha384-modp2048", False),
        ("aes256-sha256-prfsha256-modp1024", "aes256-sha256-modp2048", False),
        ("aes256-sha256", "aes256-sha256-modp2048", True),
        ("aes256-sha256-curve25519", "aes256-sha256-x25519", True),
        ("null-sha256", "aes256-sha256", False),
    ],
)
def test_matching(negotiated: str, configured: str, same: bool) -> None:
    assert matches_proposal(negotiated, configured) is same
