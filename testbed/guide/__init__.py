"""Guides that run: an article with what is typed and what must come back, played on a live lab."""

from testbed.guide.expect import Expectation, parse_expectation
from testbed.guide.player import Player, Step
from testbed.guide.read import Guide, GuideError, read_guide
from testbed.guide.report import render_report

__all__ = [
    "Expectation",
    "Guide",
    "GuideError",
    "Player",
    "Step",
    "parse_expectation",
    "read_guide",
    "render_report",
]
