"""Kinds of values that several parts of a topology use."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

__all__ = ["MAX_SHARED_FILE", "Duration", "Identity", "Number", "Size", "list_of_one", "text_only"]

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB)?")
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024 * 1024}
MAX_SHARED_FILE = 64 * 1024 * 1024


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError("is no duration")
        return int(match[1]) * _SECONDS[match[2]]
    return value


def _size(value: Any) -> Any:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if not match:
            raise ValueError("is no size")
        return int(match[1]) * _BYTES[match[2]]
    return value


def text_only(value: Any) -> Any:
    # YAML 1.2 makes 10 a number; a name like that is meant as text.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def list_of_one(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Identity = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]
Duration = Annotated[
    int,
    BeforeValidator(_duration),
    Field(ge=1, le=10 * 365 * 86400),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+\s*[smhd]?$"}]}),
]
# A fraction is read as text, as every secret that looks like one has to be; pydantic makes it a number here.
Number = Annotated[
    float, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?[0-9]+(\.[0-9]+)?$"}]})
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    Field(ge=1, le=MAX_SHARED_FILE),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+\s*(B|KiB|MiB)?$"}]}
    ),
]
