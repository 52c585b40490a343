"""IKE's exchanges as they cross the wire: counted, named, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import Lab
from testbed.exchange import compare, record
from tests.integration.test_cli import run

GOALS = "topologies/ipsec-goals"


@pytest.mark.lab(GOALS, settings={"authentication": "rsa-sig"}, scope="module")
def test_each_version_and_mode_has_the_messages_of_its_rfc(lab: Lab) -> None:
    found = {item.title: item.phases[0] for item in compare(lab)}
    assert {name: phase.exchanges for name, phase in found.items()} == {
        "ikev1-main": [("main mode", 6), ("quick mode", 3)],
        "ikev1-aggressive": [("aggressive mode", 3), ("quick mode", 3)],
        "ikev2": [("IKE_SA_INIT", 2), ("IKE_AUTH", 2)],
    }
    assert [phase.round_trips for phase in found.values()] == [4.5, 3.0, 2.0]
    main = found["ikev1-main"].messages
    assert [message.encrypted for message in main] == [False] * 4 + [True] * 5
    assert main[4].payloads[:3] == ("ID", "CERT", "SIG")
    aggressive = found["ikev1-aggressive"].messages
    assert not aggressive[1].encrypted
    assert "ID" in aggressive[0].payloads, "the identity is in clear, which is what is wrong with aggressive mode"
    assert found["ikev2"].messages[2].payloads[0] == "IDi"


@pytest.mark.lab(GOALS, settings={"authentication": "rsa-sig"}, scope="module")
def test_a_recording_has_the_whole_life_of_a_tunnel(lab: Lab, tmp_path: Path) -> None:
    phases = {phase.name: phase for phase in record(lab).phases}
    assert phases["set-up"].exchanges == [("IKE_SA_INIT", 2), ("IKE_AUTH", 2)]
    child = phases["rekeying of the CHILD SA"]
    assert child.exchanges == [("CREATE_CHILD_SA", 2), ("INFORMATIONAL", 2)]
    assert child.messages[0].payloads[:2] == ("N(REKEY_SA)", "SA")
    assert phases["rekeying of the IKE SA"].messages[0].payloads == ("SA", "KE", "No") or (
        set(phases["rekeying of the IKE SA"].messages[0].payloads) == {"SA", "No", "KE"}
    )
    assert phases["end"].exchanges == [("INFORMATIONAL", 2)]
    assert lab.node("r1").charon.sas("r1-r2"), "the tunnel is up again, since it was"
    done = run("exchange", lab.name, "--json", "--write", str(tmp_path / "ike.pcap"))
    assert done.returncode == 0, done.stderr
    assert [phase["count"] for phase in json.loads(done.stdout)[0]["phases"]] == [4, 4, 4, 2]
    assert (tmp_path / "ike.pcap").stat().st_size > 2000
    drawn = run("exchange", lab.name, "--svg", "-")
    assert drawn.stdout.startswith("<svg ")


@pytest.mark.lab("topologies/safari-sacco", settings={"ike": 1}, verify=False)
def test_a_crypto_map_with_a_pre_shared_key(lab: Lab) -> None:
    phases = {phase.name: phase for phase in record(lab).phases}
    assert phases["set-up"].exchanges == [("main mode", 6), ("quick mode", 3)]
    assert phases["set-up"].messages[4].payloads[0] == "ID"
