"""The JSON Schema accepts what the loader accepts, and editors can complete from it."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from testbed.topology import json_schema
from testbed.topology.schema import markdown
from testbed.topology.source import parse
from tests.unit.topologies import PAIR, ROOT, SAFARI

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GOOD = [SAFARI / "topology.yaml", *sorted((ROOT / "tests" / "golden" / "plans").glob("*.yaml"))]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_good_topologies_are_valid(file: Path) -> None:
    problems = [error.message for error in VALIDATOR.iter_errors(parse(file.read_text()).data)]
    assert problems == []


@pytest.mark.parametrize(
    "change",
    [("version: 1", "version: 9"), ("role: router", "role: ruter"), ("zone: public", "zonk: public")],
)
def test_wrong_topologies_are_not(change: tuple[str, str]) -> None:
    assert VALIDATOR.is_valid(parse(PAIR).data)
    assert not VALIDATOR.is_valid(parse(PAIR.replace(*change)).data)


def test_every_key_has_a_description_or_a_telling_type() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            told = "description" in value or "$ref" in value or "anyOf" in value or key in ("description", "expect")
            assert (
                told
                or value.get("additionalProperties")
                or value.get("patternProperties")
                or key in {"method", "server", "share", "file", "connection", "link", "mtu", "title"}
            ), f"{name}.{key}"


def test_the_reference_in_docs_is_the_one_of_the_code() -> None:
    assert (ROOT / "docs" / "topology-reference.md").read_text() == markdown(), (
        "write it anew: testbed schema --markdown > docs/topology-reference.md"
    )
