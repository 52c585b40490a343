"""Trustpoints and certificate servers."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from testbed.device.services import ArchiveConfig, CertificateServerConfig, TrustpointConfig
from testbed.ios.passwords import decoded
from testbed.names import parse_name
from testbed.topology.secrets import SecretValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from testbed.device.ios.context import Context
    from testbed.device.model import InterfaceConfig
    from testbed.device.services import DistinguishedName, RevocationWay
    from testbed.ios.configuration import Statement

    Address = IPv4Address | IPv6Address

__all__ = ["compile_certificate_server", "compile_trustpoints", "router_fqdn", "serial_number"]

_DAY, _HOUR = 86400, 3600
_KEY_BITS = {"ios15": 1024, "iosxe17": 2048}
_CA_BITS = (1024, 2048, 3072, 4096)
_SCEP_PATH = "/cgi-bin/pkiclient.exe"
_RETRY_S = 2  # IOS asks once a minute; nobody who waits for a lab wants that, unless it is configured


def router_fqdn(context: Context) -> str:
    configuration = context.configuration
    domain = configuration.value("ip domain name", "domain")
    host = configuration.hostname.replace("_", "-").lower() if domain is None else configuration.hostname
    return f"{host}.{domain}" if domain else host


def serial_number(node: str) -> str:
    """A router's serial number, which a Linux node has none of: made of its name, the same at every run."""
    return f"9{sum((index + 1) * ord(letter) * 2654435761 for index, letter in enumerate(node)) % 10**10:010d}"


def compile_trustpoints(context: Context) -> tuple[TrustpointConfig, ...]:
    return tuple(_trustpoints(context))


def _trustpoints(context: Context) -> Iterator[TrustpointConfig]:
    servers = {item.get("server") for item in context.configuration.all("crypto pki server")}
    for section in context.configuration.all("crypto pki trustpoint"):
        name = section.get("trustpoint")
        url = section.value("enrollment url", "url")
        if name in servers:
            continue  # the certificate server's own
        if url is None:
            context.note(section, "a trustpoint without an enrolment URL has no effect")
            continue
        yield _trustpoint(context, section, name, url)


def _trustpoint(context: Context, section: Statement, name: str, url: str) -> TrustpointConfig:
    fqdn = section.value("fqdn", "fqdn") or router_fqdn(context)
    full = url if re.fullmatch(r"https?://[^/]+/.+", url) else url.rstrip("/") + _SCEP_PATH
    ways = section.one("revocation-check")
    wanted = ways.every("way") if ways else ["crl"]
    ways_asked: tuple[RevocationWay, ...] = ("ocsp", "crl")
    checked = tuple(sorted((way for way in ways_asked if way in wanted), key=wanted.index))
    percent = section.one("auto-enroll")
    password = section.one("password")
    secret = password.get("password") if password else None
    if password is not None and password.get("type") == "7":
        secret = decoded(str(secret))
    period = section.value("enrollment retry period", "minutes")
    label, bits = _key(context, section, fqdn)
    fingerprint = re.sub(r"[ :]", "", section.value("fingerprint", "fingerprint", "")).upper()
    return TrustpointConfig(
        name=name,
        url=full,
        ca_url=full,
        server=_authority(context, url),
        protocol="scep",
        key_label=label,
        key_type="rsa",
        key_bits=bits,
        fqdn=fqdn,
        subject=_subject(context, section, fqdn),
        addresses=tuple(_certified(context, section)),
        password=SecretValue(secret.encode()) if secret else None,
        fingerprint=fingerprint or None,
        revocation=checked,
        revocation_optional="none" in wanted,
        auto_enroll_percent=min(percent.get("percent", 99), 99) if percent else None,
        regenerate=percent is not None and percent.has("regenerate"),
        retry_s=period * 60 if period else _RETRY_S,
        wait_s=0,
    )


def _authority(context: Context, url: str) -> str | None:
    host = re.sub(r"^https?://", "", url).split("/")[0].rsplit(":", 1)[0].strip("[]")
    try:
        owner = context.owners.get(ip_address(host))
    except ValueError:
        return None
    return owner if owner in context.authorities else None


