"""What the certificate server grants, to whom, for how long, and what its operator can do."""

from __future__ import annotations

import base64
import json
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from testbed.pki import scep
from testbed.pki.admin import Admin
from testbed.pki.errors import FailInfo, RefusedError
from testbed.pki.iosfiles import DatabaseFiles
from testbed.pki.names import encode_name, ios_name, show_name
from testbed.pki.pkcs10 import read_request
from testbed.pki.server import CertificateServer
from testbed.pki.store import IssuedCertificate
from testbed.pki.x509 import read_certificate
from tests.pki.client import Answer, make_key, make_request
from tests.pki.conftest import Ca

MakeCa = Callable[..., Ca]
SUCCESS, FAILURE, PENDING = "0", "2", "3"


def asked(ca: Ca, number: int = 0, challenge: str | None = None, name: str = "kisii", transaction: str = "T") -> Answer:
    client = ca.client(number, name=name)
    return ca.ask(client, client.enrolment(f"{transaction}{number}", challenge))


# -- challenge passwords


def test_a_challenge_password(make_ca: MakeCa) -> None:
    ca = make_ca(challenge="right")
    for number, given in enumerate((None, "", "wrong", "righ", "rightt")):
        answer = asked(ca, number, given or None)
        assert (answer.status, answer.fail_info) == (FAILURE, FailInfo.BAD_REQUEST)
    assert asked(ca, 5, "right").status == SUCCESS


def test_a_one_time_password_is_good_once(make_ca: MakeCa) -> None:
    ca = make_ca(one_time_password_s=3600)
    password, _ = ca.server.new_password()
    assert asked(ca, 0).status == FAILURE
    assert asked(ca, 1, "0123456789ABCDEF").status == FAILURE
    assert asked(ca, 2, password).status == SUCCESS
    assert asked(ca, 2, password).status == SUCCESS  # the same request, whose answer was lost
    assert asked(ca, 3, password).status == FAILURE


def test_a_one_time_password_expires(make_ca: MakeCa) -> None:
    ca = make_ca(one_time_password_s=60)
    password, expires = ca.server.new_password()
    assert expires == ca.moment + timedelta(seconds=60)
    ca.turn(seconds=61)
    assert asked(ca, 0, password).status == FAILURE


