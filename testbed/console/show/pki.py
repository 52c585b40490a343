"""Keys, certificates, trustpoints, the certificate server."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from testbed.console.commands.pki import grouped
from testbed.console.session import Exec
from testbed.console.syslog import zone
from testbed.pki.names import attributes, ios_name
from testbed.pki.pem import from_pem
from testbed.pki.x509 import read_certificate
from testbed.runtime.files import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.console.router import LiveRouter
    from testbed.console.session import Session
    from testbed.device import TrustpointConfig
    from testbed.ios.grammar import Match
    from testbed.pki.x509 import Certificate

    Show = Callable[[Session, Match[Exec]], Iterator[str]]

__all__ = ["SHOW"]

_LEVELS = {
    "minimum": "Minimum - no cert data written to storage",
    "names": "Names - subject name data written as <serialnum>.cnm",
    "complete": "Complete - all issued certs written as <serialnum>.cer",
}
_USAGES = (
    (0x80, "digital_signature", "Digital Signature"),
    (0x40, "content_commitment", "Non Repudiation"),
    (0x20, "key_encipherment", "Key Encipherment"),
    (0x10, "data_encipherment", "Data Encipherment"),
    (0x08, "key_agreement", "Key Agreement"),
    (0x04, "key_cert_sign", "Key Cert Sign"),
    (0x02, "crl_sign", "CRL Signature"),
)
_SIGNATURES = {"md5": "MD5", "sha1": "SHA1", "sha256": "SHA256", "sha384": "SHA384", "sha512": "SHA512"}


def when(router: LiveRouter, moment: datetime) -> str:
    """`03:08:21 UTC Sep 21 2025`, in the router's time zone."""
    name, offset = zone(router)
    local = moment.astimezone(UTC) + offset
    return f"{local:%H:%M:%S} {name} {local:%b} {local.day} {local:%Y}"


# -- the certificate server


def _of_a_server(show: Show) -> Show:
    """What is shown of a certificate server, if there is one of that name; of all of them if none is named."""

    @functools.wraps(show)
    def checked(session: Session, match: Match[Exec]) -> Iterator[str]:
        wanted = match.get("server")
        known = [item.get("server") for item in session.router.configuration.all("crypto pki server")]
        if wanted is not None and wanted not in known:
            return iter([f"% Certificate server {wanted} does not exist."])
        return show(session, match)

    return checked


