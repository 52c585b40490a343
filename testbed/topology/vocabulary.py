"""Pydantic's errors in the words of a topology file: where, what is wrong, what was expected, what is meant."""

from __future__ import annotations

import difflib
import re
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from testbed.topology.faults import KINDS
from testbed.topology.models import Topology

if TYPE_CHECKING:
    from collections.abc import Iterable

    from testbed.errors import Problem
    from testbed.topology.source import Path, Source

__all__ = ["explain", "nearest"]

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "ip_v4_network": "an IP prefix such as 192.168.10.0/24",
    "ip_v6_network": "an IP prefix such as 192.168.10.0/24",
    "ip_v4_interface": "an address with prefix length such as 192.0.2.1/24",
    "ip_v6_interface": "an address with prefix length such as 192.0.2.1/24",
}
_PATTERNS = {
    r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$": "lower-case letters, digits and '-', at most 32",
    r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$": "lower-case letters, digits and '-', at most 48",
    r"^[a-zA-Z][a-zA-Z0-9_-]{0,14}$": "an interface name: a letter, then letters, digits, '-' or '_', at most 15",
    r"^[a-z][a-z0-9_-]*$": "a parameter name: a lower-case letter, then letters, digits, '-' or '_'",
    r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$": "a host name of letters, digits, '-' and '_', at most 63",
    r"^[a-z0-9-]+:[a-zA-Z0-9_-]+$": "node:interface",
    r"^[a-z0-9-]+(:[a-zA-Z0-9_-]+)?$": "a node, or node:interface",
    r"^[a-z][a-z0-9-]{0,11}$": "a share name of lower-case letters, digits and '-', at most 12",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "a file name of letters, digits, '.', '-' and '_'",
    r"^[A-Za-z0-9._/-]+$": "an absolute path of letters, digits, '.', '-', '_' and '/'",
    r"^0[0-7]{3}$": "permission bits such as '0600'",
    r"^[\x20-\x7e]+$": "printable ASCII, as VICI wants it",
    r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?$": "letters, digits, '-' and '_', at most 32",
    r"^[A-Za-z0-9:._-]+$": "a node, node:interface, or an address",
    r"^/[A-Za-z0-9._/-]+$": "an absolute path of letters, digits, '.', '-', '_' and '/'",
    r"^[A-Za-z0-9]{1,32}$": "letters and digits, at most 32",
    r"^[0-9A-Fa-f]{2}([ :]?[0-9A-Fa-f]{2}){15,63}$": "hexadecimal octets, as `openssl x509 -fingerprint` prints them",
    r"^https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?$": "http://ADDRESS/path or https://ADDRESS/path",
    r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$": "a domain name",
}
_TAGS = {
    "expect": "reachable, unreachable, tunnel, same-file, encrypted, synchronised, certificate",
    "kind": ", ".join(KINDS),
}
_NOTHING = object()


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one most likely stands for."""
    near = difflib.get_close_matches(str(word), sorted(known), n=1)
    return near[0] if near else None


def explain(source: Source, data: Any, error: dict[str, Any], secret_paths: frozenset[Path]) -> Problem:
    """One of pydantic's errors as a problem of the file; a secret value is never repeated in it."""
    path = _data_path(data, error["loc"])
    kind, context = str(error["type"]), error.get("ctx") or {}
    hidden = path in secret_paths or "secret" in path or "default" in path
    seen = "a secret" if hidden else _shown(error.get("input"))
    if kind == "missing":
        name = str(error["loc"][-1])
        return source.problem(path, f"the key '{name}' is missing", expected=_described(path, name))
    if kind == "extra_forbidden":
        known = _keys_at(path[:-1], data)
        message = f"unknown key '{path[-1]}'" if path else "unknown key"
        return source.problem(path, message, "one of " + ", ".join(sorted(known)), nearest(path[-1], known))
    if kind in ("literal_error", "union_tag_invalid"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected") or context.get("expected_tags")))
        numbers = str(context.get("expected", ""))
        expected = "one of " + ", ".join(choices) if choices else numbers
        if choices == ["default"]:
            expected = "a prefix such as 192.168.10.0/24, or default"
        tag = str(context.get("discriminator")).strip("'")
        given = error["input"].get(tag) if kind == "union_tag_invalid" else error.get("input")
        where = (*path, tag) if kind == "union_tag_invalid" else path
        return source.problem(
            where,
            f"{'a secret' if hidden else _shown(given)} is not known",
            expected,
            nearest(given, choices),
        )
    if kind == "union_tag_not_found":
        tag = str(context.get("discriminator")).strip("'")
        return source.problem(path, f"the key '{tag}' is missing", _TAGS[tag])
    return source.problem(path, f"{seen} {_complaint(kind, error)}", _expectation(kind, context, error, path))


def _complaint(kind: str, error: dict[str, Any]) -> str:
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind in ("too_short", "too_long"):
        return "has too few items" if kind == "too_short" else "has too many items"
    if kind.startswith(("greater", "less")):
        return "is out of range"
    if kind.startswith("string_too"):
        return "has the wrong length"
    return "does not fit here"


def _expectation(kind: str, context: dict[str, Any], error: dict[str, Any], path: Path) -> str | None:
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(context.get("pattern")), str(context.get("pattern")))
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
    if kind in ("too_short", "too_long"):
        return f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
    if kind.startswith("string_too"):
        return (
            f"at least {context['min_length']} character"
            if "min_length" in context
            else f"at most {context['max_length']}"
        )
    if kind == "value_error":
        return {
            "is no duration": "24h, 30m, 3600s or a number of seconds",
            "is no size": "a number of bytes, 256KiB or 1MiB",
            "is no offset": "-3y, +90s, 2h or a number of seconds",
            "is no date": "1993-03-01 or 1993-03-01 12:00:00",
        }.get(str(error["msg"]).removeprefix("Value error, "))
    if kind == "is_instance_of" or "network" in kind:
        return "an IP prefix such as 192.168.10.0/24"
    return _described(path, "") or str(error.get("msg"))


