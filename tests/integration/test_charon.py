"""charon through VICI: what the client says is what the daemon does."""

from __future__ import annotations

import pytest

from testbed.daemons.charon import Charon
from testbed.deadline import Deadline
from testbed.errors import DaemonError, NegotiationError
from testbed.lab import Lab, Node
from testbed.testing import assert_reachable, assert_tunnel

NATIVE = pytest.mark.lab("topologies/native-psk", scope="module", verify=False)
CHILD = "kisii-kisumu"


@pytest.fixture
def kisii(lab: Lab) -> Node:
    """Kisii's router with a tunnel up."""
    node = lab.node("kisii")
    if not any(sa.established for sa in node.charon.sas()):
        node.charon.initiate(child=CHILD, deadline=Deadline(20.0))
    return node


@NATIVE
def test_the_daemon_is_strongswan_6(kisii: Node) -> None:
    version = kisii.charon.version()
    assert version.daemon == "charon-systemd"
    assert version.version.startswith("6.")


@NATIVE
def test_connections_secrets_and_algorithms_are_listed(kisii: Node) -> None:
    connection = kisii.charon.connections()[CHILD]
    assert connection["version"] == "IKEv1"
    assert connection["remote_addrs"] == ["198.51.100.2"]
    assert kisii.charon.shared_identifiers() == [f"ike-{CHILD}"]
    algorithms = kisii.charon.algorithms()
    assert "AES_CBC" in algorithms["encryption"]
    assert "3DES_CBC" in algorithms["encryption"]
    assert "DES_CBC" in algorithms["encryption"]


@NATIVE
def test_terminate_and_initiate(lab: Lab, kisii: Node) -> None:
    assert kisii.charon.terminate(ike=CHILD, deadline=Deadline(10.0)) == 1
    assert kisii.charon.sas() == []
    assert kisii.charon.terminate(ike=CHILD, deadline=Deadline(10.0)) == 0
    kisii.charon.initiate(child=CHILD, deadline=Deadline(20.0))
    assert_tunnel(kisii, lab.node("kisumu"))


@NATIVE
def test_events_tell_of_a_tunnel(kisii: Node) -> None:
    kisii.charon.terminate(ike=CHILD, deadline=Deadline(10.0))
    with kisii.charon.listen("ike-updown", "child-updown", "log") as events:
        kisii.charon.initiate(child=CHILD, deadline=Deadline(20.0))
        up = events.wait_for("child-updown", Deadline(5.0))
        assert CHILD in up.data
        messages = [event.text for event in events.drain() if event.name == "log"]
    assert all(isinstance(message, str) for message in messages)


@NATIVE
def test_the_log_comes_as_events(kisii: Node) -> None:
    with kisii.charon.listen("log") as events:
        kisii.charon.rekey(child=CHILD)
        line = events.wait_for("log", Deadline(10.0), **{"ikesa-name": CHILD})
    assert line.text


@NATIVE
def test_counters_survive_rekeying(lab: Lab, kisii: Node) -> None:
    """Twenty packets before, between and after three rekeyings are all counted, at both ends, to the byte."""
    pc, kisumu = lab.node("pc-kisii"), lab.node("kisumu")
    with kisii.traffic() as meter, kisumu.traffic() as other:
        start, other_start = meter.totals(), other.totals()
        for _ in range(4):
            assert pc.ping("pc-kisumu", count=20, interval_s=0.005, size=100).received == 20
            # At both ends: the responder of IKEv1 has the new SA only when quick mode's third message has arrived.
            with kisii.charon.listen("child-rekey") as events, kisumu.charon.listen("child-rekey") as others:
                assert kisii.charon.rekey(child=CHILD) >= 1
                events.wait_for("child-rekey", Deadline(10.0))
                others.wait_for("child-rekey", Deadline(10.0))
        assert pc.ping("pc-kisumu", count=20, interval_s=0.005, size=100).received == 20
        end, other_end = meter.totals(), other.totals()
    assert end.packets_out - start.packets_out == 100
    assert end.packets_in - start.packets_in == 100
    assert end.bytes_out - start.bytes_out == 100 * (100 + 8 + 20)
    assert other_end.packets_in - other_start.packets_in == 100
    assert other_end.packets_out - other_start.packets_out == 100


