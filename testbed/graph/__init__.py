"""Drawings of a topology, as text and as SVG. Pure."""

from testbed.graph.svg import to_svg
from testbed.graph.text import to_text

__all__ = ["to_svg", "to_text"]
