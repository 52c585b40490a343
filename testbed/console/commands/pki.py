"""Keys, enrolment and the certificate server, with IOS's dialogs; the work is done by strongSwan's pki and the CA."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING

from testbed.console.session import Exec
from testbed.deadline import Deadline
from testbed.device.ios.pki import router_fqdn, serial_number
from testbed.errors import DaemonError, EnrolmentError, TestbedError
from testbed.ios.names import parse_interface

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.console.session import Session
    from testbed.daemons.ca import CertificateAuthority
    from testbed.daemons.enrolment import Enrolment
    from testbed.ios.configuration import Statement
    from testbed.ios.grammar import Match

__all__ = [
    "ACTIONS",
    "COMMANDS",
    "enable_server",
    "forget_server",
    "grouped",
    "remove_server",
    "remove_trustpoint",
    "server_enabled",
]

_BITS, _LEAST_BITS = range(360, 4097), 512
_SHORTEST = 7  # characters of a passphrase
_ENABLE_S, _CLOCK_S = 30.0, 5.0
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_MAKE = 'umask 077; pki --gen --type rsa --size "$1" --outform pem > "$2.new" && mv "$2.new" "$2"'


def grouped(fingerprint: str) -> str:
    """In groups of eight, as IOS shows it."""
    return " ".join(fingerprint[at : at + 8] for at in range(0, len(fingerprint), 8))


# -- keys


def _generate(session: Session, match: Match[Exec]) -> None:
    router = session.router
    configuration = router.configuration
    label = match.get("label")
    if label is None:
        if configuration.one("ip domain name") is None:
            session.out("% Please define a domain-name first.\n")
            return
        label = router_fqdn(router.context)
    if not _LABEL.fullmatch(label):
        session.out("% Invalid key label\n")
        return
    bits = _size(session, match, label)
    if bits is None:
        return
    if {"usage-keys", "signature", "encryption"} & set(match.lists.get("flag", [])):
        session.out("% One general-purpose key pair is made: it is what enrolment takes here.\n")
    how = "exportable" if "exportable" in match.lists.get("flag", []) else "non-exportable"
    session.out(f"% Generating {bits} bit RSA keys, keys will be {how}...\n")
    begun = router.uptime_s()
    router.execute(["/bin/sh", "-c", _MAKE, "sh", str(bits), f"/etc/swanctl/private/{label}.pem"])
    session.out(f"[OK] (elapsed time was {max(0, round(router.uptime_s() - begun))} seconds)\n\n")
    _remember(session, label, bits, exportable=how == "exportable")
    if router.is_xe:
        session.syslog.write(
            "CRYPTO_ENGINE-5-KEY_ADDITION", f"A key named {label} has been generated or imported by crypto-engine"
        )


def _size(session: Session, match: Match[Exec], label: str) -> int | None:
    """How many bits a key of this label shall have; None if there is to be none."""
    bits: int | None = match.get("modulus")
    if not _key_path(session, label).exists():
        session.out(f"The name for the keys will be: {label}\n")
    else:
        session.out(f"% You already have RSA keys defined named {label}.\n")
        if bits is not None:
            session.out("% They will be replaced.\n")
        elif not session.confirm("% Do you really want to replace them? [yes/no]: "):
            return None
    if bits is None:
        bits = _ask_bits(session)
    else:
        session.out(f"\n% The key modulus size is {bits} bits\n")
    if bits < _LEAST_BITS:
        session.out(f"% The crypto library makes no keys of less than {_LEAST_BITS} bits.\n")
        return None
    return bits


def _key_path(session: Session, label: str) -> Path:
    return session.router.state.identity.directory / "nvram-private" / f"{label}.pem"


def _ask_bits(session: Session) -> int:
    default = 2048 if session.router.is_xe else 512
    least = 512 if session.router.is_xe else 360
    session.out(
        f"Choose the size of the key modulus in the range of {least} to 4096 for your\n"
        f"  General Purpose Keys. Choosing a key modulus greater than 512 may take\n  a few minutes.\n\n"
    )
    while True:
        answer = session.ask(f"How many bits in the modulus [{default}]: ") or str(default)
        if answer.isdecimal() and int(answer) in _BITS:
            return int(answer)
        session.out("% A decimal number between 360 and 4096.\n")


def _zeroize(session: Session, match: Match[Exec]) -> None:
    folder = session.router.state.identity.directory / "nvram-private"
    wanted = match.get("label")
    names = [path.stem for path in sorted(folder.glob("*.pem"))] if wanted is None else [wanted]
    for name in names:
        if not (folder / f"{name}.pem").exists():
            session.out(f"% No keys found in configuration by the name {name}\n")
            continue
        session.out(f"% Keys to be removed are named '{name}'.\n")
        session.out("% All router certs issued using these keys will also be removed.\n")
        if session.confirm("Do you really want to remove these keys? [yes/no]: "):
            (folder / f"{name}.pem").unlink(missing_ok=True)


def _remember(session: Session, label: str, bits: int, *, exportable: bool) -> None:
    """The size of a key is part of what trustpoints and the certificate server are made of; `show run` keeps quiet."""
    editor = session.editor
    if editor is not None:
        how = " exportable" if exportable else ""
        editor.feed(f"crypto key generate rsa general-keys{how} modulus {bits} label {label}")
        session.router.configure(editor.configuration)


# -- trustpoints


def _named(session: Session, match: Match[Exec]) -> Enrolment | None:
    """The trustpoint that was named; None, and said, if there is none that could be used."""
    trustpoint = session.router.trustpoint(match.get("trustpoint"))
    if trustpoint is None:
        session.out("% CA URL is not set, or there is no such trustpoint.\n")
        return None
    return session.router.enrolment(trustpoint)


def _authenticate(session: Session, match: Match[Exec]) -> None:
    enrolment = _named(session, match)
    if enrolment is None:
        return
    if enrolment.ca_certificate is not None:
        session.out("% Please delete your existing CA certificate first.\n")
        session.out("% You must use 'no crypto pki trustpoint <trustpoint-name>' to delete the CA certificate.\n")
        return
    try:
        found = enrolment.authenticate()
    except EnrolmentError as failure:
        session.out("% Error in receiving Certificate Authority certificate: status = FAIL, cert length = 0\n\n")
        session.syslog.write("PKI-3-SOCKETSEND", "Failed to send out message to CA server.")
        session.out(f"% ({failure.seen or failure.what})\n" if failure.seen else "")
        return
    session.out("Certificate has the following attributes:\n")
    session.out(f"       Fingerprint MD5: {grouped(found.md5)} \n")
    session.out(f"      Fingerprint SHA1: {grouped(found.sha1)} \n\n")
    if enrolment.trustpoint.fingerprint is not None:
        session.out("Trustpoint Fingerprint: matched\n")
    elif not session.confirm("% Do you accept this certificate? [yes/no]: "):
        enrolment.forget()
        return
    session.out("Trustpoint CA certificate accepted.\n")


def remove_trustpoint(session: Session, name: str) -> bool:
    """What `no crypto pki trustpoint` asks, and what goes with it. False: it stays."""
    trustpoint = session.router.trustpoint(name)
    if trustpoint is None:
        return True
    enrolment = session.router.enrolment(trustpoint)
    if enrolment.ca_certificate is not None or enrolment.certificate is not None:
        session.out("% Removing an enrolled trustpoint will destroy all certificates\n")
        session.out(" received from the related Certificate Authority.\n\n")
        if not session.confirm("Are you sure you want to do this? [yes/no]: "):
            return False
    enrolment.forget()
    session.out("% Be sure to ask the CA administrator to revoke your certificates.\n\n")
    return True


def remove_server(session: Session, name: str) -> bool:
    """What `no crypto pki server` asks. False: it stays."""
    if session.router.authority is None and not _server_folder(session).exists():
        return True
    session.out("% CA certificate, Keypair, CRL and database files will be deleted.\n")
    return session.confirm(f"Do you wish to continue and remove {name}? [yes/no]: ")


def forget_server(session: Session) -> None:
    """Delete what it has kept, when it does not run any more."""
    shutil.rmtree(_server_folder(session), ignore_errors=True)


def _server_folder(session: Session) -> Path:
    return session.router.state.identity.directory / "nvram" / "ca"


def _enroll(session: Session, match: Match[Exec]) -> None:
    enrolment = _named(session, match)
    if enrolment is None:
        return
    if enrolment.ca_certificate is None:
        session.out("% You must authenticate the Certificate Authority before\nyou can enroll with it.\n")
        return
    if enrolment.certificate is not None and not session.confirm(
        "% You already have a certificate of this CA.\n% Do you want to continue with re-enrollment? [yes/no]: "
    ):
        return
    name = enrolment.trustpoint.name
    section = _section(session, name)
    if section is None:
        return
    asked = section.one("password") is None
    if not _dialog(session, section):
        return
    enrolment = session.router.enrolment(session.router.require_trustpoint(name))
    enrolment.make_key()
    _send(session, enrolment)
    _forget_password(session, name, asked=asked)


def _section(session: Session, name: str) -> Statement | None:
    """A trustpoint's part of the configuration that is being edited."""
    editor = session.editor
    configuration = editor.configuration if editor else session.router.configuration
    found = (item for item in configuration.all("crypto pki trustpoint") if item.get("trustpoint") == name)
    return next(found, None)


