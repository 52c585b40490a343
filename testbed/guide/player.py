"""Playing a guide on a live lab: everything is typed, and everything that comes back is looked at."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.console import LiveRouter
from testbed.console.runner import Typist
from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, TestbedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.guide.expect import Expectation
    from testbed.guide.read import Block, Chapter, Command, Guide
    from testbed.lab import Lab

__all__ = ["Outcome", "Player", "Step"]

_AGAIN_S = 0.2
_COMMAND_S = 300
# What a console says of a line that it does not take; a guide that does not expect it is wrong.
_REFUSALS = (
    "% Invalid input",
    "% Ambiguous command",
    "% Incomplete command",
    "% it asks something",
    "% nothing asked for",
)


@dataclass(frozen=True)
class Outcome:
    """A command that was typed: at which prompt, what was printed, and what of it was wrong."""

    command: Command
    prompt: str
    output: str
    wrong: tuple[tuple[str, str], ...]  # what was expected, and why it does not hold
    seconds: float

    @property
    def held(self) -> bool:
        return not self.wrong


@dataclass
class Step:
    """A chapter that was played, as far as it went. Outcomes are by the block's place in the chapter."""

    chapter: Chapter
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failure(self) -> Outcome | None:
        return next((item for items in self.outcomes.values() for item in items if not item.held), None)

    @property
    def held(self) -> bool:
        return self.failure is None


class Player:
    """Plays the steps of one guide in their order, with one session at each router."""

    def __init__(self, lab: Lab, guide: Guide) -> None:
        self._lab = lab
        self._guide = guide
        self._typists: dict[str, Typist] = {}
        self._values: dict[str, str] = {}
        self.steps: list[Step] = []

    def play(
        self, announce: Callable[[Chapter], None] | None = None, done: Callable[[Step], None] | None = None
    ) -> bool:
        """Until the end or the first difference. `announce` is called before each step, `done` after it."""
        for chapter in self._guide.chapters:
            if announce is not None and chapter.runs:
                announce(chapter)
            step = self._play(chapter)
            self.steps.append(step)
            if done is not None and chapter.runs:
                done(step)
            if not step.held:
                return False
        return True

    def close(self) -> None:
        for typist in self._typists.values():
            typist.close()

    def _play(self, chapter: Chapter) -> Step:
        step, begun = Step(chapter), time.monotonic()
        for index, block in enumerate(chapter.blocks):
            if not block.commands:
                continue
            outcomes = step.outcomes.setdefault(index, [])
            for outcome in self._block(block):
                outcomes.append(outcome)
                if not outcome.held:
                    step.seconds = time.monotonic() - begun
                    return step
        step.seconds = time.monotonic() - begun
        return step

    def _block(self, block: Block) -> Iterator[Outcome]:
        for number, command in enumerate(block.commands):
            last = number == len(block.commands) - 1
            begun = time.monotonic()
            prompt, output, wrong = self._command(block, command, last=last)
            yield Outcome(command, prompt, output, wrong, time.monotonic() - begun)

    def _command(self, block: Block, command: Command, *, last: bool) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """Type it; where it has time, again until what is expected holds."""
        seen: tuple[str, str, tuple[tuple[str, str], ...]] = ("", "", ())

        def attempt() -> bool:
            nonlocal seen
            seen = self._once(block, command, last=last)
            return not seen[2]

        if not attempt() and command.within_s:
            with contextlib.suppress(DeadlineExceeded):
                Deadline(command.within_s).until(attempt, command.text, every=_AGAIN_S)
        return seen

    def _once(self, block: Block, command: Command, *, last: bool) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        refused: str | None = None
        try:
            prompt, output = self._type(block, command, last=last)
            refused = next((line for line in output.splitlines() if line.startswith(_REFUSALS)), None)
        except TestbedError as failure:
            prompt, output, refused = "", str(failure), failure.what
        wrong = self._judged(command.expectations, output)
        if refused is not None and not command.expectations:
            wrong = (("no refusal", refused),)
        return prompt, output, wrong

    def _judged(self, expectations: tuple[Expectation, ...], output: str) -> tuple[tuple[str, str], ...]:
        """What does not hold. Values are kept only if all of it does."""
        values, wrong = dict(self._values), []
        for expectation in expectations:
            why = expectation.check(output, values)
            if why is not None:
                wrong.append((("not " if expectation.negated else "") + expectation.text, why))
        if not wrong:
            self._values = values
        return tuple(wrong)

    def _type(self, block: Block, command: Command, *, last: bool) -> tuple[str, str]:
        if block.kind == "sh":
            done = self._lab.node(block.node).execute(["/bin/sh", "-c", command.text])
            return f"{block.node}$ ", done.text + done.stderr.decode(errors="replace")
        if block.kind == "testbed":
            return "$ testbed ", self._command_line(command.text)
        typist = self._typist(block.node)
        prompt = typist.prompt
        output = typist.type(command.text, list(command.answers))
        if last:
            output += typist.settle()
        return prompt, output

    def _command_line(self, text: str) -> str:
        """A command of the testbed itself, as its user would give it. Raises TestbedError if it fails."""
        words = [re.sub(r"\bLAB\b", self._lab.name, word) for word in shlex.split(text)]
        argv = [sys.executable, "-c", "from testbed.cli import main; main()", *words]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_S,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise TestbedError(f"`testbed {text}` has not ended after {_COMMAND_S} s") from None
        if done.returncode != 0:
            raise TestbedError(f"`testbed {text}` ended with {done.returncode}", seen=done.stdout + done.stderr)
        return done.stdout

    def _typist(self, node: str) -> Typist:
        if node not in self._typists:
            self._typists[node] = Typist(LiveRouter(self._lab, node))
        return self._typists[node]
