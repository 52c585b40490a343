"""Running commands at a router without a person: for scripts, guides and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.console.session import Session
from testbed.console.terminal import Closed, Script, Terminal

if TYPE_CHECKING:
    from testbed.console.router import LiveRouter

__all__ = ["Typist", "run_command"]


def run_command(router: LiveRouter, command: str) -> str:
    """What one exec command prints, with privilege 15 and without pages."""
    channel = Script()
    terminal = Terminal(channel)
    terminal.length = 0
    session = Session(router, terminal, level=15, vty=0)
    try:
        session.enter(command)
    except Closed:
        channel.write("% the command asks something, and nobody answers\n")
    session.close()
    return channel.text


class Typist:
    """A session at a router's console that is typed at, line by line; each line gives what was printed for it."""

    def __init__(self, router: LiveRouter, *, level: int = 1) -> None:
        self._channel = Script()
        self.terminal = Terminal(self._channel)
        self.terminal.length = 0
        self.session = Session(router, self.terminal, level=level, vty=0)
        self.session.line = "console"

    @property
    def prompt(self) -> str:
        return self.session.prompt

    def type(self, line: str, answers: list[str] | None = None) -> str:
        """Type a line, and the answers to what it asks. What was printed, questions included.

        What a configuration says takes effect at the end of what is typed at once, or with `settle`.
        """
        self._channel.output.clear()
        self._channel.answers(answers or [])
        try:
            self.session.enter(line)
        except Closed:
            self._channel.write("% it asks something, and nothing is there to answer\n")
        left = self._channel.unanswered()
        if left:
            self._channel.write(f"% nothing asked for: {', '.join(left)}\n")
        return self._channel.text

    def settle(self) -> str:
        """Let the configuration take effect; what a daemon had against it."""
        self._channel.output.clear()
        self.session.apply()
        return self._channel.text

    def close(self) -> None:
        self.session.close()