def _forget_password(session: Session, name: str, *, asked: bool) -> None:
    """A challenge password that was asked for goes into one request, and stands in no configuration."""
    section = _section(session, name)
    if asked and section is not None and section.one("password") is not None:
        _say(session, section, ["no password"])


def _dialog(session: Session, section: Statement) -> bool:
    """The questions that the trustpoint does not answer; what is answered becomes part of it. False: not to be sent."""
    router = session.router
    said: list[str] = []
    session.out("%\n% Start certificate enrollment .. \n")
    if section.one("password") is None:
        session.out(
            "% Create a challenge password. You will need to verbally provide this\n"
            "   password to the CA Administrator in order to revoke your certificate.\n"
            "   For security reasons your password will not be saved in the configuration.\n"
            "   Please make a note of it.\n\n"
        )
        first = session.ask("Password: ", echo=False)
        if session.ask("Re-enter password: ", echo=False) != first:
            session.out("% Passwords do not match\n")
            return False
        if first and re.fullmatch(r"[\x21-\x7e]{1,80}", first):
            said.append(f"password {first}")
        session.out("\n")
    subject = section.value("subject-name", "dn")
    if subject:
        session.out(f"% The subject name in the certificate will include: {subject}\n")
    if section.value("fqdn", "how") != "none":
        fqdn = section.value("fqdn", "fqdn") or router_fqdn(router.context)
        session.out(f"% The subject name in the certificate will include: {fqdn}\n")
    serial = section.one("serial-number")
    if serial is None and session.confirm("% Include the router serial number in the subject name? [yes/no]: "):
        said.append("serial-number")
    if (serial is not None and serial.get("how") is None) or "serial-number" in said:
        session.out(f"% The serial number in the certificate will be: {serial_number(router.name)}\n")
    if section.one("ip-address") is None:
        said += _ask_address(session)
    if not session.confirm("Request certificate from CA? [yes/no]: "):
        return False
    _say(session, section, said)
    return True


