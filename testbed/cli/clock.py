"""Commands about the nodes' clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli import output
from testbed.cli.common import JsonOption, RunningLabArgument, running_lab
from testbed.daemons.chronyd import show_offset, show_time
from testbed.errors import SettingError
from testbed.topology.services import parse_moment, parse_offset

if TYPE_CHECKING:
    from testbed.lab import Lab, Node

app = typer.Typer()


@app.command()
def clock(
    lab: RunningLabArgument,
    node: Annotated[str | None, typer.Argument(help="A node; all with a clock of their own when left out.")] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="OFFSET", help="Move it: -3y, +90s, 2h. Its chronyd moves it back.")
    ] = None,
    to: Annotated[str | None, typer.Option("--set", metavar="WHEN", help="Set it, in UTC: 1993-03-01, 'now'.")] = None,
    drift: Annotated[float | None, typer.Option(help="Make its oscillator wrong by so many ppm.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Every node's clock beside this machine's; or move one node's. This machine's own clock is never touched."""
    made = running_lab(lab)
    if step is not None or to is not None or drift is not None:
        if node is None:
            raise SettingError("no node is named whose clock is to be moved", expected="testbed clock LAB NODE …")
        _move(made.node(node), step, to, drift)
    rows = {name: _facts(made, name) for name in _with_clocks(made, node)}
    if as_json:
        output.print_json(rows)
        return
    output.table(
        ("node", "its clock (UTC)", "from the host's", "NTP", "stratum", "source", "drift"),
        (
            (
                name,
                facts["time"],
                show_offset(facts["offset_s"]),
                "synchronised" if facts["synchronised"] else "not synchronised",
                facts["stratum"] or "-",
                facts["source"] or "-",
                f"{facts['drift_ppm']:+g} ppm",
            )
            for name, facts in rows.items()
        ),
    )


def _with_clocks(lab: Lab, node: str | None) -> list[str]:
    names = [name for name, device in lab.devices.items() if device.clock is not None]
    if node is None:
        return names
    if node not in names:
        raise SettingError(f"'{node}' has no clock of its own", expected=f"one of {', '.join(names) or 'none'}")
    return [node]


def _move(node: Node, step: str | None, to: str | None, drift: float | None) -> None:
    try:
        if to is not None:
            node.set_clock(None if to == "now" else parse_moment(to))
        if step is not None:
            node.step_clock(parse_offset(step))
    except ValueError as failure:
        raise SettingError(f"'{to or step}' {failure}", expected="-3y, +90s; 1993-03-01, now") from None
    if drift is not None:
        node.drift_clock(drift)


def _facts(lab: Lab, name: str) -> dict[str, Any]:
    node = lab.node(name)
    reading = node.clock
    facts: dict[str, Any] = {
        "time": show_time(reading),
        "offset_s": reading.offset_s,
        "synchronised": reading.synchronised,
        "drift_ppm": reading.oscillator_ppm,
        "frequency_ppm": reading.frequency_ppm,
        "stratum": None,
        "source": None,
    }
    if lab.devices[name].ntp is not None and node.daemons.get("chronyd"):
        tracking = node.chronyd.tracking()
        facts |= {"stratum": tracking.stratum or None, "source": tracking.reference or "its own clock"}
        # Who serves its own clock has nothing that could set it: that is what it has to say.
        facts["synchronised"] = reading.synchronised or tracking.leap != "Not synchronised"
    return facts
