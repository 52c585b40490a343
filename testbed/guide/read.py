"""Reading a guide: Markdown, whose fenced blocks name a node.

A block marked `ios kisii` is typed at that router's console, one marked `sh pc-kisii` in that node's shell, and one
marked `testbed` on the machine itself, where LAB stands for the lab that the guide is played on. Each line is a
command, but for those that say what the command before is asked and what must come back:

    answer: yes             typed at the next question; `answer:` alone is an empty line
    expect: words           see testbed.guide.expect
    within: 30s             the command is repeated until what is expected holds, for so long

A heading of the second level begins a step.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from markdown_it import MarkdownIt

from testbed.errors import TestbedError
from testbed.guide.expect import parse_expectation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from markdown_it.token import Token

    from testbed.guide.expect import Expectation

__all__ = ["Block", "Chapter", "Command", "Guide", "GuideError", "markdown", "read_guide"]

FILE_NAME = "guide.md"
_FENCE = re.compile(r"(ios|sh)\s+([a-z0-9-]+)|(testbed)")
_WITHIN = re.compile(r"within:\s*(\d+)\s*s")
_MAX_BYTES = 1024 * 1024


class GuideError(TestbedError):
    """A guide that cannot be played."""


@dataclass(frozen=True)
class Command:
    """A line that is typed, and what belongs to it. `line` is that of the file."""

    text: str
    line: int
    answers: tuple[str, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    within_s: float = 0.0


@dataclass(frozen=True)
class Block:
    """Commands at one node, or prose: then `html` is all there is."""

    kind: str
    node: str = ""
    commands: tuple[Command, ...] = ()
    html: str = ""


@dataclass(frozen=True)
class Chapter:
    """A step: its heading, and what belongs to it. What stands before the first heading has none."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def runs(self) -> bool:
        """Whether anything is typed in it."""
        return any(block.commands for block in self.blocks)


@dataclass(frozen=True)
class Guide:
    title: str
    chapters: tuple[Chapter, ...] = field(default=())


def markdown() -> MarkdownIt:
    """CommonMark with tables; HTML in it is text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def read_guide(folder: Path, routers: Collection[str], nodes: Collection[str]) -> Guide:
    """The guide of a lab. Raises GuideError with the line."""
    path = folder / FILE_NAME if folder.is_dir() else folder
    try:
        content = path.read_bytes()
        if len(content) > _MAX_BYTES:
            raise GuideError(f"{path} is no guide", seen=f"more than {_MAX_BYTES} bytes")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as failure:
        raise GuideError(f"cannot read {path}", seen=str(failure), expected="a guide in Markdown") from None
    reader = _Reader(path, routers, nodes)
    return reader.read(text)


class _Reader:
    def __init__(self, path: Path, routers: Collection[str], nodes: Collection[str]) -> None:
        self._path = path
        self._routers = routers
        self._nodes = nodes
        self._markdown = markdown()

    def read(self, text: str) -> Guide:
        tokens = self._markdown.parse(text)
        title, heading = self._path.parent.name, ""
        chapters: list[Chapter] = []
        blocks: list[Block] = []
        prose: list[Token] = []

        def flush() -> None:
            if prose:
                html = self._markdown.renderer.render(prose, self._markdown.options, {})
                blocks.append(Block("prose", html=html))
                prose.clear()

        for index, token in enumerate(tokens):
            inside = _heading(tokens, index)
            if inside == "h1":
                title = token.content or title
                continue
            if inside == "h2":
                if token.type == "heading_open":
                    flush()
                    chapters.append(Chapter(heading, tuple(blocks)))
                    blocks = []
                elif token.type == "inline":
                    heading = token.content
                continue
            match = _FENCE.fullmatch(token.info.strip()) if token.type == "fence" else None
            if match:
                flush()
                blocks.append(self._block(match[1] or match[3], match[2] or "", token))
            else:
                prose.append(token)
        flush()
        chapters.append(Chapter(heading, tuple(blocks)))
        return Guide(title, tuple(chapter for chapter in chapters if chapter.title or chapter.blocks))

    def _block(self, kind: str, node: str, token: Token) -> Block:
        first = (token.map[0] if token.map else 0) + 2
        known = self._routers if kind == "ios" else self._nodes
        if kind != "testbed" and node not in known:
            self._fail(
                first - 1, f"there is no {'router' if kind == 'ios' else 'node'} '{node}'", f"one of {', '.join(known)}"
            )
        commands = tuple(self._commands(token.content.splitlines(), first))
        if kind == "testbed":
            self._check_quotes(commands)
        return Block(kind, node, commands)

    def _check_quotes(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            try:
                shlex.split(command.text)
            except ValueError as failure:
                self._fail(command.line, f"`{command.text}`: {str(failure).lower()}", "quotes in pairs")

    def _commands(self, lines: list[str], first: int) -> Iterator[Command]:
        current: Command | None = None
        for number, line in enumerate(lines, start=first):
            word = line.strip()
            special = re.match(r"(answer|expect|within)\b", word) and ":" in word
            if not special:
                if current is not None:
                    yield current
                current = Command(line.rstrip(), number) if word else None
                continue
            if current is None:
                self._fail(number, f"`{word}` belongs to no command", "a command before it")
            current = self._added(current, word, number)
        if current is not None:
            yield current

    def _added(self, command: Command, word: str, number: int) -> Command:
        text, line = command.text, command.line
        answers, expectations, within_s = command.answers, command.expectations, command.within_s
        if word.startswith("answer:"):
            answers = (*answers, word.removeprefix("answer:").strip())
        elif word.startswith("within"):
            match = _WITHIN.fullmatch(word)
            if not match:
                self._fail(number, f"`{word}` is no time", "within: 30s")
            within_s = float(match[1])
        else:
            try:
                expectations = (*expectations, parse_expectation(word.removeprefix("expect")))
            except ValueError as failure:
                self._fail(number, str(failure), "expect: words")
        return Command(text, line, answers, expectations, within_s)

    def _fail(self, line: int, what: str, expected: str) -> NoReturn:
        raise GuideError(f"{self._path}:{line}: {what}", expected=expected)


def _heading(tokens: list[Token], index: int) -> str:
    """The heading that a token is part of: h1, h2 or nothing."""
    for at in range(index, max(-1, index - 3), -1):
        if tokens[at].type == "heading_open" and tokens[at].tag in ("h1", "h2"):
            inside = index <= at + 2
            return tokens[at].tag if inside else ""
    return ""
