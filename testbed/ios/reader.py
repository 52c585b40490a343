"""Reading configuration text, line by line, as IOS does: each line goes to the current mode, then to its parents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from testbed.ios.configuration import Configuration, Section, Statement
from testbed.ios.grammar import Failure, split_words
from testbed.ios.syntax import MODES, grammar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.ios.commands import Command
    from testbed.ios.grammar import Match

__all__ = ["Editor", "Finding", "Reading", "complaint", "marker", "read_configuration"]

MAX_LINE = 4096
_OLD = re.compile(r"^(\s*(?:(?:no|default)\s+)?cry\w*\s+)ca(?=\s)", re.IGNORECASE)
_LEAVE = re.compile(r"exit(-[a-z-]+)?|quit", re.IGNORECASE)
_BANNER = re.compile(r"\s*ba(?:n(?:n(?:e(?:r)?)?)?)?\s+(\w+)\s+(\^C|\S)(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """What became of one line. `column` counts from 0, where IOS puts its `^`; `reason` says what it is not."""

    line: int
    text: str
    fate: Literal["compiled", "kept", "refused", "comment", "left"]
    told: str
    column: int | None = None
    statement: Statement | None = None
    removed: tuple[Statement, ...] = ()

    @property
    def refused(self) -> bool:
        return self.fate == "refused"


def marker(failure: Failure) -> str:
    """IOS's words for a failure, without the line of the `^`."""
    return {
        "invalid": "% Invalid input detected at '^' marker.",
        "ambiguous": "% Ambiguous command:",
        "incomplete": "% Incomplete command.",
    }[failure.kind]


