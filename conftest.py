"""Options of this repository's own tests; fixtures come from the testbed's pytest plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

# How long an example takes is the machine's affair: a busy one is no failure.
settings.register_profile("testbed", deadline=None)
settings.load_profile("testbed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the virtual machine unless it is asked for."""
    if "vm" not in str(config.getoption("-m")):
        kept = [item for item in items if not item.get_closest_marker("vm")]
        left = [item for item in items if item.get_closest_marker("vm")]
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="write the expected texts of tests/golden anew")