def _ask_address(session: Session) -> list[str]:
    answer = session.ask("% Include an IP address in the subject name? [no]: ").lower()
    if not answer or not "yes".startswith(answer):
        return []
    while True:
        text = session.ask("Enter Interface name or IP Address[]: ")
        if not text:
            return []
        if re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", text) and all(int(part) < 256 for part in text.split(".")):
            return [f"ip-address {text}"]
        try:
            parse_interface(text)
        except ValueError:
            session.out("% Bad interface or address. Try again.\n")
            continue
        return [f"ip-address {text}"]


def _say(session: Session, section: Statement, lines: list[str]) -> None:
    """Answers of the dialog hold for this request, and for the renewals of what it brings."""
    editor = session.editor
    if editor is None or not lines:
        return
    editor.feed(f"crypto pki trustpoint {section.get('trustpoint')}")
    for line in lines:
        editor.feed(line)
    del editor.stack[1:]
    session.router.configure(editor.configuration)


def _send(session: Session, enrolment: Enrolment) -> None:
    name = enrolment.trustpoint.name
    session.out("% Certificate request sent to Certificate Authority\n")
    session.out(f"% The 'show crypto pki certificate verbose {name}' commandwill show the fingerprint.\n\n")
    try:
        status = enrolment.request()
    except TestbedError as failure:
        session.syslog.write("PKI-6-CERTREJECT", "Certificate enrollment request was rejected by Certificate Authority")
        session.out(f"% {failure.what}: {failure.seen}\n")
        return
    for digest, value in _request_fingerprints(session, enrolment):
        session.syslog.plain(f"CRYPTO_PKI:  Certificate Request Fingerprint {digest}: {grouped(value)} ")
    if status == "granted":
        session.syslog.write("PKI-6-CERTRET", "Certificate received from Certificate Authority")


