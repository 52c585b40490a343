"""From a topology to what a node is told of time and certificates."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from testbed.device.services import (
    ArchiveConfig,
    CertificateServerConfig,
    ClockConfig,
    NtpConfig,
    NtpKeyConfig,
    NtpServerConfig,
    TrustpointConfig,
)
from testbed.names import parse_name
from testbed.topology import split_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.device.services import RevocationWay
    from testbed.topology import LoadedTopology
    from testbed.topology.addressing import Address
    from testbed.topology.models import Node
    from testbed.topology.services import NtpServer, Trustpoint

__all__ = ["build_certificate_server", "build_clock", "build_ntp", "build_trustpoints"]

_NS = 1_000_000_000
_SCEP_PATH = "/cgi-bin/pkiclient.exe"


def build_clock(node: Node) -> ClockConfig | None:
    """A clock for whoever says so, and for whoever's clock NTP is to set."""
    clock = node.clock
    if clock is None:
        return ClockConfig() if node.ntp is not None else None
    at_ns = None if clock.at is None else int(clock.at.timestamp()) * _NS
    return ClockConfig(int((clock.offset or 0) * _NS), at_ns, clock.drift_ppm)


def build_ntp(loaded: LoadedTopology, name: str, node: Node) -> NtpConfig | None:
    if node.ntp is None:
        return None
    return NtpConfig(
        servers=tuple(_ntp_server(loaded, server) for server in node.ntp.servers),
        keys=tuple(
            NtpKeyConfig(number, key.type, loaded.secrets["nodes", name, "ntp", "keys", number, "secret"])
            for number, key in node.ntp.keys.items()
        ),
        master=node.ntp.master,
        authenticate=node.ntp.authenticate,
        nts_names=tuple(_names(loaded, name)) if _is_asked_with_nts(loaded, name) else (),
    )


def _ntp_server(loaded: LoadedTopology, server: NtpServer) -> NtpServerConfig:
    node, _ = split_end(server.server)
    known = node in loaded.topology.nodes
    address = _addresses(loaded, server.server)[0] if known else ip_address(server.server)
    return NtpServerConfig(address, node if known else None, server.key, server.nts, server.prefer)


def _addresses(loaded: LoadedTopology, endpoint: str) -> list[Address]:
    node, wanted = split_end(endpoint)
    return [found.ip for interface, found in loaded.addressing.of_node(node) if wanted in ("", interface)]


def _names(loaded: LoadedTopology, name: str) -> Iterator[str]:
    yield from (str(address) for address in _addresses(loaded, name))
    yield name


def _is_asked_with_nts(loaded: LoadedTopology, name: str) -> bool:
    return any(
        server.nts and split_end(server.server)[0] == name
        for other in loaded.topology.nodes.values()
        for server in (other.ntp.servers if other.ntp else ())
    )


def build_certificate_server(loaded: LoadedTopology, name: str, node: Node) -> CertificateServerConfig | None:
    server = node.certificate_server
    if server is None:
        return None
    path = ("nodes", name, "certificate_server")
    archive = server.database.archive
    return CertificateServerConfig(
        name=server.name,
        subject=parse_name(server.issuer_name or f"CN={server.name}"),
        grant=server.grant,
        challenge=loaded.secrets.get((*path, "challenge")),
        one_time_password_s=server.one_time_passwords,
        one_time_password_grants=False,
        hash=server.hash,
        key_size=server.key_size,
        ca_lifetime_s=server.lifetime.ca,
        certificate_lifetime_s=server.lifetime.certificate,
        crl_lifetime_s=server.lifetime.crl,
        request_lifetime_s=server.lifetime.request,
        cdp_url=server.cdp_url,
        database_level=server.database.level,
        database_directory=server.database.url or "/var/lib/testbed/ca/database",
        archive=ArchiveConfig(archive.format, loaded.secrets[(*path, "database", "archive", "password")])
        if archive
        else None,
        auto_rollover_s=server.auto_rollover,
        ra=server.ra,
        legacy=server.legacy,
        duplicates=server.duplicates,
        waits_for_clock=node.ntp is not None,
        names=tuple(_names(loaded, name)),
    )


def build_trustpoints(loaded: LoadedTopology, name: str, node: Node) -> tuple[TrustpointConfig, ...]:
    return tuple(_trustpoint(loaded, name, *item) for item in node.trustpoints.items())


def _trustpoint(loaded: LoadedTopology, node: str, name: str, trustpoint: Trustpoint) -> TrustpointConfig:
    fqdn = trustpoint.fqdn or f"{node}.test"
    subject = parse_name(trustpoint.subject_name or f"CN={fqdn}")
    if trustpoint.serial_number is not None:
        subject = (*subject, ("serialNumber", trustpoint.serial_number))
    fingerprint = "".join((trustpoint.fingerprint or "").split()).replace(":", "").upper()
    ways: tuple[RevocationWay, ...] = tuple(way for way in trustpoint.revocation_check if way != "none")
    return TrustpointConfig(
        name=name,
        url=trustpoint.url or _url(loaded, trustpoint, trustpoint.protocol),
        ca_url=trustpoint.url or _url(loaded, trustpoint, "scep"),
        server=trustpoint.server,
        protocol=trustpoint.protocol,
        key_label=trustpoint.key.label or name,
        key_type=trustpoint.key.type,
        key_bits=trustpoint.key.size or (2048 if trustpoint.key.type == "rsa" else 256),
        fqdn=fqdn,
        subject=subject,
        addresses=tuple(_certified_addresses(loaded, node, trustpoint)),
        password=loaded.secrets.get(("nodes", node, "trustpoints", name, "password")),
        fingerprint=fingerprint or None,
        revocation=ways,
        revocation_optional="none" in trustpoint.revocation_check,
        auto_enroll_percent=trustpoint.auto_enroll,
        regenerate=trustpoint.regenerate,
        retry_s=trustpoint.retry_s,
        wait_s=trustpoint.wait_s,
    )


def _url(loaded: LoadedTopology, trustpoint: Trustpoint, protocol: str) -> str:
    address = _addresses(loaded, trustpoint.server or "")[0]
    host = str(address) if address.version == 4 else f"[{address}]"
    return f"https://{host}" if protocol == "est" else f"http://{host}{_SCEP_PATH}"


def _certified_addresses(loaded: LoadedTopology, node: str, trustpoint: Trustpoint) -> Iterator[Address]:
    wanted = trustpoint.ip_address
    if wanted is None:
        return
    of_interface = _addresses(loaded, f"{node}:{wanted}") if ":" not in wanted else []
    yield from of_interface or [ip_address(wanted)]