def test_a_password_that_grants_makes_the_operator_unnecessary_and_none_is_needed(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none", one_time_password_s=3600, one_time_password_grants=True)
    assert asked(ca, 0, name="without").status == PENDING
    assert asked(ca, 1, "to revoke it by", name="other").status == PENDING
    password, _ = ca.server.new_password()
    assert asked(ca, 2, password, name="third").status == SUCCESS
    assert asked(ca, 3, password, name="fourth").status == PENDING
    password, expires = ca.server.new_password(60)
    assert expires == ca.moment + timedelta(seconds=60)
    assert asked(ca, 3, password, name="fourth").status == SUCCESS  # what waits is granted if it is asked again
    assert [row.id for row in ca.server.store.requests(state="pending")] == [2, 1]


def test_only_the_last_password_that_grants_is_good_and_not_for_ever(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none", one_time_password_s=3600, one_time_password_grants=True)
    first, second = (ca.server.new_password(60)[0] for _ in range(2))
    assert asked(ca, 0, first, name="first").status == PENDING
    ca.turn(seconds=61)
    assert asked(ca, 1, second, name="second").status == PENDING


def test_a_password_is_not_used_up_by_a_request_that_it_does_not_grant(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none", duplicates="reject", one_time_password_s=3600, one_time_password_grants=True)
    first = ca.server.new_password()[0]
    assert asked(ca, 0, first).status == SUCCESS
    second = ca.server.new_password()[0]
    assert asked(ca, 1, second).status == FAILURE  # a second key for the same subject
    assert asked(ca, 2, second, name="other").status == SUCCESS


def test_a_password_that_was_taken_by_a_request_that_fails_is_not_lost(make_ca: MakeCa) -> None:
    ca = make_ca(one_time_password_s=3600, duplicates="reject")
    first, second = (ca.server.new_password()[0] for _ in range(2))
    assert asked(ca, 0, first).status == SUCCESS
    assert asked(ca, 1, second).status == FAILURE  # a second key for the same subject
    assert asked(ca, 2, second, name="other").status == SUCCESS


def test_who_guesses_passwords_is_not_listened_to_any_more(make_ca: MakeCa) -> None:
    ca = make_ca(challenge="right")
    for number in range(25):
        assert asked(ca, 0, "wrong", transaction=f"G{number}-").status == FAILURE
    assert asked(ca, 1, "right").status == FAILURE
    client = ca.client(2)
    data = ca.scep.operate(client.enrolment("other", "right"), "192.0.2.50")
    assert client.read(data).status == SUCCESS  # from another address


# -- what is issued


def test_nothing_outlives_the_ca(make_ca: MakeCa) -> None:
    ca = make_ca(ca_lifetime_s=1000, certificate_lifetime_s=900)
    until = ca.server.current.certificate.not_after
    assert asked(ca, 0).certificates[0].not_after == ca.moment + timedelta(seconds=900)
    ca.turn(seconds=500)
    assert asked(ca, 1, name="other").certificates[0].not_after == until
    ca.turn(seconds=501)
    answer = asked(ca, 2, name="late")
    assert (answer.status, answer.fail_info) == (FAILURE, FailInfo.BAD_TIME)


def test_the_name_is_the_one_requested_octet_by_octet(ca: Ca) -> None:
    name = encode_name([("serialNumber", "67109104"), ("unstructuredName", "R15.lab_x"), ("CN", "R15"), ("O", "laba")])
    parsed = read_certificate(asked(ca).certificates[0].der)
    made = ca.server.current.issue(77, name, parsed.spki, [], ca.moment)
    assert made.subject == name
    assert ios_name(made.subject_name) == "serialNumber=67109104,hostname=R15.lab_x,cn=R15,o=laba"
    assert show_name(made.subject_name) == "serialNumber=67109104, unstructuredName=R15.lab_x, CN=R15, O=laba"


def test_only_alternative_names_are_copied_from_a_request(ca: Ca) -> None:
    key = make_key()
    request = (
        pyca.CertificateSigningRequestBuilder()
        .subject_name(pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, "greedy")]))
        .add_extension(pyca.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(pyca.ExtendedKeyUsage([pyca.oid.ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(pyca.SubjectAlternativeName([pyca.DNSName("greedy.lab.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    client = ca.client(name="greedy")
    answer = ca.ask(client, client.message(scep.PKCS_REQ, request.public_bytes(serialization.Encoding.DER)))
    issued = pyca.load_der_x509_certificate(answer.certificates[0].der)
    found = {extension.oid for extension in issued.extensions}
    assert pyca.oid.ExtensionOID.BASIC_CONSTRAINTS not in found
    assert pyca.oid.ExtensionOID.EXTENDED_KEY_USAGE not in found
    names = issued.extensions.get_extension_for_class(pyca.SubjectAlternativeName).value
    assert names.get_values_for_type(pyca.DNSName) == ["greedy.lab.test"]


@pytest.mark.parametrize("name", ["a b.test", "x" * 300, "-leading.test", "a..b"])
def test_names_that_cannot_be_certified(ca: Ca, name: str) -> None:
    client = ca.client()
    answer = ca.ask(client, client.message(scep.PKCS_REQ, make_request(client.key, san=[name])))
    assert (answer.status, answer.fail_info) == (FAILURE, FailInfo.BAD_REQUEST)


@pytest.mark.parametrize(("policy", "first_lives"), [("allow", True), ("supersede", False)])
def test_a_second_certificate_of_the_same_subject(make_ca: MakeCa, policy: str, first_lives: bool) -> None:
    ca = make_ca(duplicates=policy)
    first = asked(ca, 0).certificates[0]
    assert asked(ca, 1).status == SUCCESS
    issued = ca.server.store.certificate(first.serial)
    assert issued is not None
    assert (issued.revoked is None) is first_lives


def test_a_second_certificate_can_be_refused(make_ca: MakeCa) -> None:
    ca = make_ca(duplicates="reject")
    asked(ca, 0)
    answer = asked(ca, 1)
    assert (answer.status, answer.fail_info) == (FAILURE, FailInfo.BAD_REQUEST)
    assert ca.server.store.requests(transaction_id="T1") == []


def test_serial_numbers_are_never_used_twice_across_restarts(ca: Ca) -> None:
    serials = [asked(ca, 0, transaction="A").certificates[0].serial]
    for _ in range(3):
        ca.server.store.close()
        ca.server = CertificateServer(ca.settings, now=lambda: ca.moment)
        ca.server.enable()
        ca.scep = scep.Scep(ca.server)
        serials.append(asked(ca, 0, transaction=f"B{len(serials)}").certificates[0].serial)
    assert serials == sorted(set(serials))


def test_private_keys_are_for_their_owner_alone(make_ca: MakeCa) -> None:
    ca = make_ca(ra=True)
    keys = list(Path(ca.settings.directory).glob("*.key"))
    assert {path.name for path in keys} == {"ca-1.key", "ra-1.key", "tls-1.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE(Path(ca.settings.directory).stat().st_mode) == 0o700


# -- the operator


def test_grant_reject_remove(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none")
    for number in range(3):
        assert asked(ca, number, name=f"r{number}").status == PENDING
    granted = ca.server.grant(1)
    assert asked(ca, 0, name="r0").certificates[0].der == granted.der
    ca.server.reject(2)
    ca.server.remove(3)
    for call, number in ((ca.server.grant, 1), (ca.server.grant, 2), (ca.server.grant, 99), (ca.server.reject, 1)):
        with pytest.raises(RefusedError, match=f"no request {number} waits"):
            call(number)
    with pytest.raises(RefusedError, match="no request 1 that could be removed"):
        ca.server.remove(1)


def test_requests_that_nobody_grants_are_forgotten(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none", request_lifetime_s=3600)
    asked(ca)
    ca.turn(seconds=3500)
    ca.server.housekeeping()
    assert len(ca.server.store.requests(state="pending")) == 1
    ca.turn(seconds=200)
    ca.server.housekeeping()
    assert ca.server.store.requests(state="pending") == []


def revoked_in(ca: Ca) -> dict[int, pyca.RevokedCertificate]:
    crl = pyca.load_der_x509_crl(ca.server.crl(ca.server.current))
    public = serialization.load_der_public_key(ca.server.current.certificate.spki)
    assert crl.is_signature_valid(public)  # type: ignore[arg-type]
    return {item.serial_number: item for item in crl}


def test_revocation_and_its_list(ca: Ca) -> None:
    serial = asked(ca).certificates[0].serial
    assert revoked_in(ca) == {}
    ca.server.revoke(serial, 1)
    entry = revoked_in(ca)[serial]
    assert entry.revocation_date_utc == ca.moment
    assert entry.extensions.get_extension_for_class(pyca.CRLReason).value.reason is pyca.ReasonFlags.key_compromise
    with pytest.raises(RefusedError, match="revoked already"):
        ca.server.revoke(serial)
    ca.server.unrevoke(serial)
    assert revoked_in(ca) == {}
    with pytest.raises(RefusedError, match="is not revoked"):
        ca.server.unrevoke(serial)


@pytest.mark.parametrize("serial", [0, 1, 4711, 1 << 70])
def test_what_cannot_be_revoked(ca: Ca, serial: int) -> None:
    with pytest.raises(RefusedError, match="no certificate"):
        ca.server.revoke(serial)


def test_a_list_is_renewed_before_it_ends_and_its_number_grows(make_ca: MakeCa) -> None:
    ca = make_ca(crl_lifetime_s=1000)

    def number() -> int:
        crl = pyca.load_der_x509_crl(ca.server.crl(ca.server.current))
        assert crl.next_update_utc is not None
        assert crl.next_update_utc > ca.moment
        return crl.extensions.get_extension_for_class(pyca.CRLNumber).value.crl_number

    first = number()
    assert number() == first
    ca.turn(seconds=950)
    assert number() > first


# -- rollover


def test_auto_rollover(make_ca: MakeCa) -> None:
    ca = make_ca(ca_lifetime_s=1000, certificate_lifetime_s=100, auto_rollover_s=300)
    first = ca.server.current
    ca.server.housekeeping()
    assert ca.server.upcoming is None
    ca.turn(seconds=750)
    ca.server.housekeeping()
    upcoming = ca.server.upcoming
    assert upcoming is not None
    assert ca.server.current is first
    assert upcoming.certificate.subject == first.certificate.subject
    assert upcoming.certificate.spki != first.certificate.spki
    ca.turn(seconds=251)
    ca.server.housekeeping()
    assert ca.server.current is upcoming
    assert ca.server.upcoming is None
    assert asked(ca).certificates[0].issuer == upcoming.certificate.subject


def test_a_rollover_survives_a_restart_and_the_old_list_goes_on(ca: Ca) -> None:
    serial = asked(ca).certificates[0].serial
    old, following = ca.server.current, ca.server.roll_over()
    ca.server.store.close()
    ca.server = CertificateServer(ca.settings, now=lambda: ca.moment)
    ca.server.enable()
    assert ca.server.current.certificate.der == following.certificate.der
    ca.server.revoke(serial)
    crl = pyca.load_der_x509_crl(ca.server.crl(ca.server.authorities[0]))
    assert [item.serial_number for item in crl] == [serial]
    public = serialization.load_der_public_key(old.certificate.spki)
    assert crl.is_signature_valid(public)  # type: ignore[arg-type]
    assert [authority.crl_name for authority in ca.server.authorities] == ["CA.crl", "CA-2.crl"]


# -- the files of IOS


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("minimum", {"CA.crl", "CA.ser"}),
        ("names", {"CA.crl", "CA.ser", "1.cnm", "2.cnm", "3.cnm"}),
        ("complete", {"CA.crl", "CA.ser", "1.cnm", "2.cnm", "3.cnm", "1.cer", "2.cer", "3.cer"}),
    ],
)
def test_database_level(make_ca: MakeCa, tmp_path: Path, level: str, expected: set[str]) -> None:
    ca = make_ca(database_level=level, database_directory=str(tmp_path / "db"))
    certificate = asked(ca).certificates[0]
    files = DatabaseFiles(ca.server)
    files.update()
    files.update()
    assert {path.name for path in (tmp_path / "db").iterdir()} == expected
    assert (tmp_path / "db" / "CA.ser").read_text() == "db_version = 1\nlast_serial = 0x3\n"
    if level == "complete":
        assert (tmp_path / "db" / "3.cer").read_bytes() == certificate.der
        assert (tmp_path / "db" / "3.cnm").read_text().startswith("subjectname_str = cn=kisii\nexpiration = ")


def test_the_archive(make_ca: MakeCa, tmp_path: Path) -> None:
    for form, suffix in (("pkcs12", "p12"), ("pem", "pem")):
        folder = tmp_path / form
        ca = make_ca(archive_format=form, archive_password="secret12", database_directory=str(folder))
        DatabaseFiles(ca.server).update()
        path = folder / f"CA.{suffix}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        data = path.read_bytes()
        if form == "pkcs12":
            key, certificate, _ = pkcs12.load_key_and_certificates(data, b"secret12")
        else:
            key = serialization.load_pem_private_key(data, b"secret12")
            certificate = pyca.load_pem_x509_certificate(data)
        assert certificate is not None
        assert certificate.public_bytes(serialization.Encoding.DER) == ca.server.current.certificate.der
        assert key is not None
        assert key.public_key() == certificate.public_key()


# -- the admin interface


def test_admin_commands(make_ca: MakeCa) -> None:
    ca = make_ca(grant="none", one_time_password_s=60)
    admin = Admin(ca.server)

    def run(command: str, **arguments: object) -> Any:
        answer = admin.run(json.dumps({"command": command, "arguments": arguments}).encode())
        assert answer["ok"], answer
        return answer["result"]

    asked(ca, challenge=run("password")["password"])
    (request,) = run("requests", state="pending")
    assert request["ios_subject"] == "cn=kisii"
    assert request["fingerprint"] == request["fingerprint"].upper()
    (granted,) = run("grant", id="all")
    run("revoke", serial=granted["serial"], reason=4)
    found = run("certificates", purpose="client")
    assert found[0]["revoked"] is not None
    assert found[0]["reason"] == 4
    run("unrevoke", serial=granted["serial"])
    run("crl")
    listed = pyca.load_der_x509_crl(base64.b64decode(run("current_crl")["der"]))
    assert len(listed) == 0
    run("revoke", serial=granted["serial"])
    listed = pyca.load_der_x509_crl(base64.b64decode(run("current_crl")["der"]))
    assert [entry.serial_number for entry in listed] == [granted["serial"]]
    assert run("rollover", now=True)["number"] == 2
    facts = run("info")
    assert facts["enabled"] is True
    assert facts["authority"]["number"] == 2
    assert len(facts["authorities"]) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"junk",
        b"[]",
        b"{}",
        b'{"command": "no such"}',
        b'{"command": "grant"}',
        b'{"command": "grant", "arguments": 3}',
    ],
)
def test_admin_takes_no_nonsense(ca: Ca, line: bytes) -> None:
    assert Admin(ca.server).run(line)["ok"] is False


def test_admin_tells_why_it_refuses(ca: Ca) -> None:
    answer = Admin(ca.server).run(b'{"command": "grant", "arguments": {"id": 3}}')
    assert answer == {"ok": False, "error": "no request 3 waits: there is none"}


def test_a_request_tells_its_digest() -> None:
    assert read_request(make_request(make_key())).digest == "sha256"


def test_a_list_that_was_being_made_while_something_was_revoked_is_not_kept(
    ca: Ca, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revocation comes after the list was read from the database, and before it is signed."""
    serial = asked(ca).certificates[0].serial
    reading = ca.server.store.revoked

    def read_then_revoke(authority: int) -> list[IssuedCertificate]:
        found = reading(authority)
        monkeypatch.setattr(ca.server.store, "revoked", reading)
        ca.server.revoke(serial)
        return found

    monkeypatch.setattr(ca.server.store, "revoked", read_then_revoke)
    assert revoked_in(ca) == {}
    assert set(revoked_in(ca)) == {serial}


def test_a_transaction_that_cannot_be_committed_leaves_nothing_and_no_lock(ca: Ca) -> None:
    store = ca.server.store

    def twice_the_same() -> None:
        with store:
            store.put("mark", 1)
            for _ in range(2):
                store.add_request("T", b"key", "", "pending", "test", b"", ca.moment)

    with pytest.raises(sqlite3.IntegrityError):
        twice_the_same()
    assert store.peek("mark", 0) == 0
    assert asked(ca).status == SUCCESS


def test_files_of_certificates_that_were_committed_in_another_order(make_ca: MakeCa, tmp_path: Path) -> None:
    ca = make_ca(database_level="complete", database_directory=str(tmp_path / "db"))
    files, store = DatabaseFiles(ca.server), ca.server.store
    certificate = asked(ca).certificates[0]
    issued = store.certificate(certificate.serial)
    assert issued is not None
    store.add_certificate(replace(issued, serial=30))
    files.update()
    store.add_certificate(replace(issued, serial=29))
    files.update()
    assert {"29.cer", "30.cer"} <= {path.name for path in (tmp_path / "db").iterdir()}
