"""Every command of the tables: it is taken as declared, shown so that it is taken again, and taken back by `no`."""

from __future__ import annotations

import pytest

from testbed.device.ios.explain import explain_text
from testbed.ios.commands import Command
from testbed.ios.reader import Editor, read_configuration
from tests.unit.ios.patterns import commands, entrance, lines

ALL = [item for item in commands() if item[0] != "config-pubkey"]  # whose lines are hexadecimal, and not of a pattern
PLAIN = [item for item in ALL if item[1].name not in ("banner", "certificate")]  # a statement is one line
KEPT = [item for item in PLAIN if item[1].fate != "refused"]


def names(items: list[tuple[str, Command]]) -> list[str]:
    return [f"{mode}: {command.pattern[:60]}" for mode, command in items]


def feed(mode: str, line: str) -> tuple[Editor, str]:
    editor = Editor(read_configuration("").configuration)
    for step in entrance(mode):
        finding = editor.feed(step)
        assert finding.told is not None
    return editor, line


@pytest.mark.parametrize(("mode", "command"), ALL, ids=names(ALL))
def test_it_is_taken_as_the_table_says(mode: str, command: Command) -> None:
    for seed in range(6):
        editor, line = feed(mode, lines(command.pattern, seed))
        finding = editor.feed(line, 1)
        known = {other.fate for outer, other in ALL if outer == mode and other.name == command.name}
        assert finding.fate in known, f"{line}: {finding.told}"
        if finding.column is not None:
            pytest.fail(f"{line}: {finding.told}")


@pytest.mark.parametrize(("mode", "command"), PLAIN, ids=names(PLAIN))
def test_what_is_shown_is_taken_again(mode: str, command: Command) -> None:
    for seed in range(4):
        editor, line = feed(mode, lines(command.pattern, seed))
        editor.feed(line, 1)
        text = editor.configuration.text()
        again = read_configuration(text)
        assert not again.refused, f"{line}: {again.refused}"
        assert again.configuration.text() == text


@pytest.mark.parametrize(("mode", "command"), KEPT, ids=names(KEPT))
def test_no_takes_it_back(mode: str, command: Command) -> None:
    editor, line = feed(mode, lines(command.pattern, 1))
    before = editor.configuration.text()
    depth = len(editor.stack)
    editor.feed(line)
    del editor.stack[depth:]
    if editor.configuration.text() == before and command.default is not True:
        pytest.fail(f"{line} left no trace")
    editor.feed(f"no {line}")
    negated = [text for text in editor.configuration.text().splitlines() if text.strip().startswith("no ")]
    assert editor.configuration.text() == before or (command.default is True and negated)


@pytest.mark.parametrize(("mode", "command"), ALL, ids=names(ALL))
def test_it_can_be_explained(mode: str, command: Command) -> None:
    text = "\n".join([*entrance(mode), lines(command.pattern, 2)])
    for outcome in explain_text(text).outcomes:
        assert outcome.told
