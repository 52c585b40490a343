"""Commands that put faults into a lab."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import Annotated

import typer

from testbed.cli import output
from testbed.cli.common import RunningLabArgument, running_lab, settings_from

app = typer.Typer()
_COUNTED = ("line", "ike", "partition")  # faults that take hold of what passes


@app.command(context_settings={"allow_interspersed_args": True})
def fault(
    lab: RunningLabArgument,
    what: Annotated[
        str,
        typer.Argument(
            help="line, down, partition, ike, nat, daemon, node, dns, disk, clock, flood, or a name of the topology's."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]…", help="As in `faults` of a topology: link=path loss=20."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="End after so many seconds.")] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="COMMAND", help="Run this by a shell, and end when it has.")
    ] = None,
) -> None:
    """Put a fault into a lab until interrupted, for a time, or while a command runs. Nothing of it is left.

    testbed fault ipsec-goals line link=path loss=20 delay_ms=50 --for 60
    testbed fault ipsec-goals ike link=path action=drop exchange=IKE_AUTH --run 'testbed initiate ipsec-goals r1-r2'
    """
    made = running_lab(lab)
    code = 0
    with made.fault(what, **_settings(settings or [])) as counts:
        output.console.print(
            f"{what} since now; Ctrl-C ends it" if run is None and seconds is None else f"{what} since now"
        )
        if run is not None:
            code = subprocess.run(["/bin/sh", "-c", run], check=False).returncode
        else:
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait(seconds)
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    declared = made.loaded.topology.faults.get(what)
    if not told and (declared.kind if declared else what) in _COUNTED:
        told = "it met nothing"
    output.console.print(f"{what} is over" + (f": {told}" if told else ""))
    if code:
        raise typer.Exit(code)


@app.command()
def flood(
    lab: RunningLabArgument,
    link: Annotated[str, typer.Argument(help="Where: a link of the victim's.")],
    victim: Annotated[str, typer.Argument(help="A router with an IKEv2 connection on that link.")],
    count: Annotated[int, typer.Option("--count", "-c", min=1, max=100_000, help="How many first messages.")] = 60,
) -> None:
    """Send IKE_SA_INIT requests in the name of a router's peer, and count which it answers with a cookie only."""
    from testbed.faults import flood as send  # noqa: PLC0415

    report = send(running_lab(lab), link, victim, count=count)
    rows = [("sent", report.sent), ("accepted", report.accepted), ("answered with a cookie", report.cookies)]
    output.table(("IKE_SA_INIT", "messages"), [*rows, ("refused", report.refused), ("not answered", report.silent)])


def _settings(pairs: list[str]) -> dict[str, object]:
    found = settings_from(pairs, option="")
    return {name: value.split(",") if name == "links" else value for name, value in found.items()}
