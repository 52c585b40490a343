"""Commands that need neither root nor an engine."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from testbed.cli import app
from testbed.cli.output import shown
from testbed.errors import SettingError, TopologyError
from tests.unit.topologies import PAIR, ROOT


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_validate() -> None:
    done = run("validate", "native-psk", "--set", "ike=2")
    assert done.exit_code == 0
    assert "valid: native-psk: 8 nodes, 5 links, 1 IPsec connections" in done.output
    assert "--set psk=(secret)" in done.output
    assert "safari-sacco-lab-key" not in done.output


def test_validate_as_json(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(PAIR.replace("router", "ruter"))
    done = run("validate", str(tmp_path), "--json")
    assert done.exit_code == 2
    problems = json.loads(done.output)["problems"]
    assert problems[0]["suggestion"] == "router"
    assert problems[0]["line"] == 5


@pytest.mark.parametrize("name", ["no-such-lab", "safari-saco", "x" * 5000, "/nonexistent", "/dev/null", "."])
def test_a_lab_that_is_not_there(name: str) -> None:
    error = run("validate", name).exception
    assert isinstance(error, SettingError | TopologyError)
    if name == "safari-saco":
        assert "did you mean 'safari-sacco'?" in str(error)


def test_schema_is_json() -> None:
    assert json.loads(run("schema").output)["$defs"]["Node"]


def test_graph_as_text() -> None:
    text = run("graph", "safari-sacco").output
    assert text.startswith("internet (router)")
    for name in ("kisii", "kisumu", "pc-kisii", "fs-kisumu", "outsider"):
        assert f"{name} (" in text
    assert "kisii ═══ kisumu  IPsec kisii-kisumu, IKEv1" in text


def test_graph_as_svg(tmp_path: Path) -> None:
    file = tmp_path / "lab.svg"
    assert run("graph", "native-psk", "--svg", str(file)).exit_code == 0
    root = ET.fromstring(file.read_text())  # noqa: S314 - our own
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"internet", "kisii", "kisumu", "lan-kisii", "203.0.113.0/30  2001:db8:0:1::/64"} <= texts
    boxes = [
        tuple(float(element.get(key, "0")) for key in ("x", "y", "width", "height"))
        for element in root.iter("{http://www.w3.org/2000/svg}rect")
        if "box" in (element.get("class") or "")
    ]
    assert len(boxes) == 8
    for index, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[index + 1 :]:
            assert x + width <= left or left + wide <= x or y + height <= top or top + high <= y, "boxes overlap"


def test_a_graph_shows_who_is_on_the_path(tmp_path: Path) -> None:
    """An adversary with links of its own has a box; one that has none stands on its link alone."""
    text = run("graph", "ipsec-goals").output
    assert "link path  203.0.113.0/30 2001:db8:0:1::/64  through mallory" in text
    assert "mallory (host)" in text
    only = PAIR.replace("nodes:", "nodes:\n  eve: {role: host}").replace("zone: public", "zone: public, through: eve")
    (tmp_path / "topology.yaml").write_text(only)
    text = run("graph", str(tmp_path)).output
    assert "through eve" in text
    assert "eve (host)" not in text
    root = ET.fromstring(run("graph", str(tmp_path), "--svg", "-").output)  # noqa: S314 - our own
    drawn = [element for element in root.iter("{http://www.w3.org/2000/svg}text") if element.text == "eve"]
    assert [element.get("class") for element in drawn] == ["adversary"]


def test_a_graph_escapes_what_a_topology_says(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(PAIR.replace("name: pair", 'name: pair\ntitle: "<script>&\'"'))
    svg = run("graph", str(tmp_path), "--svg", "-").output
    assert "<script>" not in svg
    ET.fromstring(svg)  # noqa: S314


@pytest.mark.parametrize("text", ["\x1b]0;pwn\x07", "\x9b31m", "a\rb"])
def test_no_text_drives_the_terminal(text: str) -> None:
    assert all(letter.isprintable() for letter in shown(text))


@pytest.mark.parametrize("command", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.output


def test_completion_knows_labs() -> None:
    from testbed.cli.common import _complete_folder

    assert "safari-sacco" in _complete_folder("saf")


def test_completion_scripts_are_there() -> None:
    assert "--install-completion" in run("--help").output


def test_ios_check_says_what_becomes_of_each_statement(tmp_path: Path) -> None:
    file = tmp_path / "r1.ios"
    file.write_text("hostname R1\nservice password-encryption\nrouter ospf 1\nfoo\n")
    done = run("ios", "check", str(file))
    assert done.exit_code == 1
    assert "kept service password-encryption" in done.output
    assert "refused router ospf 1" in done.output
    assert "dynamic routing is not built yet" in done.output
    assert "1 compiled, 1 kept, 2 refused" in done.output
    found = json.loads(run("ios", "check", str(file), "--json").output)
    assert found["counts"] == {"compiled": 1, "kept": 1, "refused": 2}
    assert [(item["line"], item["fate"], item["column"]) for item in found["statements"]] == [
        (1, "compiled", None),
        (2, "kept", None),
        (3, "refused", None),
        (4, "refused", 1),
    ]
    file.write_text("hostname R1\n")
    assert run("ios", "check", str(file)).exit_code == 0


@pytest.mark.parametrize("file", sorted((ROOT / "topologies").glob("*/*.ios")), ids=lambda path: path.stem)
def test_the_configurations_of_the_labs_are_explained(file: Path) -> None:
    assert run("ios", "check", str(file)).exit_code == 0
    text = run("ios", "explain", str(file)).output
    assert "→ hostname: " in text
    assert "✗" not in text
    if file.stem.startswith(("kisii", "kisumu")):
        assert "connections {" in text
        assert "local_ts = " in text


def test_ios_check_of_what_is_not_there() -> None:
    assert isinstance(run("ios", "check", "/nonexistent").exception, SettingError)
    assert isinstance(run("ios", "check", "README.md", "--flavor", "ios12").exception, SettingError)
