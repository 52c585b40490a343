"""Playing a lab's guide."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - Typer reads annotations at runtime
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import output
from testbed.cli.common import (
    EXIT_FAILED,
    Dataplane,
    JsonOption,
    LabArgument,
    NameOption,
    SetOption,
    find_folder,
    settings_from,
)
from testbed.errors import LabNotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.guide import Guide, Step
    from testbed.guide.player import Outcome
    from testbed.guide.read import Chapter
    from testbed.lab import Lab

app = typer.Typer()


@app.command()
def guide(
    lab: LabArgument,
    name: NameOption = None,
    settings: SetOption = [],  # noqa: B006 - Typer makes a new list for each call
    dataplane: Dataplane = None,
    pause: Annotated[bool, typer.Option("--pause", help="Wait for a key before each step.")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write the executed guide as a page.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab up that was brought up for it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Play a lab's guide.md, step by step, from bare routers to what it promises; stop at the first difference.

    On the lab if it is up with bare routers (`testbed up LAB --bare`), else on one of its own, LAB-guide, beside it.
    """
    from testbed.guide import Player, read_guide  # noqa: PLC0415
    from testbed.lab import Lab  # noqa: PLC0415

    folder = find_folder(lab)
    made = _bare_lab(lab)
    own = made is None
    if made is None:
        fresh = Lab.from_folder(folder, settings=settings_from(settings), dataplane=dataplane, bare=True)
        made = Lab.from_folder(
            folder,
            name=name or f"{fresh.loaded.name}-guide"[:32],
            settings=settings_from(settings),
            dataplane=dataplane,
            bare=True,
        )
    played = read_guide(folder, made.loaded.configurations, made.plan.nodes)
    try:
        if own:
            with output.Progress(quiet=as_json) as progress:
                made.events.subscribers.append(progress)
                made.up(verify=False)
            made.events.subscribers.clear()
        player = Player(made, played)
        try:
            held = player.play(_announcer(pause=pause, quiet=as_json), _teller(quiet=as_json))
        finally:
            player.close()
        if report is not None:
            _write_report(report, folder, made, played, player.steps, settings_from(settings))
    finally:
        if own and not keep:
            made.down()
    _end(player.steps, held=held, as_json=as_json, report=report, lab=made.name if keep or not own else None)


def _bare_lab(lab: str) -> Lab | None:
    """The lab that is up by that name, if its routers have been left bare."""
    from testbed.cli.common import running_lab  # noqa: PLC0415

    try:
        made = running_lab(lab)
        untouched = made.bare and all(made.router(name).is_bare() for name in made.loaded.configurations)
    except (LabNotRunningError, OSError):
        return None
    return made if untouched else None


def _announcer(*, pause: bool, quiet: bool) -> Callable[[Chapter], None]:
    def announce(chapter: Chapter) -> None:
        if not quiet:
            output.console.print(f"[bold]▸ {output.escape(chapter.title)}[/]")
        if pause:
            output.console.print("[dim]press Return to go on[/]")
            sys.stdin.readline()

    return announce


def _teller(*, quiet: bool) -> Callable[[Step], None]:
    def tell(step: Step) -> None:
        if quiet:
            return
        commands = [item for items in step.outcomes.values() for item in items]
        expected = sum(len(item.command.expectations) for item in commands)
        mark = "[green]✓[/]" if step.held else "[bold red]✗[/]"
        text = f"{len(commands)} commands, {expected} expectations, {step.seconds:.1f} s"
        output.console.print(f"  {mark} {text}", highlight=False)
        if step.failure is not None:
            _show_difference(step.failure)

    return tell


def _show_difference(outcome: Outcome) -> None:
    """Both sides."""
    output.console.print(f"\n  line {outcome.command.line}: [bold]{output.escape(outcome.command.text.strip())}[/]")
    for expected, why in outcome.wrong:
        output.console.print(f"  [green]expected[/] {output.escape(expected)}", highlight=False, soft_wrap=True)
        output.console.print(f"  [red]but[/]      {output.escape(why)}", highlight=False, soft_wrap=True)
    output.console.print("  [red]seen[/]", highlight=False)
    for line in outcome.output.splitlines():
        output.console.print(f"    {output.escape(line)}", highlight=False, soft_wrap=True)


def _write_report(
    path: Path, folder: Path, made: Lab, played: Guide, steps: list[Step], settings: dict[str, str]
) -> None:
    from testbed.guide import render_report  # noqa: PLC0415
    from testbed.topology import load_topology  # noqa: PLC0415

    loaded = load_topology(folder, settings=settings, with_secrets=False)
    facts = {"lab": made.name, "data plane": made.plan.dataplane}
    path.write_text(render_report(played, steps, loaded, facts), encoding="utf-8")


def _end(steps: list[Step], *, held: bool, as_json: bool, report: Path | None, lab: str | None) -> None:
    ran = [step for step in steps if step.chapter.runs]
    if as_json:
        output.print_json(
            {
                "held": held,
                "steps": [
                    {
                        "title": step.chapter.title,
                        "held": step.held,
                        "seconds": round(step.seconds, 3),
                        "commands": sum(len(items) for items in step.outcomes.values()),
                        "difference": None
                        if step.failure is None
                        else {
                            "line": step.failure.command.line,
                            "command": step.failure.command.text.strip(),
                            "wrong": [list(pair) for pair in step.failure.wrong],
                            "seen": step.failure.output,
                        },
                    }
                    for step in ran
                ],
            }
        )
    else:
        if held:
            output.console.print(f"[bold green]All {len(ran)} steps came out as the guide says.[/]")
        if report is not None:
            output.console.print(f"the page: {output.escape(str(report))}", soft_wrap=True)
        if lab is not None:
            output.console.print(f"[dim]the lab is up: {output.escape(lab)}[/]")
    if not held:
        raise typer.Exit(EXIT_FAILED)
