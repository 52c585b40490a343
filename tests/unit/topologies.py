"""Small topologies for the tests, written as their authors would."""

from __future__ import annotations

from pathlib import Path

from testbed.topology import LoadedTopology, load_text

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "topologies" / "native-psk"
SAFARI = ROOT / "topologies" / "safari-sacco"

PAIR = """
version: 1
name: pair
nodes:
  one: {role: router}
  two: {role: router}
links:
  wire: {ends: ["one:wan", "two:wan"], zone: public}
ipsec:
  tunnel:
    authentication: {secret: "pair-key"}
    peers:
      one: {interface: wan, protects: [10.1.0.0/16]}
      two: {interface: wan, protects: [10.2.0.0/16]}
"""


def loaded(text: str, **arguments: object) -> LoadedTopology:
    """A topology from its text, as if it stood in an empty folder."""
    return load_text(text, Path("/nonexistent/topology.yaml"), **arguments)  # type: ignore[arg-type]
