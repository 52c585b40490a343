"""What people and scripts see: progress, tables, JSON, errors."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from testbed.events import Note, StepFinished, StepStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.status import Status

    from testbed.events import Event
    from testbed.verify import Verdict

__all__ = ["Progress", "console", "escape", "fail", "print_json", "shown", "table", "verdict_table"]

console = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def shown(text: object) -> str:
    """A text without control characters, which a topology or a node could use to drive the terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in str(text))


def escape(text: object) -> str:
    return escape_markup(shown(text))


def print_json(value: Any) -> None:
    """One JSON document on standard output, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def fail(text: str) -> None:
    """An error, on standard error."""
    head, _, rest = text.partition("\n")
    errors.print(f"[bold red]error:[/] {escape(head)}", soft_wrap=True)
    if rest:
        errors.print(escape(rest), soft_wrap=True)


class Progress:
    """Subscribes to events: a moving line on a terminal, a line for each step elsewhere. A context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._running: list[str] = []
        self._lock = threading.Lock()
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if console.is_terminal and not self._quiet:
            self._status = console.status("")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: Event, /) -> None:
        if self._quiet:
            return
        with self._lock:
            if isinstance(event, StepStarted):
                self._running.append(_label(event))
            elif isinstance(event, StepFinished):
                if _label(event) in self._running:
                    self._running.remove(_label(event))
                self._print(event)
            elif isinstance(event, Note):
                console.print(f"  [dim]·[/] [cyan]{event.phase:<10}[/] {escape(event.text)}", soft_wrap=True)
            if self._status is not None:
                self._status.update(", ".join(self._running[-3:]))

    def _print(self, event: StepFinished) -> None:
        mark = "[green]✓[/]" if event.error is None else "[red]✗[/]"
        took = f"[dim]{event.duration_s * 1000:5.0f} ms[/]" if event.phase != "checks" else ""
        console.print(f"  {mark} [cyan]{event.phase:<10}[/] {escape(_label(event))} {took}".rstrip(), soft_wrap=True)
        if event.error is not None:
            console.print(f"      {escape(event.error)}", soft_wrap=True)


def _label(event: StepStarted | StepFinished) -> str:
    if event.phase == "checks":
        return f"{event.text} [{event.subject}]"
    return f"{event.subject}: {event.text}" if event.subject else event.text


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, *, ruled: bool = False
) -> None:
    """A plain table; cells are shown as they are, whatever characters they hold. `ruled` draws lines between rows."""
    made = Table(title=title, title_justify="left", header_style="bold", expand=False, show_lines=ruled)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell) for cell in row))
    _printer().print(made)


def verdict_table(verdicts: Sequence[Verdict]) -> None:
    """What was expected and what was seen, step by step; a claim of two phases takes one row if it held in both."""
    made = Table(header_style="bold", expand=False)
    for column in ("step", "", "expectation", "expected", "seen"):
        made.add_column(column, overflow="fold")
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.claim, []).append(verdict)
    shown_step = ""
    for group in sorted(groups.values(), key=lambda group: _turn(verdicts, group[0].step)):
        for verdict in group[:1] if all(verdict.held for verdict in group) else group:
            step = verdict.step if verdict.step != shown_step else ""
            if step and shown_step:
                made.add_section()
            shown_step = verdict.step
            phases = group if all(v.held for v in group) else [verdict]
            mark = "[green]✓[/]" if verdict.held else "[bold red]✗[/]"
            made.add_row(escape(step), mark, _claim(verdict, phases), escape(verdict.expected), escape(verdict.seen))
    _printer().print(made)


def _turn(verdicts: Sequence[Verdict], step: str) -> int:
    """Where a step came first."""
    return next(number for number, verdict in enumerate(verdicts) if verdict.step == step)


def _claim(verdict: Verdict, phases: Sequence[Verdict]) -> str:
    """A claim without the step that stands beside it; how often it was checked, or when it did not hold."""
    text = escape(verdict.claim.removeprefix(f"{verdict.step}: "))
    if verdict.held and len(phases) > 1:
        return f"{text} [dim](twice)[/]"
    return text if verdict.held else f"{text} [dim]({verdict.phase})[/]"


def _printer() -> Console:
    """The console; where there is no terminal to fit into, one wide enough to keep every row whole."""
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=160)