def _data_path(data: Any, loc: tuple[str | int, ...]) -> Path:
    """Pydantic's location as far as it exists in the data: no names of union members, no key that is missing."""
    path: list[str | int] = []
    at = data
    for part in loc:
        found = _step(at, part)
        if found is not _NOTHING:
            at = found
            path.append(part)
    return tuple(path)


def _step(at: Any, part: str | int) -> Any:
    if isinstance(at, dict) and part in at:
        return at[part]
    if isinstance(at, list) and isinstance(part, int) and part < len(at):
        return at[part]
    return _NOTHING


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation mentions: of Annotated, unions, list and dict alike."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _models_at(path: Path, data: Any) -> list[type[BaseModel]]:
    """The models that may describe the mapping at a path, found by walking both the data and the fields."""
    models: list[type[BaseModel]] = [Topology]
    at = data
    for part in path:
        at = _step(at, part)
        found = [
            inner
            for model in models
            for key, field in model.model_fields.items()
            if part in (key, field.alias)
            for inner in _models_in(field.annotation)
        ]
        models = found or models  # an index, or a name the user chose: the field's own models still apply
    if isinstance(at, dict) and "expect" in at:
        wanted = [m for m in models if at["expect"] in typing.get_args(m.model_fields["expect"].annotation)]
        return wanted or models
    return models


def _keys_at(path: Path, data: Any) -> set[str]:
    return {field.alias or key for model in _models_at(path, data) for key, field in model.model_fields.items()}


def _described(path: Path, name: str) -> str | None:
    hints = {
        "version": "version: 1 (of this format), or for a connection 1 or 2 (IKE)",
        "nodes": "a mapping of node names to nodes",
        "ends": "a list of node:interface",
        "to": "where the traffic goes",
        "from": "where the traffic comes from",
        "peers": "two routers, each with 'interface' and 'protects'",
        "authentication": "a mapping with 'method' and 'secret'",
        "secret": "text, {env: NAME} or {file: PATH}",
        "proposals": "strongSwan keywords such as aes256-sha256-modp2048",
        "default": "the value when nothing is set",
    }
    return hints.get(name) or (hints.get(str(path[-1])) if path else None)
