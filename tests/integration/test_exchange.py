"""IKE's exchanges as they cross the wire: counted, named, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from testbed import Deadline, Lab, prove
from testbed.exchange import compare, record
from testbed.exchange.keys import KeyLog
from testbed.network.capture import Frame
from testbed.network.packet import dissect
from testbed.proof import find_scene
from tests.integration.commands import killed_when, run
from tests.integration.test_prove import only

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
    done = run("exchange", lab.name, "--json", "--write", str(tmp_path / "ike.pcapng"))
    assert done.returncode == 0, done.stderr
    assert [phase["count"] for phase in json.loads(done.stdout)[0]["phases"]] == [4, 4, 4, 2]
    assert (tmp_path / "ike.pcapng").stat().st_size > 2000
    drawn = run("exchange", lab.name, "--svg", "-")
    assert drawn.stdout.startswith("<svg ")


@pytest.mark.lab(GOALS, settings={"authentication": "rsa-sig"}, scope="module")
def test_what_was_captured_can_be_decrypted_by_the_keys_beside_it(lab: Lab, tmp_path: Path) -> None:
    """By hand, as Wireshark does it with the same table; and charon's log of the keys is gone afterwards."""
    from scapy.utils import PcapNgReader

    scene = find_scene(lab)
    frames: list[Frame] = []
    with KeyLog(scene) as log:
        scene.take_down()
        scene.bring_up()
        with lab.link("path").capture(frames.append), scene.stream() as stream:
            stream.deliver(3, Deadline(5.0))
    log.write(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    rows = [row.split('","') for row in (tmp_path / "keys" / "esp_sa").read_text().splitlines()]
    keys = {row[3]: bytes.fromhex(row[5].removeprefix("0x")) for row in rows}
    plain = []
    for frame in frames:
        packet = dissect(frame.data)
        if packet.kind == "esp":
            esp = frame.data[packet.offset :]
            cipher = Cipher(algorithms.AES(keys[f"0x{esp[:4].hex()}"]), modes.CBC(esp[8:24])).decryptor()
            plain.append(cipher.update(esp[24:-16]) + cipher.finalize())
    assert len(plain) == 3
    for number, inner in enumerate(plain):
        assert inner[12:20] == scene.near.inner.packed + scene.far.inner.packed
        assert stream.payload(number) in inner
    assert lab.node("r1").execute(["test", "-e", "/run/testbed/keys"]).exit_code == 1
    assert "keys" not in lab.node("r1").execute(["cat", "/etc/strongswan.conf"]).text
    assert only(prove(lab, ["key-confinement"])).proven
    done = run("capture", lab.name, "path", "-w", str(tmp_path / "c.pcapng"), "--keys", str(tmp_path / "k"), "-c", "4")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "k" / "ikev2_decryption_table").read_text().splitlines()) == 1
    with PcapNgReader(str(tmp_path / "c.pcapng")) as reader:
        assert len(list(reader)) == 4


def keys_are_logged(lab: Lab) -> bool:
    return lab.node("r1").execute(["test", "-s", "/run/testbed/keys"]).exit_code == 0


# What changes a lab for a while, as it is typed, and how one sees that it has.
CHANGES: dict[str, Callable[[Lab], bool]] = {
    "matrix --version ikev2,ikev1-main --auth psk,rsa-sig": lambda lab: "matrix" in lab.node("r1").charon.connections(),
    "capture path --keys KEYS --duration 60": keys_are_logged,
    "exchange --compare": lambda lab: lab.node("r1").charon.connections()["r1-r2"]["version"] == "IKEv1",
    "prove authentication": lambda lab: "198.51.100.2" in lab.node("trudy").execute(["ip", "address"]).text,
}


@pytest.mark.lab(GOALS, settings={"authentication": "rsa-sig"}, scope="module")
@pytest.mark.parametrize("typed", CHANGES)
def test_what_a_killed_process_has_changed_is_put_right(lab: Lab, typed: str, tmp_path: Path) -> None:
    find_scene(lab).bring_up()
    command, *words = typed.replace("KEYS", str(tmp_path / "keys")).split()
    killed_when(lambda: CHANGES[typed](lab), lab, command, *words)

    def right() -> bool:
        return not CHANGES[typed](lab) and find_scene(lab).is_up

    Deadline(60.0).until(right, "another process to put things right", every=0.1)
    assert "keys" not in lab.node("r1").execute(["cat", "/etc/strongswan.conf"]).text
    assert lab.node("trudy").charon.sas() == []
    assert all(verdict.held for verdict in lab.verify())


@pytest.mark.lab("topologies/safari-sacco", settings={"ike": 1}, verify=False)
def test_a_crypto_map_with_a_pre_shared_key(lab: Lab) -> None:
    phases = {phase.name: phase for phase in record(lab).phases}
    assert phases["set-up"].exchanges == [("main mode", 6), ("quick mode", 3)]
    assert phases["set-up"].messages[4].payloads[0] == "ID"
