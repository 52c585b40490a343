"""Commands that show IKE's messages."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import output
from testbed.cli.common import JsonOption, RunningLabArgument, running_lab

if TYPE_CHECKING:
    from testbed.exchange import Phase

app = typer.Typer()


@app.command()
def exchange(
    lab: RunningLabArgument,
    connection: Annotated[str | None, typer.Option("--connection", help="Of which tunnel; the lab's first.")] = None,
    versions: Annotated[
        bool, typer.Option("--compare", help="Set it up by IKEv1 main and aggressive mode and by IKEv2, and compare.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write a drawing to this file; - for standard output.")
    ] = None,
    write: Annotated[Path | None, typer.Option("--write", "-w", help="Write the frames to this pcapng file.")] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Write the keys of the SAs to this folder, for Wireshark.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw how the tunnel is negotiated, rekeyed and ended, message by message, as it crossed the wire just now.

    With --write FILE --keys KEYS, `WIRESHARK_CONFIG_DIR=KEYS wireshark FILE` decrypts it.
    """
    from testbed.exchange import compare, record, to_svg, to_text, together  # noqa: PLC0415
    from testbed.network.pcapng import write_pcapng  # noqa: PLC0415

    made = running_lab(lab)
    found = compare(made, connection, keys=keys) if versions else [record(made, connection, keys=keys)]
    if write is not None:
        write_pcapng(write, [frame for item in found for frame in item.frames], found[0].link)
    if as_json:
        output.print_json([item.to_dict() for item in found])
    elif svg is not None and str(svg) == "-":
        typer.echo(to_svg(together(found)), nl=False)
    else:
        for item in found:
            typer.echo(to_text(item))
        if versions:
            phases = [(item.title, phase) for item in found for phase in item.phases]
            rows = [
                (
                    title,
                    _exchanges(phase),
                    phase.count,
                    f"{phase.round_trips:g}",
                    phase.bytes,
                    f"{phase.duration_ms:.1f}",
                )
                for title, phase in phases
            ]
            output.table(("version and mode", "exchanges", "messages", "round trips", "bytes", "ms"), rows)
    if svg is not None and str(svg) != "-":
        svg.write_text(to_svg(together(found)))
        output.errors.print(f"written: {svg}", highlight=False)


def _exchanges(phase: Phase) -> str:
    return ", ".join(f"{name} {count}" for name, count in phase.exchanges) or phase.name
