"""Why charon would not have a peer, from the lines of its log.

Source of the lines: strongSwan 6.0.1, `src/libstrongswan/credentials/credential_manager.c`,
`src/libstrongswan/plugins/revocation/revocation_validator.c`, `src/libcharon/sa/` (checked on live daemons).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from testbed.daemons.chronyd import outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["explain_refusal"]

_MOMENT = "%b %d %H:%M:%S %Y"


def explain_refusal(log: str, now: datetime) -> list[str]:
    """Each reason that a daemon gave in these lines, once, in words; `now` is the time by its node's clock."""
    found: list[str] = []
    for line in log.splitlines():
        found += [reason for reason in _reasons(line, now) if reason not in found]
    return found


def _reasons(line: str, now: datetime) -> Iterator[str]:
    for pattern, explain in _KNOWN:
        match = pattern.search(line)
        if match:
            yield explain(match, now)


def _invalid(match: re.Match[str], now: datetime) -> str:
    begin, end = (datetime.strptime(text, _MOMENT).replace(tzinfo=UTC) for text in (match[1], match[2]))
    if not begin <= now <= end:
        return f"the peer's certificate {'is' if now < begin else 'has'} {outside(begin, end, now)}"
    return f"a certificate was not valid (from {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S})"


def _text(template: str) -> Callable[[re.Match[str], datetime], str]:
    return lambda match, _: template.format(*match.groups())


_KNOWN: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], str]], ...] = (
    (re.compile(r"certificate invalid \(valid from (\w+ +\d+ [\d:]+ \d+) to (\w+ +\d+ [\d:]+ \d+)\)"), _invalid),
    (
        re.compile(r"certificate was revoked on (.*?), reason: (.*)"),
        _text("the peer's certificate was revoked on {0}, reason: {1}"),
    ),
    (
        re.compile(r"constraint check failed: RULE_(CRL|OCSP)_VALIDATION is STALE"),
        _text("the {0} has expired, and a current one is required"),
    ),
    (
        re.compile(r"constraint check failed: RULE_(CRL|OCSP)_VALIDATION is (?:FAILED|SKIPPED)"),
        _text("whether the peer's certificate is revoked could not be found out by {0}, and has to be"),
    ),
    (re.compile(r"crl is stale: since (.*)"), _text("the CRL ended on {0}")),
    (re.compile(r"libcurl request failed \[\d+\]: (.*)"), _text("the fetch failed: {0}")),
    (re.compile(r"fetching crl from '(.*?)'"), _text("a CRL was wanted from {0}")),
    (re.compile(r"no issuer certificate found for \"(.*)\""), _text("the certificate of {0} is of another CA")),
    (re.compile(r"issuer is \"(.*)\""), _text("its issuer is {0}")),
    (re.compile(r"peer not authenticated by CA '(.*)'"), _text("the peer's certificate is not one of {0}")),
    (
        re.compile(r"IDir '(.*)' does not match to '(.*)'"),
        _text("the peer is {0}, and {1} was expected"),
    ),
    (
        re.compile(r"no (?:matching )?peer config found"),
        _text("no connection is configured for the identities of the peer"),
    ),
    (re.compile(r"no private key found for '(.*)'"), _text("there is no certificate with a private key for {0}")),
    (re.compile(r"no RSA private key found for '(.*)'"), _text("there is no certificate with a private key for {0}")),
    (
        re.compile(r"no trusted \w+ public key found for '(.*)'"),
        _text("no certificate of {0} can be trusted"),
    ),
    (
        re.compile(r"constraint requires (.*) authentication, but (.*) was used"),
        _text("{0} authentication is required, and the peer used {1}"),
    ),
    (
        re.compile(r"found \d+ matching configs?, but none allows (.*) authentication using (.*)"),
        _text("no connection allows {0} authentication using {1}"),
    ),
    (
        re.compile(r"self-signed certificate \"(.*)\" is not trusted"),
        _text("the certificate of {0} is signed by itself"),
    ),
    (re.compile(r"signature validation failed"), _text("the peer's signature is not by the key of its certificate")),
    (re.compile(r"but MAC mismatched"), _text("the peer's pre-shared key is another one: its AUTH payload is wrong")),
    (
        re.compile(r"invalid (?:HASH|ID)_V1 payload length, decryption failed\?"),
        _text("the peer's pre-shared key is another one: what it encrypts with it cannot be read"),
    ),
    (
        re.compile(r"calculated HASH does not match HASH payload"),
        _text("the peer's pre-shared key is another one: its HASH payload is wrong"),
    ),
    (re.compile(r"giving up after \d+ retransmits"), _text("the peer does not answer")),
)
