"""Namespaces for the tests of the network room; each is removed with all that is in it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.network.namespace import create_named, remove_named


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/net" in str(item.path):
            item.add_marker(pytest.mark.net)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root: network namespaces cannot be made without"))


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A lab's name that nothing else has; its fabric is removed afterwards."""
    name = f"net-{uuid.uuid4().hex[:8]}"
    yield name
    remove_named(f"testbed.{name}")


@pytest.fixture
def namespaces() -> Iterator[dict[str, Path]]:
    """Three namespaces that stand for nodes."""
    names = {node: f"testbed-test-{uuid.uuid4().hex[:8]}" for node in ("a", "b", "c")}
    yield {node: create_named(name) for node, name in names.items()}
    for name in names.values():
        remove_named(name)