def _subject(context: Context, section: Statement, fqdn: str) -> DistinguishedName:
    """As IOS composes it: the subject-name, the serial number if it is wanted, and the FQDN as unstructuredName."""
    text = section.value("subject-name", "dn")
    subject = parse_name(text) if text else ()
    serial = section.one("serial-number")
    if serial is not None and serial.get("how") is None:
        subject = (*subject, ("serialNumber", serial_number(context.node)))
    if section.value("fqdn", "how") != "none":
        subject = (*subject, ("unstructuredName", fqdn))
    return subject


def _certified(context: Context, section: Statement) -> Iterator[Address]:
    statement = section.one("ip-address")
    if statement is None:
        return
    if statement.get("address") is not None:
        yield statement.get("address")
    elif statement.get("interface") is not None:
        for item in context.configuration.all("interface"):
            if item.get("interface") == statement.get("interface"):
                yield from (found.get("address") for found in item.all("ip address"))


def _key(context: Context, section: Statement, fqdn: str) -> tuple[str, int]:
    statement = section.one("rsakeypair")
    label = statement.get("label") if statement else fqdn
    bits = statement.get("bits") if statement else None
    for made in context.configuration.all("crypto key generate rsa"):
        if made.get("label", fqdn) == label and bits is None:
            bits = made.get("modulus")
    return label, max(bits or _KEY_BITS[context.flavor], 512)


def compile_certificate_server(
    context: Context, interfaces: Sequence[InterfaceConfig]
) -> CertificateServerConfig | None:
    """The one that is enabled; IOS has one only."""
    for section in context.configuration.all("crypto pki server"):
        if section.says("shutdown"):
            context.note(section, "the certificate server is shut down; `no shutdown` enables it")
        elif not context.configuration.says("ip http server"):
            context.note(section, "the certificate server needs `ip http server`")
        else:
            return _server(context, section, interfaces)
    return None


def _server(context: Context, section: Statement, interfaces: Sequence[InterfaceConfig]) -> CertificateServerConfig:
    name = section.get("server")
    archive = section.one("database archive")
    password = archive.get("password") if archive else None
    rollover = section.one("auto-rollover")
    bits = next(
        (
            made.get("modulus", 1024)
            for made in context.configuration.all("crypto key generate rsa")
            if made.get("label") == name
        ),
        _KEY_BITS[context.flavor],
    )
    names = [str(address.ip) for interface in interfaces for address in interface.addresses]
    return CertificateServerConfig(
        name=name,
        subject=parse_name(section.value("issuer-name", "dn") or f"CN={name}"),
        grant=section.value("grant", "how", "none"),
        challenge=None,
        one_time_password_s=3600,
        one_time_password_grants=True,
        hash=section.value("hash", "hash", "sha256"),
        key_size=min((size for size in _CA_BITS if size >= bits), default=4096),
        ca_lifetime_s=_lifetime(section.one("lifetime ca-certificate"), 1095 * _DAY),
        certificate_lifetime_s=_lifetime(section.one("lifetime certificate"), 365 * _DAY),
        crl_lifetime_s=_lifetime(section.one("lifetime crl"), 168 * _HOUR),
        request_lifetime_s=_lifetime(section.one("lifetime enrollment-request"), 168 * _HOUR),
        cdp_url=section.value("cdp-url", "url"),
        database_level=section.value("database level", "level", "minimum"),
        database_directory="/var/lib/testbed/ca/database",
        archive=ArchiveConfig(archive.get("format"), SecretValue(password.encode())) if archive and password else None,
        auto_rollover_s=_lifetime(rollover, 30 * _DAY) if rollover else None,
        ra=False,
        legacy=False,
        duplicates="allow",
        waits_for_clock=bool(context.configuration.all("ntp server")),
        names=(*names, context.node),
    )


def _lifetime(statement: Statement | None, default: int) -> int:
    if statement is None:
        return default
    days, hours, minutes = (statement.get(unit, 0) for unit in ("days", "hours", "minutes"))
    return max(days * _DAY + hours * _HOUR + minutes * 60, 60) if days or hours or minutes else default
