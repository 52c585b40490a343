"""What a topology may say of time and certificates: clocks, NTP, certificate servers, trustpoints."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from testbed.topology.secrets import SecretSource
from testbed.topology.values import Duration, Number, list_of_one, text_only

__all__ = [
    "Archive",
    "CertificateServer",
    "Clock",
    "Database",
    "KeyPair",
    "Lifetimes",
    "Ntp",
    "NtpKey",
    "NtpServer",
    "ServerName",
    "Trustpoint",
    "parse_moment",
    "parse_offset",
]

_OFFSET = re.compile(r"([+-]?)\s*(\d+(?:\.\d+)?)\s*(s|m|h|d|y)?")
_UNIT_S = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 31557600}
_LONGEST_S = 60 * 31557600


def parse_offset(value: Any) -> Any:
    """Signed seconds from `-3y`, `+90s`, `2h` or a number."""
    if not isinstance(value, str):
        return value
    match = _OFFSET.fullmatch(value.strip())
    if not match:
        raise ValueError("is no offset")
    seconds = float(match[2]) * _UNIT_S[match[3]]
    return -seconds if match[1] == "-" else seconds


def parse_moment(value: Any) -> Any:
    """A moment in UTC from `1993-03-01` or `1993-03-01 12:00:00`."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        found = datetime.fromisoformat(str(value).strip().replace("/", "-"))
    except ValueError:
        raise ValueError("is no date") from None
    if not 1970 <= found.year <= 2100:
        raise ValueError("is no date between 1970 and 2100")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Offset = Annotated[
    float,
    BeforeValidator(parse_offset),
    Field(ge=-_LONGEST_S, le=_LONGEST_S),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?\s*[0-9.]+\s*[smhdy]?$"}]}),
]
Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"}),
]
Secret = str | SecretSource
Stratum = Annotated[int, Field(ge=1, le=15)]
KeyId = Annotated[int, Field(ge=1, le=65535)]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?$")]
DistinguishedName = Annotated[
    str, StringConstraints(min_length=3, max_length=512, pattern=r"^[\x20-\x7e]+$"), BeforeValidator(text_only)
]
Fqdn = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$"),
]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?$", max_length=256)]
Fingerprint = Annotated[
    str, BeforeValidator(text_only), StringConstraints(pattern=r"^[0-9A-Fa-f]{2}([ :]?[0-9A-Fa-f]{2}){15,63}$")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clock(_Model):
    """What a node's own clock shows when it boots. Without it, and without NTP, a node has the host's clock."""

    offset: Annotated[
        Offset | None, Field(description="From the host's clock: `-3y`, `+90s`, `2h`. Not together with `at`.")
    ] = None
    at: Annotated[Moment | None, Field(description="A moment in UTC: `1993-03-01`, `1993-03-01 12:00:00`.")] = None
    drift_ppm: Annotated[
        Number, Field(ge=-10000, le=10000, description="How much faster its oscillator runs, in parts per million.")
    ] = 0.0

    @model_validator(mode="after")
    def not_both(self) -> Clock:
        if self.offset is not None and self.at is not None:
            raise ValueError("names both 'offset' and 'at'")
        return self


class NtpKey(_Model):
    """A symmetric key of NTP (RFC 5905, RFC 8573), as in `ntp authentication-key`."""

    type: Literal["md5", "sha1", "sha256", "sha384", "sha512", "aes128", "aes256"] = "md5"
    secret: Annotated[Secret, Field(description="Text, or where it is; for aes128 and aes256 hexadecimal.", repr=False)]


class NtpServer(_Model):
    """A time server that a node asks."""

    server: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9:._-]+$"),
        Field(description="A node, `node:interface`, or address."),
    ]
    key: Annotated[KeyId | None, Field(description="Authenticate its answers with this key of the node.")] = None
    nts: Annotated[bool, Field(description="Network Time Security (RFC 8915); the server is a node.")] = False
    prefer: bool = False


def _server(value: Any) -> Any:
    return {"server": value} if isinstance(value, str) else value


class Ntp(_Model):
    """NTP by chronyd. Whoever speaks it also serves it, as routers do."""

    servers: Annotated[
        list[Annotated[NtpServer, BeforeValidator(_server)]],
        BeforeValidator(list_of_one),
        Field(description="Servers; a bare name is one without options."),
    ] = []
    master: Annotated[
        Stratum | None, Field(description="Serve the node's own clock at this stratum, as `ntp master` does.")
    ] = None
    keys: Annotated[dict[KeyId, NtpKey], Field(description="Symmetric keys by number.")] = {}
    authenticate: Annotated[
        bool, Field(description="Never follow a server whose answers are not authenticated, as `ntp authenticate`.")
    ] = False


class Lifetimes(_Model):
    """How long what a certificate server issues is valid."""

    ca: Annotated[Duration, Field(description="Its own certificate.")] = 1095 * 86400
    certificate: Annotated[Duration, Field(description="A certificate; never longer than the CA's own.")] = 365 * 86400
    crl: Annotated[Duration, Field(description="A revocation list.")] = 168 * 3600
    request: Annotated[Duration, Field(description="A request that waits to be granted.")] = 168 * 3600


class Archive(_Model):
    """The CA's key and certificate, written once as IOS does when the server is first enabled."""

    format: Literal["pkcs12", "pem"] = "pkcs12"
    password: Annotated[Secret, Field(description="What encrypts it.", repr=False)]


