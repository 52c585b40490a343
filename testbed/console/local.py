"""The console on this terminal."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import tty
from typing import TYPE_CHECKING

from testbed.console.router import LiveRouter
from testbed.console.session import Session
from testbed.console.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.lab import Lab

__all__ = ["run_console"]

_LEAVE = "\x1d"  # Ctrl-], as telnet has it


class _Tty:
    """Standard input and output; a terminal in raw mode, or a pipe."""

    def __init__(self) -> None:
        size = shutil.get_terminal_size()
        self.interactive = sys.stdin.isatty()
        self.width = size.columns
        self.height = size.lines if self.interactive else 0

    def read(self) -> str:
        text = os.read(0, 4096).decode(errors="replace")
        return "" if _LEAVE in text else text

    def waiting(self) -> bool:
        return bool(select.select([0], [], [], 0)[0])

    def write(self, text: str) -> None:
        sys.stdout.write(text if self.interactive else text.replace("\r\n", "\n"))
        sys.stdout.flush()


@contextlib.contextmanager
def _raw(*, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSANOW)  # what was typed already is not thrown away
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def run_console(lab: Lab, node: str) -> None:
    """A session at a router's console, until it is left by `exit` or Ctrl-]."""
    channel = _Tty()
    router = LiveRouter(lab, node)
    terminal = Terminal(channel)
    if not channel.interactive:
        terminal.length = 0
    with _raw(wanted=channel.interactive):
        terminal.write(f"\n{router.configuration.hostname} con0 is now available. Ctrl-] or `exit` leaves.\n\n")
        Session(router, terminal).run()
        terminal.write("\n")
