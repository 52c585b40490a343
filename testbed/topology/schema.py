"""The topology format as JSON Schema, for editors, and as Markdown, for people."""

from __future__ import annotations

from typing import Any

from testbed.topology.models import Topology

__all__ = ["json_schema", "markdown"]

_REFERENCE = {"type": "string", "pattern": r"\$\{[a-z][a-z0-9_-]*\}", "description": "A parameter: ${name}."}


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `topology.yaml`, before parameters are filled in.

    Wherever a number, a boolean or a fixed word is expected, a `${parameter}` may stand in its place.
    """
    schema = Topology.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$defs"]["ParameterReference"] = _REFERENCE
    declared = {"Parameter", "Variant", "ParameterReference"}
    for name, definition in schema["$defs"].items():
        if name not in declared:
            _allow_references(definition)
    return schema


def _allow_references(schema: dict[str, Any]) -> None:
    properties = schema.get("properties", {})
    for name, value in properties.items():
        if name != "expect":  # it tells the kinds of expectation apart
            properties[name] = _referable(value)


def _referable(value: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value, or of a reference in its place; a list of one may be written as its only item."""
    if "patternProperties" in value:
        return {**value, "additionalProperties": False}
    outer: dict[str, Any] = {key: value[key] for key in ("description", "default", "title") if key in value}
    inner = {key: item for key, item in value.items() if key not in outer}
    reference = {"$ref": "#/$defs/ParameterReference"}
    if inner.get("type") == "array":
        items = inner.get("items", {})
        if items.get("type") != "string":
            return value
        lists = [{**inner, "items": {"anyOf": [items, reference]}}]
        return {**outer, "anyOf": lists if inner.get("minItems") == 2 else [*lists, {"type": "string"}]}
    if "anyOf" in inner:
        return {**outer, "anyOf": [*_flat(inner["anyOf"]), reference]}
    if "enum" in inner or "const" in inner or inner.get("type") in ("integer", "boolean", "string"):
        return {**outer, "anyOf": [inner, reference]}
    return value


def _flat(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [inner for option in options for inner in option.get("anyOf", [option])]


def markdown() -> str:
    """The reference of the format: a section for each kind of mapping, a row for each key."""
    schema = Topology.model_json_schema(by_alias=True)
    parts = [_section("Topology", schema)]
    parts += [_section(name, definition) for name, definition in sorted(schema["$defs"].items())]
    return "\n".join(parts)


def _section(name: str, definition: dict[str, Any]) -> str:
    lines = [f"## {name}", "", " ".join(definition.get("description", "").split()), ""]
    lines += ["| key | value | meaning |", "|---|---|---|"]
    required = set(definition.get("required", []))
    for key, value in definition.get("properties", {}).items():
        marker = " (required)" if key in required else ""
        meaning = " ".join(str(value.get("description", "")).split()).replace("|", "\\|")
        default = value.get("default")
        if default not in (None, "", [], {}) and not isinstance(default, dict):
            meaning += f" Default: `{str(default).lower() if isinstance(default, bool) else default}`."
        lines.append(f"| `{key}`{marker} | {_type(value)} | {meaning.strip()} |")
    return "\n".join(lines) + "\n"


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    for union in ("anyOf", "oneOf"):
        if union in value:
            kinds = [_type(option) for option in value[union] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    if value.get("type") == "object" and "additionalProperties" in value:
        return f"mapping to {_type(value['additionalProperties'])}"
    if value.get("type") == "object" and "patternProperties" in value:
        return "mapping to " + " or ".join(_type(inner) for inner in value["patternProperties"].values())
    formats = {"ipv4interface": "IPv4 address", "ipv6interface": "IPv6 address", "ipv4network": "IPv4 prefix"}
    formats["ipv6network"] = "IPv6 prefix"
    names = {"string": "text", "integer": "number", "boolean": "`true` or `false`"}
    return formats.get(value.get("format", ""), names.get(value.get("type", ""), "text"))
