"""The pytest plugin, used as a stranger's test suite uses it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from testbed.events import EventStream
from testbed.lab import running_labs, take_down
from testbed.runtime import DockerRuntime
from tests.integration.conftest import PAIR

pytest_plugins = ["pytester"]

IMPORTS = """
import pytest
from testbed.testing import assert_encrypted, assert_reachable, assert_tunnel, assert_unreachable
"""
LABEL = re.compile(r"labname-[0-9a-f]{8}")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with a lab, whose name tells the labs that the inner tests make from all others."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)  # the inner run is no worker of the outer one
    folder = pytester.mkdir("labname")
    (folder / "topology.yaml").write_text(PAIR)
    return pytester


def run(suite: pytest.Pytester, tests: str, *arguments: str, stdin: bytes = b"") -> pytest.RunResult:
    suite.makepyfile(IMPORTS + tests)
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments)
    return suite.run(*command, stdin=stdin)


def left() -> list[str]:
    return [name for name in running_labs(DockerRuntime()) if LABEL.fullmatch(name)]


def test_a_module_shares_one_lab_and_leaves_none(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        pytestmark = pytest.mark.lab("labname", scope="module")

        def test_one(lab):
            lab.seen_by_the_first = True
            ike, esp = "aes256-sha256-modp2048", "aes256-sha256"
            assert_tunnel(lab.node("one"), lab.node("two"), version=2, ike=ike, esp=esp)

        def test_other(lab):
            assert lab.seen_by_the_first
            with assert_encrypted(lab.link("wire"), data=bytes(range(56))):
                lab.node("one").ping("10.2.0.1", source="lo0")
            assert_unreachable(lab.node("one"), "198.18.0.1", control="two:wan")
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=2)
    assert left() == []


def test_each_function_has_its_own_lab_with_its_own_settings(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        @pytest.mark.parametrize("version", [1, 2])
        def test_version(version, request):
            request.applymarker(pytest.mark.lab("labname", settings={"ike": version}))
            lab = request.getfixturevalue("lab")
            assert_tunnel(lab.node("one"), lab.node("two"), version=version)
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=2)
    assert left() == []


def test_a_failing_test_comes_with_evidence(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        @pytest.mark.lab("labname")
        def test_wrong(lab):
            lab.node("one").ping("10.2.0.1", source="lo0")
            assert_tunnel(lab.node("one"), lab.node("two"), esp="3des-md5", timeout_s=0.1)
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*ESP proposal aes256-sha256, expected 3des-md5*", "*lab evidence*", "*charon of one*"]
    )
    (folder,) = (suite.path / "testbed-evidence").iterdir()
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wanted = {"plan.json", "verdicts.json", "sas.json", "wire.pcapng"}
    wanted |= {f"{n}/{f}" for n in ("one", "two") for f in ("charon.log", "etc/swanctl/swanctl.conf")}
    assert wanted <= found
    assert (folder / "wire.pcapng").stat().st_size > 200
    assert json.loads((folder / "sas.json").read_text())["one"][0]["state"] == "ESTABLISHED"
    assert "secret = ***" in (folder / "one/etc/swanctl/swanctl.conf").read_text()
    for path in folder.rglob("*"):
        assert path.is_dir() or b"pair-key" not in path.read_bytes()
    assert left() == []


def test_an_expectation_that_does_not_hold_fails_the_test(suite: pytest.Pytester) -> None:
    text = PAIR + '  - {expect: unreachable, from: one, to: "two:wan"}\n'
    (suite.path / "labname" / "topology.yaml").write_text(text)
    result = run(suite, '@pytest.mark.lab("labname")\ndef test_it(lab):\n    pass\n')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the lab is not as its topology says*", "*no ping: one*expected 0 of 2 answer*"])
    assert left() == []


def test_a_lab_can_be_kept(suite: pytest.Pytester) -> None:
    run(suite, '@pytest.mark.lab("labname", verify=False)\ndef test_it(lab):\n    pass\n', "--lab-keep")
    kept = left()
    assert len(kept) == 1
    take_down(kept[0], DockerRuntime(), EventStream())


def test_evidence_of_a_passing_test(suite: pytest.Pytester) -> None:
    run(suite, '@pytest.mark.lab("labname")\ndef test_it(lab):\n    pass\n', "--lab-capture").assert_outcomes(passed=1)
    assert list((suite.path / "testbed-evidence").rglob("wire.pcapng"))


def test_a_pause_after_a_failure(suite: pytest.Pytester) -> None:
    tests = '@pytest.mark.lab("labname", verify=False)\ndef test_it(lab):\n    assert 0\n'
    result = run(suite, tests, "--lab-pause-on-fail", stdin=b"\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*lab labname-* is up: `testbed shell labname-* NODE`. Enter goes on.*"])
    assert left() == []


def test_under_xdist_each_worker_has_its_labs(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        @pytest.mark.lab("labname", scope="session")
        @pytest.mark.parametrize("number", range(4))
        def test_it(lab, number, worker_id):
            open(f"{worker_id}.name", "w").write(lab.name)
            assert_tunnel(lab.node("one"), lab.node("two"))
        """.replace("\n        ", "\n"),
        "-n",
        "2",
    )
    result.assert_outcomes(passed=4)
    names = [path.read_text() for path in Path(suite.path).glob("gw*.name")]
    assert len(names) == len(set(names)) == 2
    assert left() == []


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("", "*the test names no lab*"),
        ('@pytest.mark.lab("labname", scope="class")', "*scope is one of function, module, session*"),
        ('@pytest.mark.lab("labname", setings={})', "*the lab marker does not know setings*"),
        ('@pytest.mark.lab("labname", settings={"ikee": 1})', "*no parameter 'ikee'*"),
        ('@pytest.mark.lab("nowhere")', "*cannot read */nowhere*"),
    ],
)
def test_what_a_marker_cannot_say(suite: pytest.Pytester, marker: str, complaint: str) -> None:
    result = run(suite, f"{marker}\ndef test_it(lab):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([complaint])
