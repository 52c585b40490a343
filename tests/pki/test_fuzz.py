"""A short run of the fuzzer; `make fuzz` runs a long one."""

from __future__ import annotations

from pathlib import Path

from tests.pki.fuzz import Fuzz

MESSAGES = 2500


def test_mutated_messages(tmp_path: Path) -> None:
    report = Fuzz(tmp_path, seed=1).run(MESSAGES)
    assert report.crashes == []
    assert report.unearned == []
    assert report.outcomes.total() == MESSAGES
    assert len(report.outcomes) > 3