class Database(_Model):
    """The files that an IOS certificate server writes."""

    level: Annotated[
        Literal["minimum", "names", "complete"],
        Field(description="Serial number and CRL; the names too; every certificate too."),
    ] = "minimum"
    url: Annotated[
        str | None,
        StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$", max_length=200),
        Field(description="The folder of the node in which they stand; in its NVRAM when left out."),
    ] = None
    archive: Archive | None = None


class CertificateServer(_Model):
    """A certificate authority, with the settings of `crypto pki server`. Speaks SCEP, EST and OCSP, publishes a CRL."""

    name: Annotated[ServerName, Field(description="Names its files, and its CRL's URL.")]
    issuer_name: Annotated[
        DistinguishedName | None, Field(description="Its own name: `CN=ca.example.test, O=Example, C=KE`.")
    ] = None
    grant: Annotated[
        Literal["auto", "none", "ra-auto"],
        Field(description="Grant at once; wait for an operator; grant at once what a registration authority signed."),
    ] = "none"
    challenge: Annotated[
        Secret | None,
        Field(description="The challenge password each request must carry.", repr=False),
    ] = None
    one_time_passwords: Annotated[
        Duration | None,
        Field(description="Instead: passwords from `testbed ca LAB password`, good once and for this long."),
    ] = None
    hash: Annotated[Literal["sha1", "sha256", "sha384", "sha512"], Field(description="What signatures use.")] = "sha256"
    key_size: Annotated[Literal[1024, 2048, 3072, 4096], Field(description="Bits of its RSA key.")] = 2048
    lifetime: Lifetimes = Lifetimes()
    cdp_url: Annotated[Url | None, Field(description="Where certificates say the CRL is; its own when left out.")] = (
        None
    )
    database: Database = Database()
    auto_rollover: Annotated[
        Duration | None,
        Field(description="Make the next CA certificate this long before the current one ends (GetNextCACert)."),
    ] = None
    ra: Annotated[bool, Field(description="Answer SCEP with the certificate of a registration authority.")] = False
    legacy: Annotated[bool, Field(description="Accept DES and MD5, as old IOS sends them. Never outside a lab.")] = (
        False
    )
    duplicates: Annotated[
        Literal["allow", "supersede", "reject"],
        Field(
            description="A second certificate of the same subject with another key: issue, revoke the first, refuse."
        ),
    ] = "allow"


class KeyPair(_Model):
    """The key pair that a certificate is for."""

    label: Annotated[ServerName | None, Field(description="Its name; the trustpoint's when left out.")] = None
    type: Annotated[Literal["rsa", "ecdsa"], Field(description="ECDSA needs EST: SCEP encrypts to the key.")] = "rsa"
    size: Annotated[Literal[256, 384, 521, 1024, 2048, 3072, 4096] | None, Field(description="Bits; 2048, or 256.")] = (
        None
    )


class Trustpoint(_Model):
    """A CA that a router trusts, and the certificate it has of it, with the settings of `crypto pki trustpoint`."""

    server: Annotated[str | None, Field(description="The node whose certificate server it is.")] = None
    url: Annotated[Url | None, Field(description="Instead of `server`: the enrolment URL.")] = None
    protocol: Annotated[Literal["scep", "est"], Field(description="How to enrol: RFC 8894 or RFC 7030.")] = "scep"
    key: KeyPair = KeyPair()
    fqdn: Annotated[Fqdn | None, Field(description="In the certificate; `NODE.test` when left out.")] = None
    subject_name: Annotated[DistinguishedName | None, Field(description="`CN=` and the FQDN when left out.")] = None
    serial_number: Annotated[
        str | None,
        BeforeValidator(text_only),
        StringConstraints(pattern=r"^[A-Za-z0-9]{1,32}$"),
        WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[A-Za-z0-9]{1,32}$"}, {"type": "integer"}]}),
        Field(description="The router's serial number, put into the subject."),
    ] = None
    ip_address: Annotated[
        str | None,
        Field(description="An address, or an interface of the node whose address is put in the certificate."),
    ] = None
    password: Annotated[Secret | None, Field(description="The challenge password.", repr=False)] = None
    fingerprint: Annotated[
        Fingerprint | None, Field(description="Of the CA's certificate (MD5, SHA-1 or SHA-256); compared when given.")
    ] = None
    revocation_check: Annotated[
        list[Literal["ocsp", "crl", "none"]],
        BeforeValidator(list_of_one),
        Field(min_length=1, description="In this order. `none` at the end accepts a peer when nothing can be asked."),
    ] = ["crl"]
    auto_enroll: Annotated[
        int | None, Field(ge=1, le=99, description="Renew at this percentage of the certificate's lifetime.")
    ] = None
    regenerate: Annotated[bool, Field(description="Renew with a new key pair.")] = False
    retry_s: Annotated[
        int, Field(ge=1, le=3600, description="Seconds until a router asks again, for what waits or has failed.")
    ] = 1
    wait_s: Annotated[int, Field(ge=0, le=86400, description="How long `up` waits for a grant; 0: not at all.")] = 0

    @model_validator(mode="after")
    def exactly_one(self) -> Trustpoint:
        if (self.server is None) == (self.url is None):
            raise ValueError("names not exactly one of 'server' and 'url'")
        return self
