"""What must become of a peer whose certificate is not good, and of a CA that is not there: with the reason said."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed.daemons.chronyd import show_offset
from testbed.deadline import Deadline
from testbed.errors import DaemonError, EnrolmentError, NegotiationError
from testbed.events import EventStream
from testbed.lab import Lab, Node, take_down
from testbed.runtime import DockerRuntime
from tests.integration.commands import killed_when
from tests.integration.pki_lab import write_pki

YEAR = 31557600.0
VERSIONS = pytest.mark.parametrize("labs", ["1", "2"], indirect=True, ids=["IKEv1", "IKEv2"])


@pytest.fixture(scope="module")
def labs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for each IKE version, for as long as tests want it; each test leaves it as it was."""
    folder = write_pki(tmp_path_factory.mktemp("pki"), ike=request.param)
    with Lab.from_folder(folder, name=f"t-{uuid.uuid4().hex[:10]}").up() as lab:
        assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
        yield lab


@pytest.fixture
def lab(labs: Lab) -> Iterator[Lab]:
    """The tunnel down, every CRL forgotten, every clock right: before and after."""
    calm(labs)
    yield labs
    calm(labs)


def calm(lab: Lab) -> None:
    lab.terminate("vpn")
    for name in ("one", "two"):
        lab.node(name).set_clock()
        forget_crls(lab.node(name))


def forget_crls(node: Node) -> None:
    node.execute(["swanctl", "--flush-certs"], check=True)


def serial_of(node: Node, trustpoint: str = "LAB") -> int:
    certificate = node.enrolments[trustpoint].certificate
    assert certificate is not None
    return certificate.serial


def refusal(lab: Lab) -> str:
    """Why the tunnel does not come, as the error says."""
    with pytest.raises(NegotiationError) as caught:
        lab.initiate("vpn")
    gone(lab)
    return str(caught.value)


def gone(lab: Lab) -> None:
    """Who has said the last word of IKEv1 believes in its SA until the other end's DELETE has come."""
    Deadline(5.0).until(lambda: not established(lab), "the SAs to go")


def established(lab: Lab) -> bool:
    return any(sa.established for name in ("one", "two") for sa in lab.node(name).charon.sas())


def works(lab: Lab) -> None:
    if not established(lab):
        lab.initiate("vpn")
    assert lab.node("one").ping("10.2.0.1", source="lo0", count=3).received == 3


@contextlib.contextmanager
def without_ca(lab: Lab) -> Iterator[None]:
    lab.node("ca").kill_daemon("testbed-ca")
    try:
        yield
    finally:
        lab.start_daemons("ca")


@VERSIONS
def test_all_is_well(lab: Lab) -> None:
    works(lab)


@VERSIONS
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_revoked_peer(lab: Lab, name: str) -> None:
    ca, serial = lab.node("ca").certificate_authority, serial_of(lab.node(name))
    ca.revoke(serial, 1)
    try:
        told = refusal(lab)
        verifier = {"one": "two", "two": "one"}[name]
        assert f"{verifier}: the peer's certificate was revoked on" in told
        assert "key compromise" in told
    finally:
        ca.unrevoke(serial)
    calm(lab)
    works(lab)


@VERSIONS
def test_the_crl_has_expired_and_no_newer_one_can_be_had(lab: Lab) -> None:
    works(lab)  # the CRL is in memory now
    lab.terminate("vpn")
    with without_ca(lab):
        lab.node("one").step_clock(2 * 3600.0)
        told = refusal(lab)
    assert "one: the CRL has expired, and a current one is required" in told
    assert "the CRL ended on" in told
    calm(lab)
    works(lab)


@VERSIONS
def test_the_disk_of_the_ca_is_full(lab: Lab) -> None:
    """Nothing is issued, the reason is said, no serial number is used twice, and it goes on where it was."""
    one, ca = lab.node("one"), lab.node("ca")

    def serials() -> list[str]:
        return [str(certificate["serial"]) for certificate in ca.certificate_authority.certificates()]

    before = serials()
    with lab.fault("disk", node="ca"):
        with pytest.raises(EnrolmentError, match="HTTP 500"):
            one.enrolments["LAB"].renew()
        assert serials() == before
        calm(lab)
        works(lab)  # what needs no disk goes on: the CRL is served

    def full() -> bool:
        return ca.execute(["test", "-e", "/var/lib/testbed/.full"]).exit_code == 0

    def serves() -> bool:
        with contextlib.suppress(DaemonError):
            return bool(ca.certificate_authority.info()["enabled"])
        return False

    killed_when(full, lab, "fault", "disk", "node=ca")  # another process empties it
    Deadline(30.0).until(lambda: not full() and serves(), "another process to end it", every=0.1)
    one.enrolments["LAB"].renew()
    assert len(serials()) == len(set(serials())) == len(before) + 1
    assert ca.execute(["ls", "-A", "/var/lib/testbed"], check=True).text.split().count(".full") == 0
    calm(lab)
    works(lab)