def _request_fingerprints(session: Session, enrolment: Enrolment) -> Iterator[tuple[str, str]]:
    """As the CA has them, if it is one of this lab: strongSwan's pki keeps no copy of what it has sent."""
    server = enrolment.trustpoint.server
    if server is None:
        return
    subject = ", ".join(f"{kind}={value}" for kind, value in enrolment.trustpoint.subject)
    for row in session.router.lab.node(server).certificate_authority.requests():
        if row["subject"] == subject:
            yield "MD5", row["fingerprint"]
            return


# -- the certificate server


def enable_server(session: Session, name: str, section: Statement) -> bool:
    """What `no shutdown` of a certificate server asks, the first time. False: it stays shut down."""
    router = session.router
    session.out("%Some server settings cannot be changed after CA certificate generation.\n")
    folder = _server_folder(session)
    key = folder / "ca-1.key"
    if key.exists():
        return True
    archive = section.one("database archive")
    if archive is not None and archive.get("password") is not None:
        session.out("% Exporting Certificate Server signing certificate and keys...\n\n")
    elif not _passphrase(session):
        return False
    own = _key_path(session, name)
    if own.exists():  # as on IOS, a key pair of the server's name is the server's
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key.touch(mode=0o600)
        key.write_bytes(own.read_bytes())
    else:
        bits = 2048 if router.is_xe else 1024
        session.out(
            f"% Generating {bits} bit RSA keys, keys will be non-exportable...\n[OK] (elapsed time was 0 seconds)\n\n"
        )
    return True


def _passphrase(session: Session) -> bool:
    """Asked as IOS asks it. The key stays in the node's own storage, which nobody but its root reads."""
    session.out("% Please enter a passphrase to protect the private key\n% or type Return to exit\n")
    first = session.ask("Password: ", echo=False)
    if not first:
        return False
    if len(first) < _SHORTEST:
        session.out(f"% Password must be at least {_SHORTEST} characters\n")
        return False
    if session.ask("\nRe-enter password: ", echo=False) != first:
        session.out("% Passwords do not match\n")
        return False
    session.out("\n")
    return True


