"""Distinguished names as a topology writes them: `CN=kisii.example.test, O=Example, C=KE`."""

from __future__ import annotations

import re

__all__ = ["ATTRIBUTES", "parse_name", "show_name"]

# As strongSwan writes them, src/libstrongswan/utils/identification.c; IOS knows the same.
ATTRIBUTES = (
    "C",
    "ST",
    "L",
    "O",
    "OU",
    "CN",
    "DC",
    "E",
    "unstructuredName",
    "unstructuredAddress",
    "serialNumber",
)
_BY_LOWER = {name.lower(): name for name in ATTRIBUTES}
_VALUE = re.compile(r"[A-Za-z0-9 ._:@()'-]+")


def parse_name(text: str) -> tuple[tuple[str, str], ...]:
    """Attribute types and values in the order written.

    Raises ValueError. Values are letters, digits and what host names, mail addresses and people's names need: commas,
    slashes, quotes and `+` mean something to one or the other program that has to read the name.
    """
    found = []
    for part in text.split(","):
        kind, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or kind.lower() not in _BY_LOWER:
            raise ValueError(f"'{part.strip()}' is no attribute of a distinguished name")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"'{value}' cannot be the value of {kind}")
        if kind.upper() == "C" and len(value) != 2:
            raise ValueError(f"'{value}' is no country code of two letters")
        found.append((_BY_LOWER[kind.lower()], value))
    return tuple(found)


def show_name(name: tuple[tuple[str, str], ...]) -> str:
    """The name as strongSwan shows it."""
    return ", ".join(f"{kind}={value}" for kind, value in name)
