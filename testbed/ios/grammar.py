"""The grammar of commands: patterns, and an automaton that reads words by them as IOS does.

A pattern is written as IOS's command reference writes it:

    ip address <address:ip> <mask:mask> [secondary]
    ntp server <server:host> [{prefer | key <key:1-65535>}...]
    hash hash=md5|sha|sha256

Words are keywords, which may be abbreviated as long as they are unique; `<name:kind>` is an argument; `name=a|b` is a
choice of keywords that is kept under that name; `[ ]` is optional, `{ | }` a choice, `...` repeats. `encryption~encr`
is a keyword that is written `encr` when it is shown (`+` there is a blank).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from testbed.ios.arguments import Argument, argument, interface_number
from testbed.ios.help import HELP
from testbed.ios.names import INTERFACE_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Failure", "Grammar", "Match", "Word", "split_words"]

C = TypeVar("C")
Kind = Literal["invalid", "ambiguous", "incomplete"]
_PIECE = re.compile(r"\.\.\.|[\[\]{}]|\|(?=\s)|[^\s\[\]{}]+?(?=\.\.\.|[\[\]{}\s]|$)")


class Word(NamedTuple):
    """A word of a line, and the column where it begins."""

    text: str
    column: int


def split_words(line: str) -> list[Word]:
    return [Word(match[0], match.start()) for match in re.finditer(r"\S+", line)]


@dataclass(frozen=True)
class Match(Generic[C]):
    """A command as it was typed: `words` in full, as they are shown; `lists` of its arguments and choices by name.

    `abbreviated`: a keyword was not written in full.
    """

    command: C
    words: tuple[str, ...]
    lists: dict[str, list[Any]]
    abbreviated: bool = False

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def get(self, name: str, default: Any = None) -> Any:
        """The last value of that name."""
        return self.lists[name][-1] if name in self.lists else default


@dataclass(frozen=True)
class Failure:
    """Why a line is no command; `column` is where IOS puts its `^`, `reason` what an argument cannot be."""

    kind: Kind
    column: int
    reason: str = ""


@dataclass(frozen=True)
class _Keyword:
    text: str
    shown: str
    capture: str | None


_Edge = _Keyword | Argument


@dataclass
class _State:
    edges: list[tuple[_Edge, _State]] = field(default_factory=list)
    empty: list[_State] = field(default_factory=list)
    accepts: Any = None
    _closure: tuple[list[tuple[_Keyword, _State]], list[tuple[Argument, _State]], Any] | None = None
    _exact: dict[str, list[tuple[_Keyword, _State]]] | None = None

    def closure(self) -> tuple[list[tuple[_Keyword, _State]], list[tuple[Argument, _State]], Any]:
        """Keywords and arguments that may come next, and the command that may end here."""
        if self._closure is None:
            seen: list[_State] = []
            stack = [self]
            while stack:
                state = stack.pop(0)
                if not any(state is other for other in seen):
                    seen.append(state)
                    stack += state.empty
            edges = [edge for state in seen for edge in state.edges]
            accepts = next((state.accepts for state in seen if state.accepts is not None), None)
            keywords = [(edge, to) for edge, to in edges if isinstance(edge, _Keyword)]
            arguments = [(edge, to) for edge, to in edges if isinstance(edge, Argument)]
            self._closure = keywords, arguments, accepts
        return self._closure

    def exactly(self, word: str) -> list[tuple[_Keyword, _State]]:
        """The keywords that are this word; most are written in full, and a mode has a hundred."""
        if self._exact is None:
            self._exact = {}
            for edge, to in self.closure()[0]:
                self._exact.setdefault(edge.text, []).append((edge, to))
        return self._exact.get(word, [])


class _Thread(NamedTuple):
    """One way to read the words so far."""

    state: _State
    words: tuple[str, ...] = ()
    values: tuple[tuple[str, Any], ...] = ()
    abbreviated: bool = False

    def keyword(self, edge: _Keyword, to: _State, typed: str) -> _Thread:
        values = self.values if edge.capture is None else (*self.values, (edge.capture, edge.text))
        return _Thread(to, (*self.words, edge.shown), values, self.abbreviated or len(typed) < len(edge.text))

    def argument(self, edge: Argument, to: _State, shown: str, value: Any) -> _Thread:
        before = self.words[:-1] if edge.joined else self.words
        return _Thread(to, (*before, shown), (*self.values, (edge.name, value)), self.abbreviated)


class Grammar(Generic[C]):
    """The commands of one mode. The earlier one wins where two would take the same words."""

    def __init__(self, commands: Iterable[tuple[str, C]] = ()) -> None:
        self._root = _State()
        for pattern, command in commands:
            self.add(pattern, command)

    def add(self, pattern: str, command: C) -> None:
        ends = _Builder(pattern).build(self._root)
        if ends.accepts is None:
            ends.accepts = command

    def match(self, line: str | Sequence[Word], *, partly: bool = False) -> Match[C] | Failure:
        """The command that a line is. With `partly` a command that is not complete counts as one, as after `no`."""
        words = split_words(line) if isinstance(line, str) else line
        text = line if isinstance(line, str) else None
        threads = [_Thread(self._root)]
        for index, word in enumerate(words):
            rest = text[word.column :].rstrip() if text is not None else " ".join(item.text for item in words[index:])
            found = _advance(threads, word, rest)
            if isinstance(found, Failure):
                return found
            threads, ended = found
            if ended:
                break
        for thread in threads:
            command = thread.state.closure()[2]
            if command is not None:
                return Match(command, thread.words, _gathered(thread.values), thread.abbreviated)
        if partly and threads and words:
            reachable = next(iter(_reachable(threads[0].state)), None)
            if reachable is not None:
                first = threads[0]
                return Match(reachable, first.words, _gathered(first.values), first.abbreviated)
        end = words[-1].column + len(words[-1].text) if words else 0
        return Failure("incomplete", end)

    def candidates(self, line: str) -> tuple[list[tuple[str, str]], bool] | Failure:
        """What may come next in a line that is being typed, each with its help, and whether it may end here.

        Of a word that is begun, the keywords that begin so; after a blank, all keywords and arguments.
        """
        words = split_words(line)
        begun = words[-1].text.lower() if words and not line.endswith(" ") else None
        threads = [_Thread(self._root)]
        for word in words[:-1] if begun is not None else words:
            found = _advance(threads, word, word.text)
            if isinstance(found, Failure):
                return found
            threads = found[0]
        offered: dict[str, str] = {}
        for thread in threads:
            keywords, arguments, _ = thread.state.closure()
            offered |= {edge.text: HELP.get(edge.text, "") for edge, _ in keywords if edge.text.startswith(begun or "")}
            if begun is None:
                offered |= {edge.shown: edge.help for edge, _ in arguments}
        ends = begun is None and any(thread.state.closure()[2] is not None for thread in threads)
        return sorted(offered.items(), key=lambda item: (item[0].isupper(), item[0])), ends

    def commands(self) -> list[C]:
        return list(dict.fromkeys(_reachable(self._root)))


def _advance(threads: list[_Thread], word: Word, rest: str) -> tuple[list[_Thread], bool] | Failure:
    typed = word.text.lower()
    keywords = [(thread, edge, to) for thread in threads for edge, to in thread.state.exactly(typed)]
    if not keywords:
        keywords = [
            (thread, edge, to)
            for thread in threads
            for edge, to in thread.state.closure()[0]
            if edge.text.startswith(typed)
        ]
    if len({edge.text for _, edge, _ in keywords}) > 1:
        return Failure("ambiguous", word.column)
    if keywords:
        return [thread.keyword(edge, to, typed) for thread, edge, to in keywords], False
    following, reasons, ended = [], [], False
    for thread in threads:
        for edge, to in thread.state.closure()[1]:
            text = rest if edge.line else thread.words[-1] + word.text if edge.joined else word.text
            try:
                value = edge.read(text)
            except ValueError as failure:
                reasons.append(str(failure))
                continue
            shown = str(value) if edge.shown == "IFNAME" or edge.joined else text
            following.append(thread.argument(edge, to, shown, value))
            ended = ended or edge.line
    if not following:
        nothing = all(not any(thread.state.closure()[:2]) for thread in threads)
        return Failure("invalid", word.column, "" if nothing or not reasons else reasons[0])
    return following, ended


def _gathered(values: tuple[tuple[str, Any], ...]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in values:
        found.setdefault(name, []).append(value)
    return found


def _reachable(state: _State) -> Iterator[Any]:
    seen: list[int] = []
    stack = [state]
    while stack:
        at = stack.pop(0)
        if id(at) in seen:
            continue
        seen.append(id(at))
        if at.accepts is not None:
            yield at.accepts
        stack += [*(to for _, to in at.edges), *at.empty]


class _Builder:
    """From a pattern to states. Words that patterns share from the left share their states."""

    def __init__(self, pattern: str) -> None:
        self._pieces = _PIECE.findall(pattern)
        self._pattern = pattern

    def build(self, root: _State) -> _State:
        state = root
        while self._pieces and self._is_plain(self._pieces[0]) and self._pieces[1:2] != ["..."]:
            state = self._shared(state, self._pieces.pop(0))
        end = self._sequence(state)
        if self._pieces:
            raise ValueError(f"pattern '{self._pattern}': {' '.join(self._pieces)} is too much")
        return end

    @staticmethod
    def _is_plain(piece: str) -> bool:
        return piece not in ("[", "]", "{", "}", "|", "...") and "=" not in piece

    def _shared(self, state: _State, piece: str) -> _State:
        edge = _edges(piece)[0]
        for known, to in state.edges:
            if known == edge or (
                isinstance(known, Argument)
                and isinstance(edge, Argument)
                and (known.name, known.shown) == (edge.name, edge.shown)
            ):
                return to
        to = _State()
        state.edges.append((edge, to))
        _apart(state, edge, to)
        return to

    def _sequence(self, state: _State) -> _State:
        while self._pieces and self._pieces[0] not in ("]", "}", "|"):
            state = self._element(state)
        return state

    def _element(self, state: _State) -> _State:
        piece = self._pieces.pop(0)
        begin = _State()
        state.empty.append(begin)
        if piece in ("[", "{"):
            end = self._choice(begin, "]" if piece == "[" else "}")
        else:
            end = _State()
            for edge in _edges(piece):
                begin.edges.append((edge, end))
                _apart(begin, edge, end)
        if self._pieces[:1] == ["..."]:
            self._pieces.pop(0)
            end.empty.append(begin)
        if piece == "[":
            after = _State()
            end.empty.append(after)
            begin.empty.append(after)
            return after
        return end

    def _choice(self, begin: _State, closing: str) -> _State:
        end = _State()
        while True:
            branch = _State()
            begin.empty.append(branch)
            self._sequence(branch).empty.append(end)
            if not self._pieces:
                raise ValueError(f"pattern '{self._pattern}' has no {closing}")
            if self._pieces.pop(0) == closing:
                return end


def _apart(begin: _State, edge: _Edge, end: _State) -> None:
    """An interface may be written in two words: its type, which is a keyword, and its number."""
    if isinstance(edge, Argument) and edge.shown == "IFNAME":
        between = _State()
        between.edges.append((interface_number(edge.name), end))
        begin.edges += [(_Keyword(kind.lower(), kind, None), between) for kind in INTERFACE_TYPES]


def _edges(piece: str) -> list[_Edge]:
    if piece.startswith("<"):
        name, _, kind = piece.strip("<>").partition(":")
        return [argument(name, kind or "word")]
    capture, _, choices = piece.rpartition("=")
    found: list[_Edge] = []
    for choice in choices.split("|"):
        text, _, shown = choice.partition("~")
        found.append(_Keyword(text.lower(), (shown or text).replace("+", " "), capture or None))
    return found
