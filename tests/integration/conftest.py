"""What the tests with real daemons share. Each has labs with names of its own, and leaves none."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.events import EventStream
from testbed.lab import take_down
from testbed.prerequisites import essential
from testbed.runtime import DockerRuntime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [finding for finding in essential() if finding.verdict == "missing"]
    for item in items:
        if "tests/integration" in str(item.path):
            item.add_marker(pytest.mark.integration)
            if missing and not os.environ.get("CI"):  # in CI a missing engine is a failure, not a skip
                item.add_marker(pytest.mark.skip(reason=f"{missing[0].name}: {missing[0].seen}"))


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name for a lab of this test; whatever the test leaves of it is removed, and that it left something is told."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    yield name
    take_down(name, DockerRuntime(), EventStream())


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with the smallest lab that has a tunnel: two routers on one link, a loopback behind each."""
    folder = tmp_path / "pair"
    folder.mkdir()
    (folder / "topology.yaml").write_text(PAIR)
    return folder


PAIR = """
version: 1
name: pair
parameters:
  start: {default: manual}
  ike: {choices: [1, 2], default: 2}
  aggressive: {default: false}
  psk: {secret: true, default: pair-key-in-the-file}
nodes:
  one: {role: router, loopbacks: {lo0: [10.1.0.1/32]}, routes: [{to: default, via: two}]}
  two: {role: router, loopbacks: {lo0: [10.2.0.1/32]}, routes: [{to: default, via: one}]}
links:
  wire: {ends: ["one:wan", "two:wan"], prefixes: [203.0.113.0/30, "2001:db8::/64"], zone: public}
ipsec:
  tunnel:
    version: ${ike}
    aggressive: ${aggressive}
    start: ${start}
    authentication: {secret: "${psk}"}
    peers:
      one: {interface: wan, protects: [10.1.0.0/24]}
      two: {interface: wan, protects: [10.2.0.0/24]}
expectations:
  - {expect: reachable, from: one, to: "two:wan"}
  - {expect: tunnel, connection: tunnel}
"""
