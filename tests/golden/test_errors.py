"""Wrong topologies, each with the exact text that its author gets to read.

`pytest tests/golden --golden-update` writes the texts anew; read the difference before you commit it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import TopologyError
from testbed.topology import load_text

FOLDER = Path(__file__).parent / "errors"
CASES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_error_text(case: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(TopologyError) as caught:
        load_text(case.read_text(), case, environ={})
    text = str(caught.value).replace(f"{case.resolve().parent}", "FOLDER").replace(str(case), "topology.yaml") + "\n"
    expected = case.with_suffix(".txt")
    if request.config.getoption("--golden-update"):
        expected.write_text(text)
    assert text == expected.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_no_error_text_shows_a_secret(case: Path) -> None:
    text = case.with_suffix(".txt").read_text()
    assert "lab-key" not in text
    assert "hush" not in text
