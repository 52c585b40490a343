"""The line editor and the pages, key by key."""

from __future__ import annotations

import pytest

from testbed.console.terminal import Closed, Interrupted, Terminal


class Keys:
    """A channel on which keys are pressed."""

    width, height = 80, 24

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)
        self.written = ""

    def read(self) -> str:
        return self._keys.pop(0) if self._keys else ""

    def waiting(self) -> bool:
        return bool(self._keys)

    def write(self, text: str) -> None:
        self.written += text

    def screen(self) -> list[str]:
        """What a screen would show: carriage return, line feed and backspace carried out."""
        rows, row, at = [""], 0, 0
        for letter in self.written:
            if letter == "\r":
                at = 0
            elif letter == "\n":
                row, at = row + 1, 0
                rows.append("")
            elif letter == "\b":
                at = max(0, at - 1)
            else:
                rows[row] = rows[row][:at].ljust(at) + letter + rows[row][at + 1 :]
                at += 1
        return [text.rstrip() for text in rows]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("show\r", "show"),
        ("show\n", "show"),
        ("shwo\x7f\x7fow\r", "show"),
        ("shwo\x08\x08ow\r", "show"),
        ("how\x01s\r", "show"),
        ("sow\x02\x02h\r", "show"),
        ("sow\x1b[D\x1b[Dh\r", "show"),
        ("xx\x15show\r", "show"),
        ("show run\x17\r", "show "),
        ("show run\x02\x02\x02\x0b\r", "show "),
        ("how\x01s\x05 run\r", "show run"),
        ("how\x01s\x06\x06\x06 x\r", "show x"),
        ("\x7f\x7fshow\r", "show"),
        ("a\x02\x02\x02b\r", "ba"),
        ("\r", ""),
    ],
)
def test_editing(keys: str, line: str) -> None:
    channel = Keys(*keys)
    assert Terminal(channel).read_line("R1>") == line
    assert channel.screen()[0] == f"R1>{line}".rstrip()


def test_what_is_pasted_is_taken_line_by_line() -> None:
    terminal = Terminal(Keys("one\r\ntwo\r\nthree\n"))
    assert [terminal.read_line(">") for _ in range(3)] == ["one", "two", "three"]
    assert not terminal.busy()


def test_history() -> None:
    terminal = Terminal(Keys("one\rtwo\r", "\x1b[A\x1b[A\r", "\x10\r", "\x1b[A\x1b[B\r"))
    found = [terminal.read_line(">", remember=True) for _ in range(5)]
    assert found == ["one", "two", "one", "one", ""]
    assert terminal.history == ["one", "two", "one"]


def test_a_password_is_not_shown() -> None:
    channel = Keys("secret\r")
    assert Terminal(channel).read_line("Password: ", echo=False) == "secret"
    assert "secret" not in channel.written


def test_completion_and_help() -> None:
    channel = Keys("sh\t", "?", "r\r")
    line = Terminal(channel).read_line(
        ">", complete=lambda text: "show " if text == "sh" else None, help_for=lambda text: f"  help of {text}\n"
    )
    assert line == "show r"
    assert channel.screen() == [">show ?", "  help of show", ">show r", ""]


def test_interrupts() -> None:
    terminal = Terminal(Keys("abc\x03", "abc\x1a", "\x04"))
    with pytest.raises(Interrupted) as first:
        terminal.read_line(">")
    with pytest.raises(Interrupted) as second:
        terminal.read_line(">")
    assert (first.value.zap, second.value.zap) == (False, True)
    with pytest.raises(Closed):
        terminal.read_line(">")


def test_the_end_of_the_input_is_the_end() -> None:
    with pytest.raises(Closed):
        Terminal(Keys("unfinished")).read_line(">")


def test_a_message_comes_in_between() -> None:
    channel = Keys()
    terminal = Terminal(channel)
    keys = iter(["a", "b", "c", "\r"])

    def read() -> str:
        key = next(keys)
        if key == "c":
            terminal.interject("%SYS-5-CONFIG_I: Configured")
        return key

    channel.read = read  # type: ignore[method-assign]
    assert terminal.read_line("R1>") == "abc"
    assert channel.screen() == ["R1>ab", "%SYS-5-CONFIG_I: Configured", "R1>abc", ""]


def page(keys: str, lines: int, length: int = 10) -> list[str]:
    channel = Keys(*keys)
    terminal = Terminal(channel)
    terminal.length = length
    terminal.page("".join(f"line {number}\n" for number in range(lines)))
    return [row for row in channel.screen() if row]


def test_pages() -> None:
    assert page("", 9) == [f"line {number}" for number in range(9)]
    assert page("", 200, length=0) == [f"line {number}" for number in range(200)]
    assert page(" ", 15) == [f"line {number}" for number in range(15)]
    assert page("\r\r\r\r\r\r\r", 15)[:11] == [f"line {number}" for number in range(11)]
    assert page("q", 50) == [f"line {number}" for number in range(9)]
