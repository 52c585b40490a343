"""What a router is told of its trustpoints, and a certificate server of itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from testbed.pki.names import encode_name
from testbed.render.content import RenderedFile
from testbed.render.escape import pki_option, shell_assignment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.device import CertificateServerConfig, Device, TrustpointConfig

__all__ = ["CA_SETTINGS", "TRUSTPOINTS", "render_certificate_server", "render_trustpoints"]

TRUSTPOINTS = "/etc/testbed/trustpoints"  # read by images/bin/enrol
CA_SETTINGS = "/etc/testbed/ca.json"
_NVRAM = "/var/lib/testbed"
# Of a poll that comes at once: enrold goes on asking.
_SHORTEST_POLL_S = 1


def render_trustpoints(device: Device) -> Iterator[tuple[str, RenderedFile]]:
    """The options of each `pki` command, and what the script around them has to know."""
    for trustpoint in device.trustpoints:
        folder = f"{TRUSTPOINTS}/{trustpoint.name}"
        for name, text in _files(trustpoint):
            yield f"{folder}/{name}", RenderedFile(text.encode(), 0o600)


def _files(trustpoint: TrustpointConfig) -> Iterator[tuple[str, str]]:
    settings = {
        "protocol": trustpoint.protocol,
        "key_label": trustpoint.key_label,
        "fingerprint": trustpoint.fingerprint or "",
        "auto_enroll": trustpoint.auto_enroll_percent or "",
        "regenerate": "yes" if trustpoint.regenerate else "",
        "retry": trustpoint.retry_s,
    }
    yield "settings", "".join(shell_assignment(name, value) for name, value in settings.items())
    yield "key", _options(type=trustpoint.key_type, size=trustpoint.key_bits, outform="pem")
    yield "authenticate", _options(url=trustpoint.ca_url)
    yield "request", _request(trustpoint)
    if trustpoint.protocol == "est":
        password = trustpoint.password
        userpass = {"userpass": f"{trustpoint.fqdn}:{password.reveal().decode()}"} if password else {}
        yield "send", _options(url=trustpoint.url, outform="pem", **_polling(trustpoint), **userpass)


def _request(trustpoint: TrustpointConfig) -> str:
    # The name in DER: pki's own notation knows no commas, no `+`, and SN for something else.
    text = _options(dn=f"asn1dn:#{encode_name(trustpoint.subject).hex()}", san=trustpoint.fqdn)
    text += "".join(pki_option("san", str(address)) for address in trustpoint.addresses)
    if trustpoint.protocol == "est":
        return text + _options(type=trustpoint.key_type)
    text += _options(url=trustpoint.url, outform="pem", **_polling(trustpoint))
    if trustpoint.password is not None:
        text += pki_option("password", trustpoint.password.reveal().decode())
    return text


def _polling(trustpoint: TrustpointConfig) -> dict[str, int]:
    return {
        "interval": min(trustpoint.retry_s, trustpoint.wait_s or _SHORTEST_POLL_S),
        "maxpolltime": trustpoint.wait_s or _SHORTEST_POLL_S,
    }


def _options(**values: object) -> str:
    return "".join(pki_option(name, str(value)) for name, value in values.items())


def render_certificate_server(server: CertificateServerConfig) -> bytes:
    """The settings of testbed/pki, as JSON; see testbed/pki/settings.py."""
    archive = server.archive
    settings: dict[str, Any] = {
        "name": server.name,
        "subject": [list(pair) for pair in server.subject],
        "names": list(server.names),
        "directory": f"{_NVRAM}/ca",
        "grant": server.grant,
        "challenge": server.challenge.reveal().decode() if server.challenge else None,
        "one_time_password_s": server.one_time_password_s,
        "one_time_password_grants": server.one_time_password_grants,
        "hash": server.hash,
        "key_size": server.key_size,
        "ca_lifetime_s": server.ca_lifetime_s,
        "certificate_lifetime_s": server.certificate_lifetime_s,
        "crl_lifetime_s": server.crl_lifetime_s,
        "request_lifetime_s": server.request_lifetime_s,
        "cdp_url": server.cdp_url,
        "database_level": server.database_level,
        "database_directory": server.database_directory,
        "archive_format": archive.format if archive else None,
        "archive_password": archive.password.reveal().decode() if archive else None,
        "auto_rollover_s": server.auto_rollover_s,
        "ra": server.ra,
        "legacy": server.legacy,
        "duplicates": server.duplicates,
        "waits_for_clock": server.waits_for_clock,
    }
    return json.dumps(settings, indent=2).encode() + b"\n"