@VERSIONS
def test_the_crl_server_is_down(lab: Lab) -> None:
    with without_ca(lab):
        told = refusal(lab)
    assert "could not be found out by CRL, and has to be" in told
    assert "a CRL was wanted from http://203.0.113.1/LAB-CA.crl" in told
    works(lab)


@VERSIONS
@pytest.mark.parametrize(
    ("years", "words"),
    [(-3.0, "the peer's certificate is not yet valid, by"), (9.0, "the peer's certificate has expired, by")],
)
def test_a_clock_that_is_years_wrong(lab: Lab, years: float, words: str) -> None:
    """The wrong clock is the verifier's; the peer, whose clock is right, has nothing to say against it."""
    lab.node("one").step_clock(years * YEAR)
    told = refusal(lab)
    assert f"one: {words}" in told
    off = show_offset(abs(years) * YEAR - (YEAR if years > 0 else 0)).lstrip("+").split(".")[0]
    assert f"by {off}." in told
    calm(lab)
    works(lab)


@VERSIONS
def test_ca_rollover_in_the_middle(lab: Lab) -> None:
    """A tunnel that stands goes on; one side alone with a new certificate is refused; both with new ones are well."""
    works(lab)
    ca, one, two = (lab.node(name) for name in ("ca", "one", "two"))
    old = serial_of(two)
    before = [sa.unique_id for sa in one.charon.sas()]
    ca.certificate_authority.rollover(now=True)
    told = ca.certificate_authority.fingerprint()

    def follow(node: Node) -> None:
        enrolment = node.enrolments["LAB"]
        enrolment.authenticate(told)
        assert enrolment.request() == "granted"

    follow(two)
    assert serial_of(two) > old
    assert one.ping("10.2.0.1", source="lo0", count=3).received == 3
    assert [sa.unique_id for sa in one.charon.sas()] == before
    lab.terminate("vpn")
    assert "can be trusted" in refusal(lab)
    follow(one)
    works(lab)


# -- other labs


def brought_up(folder: Path, name: str) -> tuple[Lab, list[str]]:
    lab = Lab.from_folder(folder, name=name).up()
    return lab, [f"{verdict.claim}: {verdict.seen}" for verdict in lab.verdicts if not verdict.held]


def test_with_crl_none_a_dead_crl_server_is_no_obstacle(tmp_path: Path, lab_name: str) -> None:
    folder = write_pki(tmp_path / "lab", trustpoint="revocation_check: [crl, none]")
    lab, failed = brought_up(folder, lab_name)
    assert failed == []
    calm(lab)
    with without_ca(lab):
        works(lab)
    calm(lab)
    # But what a CRL does say still counts.
    lab.node("ca").certificate_authority.revoke(serial_of(lab.node("two")))
    assert "was revoked on" in refusal(lab)


