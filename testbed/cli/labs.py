"""Commands about whole labs."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Annotated, Any

import typer

from testbed.cli import output
from testbed.cli.common import (
    EXIT_FAILED,
    Dataplane,
    JsonOption,
    LabArgument,
    NameOption,
    RunningLabArgument,
    SetOption,
    VariantOption,
    find_folder,
    lab_folders,
    lab_name,
    running_lab,
    settings_from,
)
from testbed.errors import SettingError, TestbedError
from testbed.events import EventStream
from testbed.topology import json_schema, load_topology
from testbed.topology.schema import markdown

app = typer.Typer()


def _checked_dataplane(dataplane: str | None) -> str | None:
    if dataplane not in (None, "auto", "kernel", "userspace"):
        raise SettingError(f"there is no data plane '{dataplane}'", expected="auto, kernel or userspace")
    return dataplane


@app.command()
def up(
    lab: LabArgument,
    name: NameOption = None,
    settings: SetOption = [],  # noqa: B006 - Typer makes a new list for each call
    variant: VariantOption = [],  # noqa: B006
    dataplane: Dataplane = None,
    as_json: JsonOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be created, and create nothing.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Check what the topology expects.")] = True,
    bare: Annotated[
        bool, typer.Option("--bare", help="Routers of kind ios without their configurations; nothing is checked then.")
    ] = False,
) -> None:
    """Bring a lab up, or repair it, and check what is expected of it.

    Exit code 0 only if everything holds. Running it again keeps what stands and checks again.
    """
    from testbed.lab import Lab  # noqa: PLC0415

    events = EventStream()
    made = Lab.from_folder(
        find_folder(lab),
        name=name,
        settings=settings_from(settings),
        variants=variant,
        dataplane=_checked_dataplane(dataplane),
        events=events,
        bare=bare,
    )
    if dry_run:
        _print_plan(made.plan.to_dict(), as_json=as_json)
        return
    with output.Progress(quiet=as_json) as progress:
        events.subscribers.append(progress)
        made.up(verify=verify and not bare)
    held = all(verdict.held for verdict in made.verdicts)
    if as_json:
        output.print_json(
            {
                "lab": made.name,
                "dataplane": made.plan.dataplane,
                "held": held,
                "verdicts": [verdict.to_dict() for verdict in made.verdicts],
            }
        )
    elif made.verdicts:
        output.verdict_table(made.verdicts)
        _say_how_it_ended(made.name, [verdict.held for verdict in made.verdicts])
    if not held:
        raise typer.Exit(EXIT_FAILED)


def _say_how_it_ended(name: str, held: list[bool]) -> None:
    failed = held.count(False)
    if failed:
        told = f"[bold red]{failed} of {len(held)} checks failed.[/] The lab is still up: {name}"
        output.console.print(told, soft_wrap=True)
    else:
        output.console.print(f"[bold green]All {len(held)} checks hold.[/] The lab is up: {name}")
    me = "testbed" if shutil.which("testbed") else sys.argv[0]
    hint = " · ".join(f"{me} {command}" for command in (f"shell {name} NODE", f"sas {name}", f"down {name}"))
    output.console.print(f"[dim]{output.escape(hint)}[/]", soft_wrap=True)


def _print_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(plan)
        return
    output.console.print(f"lab [bold]{plan['lab']}[/], {plan['dataplane']} data plane")
    output.table(
        ("node", "image", "interfaces", "daemons", "capabilities"),
        (
            (
                name,
                node["image"],
                "\n".join(f"{i} {' '.join(v['addresses'])}" for i, v in node["interfaces"].items()),
                ", ".join(node["daemons"]) or "-",
                " ".join(node["capabilities"]),
            )
            for name, node in plan["nodes"].items()
        ),
    )
    output.table(
        ("link", "kind", "mtu", "ends"),
        ((name, link["kind"], link["mtu"], " ".join(link["ends"])) for name, link in plan["links"].items()),
    )
    for tunnel in plan["tunnels"]:
        output.console.print(f"tunnel {tunnel['connection']}: {tunnel['from']} initiates to {tunnel['to']}")


@app.command()
def down(
    lab: Annotated[str, typer.Argument(help="A lab, up or half up; its topology is not needed.")],
    as_json: JsonOption = False,
) -> None:
    """Remove a lab and everything it left. Twice is no error."""
    from testbed.lab import Lab, take_down  # noqa: PLC0415
    from testbed.runtime import DockerRuntime  # noqa: PLC0415

    name = lab_name(lab)
    events = EventStream()
    with output.Progress(quiet=as_json) as progress:
        events.subscribers.append(progress)
        try:
            removed = Lab.attach(name, events=events).down()
        except TestbedError:  # the topology is gone, or the record of it: labels are enough
            removed = take_down(name, DockerRuntime(), events)
    if as_json:
        output.print_json({"lab": name, "removed": removed})
    elif not removed:
        output.console.print(f"lab {name} is not up: nothing to do")


@app.command()
def verify(lab: RunningLabArgument, as_json: JsonOption = False) -> None:
    """Check again what is expected of a lab that is up. Its tunnels are taken down and set up for it."""
    made = running_lab(lab)
    with output.Progress(quiet=as_json) as progress:
        made.events.subscribers.append(progress)
        verdicts = made.verify()
    held = all(verdict.held for verdict in verdicts)
    if as_json:
        output.print_json({"lab": made.name, "held": held, "verdicts": [verdict.to_dict() for verdict in verdicts]})
    else:
        output.verdict_table(verdicts)
    if not held:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def status(lab: RunningLabArgument, as_json: JsonOption = False) -> None:
    """Each node of a lab: whether it runs, its daemons, its SAs. Exit code 1 if anything planned is missing."""
    made = running_lab(lab)
    states = made.states()
    nodes: dict[str, dict[str, Any]] = {}
    for name in made.plan.nodes:
        state = states.get(name)
        facts: dict[str, Any] = {"state": state.status if state else "missing", "daemons": {}, "sas": 0}
        if state and state.running:
            node = made.node(name)
            facts["daemons"] = node.daemons
            if facts["daemons"].get("charon"):
                facts["sas"] = sum(sa.established for sa in node.charon.sas())
        nodes[name] = facts
    whole = all(facts["state"] == "running" and all(facts["daemons"].values()) for facts in nodes.values())
    if as_json:
        output.print_json({"lab": made.name, "dataplane": made.plan.dataplane, "whole": whole, "nodes": nodes})
    else:
        output.table(
            ("node", "state", "daemons", "IKE SAs"),
            (
                (
                    name,
                    facts["state"],
                    ", ".join(f"{d}{'' if runs else ' (dead)'}" for d, runs in facts["daemons"].items()) or "-",
                    facts["sas"] if "charon" in facts["daemons"] else "-",
                )
                for name, facts in nodes.items()
            ),
            title=f"{made.name} ({made.plan.dataplane} data plane)",
        )
    if not whole:
        raise typer.Exit(EXIT_FAILED)


@app.command("list")
def list_labs(as_json: JsonOption = False) -> None:
    """The labs that can be brought up from here, and those that are up."""
    from testbed.lab import running_labs  # noqa: PLC0415
    from testbed.runtime import DockerRuntime  # noqa: PLC0415

    rows: dict[str, dict[str, Any]] = {}
    for folder in lab_folders():
        try:
            loaded = load_topology(folder, with_secrets=False)
            name, title = loaded.name, loaded.topology.title
        except TestbedError as failure:
            name, title = folder.name, f"unusable: {str(failure).splitlines()[0]}"
        rows[name] = {"folder": str(folder), "title": title, "nodes": 0, "up": False}
    try:
        running = running_labs(DockerRuntime())
    except TestbedError:
        running = {}
    for name, states in running.items():
        row = rows.setdefault(name, {"folder": None, "title": "", "nodes": 0, "up": False})
        row |= {"nodes": len(states), "up": any(state.running for state in states)}
    if as_json:
        output.print_json(rows)
        return
    output.table(
        ("lab", "state", "title"),
        ((name, f"up, {row['nodes']} nodes" if row["up"] else "-", row["title"]) for name, row in rows.items()),
    )


@app.command()
def inspect(
    lab: LabArgument,
    settings: SetOption = [],  # noqa: B006
    variant: VariantOption = [],  # noqa: B006
    dataplane: Dataplane = None,
    as_json: JsonOption = False,
) -> None:
    """A lab in full: its plan, and for each node that is up its process and container. Shows no secret."""
    from testbed.lab import Lab  # noqa: PLC0415

    try:
        made = running_lab(lab)
    except TestbedError:
        made = Lab.from_folder(
            find_folder(lab),
            settings=settings_from(settings),
            variants=variant,
            dataplane=_checked_dataplane(dataplane),
        )
    plan = made.plan.to_dict()
    for name, state in made.states().items():
        if name in plan["nodes"]:
            plan["nodes"][name] |= {
                "container": state.reference[:12],
                "state": state.status,
                "pid": state.pid,
            }
    _print_plan(plan, as_json=as_json)


@app.command()
def validate(
    lab: LabArgument,
    settings: SetOption = [],  # noqa: B006
    variant: VariantOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Check a topology without creating anything. All problems are shown, with line and column."""
    from testbed.errors import TopologyError  # noqa: PLC0415

    try:
        loaded = load_topology(find_folder(lab), settings=settings_from(settings), variants=variant)
    except TopologyError as failure:
        if not as_json:
            raise
        output.print_json({"valid": False, "problems": [problem.__dict__ for problem in failure.problems]})
        raise typer.Exit(2) from None
    topology = loaded.topology
    if as_json:
        output.print_json({"valid": True, "name": loaded.name, "problems": []})
        return
    counts = f"{len(topology.nodes)} nodes, {len(topology.links)} links, {len(topology.ipsec)} IPsec connections"
    output.console.print(f"[green]valid[/]: {loaded.name}: {counts}, {len(topology.expectations)} expectations")
    for name, parameter in topology.parameters.items():
        default = "(secret)" if parameter.secret else parameter.default
        choices = f", one of {parameter.choices}" if parameter.choices else ""
        output.console.print(
            f"  --set {name}={default}{choices}  {parameter.description}", markup=False, soft_wrap=True
        )
    for name, chosen in topology.variants.items():
        output.console.print(f"  --variant {name}  {chosen.description}", markup=False, soft_wrap=True)


@app.command()
def schema(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As a reference to be read instead.")] = False,
) -> None:
    """JSON Schema of topology.yaml, for editors."""
    typer.echo(markdown() if as_markdown else json.dumps(json_schema(), indent=2) + "\n", nl=False)


@app.command()
def images() -> None:
    """Build the node images that are missing; `up` does it too."""
    from testbed.runtime import DockerRuntime  # noqa: PLC0415
    from testbed.runtime.images import ROLES  # noqa: PLC0415

    for role, tag in DockerRuntime().prepare(ROLES, lambda text: output.console.print(f"· {text}")).items():
        output.console.print(f"{role}: {tag}")
