"""The four goals and what follows from them: proven on a tunnel that keeps them, refuted on one that does not."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from testbed import Lab, Proof, prove
from testbed.errors import SettingError
from testbed.proof import CLAIMS
from tests.integration.commands import run
from tests.unit.topologies import ROOT

GOALS = ROOT / "topologies" / "ipsec-goals"


def made(folder: Path = GOALS, **settings: str) -> Lab:
    return Lab.from_folder(folder, name=f"goals-{uuid.uuid4().hex[:8]}", settings=settings)


def only(proofs: list[Proof]) -> Proof:
    assert len(proofs) == 1
    return proofs[0]


@pytest.mark.parametrize(
    ("exchange", "authentication"),
    [("ikev2", "rsa-sig"), ("ikev2", "psk"), ("ikev1-main", "rsa-sig"), ("ikev1-aggressive", "psk")],
)
def test_every_claim_is_proven(exchange: str, authentication: str, tmp_path: Path) -> None:
    with made(exchange=exchange, authentication=authentication).up() as lab:
        assert [verdict for verdict in lab.verdicts if not verdict.held] == []
        proofs = {proof.claim: proof for proof in prove(lab, evidence=tmp_path)}
        assert list(proofs) == list(CLAIMS)
        assert [str(proof) for proof in proofs.values() if not proof.proven] == []
        assert proofs["confidentiality"].numbers["blocks_seen"] == 0
        assert int(proofs["confidentiality"].numbers["known_blocks"]) > 500
        assert proofs["integrity"].numbers["dropped_forward"] == proofs["integrity"].numbers["dropped_backward"] == 64
        replayed = proofs["anti-replay"].numbers
        assert replayed["dropped_forward"] == replayed["dropped_backward"] == 65
        assert (
            proofs["integrity"].numbers["forged_dropped_r1"] == proofs["integrity"].numbers["forged_dropped_r2"] == 16
        )
        assert proofs["forward-secrecy"].numbers["group"] == "MODP_2048"
        refused = [text for text in proofs["authentication"].shown if ": refused; " in text]
        assert len(refused) == (5 if authentication == "rsa-sig" else 3)  # once as caller
        assert proofs["authentication"].numbers["forged_esp"] == 16
        for name in CLAIMS:
            assert json.loads((tmp_path / name / "proof.json").read_text())["proven"]
            seen = (tmp_path / name / "path.pcapng").stat().st_size
            assert seen > 24 or name == "key-confinement"  # which looks at no packet
            assert json.loads((tmp_path / name / "sas-before.json").read_text()).keys() == {"r1", "r2"}
        kept = (tmp_path / "no-leak" / "r1" / "charon.log").read_text()
        assert "goals-lab-key" not in kept
        # What a proof has done is undone: all of it can be done again.
        again = prove(lab, ["authentication", "anti-replay"])
        assert [str(proof) for proof in again if not proof.proven] == []


@pytest.fixture(scope="module")
def open_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The tunnel protects networks that nobody uses, and the provider carries what the hosts send."""
    text = (GOALS / "topology.yaml").read_text()
    text = text.replace("protects: [lan-1]", "protects: [172.30.1.0/24]")
    text = text.replace("protects: [lan-2]", "protects: [172.30.2.0/24]")
    text = text.replace(
        "    drop_private: true",
        "    routes: [{to: 192.168.10.0/24, via: r1}, {to: 192.168.20.0/24, via: r2}]",
    )
    folder = tmp_path_factory.mktemp("open") / "open"
    folder.mkdir()
    (folder / "topology.yaml").write_text(text.split("\nexpectations:")[0] + "\n")
    lab = made(folder, authentication="psk")
    with lab.up():
        yield lab


@pytest.mark.parametrize(
    ("claim", "refutation"),
    [
        ("confidentiality", "blocks of the data are on the path"),
        ("integrity", "were dropped and counted by r2, expected 64"),
        ("anti-replay", "datagrams were delivered more than once, expected 0"),
        ("hidden-addresses", "path: "),
        ("no-leak", "rekeying: "),
    ],
)
def test_a_claim_is_refuted_where_nothing_is_protected(open_lab: Lab, claim: str, refutation: str) -> None:
    proof = only(prove(open_lab, [claim], hosts=("host-1", "host-2")))
    assert not proof.proven
    assert any(refutation in text for text in proof.refuted), proof


def test_a_leak_at_the_far_end_is_seen() -> None:
    """Its guard is gone; the provider drops what leaves it in clear, but an observer on its line does not."""
    with made(authentication="psk").up(verify=False) as lab:
        lab.node("r2").execute(["nft", "delete", "table", "inet", "testbed_guard"], check=True)
        proof = only(prove(lab, ["no-leak"]))
        assert any(text.startswith("tunnel down: ") for text in proof.refuted), proof


