"""A short run of the fuzzer; `make fuzz` runs a long one."""

from __future__ import annotations

from tests.unit.ios.fuzz import fuzz


def test_no_configuration_breaks_the_reader_or_the_compiler() -> None:
    report = fuzz(1500, 20261124)
    assert report.failures == []
    assert {"compiled", "kept", "refused"} <= report.outcomes.keys()
