"""An executed guide as one self-contained page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from testbed.graph import to_svg

if TYPE_CHECKING:
    from testbed.guide.player import Step
    from testbed.guide.read import Guide
    from testbed.topology import LoadedTopology

__all__ = ["render_report"]


def render_report(guide: Guide, steps: list[Step], loaded: LoadedTopology, facts: dict[str, str]) -> str:
    """The page: prose, every command with what it really printed, a mark for each step, a drawing of the lab.

    `loaded` is the topology as its folder says it, so that the drawing shows where the guide leads.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("testbed.guide"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    played = {id(step.chapter): step for step in steps}
    return environment.get_template("report.html.j2").render(
        guide=guide,
        chapters=[(chapter, played.get(id(chapter))) for chapter in guide.chapters],
        drawing=Markup(to_svg(loaded)),  # noqa: S704 - made and escaped by testbed.graph
        prose=Markup,
        held=all(step.held for step in steps) and len(steps) == len(guide.chapters),
        facts=facts,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
