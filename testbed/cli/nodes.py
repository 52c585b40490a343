"""Commands about single nodes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_FAILED, JsonOption, NodeArgument, RunningLabArgument, running_lab

app = typer.Typer()
node_app = typer.Typer(help="Stop, start, restart a node, or kill one of its daemons.", no_args_is_help=True)
app.add_typer(node_app, name="node")


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    lab: RunningLabArgument,
    node: NodeArgument,
    command: Annotated[list[str], typer.Argument(help="A command and its arguments.")],
) -> None:
    """Run a command in a node. The exit code is the command's own."""
    if command[0] == "--":  # only said where an option of the command follows
        command = command[1:]
    stdin = None if sys.stdin is None or sys.stdin.isatty() else _piped()
    done = running_lab(lab).node(node).execute(command, stdin=stdin)
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(done.stderr)
    sys.stderr.buffer.flush()
    raise typer.Exit(done.exit_code)


def _piped() -> bytes | None:
    import stat  # noqa: PLC0415

    mode = os.fstat(sys.stdin.fileno()).st_mode
    return sys.stdin.buffer.read() if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) else None


@app.command()
def shell(
    lab: RunningLabArgument,
    node: NodeArgument,
    program: Annotated[str, typer.Option("--program", help="What to run.")] = "/bin/bash",
) -> None:
    """A root shell in a node."""
    live = running_lab(lab).live()
    argv = live.runtime.interactive(live.state(node), [program])
    os.execvp(argv[0], argv)  # noqa: S606 - a terminal is wanted, not a result


@app.command()
def logs(
    lab: RunningLabArgument,
    node: NodeArgument,
    daemon: Annotated[str | None, typer.Argument(help="A daemon; all of the node's when left out.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", "-n", help="Only the last lines.")] = None,
) -> None:
    """The logs of a node's daemons, also of a node that is stopped."""
    from testbed.errors import LabNotRunningError, SettingError  # noqa: PLC0415
    from testbed.runtime.files import read_log  # noqa: PLC0415

    made = running_lab(lab)
    state = made.states().get(node)
    if state is None:
        raise LabNotRunningError("there is no such node", node=node, expected=f"one of {', '.join(made.plan.nodes)}")
    names = [plan.name for plan in made.plan.nodes[node].daemons] if node in made.plan.nodes else []
    if daemon is not None and daemon not in names:
        raise SettingError(f"{node} has no daemon '{daemon}'", expected=f"one of {', '.join(names) or 'none'}")
    for name in names if daemon is None else [daemon]:
        for suffix in ("out", "log"):
            text = read_log(state.identity.directory, f"{name}.{suffix}", tail=tail)
            if text:
                sys.stdout.write(output.shown(text if text.endswith("\n") else text + "\n"))


@app.command()
def ping(
    lab: RunningLabArgument,
    node: NodeArgument,
    target: Annotated[str, typer.Argument(help="An address, a node, or node:interface.")],
    source: Annotated[str | None, typer.Option("--source", "-I", help="Interface whose address is the source.")] = None,
    count: Annotated[int, typer.Option("--count", "-c", min=1, max=10_000)] = 5,
    size: Annotated[int, typer.Option("--size", min=0, max=65_000, help="Bytes of data.")] = 56,
    as_json: JsonOption = False,
) -> None:
    """ICMP echo from a node. Exit code 1 if nothing answers."""
    made = running_lab(lab).node(node)
    destination = made.resolve(target)
    result = made.ping(str(destination), count=count, source=source, size=size)
    if as_json:
        output.print_json({"destination": destination, **result.__dict__})
    else:
        rtt = f", first reply after {result.rtt_s * 1000:.2f} ms" if result.rtt_s is not None else ""
        problem = f" ({result.error})" if result.error else ""
        output.console.print(f"{node} > {destination}: {result.received} of {result.sent} answered{rtt}{problem}")
    if not result.answered:
        raise typer.Exit(EXIT_FAILED)


@node_app.command("restart")
def node_restart(lab: RunningLabArgument, node: NodeArgument) -> None:
    """Reboot a node; it comes back with its links, addresses and daemons."""
    made = running_lab(lab)
    with output.Progress() as progress:
        made.events.subscribers.append(progress)
        made.restart_node(node)


@node_app.command("stop")
def node_stop(lab: RunningLabArgument, node: NodeArgument) -> None:
    """Stop a node; its links go down."""
    made = running_lab(lab)
    with output.Progress() as progress:
        made.events.subscribers.append(progress)
        made.stop_node(node)


@node_app.command("start")
def node_start(lab: RunningLabArgument, node: NodeArgument) -> None:
    """Start a stopped node, with all that belongs to it; start dead daemons of a running one."""
    made = running_lab(lab)
    with output.Progress() as progress:
        made.events.subscribers.append(progress)
        made.start_node(node)


@node_app.command("kill-daemon")
def node_kill_daemon(
    lab: RunningLabArgument,
    node: NodeArgument,
    daemon: Annotated[str, typer.Argument(help="charon or smbd.")] = "charon",
    signal: Annotated[str, typer.Option("--signal", help="KILL, TERM, …")] = "KILL",
) -> None:
    """Kill a daemon and leave it dead; the node and its links stay. `node start` starts it again."""
    running_lab(lab).node(node).kill_daemon(daemon, signal=signal.removeprefix("SIG").upper())
    output.console.print(f"{node}: {daemon} is dead; `testbed node start {lab} {node}` starts it again")
