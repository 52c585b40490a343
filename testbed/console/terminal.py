"""A terminal of the old kind: a line editor with history, completion and help as IOS has them, over any byte stream."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Channel", "Closed", "Interrupted", "Script", "Terminal"]

HISTORY = 50
_MORE = " --More-- "


class Closed(Exception):
    """The other side has gone."""


class Interrupted(Exception):
    """Ctrl-C, or Ctrl-Z where it means the end of configuration (`zap`)."""

    def __init__(self, *, zap: bool = False) -> None:
        super().__init__()
        self.zap = zap


class Channel(Protocol):
    """Where characters come from and go to."""

    width: int
    height: int

    def read(self) -> str:
        """The next characters, waited for; empty at the end."""

    def waiting(self) -> bool:
        """Whether there are some already."""

    def write(self, text: str) -> None:
        """Send text; lines end with CR LF."""


class Script:
    """A channel for scripts: lines that are typed one after the other, and all that was answered."""

    def __init__(self, lines: list[str] | None = None, *, width: int = 80) -> None:
        self.width, self.height = width, 0
        self._lines = list(lines or [])
        self.output: list[str] = []

    def read(self) -> str:
        return self._lines.pop(0) + "\r" if self._lines else ""

    def waiting(self) -> bool:
        return bool(self._lines)

    def write(self, text: str) -> None:
        self.output.append(text)

    def answers(self, lines: list[str]) -> None:
        """What is typed when something is asked."""
        self._lines = list(lines)

    def unanswered(self) -> list[str]:
        left, self._lines = self._lines, []
        return left

    @property
    def text(self) -> str:
        return "".join(self.output).replace("\r\n", "\n").replace("\r", "")


class Terminal:
    """Reads lines and writes text. Other threads may write messages in between; see `interject`."""

    def __init__(self, channel: Channel, *, echo: bool = True) -> None:
        self.channel = channel
        self.length = channel.height or 24
        self.width = channel.width or 80
        self.history: list[str] = []
        self._echo = echo
        self._lock = threading.RLock()
        self._input = ""
        self._after_return = False
        self._line: _Line | None = None
        self._shown = 0  # lines since the last prompt or key

    # -- out

    def write(self, text: str) -> None:
        with self._lock:
            self.channel.write(text.replace("\r\n", "\n").replace("\n", "\r\n"))

    def page(self, text: str) -> None:
        """Text that waits for a key after each screen; `q` ends it."""
        lines = text.split("\n")
        if self.length == 0 or len(lines) <= self.length:
            self.write(text)
            return
        at, step = 0, self.length - 1
        while at < len(lines):
            self.write("\n".join(lines[at : at + step]))
            at += step
            if at >= len(lines):
                break
            self.write(f"\n{_MORE}")
            key = self._key()
            self.write("\r" + " " * len(_MORE) + "\r")
            if key == " ":
                step = self.length - 1
            elif key in "\r\n":
                step = 1
            else:
                break
        if not text.endswith("\n"):
            self.write("\n")

    def interject(self, message: str) -> None:
        """A message that comes by itself: the line that is being typed is written again below it."""
        with self._lock:
            line = self._line
            if line is None:
                self.write(f"{message}\n")
                return
            self.write(f"\n{message}\n{line.prompt}")
            line.redraw(self)

    # -- in

    def busy(self) -> bool:
        """Whether more has been typed or pasted than was read."""
        return bool(self._input) or self.channel.waiting()

    def _key(self) -> str:
        while not self._input:
            found = self.channel.read()
            if not found:
                raise Closed
            self._input += found
        key, self._input = self._input[0], self._input[1:]
        if key == "\n" and self._after_return:  # CR LF is one key
            self._after_return = False
            return self._key()
        self._after_return = key == "\r"
        return key

    def read_key(self) -> str:
        return self._key()

    def read_line(
        self,
        prompt: str,
        *,
        echo: bool = True,
        complete: Callable[[str], str | None] | None = None,
        help_for: Callable[[str], str] | None = None,
        remember: bool = False,
    ) -> str:
        """One line. Raises Interrupted for Ctrl-C and Ctrl-Z, Closed at the end of the input."""
        with self._lock:
            self.write(prompt)
            self._line = line = _Line(prompt, shown=echo and self._echo)
        try:
            text = self._edit(line, complete, help_for)
        finally:
            self._line = None
        if remember and text.strip() and self.history[-1:] != [text]:
            self.history = [*self.history, text][-HISTORY:]
        return text

    def _edit(
        self,
        line: _Line,
        complete: Callable[[str], str | None] | None,
        help_for: Callable[[str], str] | None,
    ) -> str:
        at = len(self.history)
        while True:
            key = self._key()
            with self._lock:
                if key in "\r\n":
                    self.write("\n")
                    return line.text
                if key in ("\x03", "\x1a"):
                    self.write("^Z\n" if key == "\x1a" else "\n")
                    raise Interrupted(zap=key == "\x1a")
                if key == "\x04" and not line.text:
                    raise Closed
                if key == "\x1b":
                    at = self._escape(line, at)
                elif key in ("\x10", "\x0e"):
                    at = self._recall(line, at, -1 if key == "\x10" else 1)
                elif key == "\t":
                    if complete is not None:
                        line.replace(self, complete(line.text) or line.text)
                elif key == "?" and help_for is not None:
                    self.write(f"?\n{help_for(line.text)}{line.prompt}")
                    line.redraw(self)
                else:
                    line.press(self, key)

    def _escape(self, line: _Line, at: int) -> int:
        if self._key() != "[":
            return at
        key = self._key()
        if key in "AB":
            return self._recall(line, at, -1 if key == "A" else 1)
        line.press(self, {"C": "\x06", "D": "\x02"}.get(key, ""))
        return at

    def _recall(self, line: _Line, at: int, step: int) -> int:
        at = max(0, min(len(self.history), at + step))
        line.replace(self, self.history[at] if at < len(self.history) else "")
        return at


class _Line:
    """The line that is being typed, and where in it the next character goes."""

    def __init__(self, prompt: str, *, shown: bool) -> None:
        self.prompt = prompt
        self.text = ""
        self._at = 0
        self._is_shown = shown

    # Ctrl-A, Ctrl-E, Ctrl-B, Ctrl-F: where to, from a place in a text of a length.
    _MOVES: ClassVar[dict[str, Callable[[int, int], int]]] = {
        "\x01": lambda _at, _length: 0,
        "\x05": lambda _at, length: length,
        "\x02": lambda at, _length: at - 1,
        "\x06": lambda at, _length: at + 1,
    }

    def redraw(self, terminal: Terminal) -> None:
        if self._is_shown:
            terminal.write(self.text + "\b" * (len(self.text) - self._at))

    def replace(self, terminal: Terminal, text: str) -> None:
        if self._is_shown and text != self.text:
            if text.startswith(self.text) and self._at == len(self.text):
                terminal.write(text[len(self.text) :])
            else:
                wiped = len(self.text)
                terminal.write("\b" * self._at + " " * wiped + "\b" * wiped + text)
        self.text, self._at = text, len(text)

    def press(self, terminal: Terminal, key: str) -> None:
        before, after = self.text[: self._at], self.text[self._at :]
        if key in ("\x08", "\x7f"):
            self._change(terminal, before[:-1], after)
        elif key in self._MOVES:
            self._move(terminal, max(0, min(len(self.text), self._MOVES[key](self._at, len(self.text)))))
        elif key in ("\x15", "\x18"):
            self._change(terminal, "", after)
        elif key == "\x0b":
            self._change(terminal, before, "")
        elif key == "\x17":
            self._change(terminal, before.rstrip().rpartition(" ")[0] + (" " if " " in before.rstrip() else ""), after)
        elif key >= " " and key != "\x7f":
            if not after:
                self.text, self._at = before + key, self._at + 1
                if self._is_shown:
                    terminal.write(key)
            else:
                self._change(terminal, before + key, after)

    def _change(self, terminal: Terminal, before: str, after: str) -> None:
        old, text = self.text, before + after
        if self._is_shown:
            back = "\b" * self._at
            gap = max(0, len(old) - len(text))
            terminal.write(back + text + " " * gap + "\b" * (gap + len(after)))
        self.text, self._at = text, len(before)

    def _move(self, terminal: Terminal, to: int) -> None:
        if self._is_shown:
            terminal.write("\b" * (self._at - to) if to < self._at else self.text[self._at : to])
        self._at = to
