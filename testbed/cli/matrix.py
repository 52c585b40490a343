"""Commands that try every combination."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_FAILED, JsonOption, RunningLabArgument, running_lab
from testbed.errors import SettingError

if TYPE_CHECKING:
    from testbed.matrix import Axes, Outcome

app = typer.Typer()

_MARKS = {"passed": "✓", "failed": "✗", "impossible": "·"}


@app.command()
def matrix(
    lab: RunningLabArgument,
    version: Annotated[str | None, typer.Option(help="ikev1-main, ikev1-aggressive, ikev2; all of them.")] = None,
    auth: Annotated[str | None, typer.Option(help="psk, rsa-sig, ecdsa-sig, ed25519; the first two.")] = None,
    ike: Annotated[str | None, typer.Option(help="IKE proposals, with commas between them.")] = None,
    esp: Annotated[str | None, typer.Option(help="ESP proposals, without groups.")] = None,
    pfs: Annotated[str, typer.Option(help="on, off, or on,off.")] = "on",
    feature: Annotated[
        str | None,
        typer.Option(
            help="plain, nat-t, fragmentation, narrowing, children, mobike, outer-ipv6, inner-ipv6, transport, "
            "compression."
        ),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Instead: every value of every axis, one axis at a time.")
    ] = False,
    connection: Annotated[str | None, typer.Option("--connection", help="Whose routers; the lab's first.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit's XML to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring up every combination of versions, credentials and algorithms on routers that stay up, and use it.

    What is negotiated has to be what was asked for, and traffic has to pass. Lists are separated by commas.
    """
    from testbed.matrix import cells, run_matrix, to_html, to_junit  # noqa: PLC0415
    from testbed.matrix import sweep as all_cells  # noqa: PLC0415

    axes = _axes(version, auth, ike, esp, pfs, feature)
    if sweep and (auth or ike or esp or feature or pfs != "on"):
        raise SettingError("--sweep tries every value of every axis", expected="no axis beside it but --version")
    axes.check()
    wanted = [cell for cell in all_cells() if cell.version in axes.versions] if sweep else list(cells(axes))
    made, begun = running_lab(lab), time.monotonic()
    outcomes = run_matrix(made, wanted, connection=connection, announce=None if as_json else _announce)
    taken = time.monotonic() - begun
    if junit is not None:
        junit.write_text(to_junit(outcomes, f"testbed.matrix.{made.name}"))
    if html is not None:
        html.write_text(to_html(outcomes, f"Tunnels of {made.name}, {made.plan.dataplane} data plane"))
    if as_json:
        output.print_json([outcome.to_dict() for outcome in outcomes])
    else:
        _summary(outcomes, taken)
    if any(outcome.status == "failed" for outcome in outcomes) or all(o.status == "impossible" for o in outcomes):
        raise typer.Exit(EXIT_FAILED)


def _axes(
    version: str | None, auth: str | None, ike: str | None, esp: str | None, pfs: str, feature: str | None
) -> Axes:
    from testbed.matrix import Axes  # noqa: PLC0415

    if not set(pfs.split(",")) <= {"on", "off"}:
        raise SettingError(f"--pfs {pfs}", expected="on, off, or on,off")
    given = {"versions": version, "authentications": auth, "ike": ike, "esp": esp, "features": feature}
    lists = {key: value.split(",") for key, value in given.items() if value}
    return Axes(**lists, pfs=[word == "on" for word in pfs.split(",")])


def _announce(outcome: Outcome) -> None:
    took = f"  {outcome.duration_ms:.1f} ms" if outcome.duration_ms else ""
    why = f": {outcome.reason}" if outcome.reason else ""
    output.console.print(
        f"  {_MARKS[outcome.status]} {output.escape(f'{outcome.cell}{why}')}[dim]{took}[/]", soft_wrap=True
    )


def _summary(outcomes: list[Outcome], taken: float) -> None:
    from testbed.matrix.report import counts  # noqa: PLC0415

    totals = counts(outcomes)
    tried = totals["passed"] + totals["failed"]
    rate = f", {tried / taken:.1f} cells a second" if tried else ""
    output.console.print(
        f"{totals['passed']} passed, {totals['failed']} failed, {totals['impossible']} cannot be; {taken:.1f} s{rate}"
    )
