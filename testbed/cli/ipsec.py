"""Commands about tunnels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_FAILED, JsonOption, RunningLabArgument, running_lab
from testbed.daemons.keywords import child_proposal, ike_proposal
from testbed.deadline import Deadline
from testbed.errors import SettingError
from testbed.verify.negotiate import negotiate

if TYPE_CHECKING:
    from testbed.device import ConnectionConfig
    from testbed.lab import Lab

app = typer.Typer()

ConnectionArgument = Annotated[str | None, typer.Argument(help="A connection; all of them when left out.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds.")]


def _initiators(lab: Lab, name: str | None) -> list[tuple[str, ConnectionConfig]]:
    found = [
        (node, connection)
        for node, device in lab.devices.items()
        for connection in device.connections
        if connection.initiator and name in (None, connection.name)
    ]
    if not found:
        known = sorted({connection.name for device in lab.devices.values() for connection in device.connections})
        raise SettingError(f"there is no connection '{name}'", expected=f"one of {', '.join(known) or 'none'}")
    return found


@app.command()
def initiate(lab: RunningLabArgument, connection: ConnectionArgument = None, timeout: TimeoutOption = 30.0) -> None:
    """Set up tunnels, and return when they are up."""
    made, deadline = running_lab(lab), Deadline(timeout)
    for node, config in _initiators(made, connection):
        charon = made.node(node).charon
        installed = {child.name for sa in charon.sas() for child in sa.children if child.state == "INSTALLED"}
        wanted = [child.name for child in config.children if child.name not in installed]
        if wanted:
            negotiate(made.live(), node, config.remote_node, wanted, deadline)
        output.console.print(f"{config.name}: {f'up, initiated by {node}' if wanted else 'is up already'}")


@app.command()
def terminate(lab: RunningLabArgument, connection: ConnectionArgument = None, timeout: TimeoutOption = 10.0) -> None:
    """Delete the SAs of tunnels at both ends. Nothing to delete is no error."""
    made, deadline = running_lab(lab), Deadline(timeout)
    for node, config in _initiators(made, connection):
        ended = 0
        for end in (node, config.remote_node):
            charon = made.node(end).charon
            if charon.sas(config.name):
                ended += charon.terminate(ike=config.name, deadline=deadline)
        output.console.print(f"{config.name}: {'terminated' if ended else 'was not up'}")


@app.command()
def sas(
    lab: RunningLabArgument,
    node: Annotated[str | None, typer.Argument(help="A node; all of them when left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The SAs of each router, as its charon reports them. Exit code 1 if there is none."""
    made = running_lab(lab)
    names = [name for name, device in made.devices.items() if device.runs_ike and node in (None, name)]
    if node is not None and not names:
        known = [name for name, device in made.devices.items() if device.runs_ike]
        raise SettingError(f"'{node}' runs no IKE daemon", expected=f"one of {', '.join(known) or 'none'}")
    found = {name: made.node(name).charon.sas() for name in names}
    if as_json:
        output.print_json({name: [sa.to_dict() for sa in items] for name, items in found.items()})
    else:
        for name, items in found.items():
            for sa in items:
                output.table(
                    ("CHILD SA", "state", "ESP", "SPI in/out", "bytes in/out", "packets in/out", "selectors"),
                    (
                        (
                            child.name,
                            child.state,
                            f"{child_proposal(child)}{' in UDP' if child.encapsulated else ''}",
                            f"{child.spi_in}\n{child.spi_out}",
                            f"{child.bytes_in}\n{child.bytes_out}",
                            f"{child.packets_in}\n{child.packets_out}",
                            f"{' '.join(child.local_selectors)}\n{' '.join(child.remote_selectors)}",
                        )
                        for child in sa.children
                    ),
                    title=(
                        f"{name}: {sa.name} IKEv{sa.version} {sa.state}, {ike_proposal(sa)}, "
                        f"{sa.local_address} - {sa.remote_address}, {sa.established_s or 0} s old"
                    ),
                )
    if not any(found.values()):
        if not as_json:
            output.console.print("no SA")
        raise typer.Exit(EXIT_FAILED)
