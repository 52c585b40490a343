"""The lab of the README: what its topology expects, its clocks, and what must not be possible beside it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from testbed.daemons.chronyd import node_clock
from testbed.deadline import Deadline
from testbed.errors import EnrolmentError
from testbed.lab import Lab, Node, provision
from testbed.lab.evidence import write_evidence
from testbed.testing import assert_encrypted, assert_reachable, assert_tunnel
from tests.integration.machine import Machine

FOLDER = "topologies/moigetech-pki"
NATIVE = "tests/integration/labs/native-pki"  # the same in YAML, of which a test can change a line
DEFAULT = pytest.mark.lab(FOLDER, scope="module")
VPN = "kisii-kisumu"


def host_offset() -> int:
    """How far this machine's wall clock is from its monotonic one, ns; it changes if anybody sets the wall clock."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


@DEFAULT
def test_every_step_was_taken_and_everything_holds(lab: Lab) -> None:
    assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
    claims = [verdict.claim for verdict in lab.verdicts]
    phases = [next(i for i, claim in enumerate(claims) if claim.startswith(step)) for step in STEPS]
    assert phases == sorted(phases)
    assert len(lab.verdicts) == 28


STEPS = ("ping", "time", "key pair", "trustpoint", "CA:", "enrol", "certificate", "tunnel")


@DEFAULT
def test_the_tunnel_is_authenticated_by_signatures(lab: Lab) -> None:
    assert_tunnel(lab.node("kisii"), lab.node("kisumu"), version=1, ike="aes256-sha256-modp2048", esp="aes256-sha256")
    log = lab.node("kisumu").log()
    assert "authentication of 'kisii.moigetech.test' with RSA_EMSA_PKCS1_NULL successful" in log
    assert "certificate status is good" in log
    assert lab.node("kisii").charon.shared_identifiers() == []


@DEFAULT
def test_traffic_is_encrypted(lab: Lab) -> None:
    data = bytes(index & 0xFF for index in range(1000))
    with assert_encrypted(lab.link("wan-kisii"), data=data):
        assert lab.node("pc-kisii").ping("pc-kisumu", size=1000, count=3).received == 3


@DEFAULT
def test_clocks_boot_wrong_and_were_set_by_ntp(lab: Lab) -> None:
    for name, stratum in (("ca", 2), ("kisii", 3), ("kisumu", 3)):
        node = lab.node(name)
        assert node.clock.steps >= 1
        assert node.clock.synchronised
        assert abs(node.clock.offset_s) < 0.05
        assert node.chronyd.tracking().stratum == stratum
    clock = lab.node("kisii").clock
    assert clock.steps > 1 or abs(clock.last_step_s - 3 * 31557600) < 5, "a bad first sample is mended by a second step"


@pytest.mark.lab(NATIVE)
def test_answers_are_authenticated_by_key_and_by_nts(lab: Lab) -> None:
    assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
    (by_nts,) = lab.node("ca").chronyd.sources()
    assert (by_nts.state, by_nts.authentication) == ("selected", "NTS")
    (by_key,) = lab.node("kisii").chronyd.sources()
    assert (by_key.state, by_key.authentication, by_key.key) == ("selected", "SK", 20)


@DEFAULT
def test_a_node_finds_the_drift_of_its_oscillator(lab: Lab) -> None:
    node = lab.node("kisii")
    ask_often(node)
    node.drift_clock(150.0)

    def found() -> bool:
        return abs(node.clock.frequency_ppm + 150) < 20 and abs(node.clock.offset_s) < 0.01

    Deadline(40.0).until(found, "the frequency", every=0.1)
    node.drift_clock(40.0)


def ask_often(node: Node) -> None:
    """A clock that has been right for a while is compared once a minute: here it is to be noticed sooner."""
    node.chronyd.command("maxpoll", "192.0.2.6", "0")


@DEFAULT
def test_programs_of_a_node_read_its_clock_and_no_other(lab: Lab) -> None:
    node, other = lab.node("kisii"), lab.node("kisumu")
    node.kill_daemon("chronyd")
    try:
        node.step_clock(-3 * 31557600)
        year = int(node.execute(["date", "-u", "+%Y"]).text)
        assert int(other.execute(["date", "-u", "+%Y"]).text) == year + 3
        node.set_clock()
        assert abs(node.clock.offset_s) < 0.001
        done = node.execute(["date", "-u", "-s", "1993-03-01 00:00:00"])  # IOS: clock set
        assert done.exit_code == 0
        assert node.execute(["date", "-u", "+%Y-%m-%d"]).text.strip() == "1993-03-01"
    finally:
        lab.start_daemons("kisii")
        node.chronyd.await_synchronised(Deadline(20.0))


