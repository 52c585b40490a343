"""A matrix for machines and for people: JUnit's XML, and one page of HTML."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import jinja2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.matrix.run import Outcome

__all__ = ["counts", "to_html", "to_junit"]


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many passed, failed, and cannot be."""
    found = Counter(outcome.status for outcome in outcomes)
    return {status: found[status] for status in ("passed", "failed", "impossible")}


def to_junit(outcomes: Sequence[Outcome], name: str) -> str:
    """A test case for each cell; what cannot be is skipped, with its reason."""
    totals = counts(outcomes)
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(outcomes)),
        failures=str(totals["failed"]),
        skipped=str(totals["impossible"]),
        time=f"{sum(outcome.duration_ms for outcome in outcomes) / 1000:.3f}",
    )
    for outcome in outcomes:
        time = f"{outcome.duration_ms / 1000:.4f}"
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=str(outcome.cell), time=time)
        if outcome.status == "failed":
            ElementTree.SubElement(case, "failure", message=_printable(outcome.reason))
        elif outcome.status == "impossible":
            ElementTree.SubElement(case, "skipped", message=_printable(outcome.reason))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """XML 1.0 has no control characters, not even escaped."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


def to_html(outcomes: Sequence[Outcome], title: str) -> str:
    """A page that needs nothing beside it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("testbed.matrix"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("matrix.html.j2").render(outcomes=outcomes, title=title, totals=counts(outcomes))