@_of_a_server
def _server(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    for section in router.configuration.all("crypto pki server"):
        name = section.get("server")
        if match.get("server") not in (None, name):
            continue
        yield f"Certificate Server {name}:"
        authority = router.authority
        if authority is None:
            shut = section.says("shutdown")
            yield f"    Status: disabled{'' if shut else ', HTTP Server is disabled'}"
            yield f"    State: {'disabled' if shut else 'check failed'}"
            yield (
                '    Server\'s configuration is unlocked  (enter "no shut" to lock it)'
                if shut
                else '    Server\'s configuration is locked  (enter "shut" to unlock it)'
            )
            yield f"    Issuer name: {section.value('issuer-name', 'dn') or f'CN={name}'}"
            continue
        info = authority.info()
        yield from _server_facts(router, info, info.get("issuer", ""))


def _server_facts(router: LiveRouter, info: dict[str, Any], issuer: str) -> Iterator[str]:
    if not info["enabled"]:
        yield "    Status: disabled"
        yield f"    State: {info['state'].removeprefix('disabled: ')}"
        return
    yield "    Status: enabled"
    yield "    State: enabled"
    yield '    Server\'s configuration is locked  (enter "shut" to unlock it)'
    yield f"    Issuer name: {issuer}"
    yield f"    CA cert fingerprint: {grouped(info['authority']['fingerprints']['md5'])} "
    yield f"    Granting mode is: {'manual' if info['grant'] == 'none' else info['grant']}"
    yield f"    Last certificate issued serial number (hex): {info['last_serial']:X}"
    yield f"    CA certificate expiration timer: {when(router, datetime.fromisoformat(info['authority']['not_after']))}"
    crl = _own_crl(router)
    if crl is not None and crl.next_update_utc is not None:
        yield f"    CRL NextUpdate timer: {when(router, crl.next_update_utc)}"
    yield "    Current primary storage dir: nvram:"
    yield f"    Database Level: {_LEVELS[info['database_level']]}"
    if info["next"] is not None:
        yield "    Rollover status: available for rollover"
        yield f"    Rollover CA certificate fingerprint: {grouped(info['next']['fingerprints']['md5'])} "


def _own_crl(router: LiveRouter) -> x509.CertificateRevocationList | None:
    der = router.authority.crl() if router.authority is not None else None
    return x509.load_der_x509_crl(der) if der is not None else None


@_of_a_server
def _server_requests(session: Session, _match: Match[Exec]) -> Iterator[str]:
    authority = session.router.authority
    rows = authority.requests(state="pending") if authority is not None else []
    yield "Enrollment Request Database:"
    yield ""
    for title, kinds in (
        ("Subordinate CA certificate requests:", ("subca",)),
        ("RA certificate requests:", ("ra", "ra-client")),
        ("Router certificates requests:", None),
    ):
        yield title
        yield "ReqID  State      Fingerprint                      SubjectName"
        yield "--------------------------------------------------------------"
        for row in rows:
            if (kinds is None and row["kind"] not in ("subca", "ra", "ra-client")) or (kinds and row["kind"] in kinds):
                yield f"{row['id']:<6} {row['state']:<10} {row['fingerprint']} {row['ios_subject']}"
        yield ""


@_of_a_server
def _server_certificates(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    yield "Serial Issued date              Expire date               Subject Name"
    for row in router.authority.certificates() if router.authority is not None else []:
        if row["purpose"] == "tls":
            continue
        begin, end = (when(router, datetime.fromisoformat(row[key])) for key in ("not_before", "not_after"))
        yield f"{row['serial']:<7X} {begin} {end}  {row['ios_subject']}"


@_of_a_server
def _server_crl(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    crl = _own_crl(router)
    if crl is None:
        yield "% There is no CRL."
        return
    yield "Certificate Revocation List:"
    yield from _crl_facts(router, crl, "    ")


def _crl_facts(router: LiveRouter, crl: x509.CertificateRevocationList, indent: str) -> Iterator[str]:
    yield f"{indent}Issuer: {_rfc_name(crl.issuer)}"
    yield f"{indent}This Update: {when(router, crl.last_update_utc)}"
    if crl.next_update_utc is not None:
        yield f"{indent}Next Update: {when(router, crl.next_update_utc)}"
    entries = list(crl)
    yield f"{indent}Number of CRL entries: {len(entries)}"
    yield f"{indent}CRL size: {len(crl.public_bytes(serialization.Encoding.DER))} bytes"
    for entry in entries:
        yield f"{indent}Serial Number (hex): {entry.serial_number:02X}"
        yield f"{indent}Revocation Date: {when(router, entry.revocation_date_utc)}"


def _rfc_name(name: x509.Name) -> str:
    return ",".join(f"{item.rfc4514_attribute_name.lower()}={item.value!s}" for item in name)


# -- certificates


def _certificates(session: Session, match: Match[Exec]) -> Iterator[str]:
    router, verbose = session.router, match.get("verbose") is not None
    shown: dict[str, list[str]] = {}
    for trustpoint in router.device.trustpoints:
        if match.get("trustpoint") not in (None, trustpoint.name):
            continue
        enrolment = router.enrolment(trustpoint)
        own, ca = enrolment.certificate, enrolment.ca_certificate
        if enrolment.pending and own is None:
            yield from _pending(router, trustpoint)
        if own is not None:
            yield from _certificate(
                router, own, [trustpoint.name], authority=False, verbose=verbose, trustpoint=trustpoint
            )
            yield ""
        if ca is not None:
            shown.setdefault(ca.fingerprint("sha256"), []).append(trustpoint.name)
            if len(shown[ca.fingerprint("sha256")]) == 1:
                names = [item.name for item in router.device.trustpoints if _same_ca(router, item, ca)]
                yield from _certificate(router, ca, names, authority=True, verbose=verbose)
                yield ""
    yield from _own_authority(router, match, verbose=verbose)


def _same_ca(router: LiveRouter, trustpoint: TrustpointConfig, ca: Certificate) -> bool:
    found = router.enrolment(trustpoint).ca_certificate
    return found is not None and found.der == ca.der


def _own_authority(router: LiveRouter, match: Match[Exec], *, verbose: bool) -> Iterator[str]:
    """The certificate server's own certificate, which its own trustpoint holds."""
    server, authority = router.device.certificate_server, router.authority
    if server is None or authority is None or match.get("trustpoint") not in (None, server.name):
        return
    info = authority.info()
    if info["enabled"]:
        certificate = read_certificate(from_pem(info["authority"]["pem"].encode()))
        yield from _certificate(router, certificate, [server.name], authority=True, verbose=verbose)
        yield ""


def _certificate(
    router: LiveRouter,
    certificate: Certificate,
    names: list[str],
    *,
    authority: bool,
    verbose: bool,
    trustpoint: TrustpointConfig | None = None,
) -> Iterator[str]:
    parsed = x509.load_der_x509_certificate(certificate.der)
    yield "CA Certificate" if authority else "Certificate"
    yield "  Status: Available" if certificate.valid_at(router.now()) else "  Status: Expired"
    if verbose:
        yield "  Version: 3"
    yield f"  Certificate Serial Number (hex): {_serial(certificate.serial)}"
    yield f"  Certificate Usage: {'Signature' if authority else 'General Purpose'}"
    yield "  Issuer: "
    for part in _parts(certificate.issuer_name):
        yield f"    {part}"
    yield "  Subject:" if not authority else "  Subject: "
    pairs = attributes(certificate.subject_name)
    if not authority:
        known = dict(pairs)
        yield f"    Name: {known.get('1.2.840.113549.1.9.2') or known.get('2.5.4.3') or ''}"
        if "2.5.4.5" in known:
            yield f"    Serial Number: {known['2.5.4.5']}"
    for part in _parts(certificate.subject_name):
        yield f"    {part}"
    points = _distribution_points(parsed)
    if points:
        yield "  CRL Distribution Points: "
        yield from (f"    {point}" for point in points)
    yield "  Validity Date: "
    yield f"    start date: {when(router, certificate.not_before)}"
    yield f"    end   date: {when(router, certificate.not_after)}"
    if trustpoint is not None and trustpoint.auto_enroll_percent:
        span = certificate.not_after - certificate.not_before
        yield f"    renew date: {when(router, certificate.not_before + span * trustpoint.auto_enroll_percent / 100)}"
    if verbose:
        yield from _verbose(certificate, parsed)
    yield f"  Associated Trustpoints: {' '.join(names)} "
    if verbose and trustpoint is not None:
        yield f"  Key Label: {trustpoint.key_label}"


def _serial(number: int) -> str:
    text = f"{number:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


def _parts(name: Any) -> list[str]:
    """A name's parts in IOS's order: what the router adds of itself first, then what was typed, as it was typed."""
    parts = ios_name(name).split(",")
    return sorted(parts, key=lambda part: not part.startswith(("hostname=", "serialNumber=", "ipaddress=")))


def _distribution_points(parsed: x509.Certificate) -> list[str]:
    try:
        points = parsed.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.value for point in points for name in point.full_name or () if isinstance(name.value, str)]


def _verbose(certificate: Certificate, parsed: x509.Certificate) -> Iterator[str]:
    key = parsed.public_key()
    yield "  Subject Key Info:"
    if isinstance(key, rsa.RSAPublicKey):
        yield "    Public Key Algorithm: rsaEncryption"
        yield f"    RSA Public Key: ({key.key_size} bit)"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        yield "    Public Key Algorithm: ecEncryption"
        yield f"    EC Public Key:  ({key.key_size} bit)"
    hashed = parsed.signature_hash_algorithm
    name = _SIGNATURES.get(hashed.name, hashed.name.upper()) if hashed else "unknown"
    yield f"  Signature Algorithm: {name} with RSA Encryption"
    yield f"  Fingerprint MD5: {grouped(certificate.fingerprint('md5'))} "
    yield f"  Fingerprint SHA1: {grouped(certificate.fingerprint('sha1'))} "
    yield "  X509v3 extensions:"
    yield from _extensions(parsed)


def _extensions(parsed: x509.Certificate) -> Iterator[str]:
    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage):
            bits = [(bit, text) for bit, attribute, text in _USAGES if getattr(value, attribute)]
            yield f"    X509v3 Key Usage: {sum(bit for bit, _ in bits):02X}000000"
            yield from (f"      {text}" for _, text in bits)
        elif isinstance(value, x509.SubjectKeyIdentifier):
            yield f"    X509v3 Subject Key ID: {grouped(value.digest.hex().upper())} "
        elif isinstance(value, x509.BasicConstraints) and value.ca:
            yield "    X509v3 Basic Constraints:"
            yield "        CA: TRUE"
        elif isinstance(value, x509.SubjectAlternativeName):
            yield "    X509v3 Subject Alternative Name:"
            yield from (f"        {name.value}" for name in value)
        elif isinstance(value, x509.AuthorityKeyIdentifier) and value.key_identifier is not None:
            yield f"    X509v3 Authority Key ID: {grouped(value.key_identifier.hex().upper())} "
    yield "    Authority Info Access:"


def _pending(router: LiveRouter, trustpoint: TrustpointConfig) -> Iterator[str]:
    """A request that waits; its fingerprint as the CA has it, if that is one of this lab."""
    yield "Certificate"
    yield "  Subject:"
    yield f"    Name: {trustpoint.fqdn}"
    serial = dict(trustpoint.subject).get("serialNumber")
    if serial:
        yield f"    Serial Number: {serial}"
    yield "   Status: Pending"
    yield "   Key Usage: General Purpose"
    subject = ", ".join(f"{kind}={value}" for kind, value in trustpoint.subject)
    if trustpoint.server is not None:
        for row in router.lab.node(trustpoint.server).certificate_authority.requests(state="pending"):
            if row["subject"] == subject:
                yield f"   Certificate Request Fingerprint MD5: {grouped(row['fingerprint'])} "
                break
    yield f"   Associated Trustpoint: {trustpoint.name} "
    yield ""


# -- trustpoints


def _trustpoints(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    for trustpoint in router.device.trustpoints:
        if match.get("trustpoint") not in (None, trustpoint.name):
            continue
        enrolment = router.enrolment(trustpoint)
        ca = enrolment.ca_certificate
        yield f"Trustpoint {trustpoint.name}:"
        if ca is not None:
            yield "    Subject Name: "
            yield from (f"    {part}" for part in _parts(ca.subject_name))
            yield f"          Serial Number (hex): {_serial(ca.serial)}"
        if enrolment.certificate is not None:
            yield "    Certificate configured."
        yield f"    SCEP URL: {trustpoint.url.rpartition('/')[0]}"
        yield ""
        yield ""


def _trustpoints_status(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    for trustpoint in router.device.trustpoints:
        if match.get("trustpoint") in (None, trustpoint.name):
            yield from _one_status(router, trustpoint)


def _one_status(router: LiveRouter, trustpoint: TrustpointConfig) -> Iterator[str]:
    enrolment = router.enrolment(trustpoint)
    ca, own = enrolment.ca_certificate, enrolment.certificate
    yield f"Trustpoint {trustpoint.name}:"
    for title, certificate in (
        ("Issuing CA certificate configured:", ca),
        ("Router General Purpose certificate configured:", own),
    ):
        if certificate is not None:
            yield f"  {title}"
            yield "    Subject Name:"
            yield f"     {','.join(_parts(certificate.subject_name))}"
            yield f"    Fingerprint MD5: {grouped(certificate.fingerprint('md5'))} "
            yield f"    Fingerprint SHA1: {grouped(certificate.fingerprint('sha1'))} "
    if own is not None:
        yield "  Last enrollment status: Granted"
    elif enrolment.pending:
        yield "  Last enrollment status: Pending"
    key = router.state.identity.directory / "nvram-private" / f"{trustpoint.key_label}.pem"
    yield "  State:"
    yield f"    Keys generated ............. {'Yes (General Purpose, non-exportable)' if key.exists() else 'No'}"
    yield f"    Issuing CA authenticated ....... {'Yes' if ca is not None else 'No'}"
    yield f"    Certificate request(s) ..... {'Yes' if own is not None else 'Pending' if enrolment.pending else 'None'}"
    yield ""


def _crls(session: Session, _match: Match[Exec]) -> Iterator[str]:
    """Of the CAs whose lists charon has fetched and keeps."""
    router = session.router
    total = 0
    for data in router.charon.crls():
        crl = x509.load_der_x509_crl(data)
        total += len(data)
        yield "CRL Issuer Name:"
        yield f"    {_rfc_name(crl.issuer)}"
        yield f"    LastUpdate: {when(router, crl.last_update_utc)}"
        if crl.next_update_utc is not None:
            yield f"    NextUpdate: {when(router, crl.next_update_utc)}"
        yield ""
        yield "    Retrieved from CRL Distribution Point:"
        points = [point for item in router.device.trustpoints for point in _points_of(router, item)]
        yield from (f"      {point}" for point in dict.fromkeys(points))
        yield ""
        yield f" CRL DER is {len(data)} bytes"
        yield " CRL is stored in parsed CRL cache"
        yield ""
    yield ""
    yield f"Parsed CRL cache current size is {total} bytes"
    yield "Parsed CRL cache maximum size is 65536 bytes"


def _points_of(router: LiveRouter, trustpoint: TrustpointConfig) -> list[str]:
    certificate = router.enrolment(trustpoint).certificate
    return [] if certificate is None else _distribution_points(x509.load_der_x509_certificate(certificate.der))


# -- keys


def _keys(session: Session, match: Match[Exec]) -> Iterator[str]:
    router, wanted = session.router, match.get("label")
    made = {item.get("label"): item for item in router.configuration.all("crypto key generate rsa")}
    for path in sorted(
        (router.state.identity.directory / "nvram-private").glob("*.pem"), key=lambda item: item.stat().st_mtime
    ):
        content = read_file(path)
        if not content or wanted not in (None, path.stem):
            continue
        clock = router.clock()
        offset_s = clock.offset_s if clock is not None else 0.0  # the file's time is this machine's
        moment = datetime.fromtimestamp(path.stat().st_mtime + offset_s, UTC)
        exportable = path.stem in made and "exportable" in made[path.stem].every("flag")
        public = serialization.load_pem_private_key(content, None).public_key()
        yield from _key(router, path.stem, moment, public, exportable=exportable)
    yield from _servers_key(router, wanted)


def _servers_key(router: LiveRouter, wanted: str | None) -> Iterator[str]:
    """The certificate server's, which has its name and is kept with it."""
    info: dict[str, Any] = router.authority.info() if router.authority is not None else {"enabled": False}
    if info["enabled"] and wanted in (None, info["name"]):
        certificate = x509.load_pem_x509_certificate(info["authority"]["pem"].encode())
        yield from _key(
            router, info["name"], certificate.not_valid_before_utc, certificate.public_key(), exportable=False
        )


def _key(router: LiveRouter, name: str, made: datetime, public: Any, *, exportable: bool) -> Iterator[str]:
    octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    yield f"% Key pair was generated at: {when(router, made)}"
    yield f"Key name: {name}"
    yield "Key type: RSA KEYS" if isinstance(public, rsa.RSAPublicKey) else "Key type: EC KEYS"
    yield " Storage Device: not specified"
    yield " Usage: General Purpose Key"
    yield f" Key is {'' if exportable else 'not '}exportable."
    yield " Key Data:"
    digits = octets.hex().upper()
    for at in range(0, len(digits), 64):
        yield f"  {grouped(digits[at : at + 64])} "


_SERVER = "show crypto pki server"
SHOW = (
    Exec(f"{_SERVER} [<server:name>]", _server, 1),
    Exec(f"{_SERVER} <server:name> requests", _server_requests, 1),
    Exec(f"{_SERVER} <server:name> certificates", _server_certificates, 1),
    Exec(f"{_SERVER} <server:name> crl", _server_crl, 1),
    Exec("crypto pki server <server:name> info requests", _server_requests),
    Exec("crypto pki server <server:name> info crl", _server_crl),
    Exec("show crypto pki certificates [<trustpoint:name> [verbose=verbose]]", _certificates, 1),
    Exec("show crypto pki certificates verbose=verbose [<trustpoint:name>]", _certificates, 1),
    Exec("show crypto pki trustpoints [<trustpoint:name>]", _trustpoints, 1),
    Exec("show crypto pki trustpoints [<trustpoint:name>] status", _trustpoints_status, 1),
    Exec("show crypto pki crls", _crls, 1),
    Exec("show crypto ca certificates [<trustpoint:name>]", _certificates, 1),
    Exec("show crypto ca trustpoints [<trustpoint:name>]", _trustpoints, 1),
    Exec("show crypto key mypubkey {rsa | all} [<label:name>]", _keys, 1),
)
