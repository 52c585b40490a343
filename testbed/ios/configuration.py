"""A router's configuration as a tree of statements, and how it is edited and shown."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from testbed.ios.syntax import MODES, rank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.ios.commands import Command
    from testbed.ios.grammar import Match

__all__ = ["Configuration", "Section", "Statement"]

_STEP = 10  # between the sequence numbers that IOS gives to the entries of an access list


class Section:
    """Statements of one mode, in the order in which they were first said."""

    def __init__(self) -> None:
        self._statements: dict[tuple[Any, ...], Statement] = {}  # by identity; a replacement keeps its place
        self._last_sequence = 0

    @property
    def mode(self) -> str:
        """Of which mode its statements are."""
        return "config"

    @property
    def children(self) -> list[Statement]:
        return list(self._statements.values())

    def all(self, name: str) -> list[Statement]:
        """The statements of that name which hold."""
        return [child for child in self._statements.values() if child.command.name == name and not child.negated]

    def one(self, name: str) -> Statement | None:
        return next(iter(self.all(name)), None)

    def find(self, other: Section) -> Statement | None:
        """The statement here that another one, perhaps of another copy, would replace."""
        return self._statements.get(other.identity) if isinstance(other, Statement) else None

    def value(self, name: str, argument: str, default: Any = None) -> Any:
        """An argument of a statement that there is once; the default without the statement or the argument."""
        found = self.one(name)
        return default if found is None else found.get(argument, default)

    def says(self, name: str) -> bool:
        """Whether a statement that is on or off is on."""
        for child in self.children:
            if child.command.name == name:
                return not child.negated
        known = (command for command in MODES[self.mode].commands if command.name == name)
        return bool(next((command.default for command in known if command.default is not None), False))

    def insert(self, match: Match[Command], line: int = 0) -> Statement:
        """Add a statement, in place of the one that it replaces. Of one that opens a mode, what was in it stays."""
        command = match.command
        fresh = Statement(command, match.words, match.lists, line)
        if command.name == "entry":
            self._last_sequence = max(fresh.get("sequence") or self._last_sequence // _STEP * _STEP + _STEP,
                                      self._last_sequence)  # fmt: skip
            fresh.lists.setdefault("sequence", [self._last_sequence])
        if command.name == "remark":  # it speaks of the entry that follows
            fresh.lists.setdefault("sequence", [self._last_sequence + 1])
        before = self._statements.get(fresh.identity)
        if before is not None and command.enters is not None:
            before.lists |= fresh.lists
            before.words = max(
                before.words, fresh.words, key=len
            )  # a map's entry may be re-entered by its number alone
            return before
        if command.default is True:  # that is how it is anyway
            self._statements.pop(fresh.identity, None)
        else:
            self._statements[fresh.identity] = fresh
        return fresh

    def remove(self, match: Match[Command], line: int = 0) -> list[Statement]:
        """What `no` does: remove the statements that begin with these words. Returns them."""
        command = match.command
        found = [child for child in self.children if not child.negated and _begins(child, match)]
        for child in found:
            del self._statements[child.identity]
        if command.default is True:
            negation = Statement(command, match.words, match.lists, line, negated=True)
            self._statements[negation.identity] = negation
        return found

    def ordered(self) -> list[Statement]:
        """As `show running-config` orders them."""
        return sorted(self.children, key=lambda child: (rank(child.command), child.order()))


def _begins(child: Statement, match: Match[Command]) -> bool:
    """Whether a statement is meant by `no` and these words, of which a sequence number alone is enough."""
    words = match.words
    if child.command.name == "entry" and len(words) == 1 and words[0].isdecimal():
        return bool(child.get("sequence") == int(words[0]))
    if match.command.name == "entry" and child.command.name == "entry":
        return child.plain() == tuple(words[1:] if words[0].isdecimal() else words)
    if child.command.name != match.command.name:
        return child.words[: len(words)] == words
    if match.command.key and "*" not in match.command.key:
        given = [name for name in match.command.key if name in match.lists]
        if given and all(child.get(name) == match.get(name) for name in given):
            return True
    return child.words[: len(words)] == words or (not match.command.key and match.command is child.command)


@dataclass(eq=False)
class Statement(Section):
    """One statement, and the statements of the mode that it opens. `body` holds the lines of a certificate."""

    command: Command
    words: tuple[str, ...]
    lists: dict[str, list[Any]]
    line: int = 0
    negated: bool = False
    body: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def mode(self) -> str:
        return self.command.enters or ""

    @property
    def text(self) -> str:
        return ("no " if self.negated else "") + " ".join(self.words)

    def get(self, name: str, default: Any = None) -> Any:
        """The last value of that name."""
        return self.lists[name][-1] if name in self.lists else default

    def every(self, name: str) -> list[Any]:
        return self.lists.get(name, [])

    def has(self, word: str) -> bool:
        """Whether it holds this keyword."""
        return word in self.words

    @property
    def identity(self) -> tuple[Any, ...]:
        """Another statement with the same one replaces this one."""
        if "*" in self.command.key:
            return self.command.name, self.plain()
        return self.command.name, *(self.get(name) for name in self.command.key)

    def plain(self) -> tuple[str, ...]:
        """Without the sequence number of an access list's entry."""
        numbered = self.command.name in ("entry", "remark") and self.words[0].isdecimal()
        return self.words[1:] if numbered else self.words

    def order(self) -> tuple[Any, ...]:
        """Among the statements of its command."""
        return tuple(self.get(name, 0) for name in self.command.sort)


class Configuration(Section):
    """The whole configuration of one router."""

    def copy(self) -> Configuration:
        return copy.deepcopy(self)

    @property
    def hostname(self) -> str:
        return str(self.value("hostname", "hostname", "Router"))

    def text(self) -> str:
        """As `show running-config` prints it: sections apart by `!`, one blank before what belongs to one."""
        return "".join(f"{line}\n" for line in self.lines())

    def lines(self) -> Iterator[str]:
        before: str | None = None
        for statement in self.ordered():
            group = statement.command.name
            if statement.command.enters or (before is not None and _family(group) != _family(before)):
                yield "!"
            yield from shown(statement, 0)
            before = group
        yield "!"
        yield "end"


def _family(name: str) -> list[str]:
    """What stands together in a configuration: all of NTP, all of `crypto isakmp`."""
    words = name.split()
    return words[:2] if words[0] in ("crypto", "ip") else words[:1]


def shown(statement: Statement, depth: int) -> Iterator[str]:
    indent = " " * depth
    yield indent + statement.text
    yield from statement.body
    for child in statement.ordered():
        words = child.plain()
        if words != child.words:
            yield f"{indent} {' '.join(words)}"
        else:
            yield from shown(child, depth + 1)