@DEFAULT
def test_a_running_tunnel_survives_steps_of_years(lab: Lab) -> None:
    """Timers, rekeying and traffic go on while the clock jumps back by years and forward by more."""
    kisii, kisumu, pc = lab.node("kisii"), lab.node("kisumu"), lab.node("pc-kisii")
    if not any(sa.established for sa in kisii.charon.sas()):
        lab.initiate(VPN)
    before = {sa.unique_id for sa in kisii.charon.sas()}
    kisii.kill_daemon("chronyd")
    try:
        for years in (-3, 6, -3):
            kisii.step_clock(years * 31557600)
            assert pc.ping("pc-kisumu", count=20, interval_s=0.01).received == 20
            # At both ends: the responder of IKEv1 has the new SA only when quick mode's third message has arrived.
            with kisii.charon.listen("child-rekey") as events, kisumu.charon.listen("child-rekey") as others:
                assert kisii.charon.rekey(child=VPN) >= 1
                events.wait_for("child-rekey", Deadline(10.0))
                others.wait_for("child-rekey", Deadline(10.0))
        assert {sa.unique_id for sa in kisii.charon.sas()} == before
    finally:
        lab.start_daemons("kisii")
        kisii.chronyd.await_synchronised(Deadline(20.0))


@DEFAULT
def test_ntp_sets_a_clock_again_that_somebody_has_moved(lab: Lab) -> None:
    node = lab.node("kisumu")
    ask_often(node)
    before = node.clock.steps
    node.step_clock(-3600.0)

    def mended() -> bool:
        clock = node.clock
        return clock.steps >= before + 2 and clock.synchronised and abs(clock.offset_s) < 0.05

    Deadline(40.0).until(mended, "chronyd's own step after ours", every=0.02)


@DEFAULT
def test_no_node_could_touch_the_clock_of_this_machine(lab: Lab) -> None:
    sys_time, before = 25, host_offset()
    for node in lab.nodes():
        status = node.execute(["cat", "/proc/self/status"]).text
        bounding = int(re.search(r"CapBnd:\s*([0-9a-f]+)", status)[1], 16)  # type: ignore[index]
        assert not bounding >> sys_time & 1
        done = node.execute(["env", "VCLOCK_OFF=1", "date", "-s", "1993-03-01"])
        assert done.exit_code != 0
        assert b"not permitted" in done.stderr
    assert abs(host_offset() - before) < 50_000_000  # what NTP of the machine itself may do meanwhile


@DEFAULT
def test_private_keys_are_for_root_alone_and_in_no_image_or_argument(lab: Lab) -> None:
    for name, pattern in (("kisii", "/etc/swanctl/private/*.pem"), ("ca", "/var/lib/testbed/ca/*.key")):
        done = lab.node(name).execute(["sh", "-c", f"stat -c '%a %U' {pattern}"], check=True)
        assert set(done.text.split("\n")[:-1]) == {"600 root"}
    for state in lab.states().values():
        assert not list(state.identity.directory.glob("files/**/*.key"))


@DEFAULT
def test_the_database_is_what_ios_writes(lab: Lab) -> None:
    ca = lab.node("ca")
    names = ca.execute(["ls", "/var/lib/testbed/ca/database"], check=True).text.split()
    assert {"MOIGETECH-CA.ser", "MOIGETECH-CA.crl", "3.cnm", "3.cer", "4.cnm", "4.cer"} <= set(names)


@DEFAULT
def test_the_network_time_server_serves_only_time(lab: Lab) -> None:
    assert_reachable(lab.node("kisii"), "ntp:eth0")
    assert set(lab.node("ntp").daemons) == {"chronyd"}


@DEFAULT
def test_a_node_boots_with_its_wrong_clock_again(lab: Lab) -> None:
    """As a router without a battery does; its key and certificate are there, and it needs no help to come back."""
    serial = lab.node("kisumu").enrolments["MOIGETECH"].certificate
    lab.terminate(VPN)  # kisii would go on using an SA that its peer no longer knows
    lab.restart_node("kisumu")
    node = lab.node("kisumu")
    node.chronyd.await_synchronised(Deadline(20.0))
    assert node_clock(lab.states()["kisumu"]).steps >= 1
    assert node.enrolments["MOIGETECH"].certificate == serial
    lab.initiate(VPN)
    assert_reachable(lab.node("pc-kisii"), "pc-kisumu")


