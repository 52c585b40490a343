"""What charon's log says, in words. The lines are those of live daemons."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from testbed.daemons.reasons import explain_refusal

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
VALID = "[CFG]   subject certificate invalid (valid from {} to {})"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "[CFG] certificate was revoked on Nov 24 13:22:40 UTC 2026, reason: key compromise",
            "the peer's certificate was revoked on Nov 24 13:22:40 UTC 2026, reason: key compromise",
        ),
        (
            VALID.format("Nov 24 12:00:00 2028", "Nov 24 12:00:00 2029"),
            "the peer's certificate is not yet valid, by 2.0 years (from 2028-11-24 12:00:00)",
        ),
        (
            VALID.format("Aug 26 13:27:40 2026", "Nov 23 12:00:00 2026"),
            "the peer's certificate has expired, by 1.0 days (at 2026-11-23 12:00:00)",
        ),
        (
            VALID.format("Aug  6 13:27:40 2026", "Nov 23 12:00:00 2027"),
            "a certificate was not valid (from 2026-08-06 13:27:40 to 2027-11-23 12:00:00)",
        ),
        (
            "[CFG] constraint check failed: RULE_CRL_VALIDATION is STALE, but requires at least GOOD",
            "the CRL has expired, and a current one is required",
        ),
        (
            "[CFG] constraint check failed: RULE_CRL_VALIDATION is FAILED, but requires at least GOOD",
            "whether the peer's certificate is revoked could not be found out by CRL, and has to be",
        ),
        ('[CFG] no issuer certificate found for "CN=b.test"', "the certificate of CN=b.test is of another CA"),
        (
            "[CFG] constraint check failed: peer not authenticated by CA 'C=KE, CN=ca1.test'",
            "the peer's certificate is not one of C=KE, CN=ca1.test",
        ),
        ("[IKE] IDir 'b.test' does not match to 'x.test'", "the peer is b.test, and x.test was expected"),
        (
            "[CFG] <40> no matching peer config found",
            "no connection is configured for the identities of the peer",
        ),
        ("[IKE] no trusted RSA public key found for 'b.test'", "no certificate of b.test can be trusted"),
        ("[IKE] giving up after 3 retransmits", "the peer does not answer"),
    ],
)
def test_a_line(line: str, expected: str) -> None:
    assert explain_refusal(f"Nov 24 12:00:00.000 09{line}", NOW) == [expected]


def test_each_reason_is_told_once_and_the_rest_is_no_reason() -> None:
    log = "\n".join(["09[NET] sending packet", "09[IKE] giving up after 3 retransmits"] * 3)
    assert explain_refusal(log, NOW) == ["the peer does not answer"]
    assert explain_refusal("", NOW) == []