def test_with_none_alone_nobody_is_asked(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab", trustpoint="revocation_check: none"), lab_name)
    assert failed == []
    lab.node("ca").certificate_authority.revoke(serial_of(lab.node("two")))
    calm(lab)
    works(lab)
    assert "fetching crl" not in lab.node("one").log()


def test_ocsp(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab", trustpoint="revocation_check: ocsp"), lab_name)
    assert failed == []
    assert "ocsp response is valid" in lab.node("one").log()
    lab.node("ca").certificate_authority.revoke(serial_of(lab.node("two")))
    calm(lab)
    assert "was revoked on" in refusal(lab)


@pytest.mark.parametrize("ike", ["1", "2"])
def test_a_certificate_of_another_ca(tmp_path: Path, lab_name: str, ike: str) -> None:
    """`two` shows the certificate of a CA that it has enrolled with as well, and that `one` does not trust."""
    lab, failed = brought_up(write_pki(tmp_path / "lab", of_two="FOREIGN", ike=ike), lab_name)
    assert any(item.startswith("tunnel vpn is up") for item in failed)
    assert "another CA" in failed[0] or "can be trusted" in failed[0] or "is not one of" in failed[0], failed
    gone(lab)


@pytest.mark.parametrize("ike", ["1", "2"])
def test_a_wrong_identity(tmp_path: Path, lab_name: str, ike: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab", identity="impostor.lab.test", ike=ike), lab_name)
    assert len(failed) == 1
    assert "impostor.lab.test" in failed[0]
    gone(lab)


def test_identities_by_distinguished_name(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab", identity="dn"), lab_name)
    assert failed == []
    sa = lab.node("one").charon.sas()[0]
    assert (sa.local_identity, sa.remote_identity) == ("CN=one.lab.test", "CN=two.lab.test")


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        ("{offset: -3y}", "the CA's certificate is not valid: it is not yet valid, by 3.0 years"),
        ("{offset: 10y}", "the CA's certificate is not valid: it is expired, by 7.0 years"),
        ('{at: "1993-03-01"}', "the CA's certificate is not valid: it is not yet valid, by {since_1993}"),
    ],
)
def test_enrolling_with_a_wrong_clock(tmp_path: Path, lab_name: str, clock: str, words: str) -> None:
    since = show_offset((datetime.now(UTC) - datetime(1993, 3, 1, tzinfo=UTC)).total_seconds()).lstrip("+")
    lab, failed = brought_up(write_pki(tmp_path / "lab", clock=clock), lab_name)
    assert len(failed) == 1
    assert failed[0].startswith("CA: one, trustpoint LAB")
    assert words.format(since_1993=since.split(".")[0] + ".") in failed[0]
    lab.node("one").set_clock()
    _, failed = brought_up(tmp_path / "lab", lab_name)
    assert failed == []


def test_another_fingerprint_is_not_trusted(tmp_path: Path, lab_name: str) -> None:
    folder = write_pki(tmp_path / "lab", trustpoint=f"fingerprint: {'AB:' * 31}AB")
    lab, failed = brought_up(folder, lab_name)
    assert failed
    assert "expected: a certificate with the fingerprint ABABAB" in failed[0].replace(";", "\n")
    assert lab.node("one").enrolments["LAB"].ca_certificate is None


def becomes_enrolled(node: Node) -> None:
    """Without any help, since its enrold asks again."""
    enrolment = node.enrolments["LAB"]
    Deadline(20.0).until(lambda: enrolment.certificate is not None, "a certificate", every=0.05)
    Deadline(10.0).until(lambda: "vpn" in node.charon.connections(), "the connection", every=0.05)


def test_a_request_waits_for_the_operator_and_the_router_asks_again_by_itself(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab", grant="none"), lab_name)
    assert any("the request waits for the CA's operator" in item for item in failed)
    ca = lab.node("ca").certificate_authority
    waiting = ca.requests(state="pending")
    assert {request["subject"] for request in waiting} == {"CN=one.lab.test", "CN=two.lab.test"}
    assert len(ca.grant("all")) == 2
    for name in ("one", "two"):
        becomes_enrolled(lab.node(name))
    works(lab)


def test_a_request_that_is_rejected(tmp_path: Path, lab_name: str) -> None:
    lab, _ = brought_up(write_pki(tmp_path / "lab", grant="none"), lab_name)
    ca = lab.node("ca").certificate_authority
    for request in ca.requests(state="pending"):
        ca.reject(request["id"])
    with pytest.raises(EnrolmentError, match="badRequest"):
        lab.node("one").enrolments["LAB"].request()


def test_challenge_passwords(tmp_path: Path, lab_name: str) -> None:
    right = write_pki(tmp_path / "lab", ca="challenge: let-me-in", trustpoint='password: "let-me-in"')
    with_wrong = right.with_name("wrong")
    text = (right / "topology.yaml").read_text()
    # OTHER-CA asks for none, and does not mind one.
    with_wrong.mkdir()
    (with_wrong / "topology.yaml").write_text(text.replace('password: "let-me-in"', 'password: "guess"', 1))
    lab, failed = brought_up(with_wrong, lab_name)
    assert len(failed) == 1
    assert failed[0].startswith("enrol: one")
    assert "badRequest" in failed[0]
    for name in ("one", "ca"):
        processes = lab.node(name).execute(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ"]).stdout
        assert b"let-me-in" not in processes
    take_down(lab_name, DockerRuntime(), EventStream())
    _, failed = brought_up(right, lab_name)
    assert failed == []


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_enrolling_by_est(tmp_path: Path, lab_name: str, kind: str) -> None:
    trustpoint = f"protocol: est, key: {{type: {kind}}}, password: est-pass, revocation_check: crl"
    folder = write_pki(tmp_path / "lab", ca="challenge: est-pass", trustpoint=trustpoint, method=f"{kind}-sig")
    lab, failed = brought_up(folder, lab_name)
    assert failed == []
    works(lab)
    enrolment = lab.node("one").enrolments["LAB"]
    before = serial_of(lab.node("one"))
    assert enrolment.renew() == "granted"
    assert serial_of(lab.node("one")) > before
    lab.terminate("vpn")
    works(lab)


def test_a_registration_authority(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab", ca="ra: true"), lab_name)
    assert failed == []
    works(lab)


@pytest.mark.parametrize("regenerate", ["false", "true"], ids=["same-key", "new-key"])
@pytest.mark.parametrize("ike", ["1", "2"])
def test_auto_enrolment_replaces_the_certificate_without_dropping_traffic(
    tmp_path: Path, lab_name: str, regenerate: str, ike: str
) -> None:
    trustpoint = f"auto_enroll: 50, regenerate: {regenerate}, revocation_check: crl"
    folder = write_pki(tmp_path / "lab", ca="lifetime: {certificate: 20s}", trustpoint=trustpoint, ike=ike)
    lab, failed = brought_up(folder, lab_name)
    assert failed == []
    one, two = lab.node("one"), lab.node("two")
    before, sas = serial_of(one), {child.spi_in for sa in one.charon.sas() for child in sa.children}
    sent = received = 0

    def renewed() -> bool:
        nonlocal sent, received
        result = one.ping("10.2.0.1", source="lo0", count=20, interval_s=0.01)
        sent, received = sent + 20, received + result.received
        # Both, since a negotiation might fall into the few milliseconds in which a daemon exchanges its credentials.
        return serial_of(one) > before and all(NEW in node.log("enrold") for node in (one, two))

    Deadline(40.0).until(renewed, "the next certificate", every=0.01)
    assert sent == received
    assert {child.spi_in for sa in one.charon.sas() for child in sa.children} == sas
    lab.terminate("vpn")
    works(lab)


NEW = "LAB: renew: a new certificate is in use"


def test_a_certificate_server_that_is_killed_comes_back_as_it_was(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab"), lab_name)
    assert failed == []
    ca = lab.node("ca").certificate_authority
    fingerprint, serials = ca.fingerprint(), {item["serial"] for item in ca.certificates()}
    lab.node("ca").kill_daemon("testbed-ca")
    lab.start_daemons("ca")
    assert ca.fingerprint() == fingerprint
    enrolment = lab.node("one").enrolments["LAB"]
    assert enrolment.renew() == "granted"
    assert serial_of(lab.node("one")) not in serials


def test_a_request_goes_on_waiting_while_the_ca_is_away(tmp_path: Path, lab_name: str) -> None:
    lab, _ = brought_up(write_pki(tmp_path / "lab", grant="none"), lab_name)
    one = lab.node("one")
    with without_ca(lab):
        with pytest.raises(EnrolmentError, match="Failed to connect"):
            one.enrolments["LAB"].request()
        assert one.enrolments["LAB"].pending
    lab.node("ca").certificate_authority.grant("all")
    becomes_enrolled(one)
    assert not one.enrolments["LAB"].pending


def test_a_certificate_that_charon_could_not_take_is_given_to_it_again(tmp_path: Path, lab_name: str) -> None:
    lab, failed = brought_up(write_pki(tmp_path / "lab"), lab_name)
    assert failed == []
    one = lab.node("one")
    before, mark = serial_of(one), lab.states()["one"].identity.directory / "nvram" / "LAB.load"
    one.kill_daemon("charon")  # its socket stays behind
    with pytest.raises(EnrolmentError, match="charon does not take it"):
        one.enrolments["LAB"].renew()
    assert serial_of(one) > before
    assert mark.exists()
    lab.start_daemons("one")
    Deadline(15.0).until(lambda: not mark.exists(), "enrold", every=0.1)
    lab.terminate("vpn")
    works(lab)