def server_enabled(session: Session) -> None:
    """What IOS says when a certificate server has been enabled, or why it is not yet."""
    authority = session.router.authority
    if authority is None:
        session.out("% Certificate Server needs `ip http server`.\n")
        return
    clock = session.router.clock()
    right = clock is None or clock.synchronised
    try:
        authority.await_enabled(Deadline(_ENABLE_S if right else _CLOCK_S))
    except TestbedError:
        if right:
            raise
        session.out("% Certificate Server will be enabled when the clock is synchronized.\n")
        return
    session.out("% Certificate Server enabled.\n")
    session.syslog.write("PKI-6-CS_ENABLED", "Certificate server now enabled.")


def _authority(session: Session, match: Match[Exec]) -> CertificateAuthority | None:
    name = match.get("server")
    authority = session.router.authority
    server = session.router.device.certificate_server
    if authority is None or server is None or server.name != name:
        known = [item.get("server") for item in session.router.configuration.all("crypto pki server")]
        told = "is not enabled" if name in known else "does not exist"
        session.out(f"% Certificate server {name} {told}.\n")
        return None
    return authority


@contextlib.contextmanager
def _told(session: Session) -> Iterator[None]:
    """What the server refuses is said in a line, not in the words of a daemon."""
    try:
        yield
    except DaemonError as failure:
        session.out(f"% {failure.seen or failure.what}\n")


def _grant(session: Session, match: Match[Exec]) -> None:
    authority = _authority(session, match)
    if authority is not None:
        with _told(session):
            authority.grant(match.get("request") if match.get("all") is None else "all")


def _reject(session: Session, match: Match[Exec]) -> None:
    authority = _authority(session, match)
    for number in _numbers(authority, match):
        if authority is not None:
            with _told(session):
                authority.reject(number)


def _remove(session: Session, match: Match[Exec]) -> None:
    authority = _authority(session, match)
    for number in _numbers(authority, match):
        if authority is not None:
            with _told(session):
                authority.remove(number)


def _numbers(authority: CertificateAuthority | None, match: Match[Exec]) -> list[int]:
    if authority is None:
        return []
    if match.get("all") is None:
        return [int(match.get("request"))]
    return [int(row["id"]) for row in authority.requests(state="pending")]


def _revoke(session: Session, match: Match[Exec]) -> None:
    authority = _authority(session, match)
    if authority is not None:
        with _told(session):
            authority.revoke(int(match.get("serial"), 16))
            session.out("% Certificate " + match.get("serial") + " succesfully revoked.\n")


def _password(session: Session, match: Match[Exec]) -> None:
    authority = _authority(session, match)
    if authority is not None:
        minutes = int(match.get("minutes", 60))
        password = authority.password(valid_s=minutes * 60)
        session.out(f"% New password is {password}, valid for {minutes} minutes\n")


def _crl(session: Session, match: Match[Exec]) -> None:
    authority = _authority(session, match)
    if authority is not None:
        authority.publish_crl()


_SERVER = "crypto pki server <server:name>"
COMMANDS = (
    Exec(f"{_SERVER} grant {{all=all | <request:1-999999>}}", _grant),
    Exec(f"{_SERVER} reject {{all=all | <request:1-999999>}}", _reject),
    Exec(f"{_SERVER} remove {{all=all | <request:1-999999>}}", _remove),
    Exec(f"{_SERVER} revoke <serial:serial>", _revoke),
    Exec(f"{_SERVER} password generate [<minutes:1-1440>]", _password),
    Exec(f"{_SERVER} crl", _crl),
)
_GENERATE = (
    "crypto key generate rsa [{flag=general-keys|usage-keys|exportable|signature|encryption | "
    "modulus <modulus:360-4096> | label <label:name> | storage <where:word>}...]"
)
ACTIONS = (
    Exec(_GENERATE, _generate, paged=False),
    Exec("crypto key zeroize rsa [<label:name>]", _zeroize, paged=False),
    Exec("crypto {pki | ca} authenticate <trustpoint:name>", _authenticate, paged=False),
    Exec("crypto {pki | ca} enroll <trustpoint:name>", _enroll, paged=False),
)
