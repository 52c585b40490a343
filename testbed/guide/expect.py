"""What must come back, by value: a line's words, with places for values, and what these have to be.

    expect: Success rate is {rate} percent where rate >= 80
    expect: current outbound spi: {SPI}
    expect not: MM_NO_STATE

A name in capitals is remembered: where it stands again in the guide, it has to have the same value. `{_}` is any word.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Expectation", "parse_expectation"]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*(==|!=|>=|<=|>|<)\s*(.+)")
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Expectation:
    """Words that a line of the output must have, or must not."""

    text: str
    words: str
    conditions: tuple[tuple[str, str, str], ...]
    negated: bool = False

    def check(self, output: str, known: dict[str, str]) -> str | None:
        """None if it holds; `known` then has the new values. Otherwise what is wrong."""
        expression = self._expression(known)
        found = [match for match in (expression.search(line) for line in output.splitlines()) if match]
        if self.negated:
            return None if not found else f"a line has it: {found[0].string.strip()}"
        if not found:
            return "no line has it"
        wrong = ""
        for match in found:
            values = {name: value for name, value in match.groupdict().items() if value is not None}
            all_values = {**known, **values}
            wrong = next((text for item in self.conditions if (text := _unmet(item, all_values))), "")
            if not wrong:
                known.update({name: value for name, value in values.items() if name.isupper()})
                return None
        return wrong

    def _expression(self, known: dict[str, str]) -> re.Pattern[str]:
        parts: list[str] = []
        named: set[str] = set()
        at = 0
        for match in _PLACE.finditer(self.words):
            parts.append(_literal(self.words[at : match.start()]))
            name, at = match[1], match.end()
            if name == "_":
                parts.append(r"\S+?")
            elif name in known:
                parts.append(re.escape(known[name]))
            elif name in named:
                parts.append(f"(?P={name})")
            else:
                named.add(name)
                parts.append(f"(?P<{name}>\\S+?)")
        parts.append(_literal(self.words[at:]))
        if self.words.endswith("}"):  # the last value is a whole word
            parts.append(r"(?!\S)")
        return re.compile("".join(parts))


def _literal(text: str) -> str:
    """Words as they stand, with any blanks between them."""
    return r"\s+".join(re.escape(part) for part in re.split(r"\s+", text))


def _unmet(condition: tuple[str, str, str], values: dict[str, str]) -> str:
    name, sign, wanted = condition
    if name not in values:
        return f"{name} has no value"
    seen = values[name]
    try:
        held = _OPERATORS[sign](float(seen.rstrip(",%")), float(wanted))
    except ValueError:
        held = _OPERATORS[sign](seen, values.get(wanted, wanted))
    return "" if held else f"{name} is {seen}"


def parse_expectation(text: str) -> Expectation:
    """From what follows `expect`, colon included. Raises ValueError."""
    match = re.fullmatch(r"(\s+not)?\s*:\s*(.+)", text)
    if not match:
        raise ValueError("an expectation is `expect: words` or `expect not: words`")
    words, separator, rest = match[2].partition(" where ")
    conditions = []
    for part in re.split(r"\s+and\s+", rest) if separator else []:
        found = _CONDITION.fullmatch(part.strip())
        if not found:
            raise ValueError(f"'{part}' is no condition such as `rate >= 80`")
        conditions.append((found[1], found[2], found[3].strip()))
    return Expectation(match[2].strip(), words.strip(), tuple(conditions), bool(match[1]))