def test_clear_text_that_a_router_takes_for_its_peers_is_seen() -> None:
    with made(authentication="psk").up(verify=False) as lab:
        lab.node("r1").execute(["nft", "flush", "chain", "inet", "testbed_guard", "inbound"], check=True)
        proof = only(prove(lab, ["integrity"]))
        assert any("in clear passed r1, expected 0" in text for text in proof.refuted), proof
        assert not any("passed r2" in text for text in proof.refuted)


def test_data_that_is_not_encrypted_is_seen() -> None:
    """ESP with integrity alone: every packet is protected, and nothing is confidential."""
    with made(esp_proposal="null-sha256-modp2048", authentication="psk").up(verify=False) as lab:
        confidential, whole = prove(lab, ["confidentiality", "integrity"])
        assert not confidential.proven
        assert any("blocks of the data are on the path" in text for text in confidential.refuted)
        assert any("bits of entropy" in text for text in confidential.refuted)
        assert whole.proven, whole


def test_a_tunnel_without_a_group_has_no_forward_secrecy() -> None:
    with made(esp_proposal="aes256-sha256", authentication="psk").up(verify=False) as lab:
        proof = only(prove(lab, ["forward-secrecy"]))
        assert not proof.proven
        assert any("rekeying carries no key exchange: N(REKEY_SA) SA No TSi TSr" in text for text in proof.refuted)


def test_a_router_that_asks_for_no_revocation_lets_the_thief_in(tmp_path: Path) -> None:
    folder = tmp_path / "careless"
    folder.mkdir()
    text = (GOALS / "topology.yaml").read_text()
    careless = text.replace(
        "GOALS: {server: ca, fqdn: r1.goals.test}", "GOALS: {server: ca, fqdn: r1.goals.test, revocation_check: none}"
    )
    assert careless != text
    (folder / "topology.yaml").write_text(careless)
    with made(folder).up(verify=False) as lab:
        proof = only(prove(lab, ["authentication"]))
        assert any("a revoked certificate: it has an SA" in text for text in proof.refuted), proof


def test_a_key_that_anybody_may_read_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "talkative"
    shutil.copytree(GOALS, folder)
    (folder / "notes").write_text("The key of both routers is goals-lab-key.\n")
    text = (folder / "topology.yaml").read_text()
    text = text.replace(
        "    hostname: R1\n", '    hostname: R1\n    files: {/etc/notes: {source: notes, mode: "0644"}}\n'
    )
    (folder / "topology.yaml").write_text(text)
    with made(folder, authentication="psk").up(verify=False) as lab:
        own = lab.states()["r1"].identity.directory / "nvram-private" / "GOALS.pem"
        lab.node("r1").execute(["sh", "-c", "cat > /tmp/mail; chmod 644 /tmp/mail"], stdin=b"> " + own.read_bytes())
        proof = only(prove(lab, ["key-confinement"]))
        assert any("/etc/notes of r1" in text for text in proof.refuted), proof
        assert any("private key GOALS of r1 in /tmp/mail of r1" in text for text in proof.refuted), proof
        key = serialization.load_pem_private_key(own.read_bytes(), None)
        other = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        hide = "rm /tmp/mail; cat > /usr/share/k8; chmod 644 /usr/share/k8"
        lab.node("r1").execute(["sh", "-c", hide], stdin=other)
        lab.node("r1").execute(["sh", "-c", "echo 'Sk_ei secret => 32 bytes @ 0x7f' > /tmp/log; chmod 644 /tmp/log"])
        proof = only(prove(lab, ["key-confinement"]))
        assert any("private key GOALS of r1 in /usr/share/k8 of r1" in text for text in proof.refuted), proof
        assert any("1 dumps of session keys in /tmp/log of r1" in text for text in proof.refuted), proof
        assert not any("goals-lab-key" in text for text in proof.refuted)


@pytest.mark.lab("topologies/safari-sacco", scope="module", verify=False)
def test_any_lab_with_a_tunnel_can_be_proved(lab: Lab, prove: Callable[..., list[Proof]]) -> None:
    """A crypto map, which traffic sets up; here nobody can play the peer."""
    proofs = prove("confidentiality", "integrity", "anti-replay", "hidden-addresses", "no-leak", "key-confinement")
    assert len(proofs) == 6
    from testbed.proof import prove as try_claims

    untried = only(try_claims(lab, ["authentication"]))
    assert not untried.proven
    assert untried.untried is not None
    with pytest.raises(SettingError, match="there is no claim 'safety'"):
        try_claims(lab, ["safety"])
    with pytest.raises(SettingError, match="there is no connection 'other'"):
        try_claims(lab, connection="other")
    done = run("prove", lab.name, "integrity", "--json")
    assert done.returncode == 0
    assert [item["proven"] for item in json.loads(done.stdout)] == [True]
    assert run("prove", lab.name, "authentication").returncode == 1