@DEFAULT
def test_coming_up_again_keeps_what_stands(lab: Lab) -> None:
    before = {name: state.pid for name, state in lab.states().items()}
    serial = lab.node("kisii").enrolments["MOIGETECH"].certificate
    again = Lab.from_folder(FOLDER, name=lab.name).up()
    assert [verdict.claim for verdict in again.verdicts if not verdict.held] == []
    assert {name: state.pid for name, state in lab.states().items()} == before
    assert lab.node("kisii").enrolments["MOIGETECH"].certificate == serial
    assert sum(verdict.seen.endswith(": kept") for verdict in again.verdicts) == 4


@pytest.mark.lab(FOLDER, settings={"ike": 2}, scope="function")
def test_with_ikev2(lab: Lab) -> None:
    assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
    assert_tunnel(lab.node("kisii"), lab.node("kisumu"), version=2)


def test_the_first_step_that_fails_is_the_last(tmp_path: Path, lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong NTP key the routers never get the time, so nothing that follows is even tried."""
    text = (Path(NATIVE) / "topology.yaml").read_text()
    broken = text.replace('keys: {20: {type: md5, secret: "${ntp_key}"}}', "keys: {20: {type: md5, secret: other}}", 1)
    assert broken != text
    (tmp_path / "topology.yaml").write_text(broken)
    monkeypatch.setattr(provision, "_CLOCK_S", 8.0)
    lab = Lab.from_folder(tmp_path, name=lab_name).up()
    failed = [verdict for verdict in lab.verdicts if not verdict.held]
    assert [verdict.claim for verdict in failed] == ["time: kisii by NTP", "time: kisumu by NTP"]
    assert "192.0.2.6: unusable" in failed[0].seen
    assert "-3.0 years off" in failed[0].seen
    assert not any(verdict.claim.startswith("key pair") for verdict in lab.verdicts)


def test_it_leaves_nothing(lab_name: str) -> None:
    before = Machine.now(lab_name)
    lab = Lab.from_folder(FOLDER, name=lab_name).up(verify=False)
    assert before.difference(Machine.now(lab_name))
    assert lab.down()
    assert before.difference(Machine.now(lab_name)) == {}
    assert not lab.down()


def test_a_certificate_server_without_the_time_serves_nobody(
    tmp_path: Path, lab_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on IOS: as long as its clock is not synchronised it is disabled, and it says so."""
    text = (Path(NATIVE) / "topology.yaml").read_text()
    broken = text.replace("servers: [{server: ntp, nts: true}]", "servers: [{server: ntp, key: 21}]")
    broken = broken.replace('      keys: {20: {type: md5, secret: "${ntp_key}"}}', WRONG_KEYS, 1)
    broken = broken.replace("ntp: {master: 1}", "ntp: {master: 1, keys: {21: {secret: right}}}")
    (tmp_path / "topology.yaml").write_text(broken)
    monkeypatch.setattr(provision, "_CLOCK_S", 8.0)
    lab = Lab.from_folder(tmp_path, name=lab_name).up()
    assert any(verdict.claim == "time: ca by NTP" and not verdict.held for verdict in lab.verdicts)
    ca = lab.node("ca").certificate_authority
    assert ca.info()["state"] == "disabled: the clock is not synchronised"
    with pytest.raises(EnrolmentError, match="HTTP 503"):
        lab.node("kisii").enrolments["MOIGETECH"].authenticate()
    lab.node("ca").set_clock()  # right, and still nothing that it could trust
    assert ca.info()["enabled"] is False


WRONG_KEYS = '      keys: {20: {type: md5, secret: "${ntp_key}"}, 21: {secret: wrong}}'


def test_evidence_holds_certificates_and_clocks_and_no_secret(tmp_path: Path, lab_name: str) -> None:
    text = (Path(NATIVE) / "topology.yaml").read_text()
    guarded = text.replace("grant: ${grant}", "grant: ${grant}\n      challenge: do-not-show-this")
    guarded = guarded.replace("        revocation_check: crl\n", "        password: do-not-show-this\n", 2)
    (tmp_path / "topology.yaml").write_text(guarded)
    lab = Lab.from_folder(tmp_path, name=lab_name).up(verify=False)
    written = write_evidence(lab, tmp_path / "evidence", {})
    names = {str(path.relative_to(tmp_path / "evidence")) for path in written}
    assert {"certificates.json", "clocks.json", "ca/etc/testbed/ca.json", "kisii/etc/chrony/chrony.conf"} <= names
    assert {"ca/testbed-ca.out", "kisii/chronyd.out", "kisii/charon.log"} <= names
    for path in written:
        content = path.read_bytes()
        for secret in (b"do-not-show-this", b"moigetech-time", b"moigetech-time".hex().encode(), b"PRIVATE KEY"):
            assert secret not in content, path
    assert "CN=kisii.moigetech.test" in (tmp_path / "evidence" / "certificates.json").read_text()
