"""What a node is told of time and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from testbed.topology.addressing import Address
    from testbed.topology.secrets import SecretValue

__all__ = [
    "ArchiveConfig",
    "CertificateServerConfig",
    "ClockConfig",
    "NtpConfig",
    "NtpKeyConfig",
    "NtpServerConfig",
    "TrustpointConfig",
]

DistinguishedName = tuple[tuple[str, str], ...]
RevocationWay = Literal["ocsp", "crl"]


@dataclass(frozen=True)
class ClockConfig:
    """What a node's clock shows at boot: a moment, or the host's time and an offset. Nanoseconds."""

    offset_ns: int = 0
    at_ns: int | None = None
    drift_ppm: float = 0.0


@dataclass(frozen=True)
class NtpKeyConfig:
    """A symmetric key; `type` as chrony.conf's keyfile names it in lower case."""

    number: int
    type: str
    secret: SecretValue


@dataclass(frozen=True)
class NtpServerConfig:
    """A server to ask. `node` is its name if it is one of the lab; NTS needs that, for its certificate."""

    address: Address
    node: str | None
    key: int | None
    nts: bool
    prefer: bool
    version: int | None = None
    minpoll: int | None = None  # powers of two, in seconds
    maxpoll: int | None = None


@dataclass(frozen=True)
class NtpConfig:
    """NTP of one node. `nts_names` are the names and addresses by which others ask it with NTS; none if nobody does.

    `source` is the address that it asks from, if that is not left to the kernel.
    """

    servers: tuple[NtpServerConfig, ...]
    keys: tuple[NtpKeyConfig, ...]
    master: int | None
    authenticate: bool
    nts_names: tuple[str, ...]
    source: Address | None = None

    @property
    def nts_peers(self) -> tuple[str, ...]:
        """The nodes whose NTS certificate has to be known here."""
        return tuple(dict.fromkeys(server.node for server in self.servers if server.nts and server.node))


@dataclass(frozen=True)
class ArchiveConfig:
    format: Literal["pkcs12", "pem"]
    password: SecretValue


@dataclass(frozen=True)
class CertificateServerConfig:
    """A certificate authority; see `testbed.topology.services.CertificateServer`. Times in seconds.

    `names` are the names and addresses by which it is reached, the first one in the URLs of its certificates.
    """

    name: str
    subject: DistinguishedName
    grant: Literal["auto", "none", "ra-auto"]
    challenge: SecretValue | None
    one_time_password_s: int | None
    one_time_password_grants: bool
    hash: str
    key_size: int
    ca_lifetime_s: int
    certificate_lifetime_s: int
    crl_lifetime_s: int
    request_lifetime_s: int
    cdp_url: str | None
    database_level: Literal["minimum", "names", "complete"]
    database_directory: str
    archive: ArchiveConfig | None
    auto_rollover_s: int | None
    ra: bool
    legacy: bool
    duplicates: Literal["allow", "supersede", "reject"]
    waits_for_clock: bool
    names: tuple[str, ...]


@dataclass(frozen=True)
class TrustpointConfig:
    """A CA that a node trusts and enrols with. `ca_url` is where its certificate is fetched, by SCEP whatever the
    protocol: EST would need to know it already. `fingerprint` is hexadecimal without separators, in upper case.
    """

    name: str
    url: str
    ca_url: str
    server: str | None
    protocol: Literal["scep", "est"]
    key_label: str
    key_type: Literal["rsa", "ecdsa"]
    key_bits: int
    fqdn: str
    subject: DistinguishedName
    addresses: tuple[Address, ...]
    password: SecretValue | None
    fingerprint: str | None
    revocation: tuple[RevocationWay, ...]
    revocation_optional: bool
    auto_enroll_percent: int | None
    regenerate: bool
    retry_s: int
    wait_s: int