@NATIVE
def test_a_rekeyed_tunnel_has_a_new_spi(lab: Lab, kisii: Node) -> None:
    before = {child.spi_in for sa in kisii.charon.sas() for child in sa.children}
    with kisii.charon.listen("child-rekey") as events:
        kisii.charon.rekey(child=CHILD)
        events.wait_for("child-rekey", Deadline(10.0))
    after = {child.spi_in for sa in kisii.charon.sas() for child in sa.children if child.state == "INSTALLED"}
    assert after - before
    assert_reachable(lab.node("pc-kisii"), "pc-kisumu")


@NATIVE
def test_a_wrong_key_is_refused_with_a_reason(lab: Lab, kisii: Node) -> None:
    kisii.charon.terminate(ike=CHILD, deadline=Deadline(10.0))
    owners = ["203.0.113.2", "198.51.100.2"]
    kisii.charon.load_shared(f"ike-{CHILD}", b"not the key", owners)
    try:
        with pytest.raises(NegotiationError) as caught:
            kisii.charon.initiate(child=CHILD, deadline=Deadline(4.0))
        assert "kisii: cannot initiate 'kisii-kisumu'" in str(caught.value)
        assert "not the key" not in str(caught.value)
        assert not any(sa.established for sa in lab.node("kisumu").charon.sas())
    finally:
        kisii.execute(["swanctl", "--load-creds", "--clear", "--noprompt"], check=True)
    kisii.charon.initiate(child=CHILD, deadline=Deadline(20.0))


@NATIVE
def test_connections_are_loaded_and_unloaded(kisii: Node) -> None:
    odd = 'o"dd {id} # \\'
    kisii.charon.load_connections(
        {"extra": {"version": "2", "remote_addrs": ["192.0.2.99"], "local": {"auth": "psk", "id": odd}, "remote": {}}}
    )
    try:
        assert kisii.charon.connections()["extra"]["local-1"]["id"] == odd
    finally:
        kisii.charon.unload_connection("extra")
    assert "extra" not in kisii.charon.connections()


@NATIVE
def test_what_charon_refuses_is_an_error_with_its_words(kisii: Node) -> None:
    with pytest.raises(DaemonError, match="kisii: charon refused the command"):
        kisii.charon.load_connections({"bad": {"proposals": ["no-such-proposal"], "local": {}, "remote": {}}})
    with pytest.raises(NegotiationError, match="no-such-child"):
        kisii.charon.initiate(child="no-such-child", deadline=Deadline(5.0))


@NATIVE
def test_certificates_are_loaded_and_listed(kisii: Node) -> None:
    script = (
        "pki --gen --type ed25519 --outform pem > /tmp/k.pem && "
        "pki --self --ca --in /tmp/k.pem --type ed25519 --dn 'CN=Lab CA' --outform pem"
    )
    certificate = kisii.execute(["sh", "-c", script], check=True).stdout
    key = kisii.execute(["cat", "/tmp/k.pem"], check=True).stdout
    kisii.charon.load_certificate(certificate, authority=True)
    assert len(kisii.charon.load_key(key)) == 40
    assert any(item["type"] == "X509" and item["flag"] == "CA" for item in kisii.charon.certificates())


@NATIVE
def test_message_counters(kisii: Node) -> None:
    counters = kisii.charon.counters()
    assert sum(counters.values()) > 0


def test_no_daemon_is_one_clear_error(tmp_path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with pytest.raises(DaemonError, match="nowhere: charon does not answer on VICI"):
        Charon("nowhere", tmp_path / "charon.vici").version()