class Editor:
    """Feeds lines to a configuration. `stack` holds the modes that are open, the global one first."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.stack: list[tuple[str, Section]] = [("config", configuration)]
        self._until: tuple[str, Statement] | None = None  # the end of a banner, and the banner

    @property
    def mode(self) -> str:
        return self.stack[-1][0]

    @property
    def prompt(self) -> str:
        name, section = self.stack[-1]
        if name == "config-if" and isinstance(section, Statement) and "." in section.get("interface", ""):
            return "config-subif"
        return MODES[name].prompt

    def leave(self) -> bool:
        """Leave the mode; False in the global one."""
        if len(self.stack) == 1:
            return False
        self.stack.pop()
        return True

    def feed(self, line: str, number: int = 0) -> Finding:
        """Take one line. Never raises for what it holds."""
        text = line.rstrip("\r\n")
        if self._until is not None:
            end, statement = self._until
            if end in text:
                self._until, statement.body[-1] = None, text
            else:
                statement.body.insert(-1, text)
            return Finding(number, text, "kept", "part of a banner", statement=statement)
        if self.mode == "config-pubkey":
            return self._certificate_line(text, number)
        stripped = text.strip()
        if not stripped or stripped.startswith("!"):
            return Finding(number, text, "comment", "")
        if len(text) > MAX_LINE or not text.replace("\t", " ").isprintable():
            return Finding(number, text, "refused", "% the line is too long, or holds what is no text", 0)
        return self._banner(text, number) or self._word(text, number)

    def _banner(self, text: str, number: int) -> Finding | None:
        """The first line of a banner: what it says goes on until the character that it begins with."""
        match = _BANNER.match(text)
        if not match:
            return None
        found = self._find(f"banner {match[1].lower()} {match[2]}{match[3].rstrip()}")
        if isinstance(found, Failure):
            return None
        depth, command = found
        del self.stack[depth + 1 :]
        statement = self.stack[depth][1].insert(command, number)
        if match[2] not in match[3]:
            self._until = match[2], statement
            statement.body.append(match[2])  # also of one whose end never comes
        return Finding(number, text, command.command.fate, command.command.told, statement=statement)

    def _word(self, text: str, number: int) -> Finding:
        words = split_words(text)
        first = words[0].text.lower()
        if len(words) == 1 and first == "end":
            del self.stack[1:]
            return Finding(number, text, "left", "end")
        if len(words) == 1 and _LEAVE.fullmatch(first):
            return Finding(number, text, "left", "exit" if self.leave() else "end")
        text = _OLD.sub(r"\1pki", text)
        if first in ("no", "default"):
            return self._no(text, words[0].column + len(first), number)
        found = self._find(text)
        if isinstance(found, Failure):
            return self._failed(text, number, found)
        depth, match = found
        command = match.command
        del self.stack[depth + 1 :]
        section = self.stack[depth][1]
        if command.fate == "refused":
            if command.enters is not None:
                self.stack.append((command.enters, Statement(command, match.words, match.lists, number)))
            return Finding(number, text, "refused", f"% {command.told}")
        statement = section.insert(match, number)
        if command.enters is not None:
            self.stack.append((command.enters, statement))
        return Finding(number, text, command.fate, command.told, statement=statement)

    def _no(self, text: str, column: int, number: int) -> Finding:
        rest = " " * column + text[column:]
        if not rest.strip():
            return Finding(number, text, "refused", "% Incomplete command.", column)
        found = self._find(rest, partly=True)
        if isinstance(found, Failure):
            return self._failed(text, number, found)
        depth, match = found
        del self.stack[depth + 1 :]
        removed = self.stack[depth][1].remove(match, number)
        fate = match.command.fate if match.command.fate != "refused" else "kept"
        return Finding(number, text, fate, "taken back", removed=tuple(removed))

    def _find(self, text: str, *, partly: bool = False) -> tuple[int, Match[Command]] | Failure:
        """The innermost mode that knows the line, or the failure of the one that understood most of it.

        `ip route …` below an interface is no abbreviation of its `ip route-cache`: in full goes before abbreviated.
        """
        failures: list[Failure] = []
        short: tuple[int, Match[Command]] | None = None
        for depth in range(len(self.stack) - 1, -1, -1):
            found = grammar_of(self.stack[depth][0]).match(text, partly=partly)
            if isinstance(found, Failure):
                failures.append(found)
                if found.kind == "incomplete":
                    break
            elif not found.abbreviated:
                return depth, found
            else:
                short = short or (depth, found)
        return short or max(failures, key=lambda failure: failure.column)

    def _failed(self, text: str, number: int, failure: Failure) -> Finding:
        told = marker(failure)
        if failure.kind == "ambiguous":
            told += f'  "{text.strip()}"'
        if failure.reason:
            told += f" ({failure.reason})"
        return Finding(number, text, "refused", told, failure.column)

    def _certificate_line(self, text: str, number: int) -> Finding:
        statement = self.stack[-1][1]
        url = isinstance(statement, Statement) and statement.get("url") is not None
        stripped = text.strip()
        if stripped.lower() == "quit" and isinstance(statement, Statement):
            statement.body.append("  \tquit")
            self.stack.pop()
            return Finding(number, text, "kept", "the end of a certificate")
        if not url and re.fullmatch(r"([0-9A-Fa-f]{2,8}\s*)+", stripped) and isinstance(statement, Statement):
            statement.body.append(f"  {stripped}")
            return Finding(number, text, "kept", "part of a certificate")
        self.stack.pop()
        return self.feed(text, number)


@dataclass(frozen=True)
class Reading:
    """A whole text as it was understood."""

    configuration: Configuration
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.refused]


def read_configuration(text: str) -> Reading:
    """Any text at all; what is no configuration is refused line by line."""
    configuration = Configuration()
    editor = Editor(configuration)
    return Reading(configuration, tuple(_findings(editor, text)))


def _findings(editor: Editor, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.split("\n"), start=1):
        if number <= 4 and line.startswith(("Building configuration", "Current configuration")):
            yield Finding(number, line, "comment", "the head of `show running-config`")
            continue
        match = re.fullmatch(r"\s*do\s+(.*)", line.rstrip("\r"), re.IGNORECASE)
        if match and editor.mode != "config-pubkey":
            yield Finding(number, line, "kept", "a command, and no configuration: type it at the console")
            continue
        yield editor.feed(line, number)


def complaint(finding: Finding) -> str:
    """A refusal as IOS shows it: the line, the `^` below the word, and what is wrong."""
    if finding.column is None or finding.told.startswith(("% Incomplete", "% Ambiguous")):
        return finding.told
    return f"{finding.text}\n{' ' * finding.column}^\n{finding.told}"
