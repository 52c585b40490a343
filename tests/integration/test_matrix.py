"""Every combination on two routers that stay up."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from testbed import Lab
from testbed.matrix import Axes, Outcome, cells, run_matrix, sweep
from tests.integration.commands import run

GOALS = "topologies/ipsec-goals"


@pytest.mark.lab(GOALS, scope="module")
def test_everything_that_can_be_is_negotiated_and_carries_traffic(lab: Lab) -> None:
    before = {name: (state.pid, state.identity.run) for name, state in lab.states().items()}
    outcomes = run_matrix(lab, sweep())
    assert [f"{item.cell}: {item.reason}" for item in outcomes if item.status == "failed"] == []
    assert sum(item.status == "passed" for item in outcomes) > 170
    assert all(item.reason for item in outcomes if item.status == "impossible")
    assert {name: (state.pid, state.identity.run) for name, state in lab.states().items()} == before
    # The lab's own tunnel is back, with its own credentials, and nothing of the matrix is left.
    for name in ("r1", "r2"):
        charon = lab.node(name).charon
        assert "matrix" not in charon.connections()
        assert "matrix" not in charon.shared_identifiers()
        assert [sa.name for sa in charon.sas()] == ["r1-r2"]
    assert all(verdict.held for verdict in lab.verify())


@pytest.mark.lab(GOALS, scope="module")
def test_a_cell_that_does_not_come_up_fails_with_its_reason(lab: Lab) -> None:
    """The far end loses its key after the first cell."""

    def steal(_outcome: Outcome) -> None:
        lab.node("r2").charon.unload_shared("matrix")

    wanted = list(
        cells(Axes(versions=("ikev2",), authentications=("psk", "rsa-sig"), esp=("aes256-sha256", "aes128-sha1")))
    )
    outcomes = run_matrix(lab, wanted, announce=steal)
    assert [item.status for item in outcomes] == ["passed", "failed", "passed", "passed"]
    assert outcomes[1].reason


@pytest.mark.lab("topologies/safari-sacco", settings={"ike": 1})
def test_the_command_on_routers_with_crypto_maps(lab: Lab, tmp_path: Path) -> None:
    options = ["--version", "ikev1-main,ikev2", "--auth", "psk,ed25519", "--json"]
    files = ["--junit", str(tmp_path / "matrix.xml"), "--html", str(tmp_path / "matrix.html")]
    done = run("matrix", lab.name, *options, *files)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [item["status"] for item in found] == ["passed"] * 2 + ["impossible"] * 2 + ["passed"] * 4
    root = ElementTree.parse(tmp_path / "matrix.xml").getroot()  # noqa: S314 - our own
    assert (root.get("tests"), root.get("failures")) == ("8", "0")
    assert "6 passed" in (tmp_path / "matrix.html").read_text()
    wrong = run("matrix", lab.name, "--ike", "aes257-sha1-modp2048")
    assert wrong.returncode == 2
    assert "did you mean" in wrong.stderr
    assert all(verdict.held for verdict in lab.verify()), "the crypto maps are back"
