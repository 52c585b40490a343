"""`| include`, `| exclude`, `| begin`, `| section`, `| count` behind a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FilterError", "filter_help", "split_filter"]

_WORDS = ("include", "exclude", "begin", "section", "count")


_HELP = {
    "begin": "Begin with the line that matches",
    "count": "Count number of lines which match regexp",
    "exclude": "Exclude lines that match",
    "include": "Include lines that match",
    "section": "Filter a section of output",
}


def filter_help(line: str) -> str:
    """What IOS prints for `?` behind a bar; nothing if there is no bar."""
    _, bar, rest = line.partition("|")
    word, blank, _ = rest.lstrip().partition(" ")
    if not bar:
        return ""
    if blank:
        return "  LINE  Regular Expression\n"
    return "".join(f"  {name:<8} {text}\n" for name, text in _HELP.items() if name.startswith(word.lower()))


class FilterError(Exception):
    """What IOS says of a filter that is none; `column` is where."""

    def __init__(self, told: str, column: int) -> None:
        super().__init__(told)
        self.column = column


def split_filter(line: str) -> tuple[str, Callable[[str], str] | None]:
    """A command, and what to do with its output. Raises FilterError."""
    command, bar, rest = line.partition("|")
    if not bar:
        return line, None
    word, _, pattern = rest.strip().partition(" ")
    column = len(command) + 1 + len(rest) - len(rest.lstrip())
    found = [name for name in _WORDS if word and name.startswith(word.lower())]
    negated = False
    pattern = pattern.strip()
    if found == ["section"] and pattern.partition(" ")[0] in ("include", "exclude"):
        how, _, pattern = pattern.partition(" ")
        negated = how == "exclude"
    if len(found) != 1:
        raise FilterError("% Invalid input detected at '^' marker.", column)
    if not pattern:
        raise FilterError("% Incomplete command.", len(line))
    try:
        expression = re.compile(pattern.strip('"') if pattern.startswith('"') else pattern)
    except re.error:
        raise FilterError("% Invalid input detected at '^' marker.", line.find(pattern)) from None
    return command.rstrip(), lambda text: _apply(found[0], expression, text, negated=negated)


def _apply(how: str, expression: re.Pattern[str], text: str, *, negated: bool) -> str:
    lines = text.split("\n")
    if how == "include":
        kept = [line for line in lines if expression.search(line)]
    elif how == "exclude":
        kept = [line for line in lines if line and not expression.search(line)]
    elif how == "begin":
        at = next((index for index, line in enumerate(lines) if expression.search(line)), len(lines))
        kept = lines[at:]
    elif how == "count":
        kept = [f"Number of lines which match regexp = {sum(bool(expression.search(line)) for line in lines)}"]
    else:
        kept = [line for section in _sections(lines) if _wanted(section, expression) != negated for line in section]
    return "".join(f"{line}\n" for line in kept)


def _sections(lines: list[str]) -> list[list[str]]:
    """A line without indentation, and what is indented below it."""
    found: list[list[str]] = []
    for line in lines:
        if line.startswith((" ", "\t")) and found:
            found[-1].append(line)
        elif line not in ("", "!"):
            found.append([line])
    return found


def _wanted(section: list[str], expression: re.Pattern[str]) -> bool:
    return any(expression.search(line) for line in section)
