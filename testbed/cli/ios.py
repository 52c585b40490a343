"""Commands about routers that are configured by Cisco IOS text: console, configurations, SSH, guides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_FAILED, JsonOption, NodeArgument, RunningLabArgument, running_lab
from testbed.errors import SettingError
from testbed.topology import FILE_NAME
from testbed.topology.routers import with_defaults

app = typer.Typer()
ios_app = typer.Typer(help="Check and explain IOS configurations; run commands on a router.", no_args_is_help=True)
app.add_typer(ios_app, name="ios")

_COLORS = {"compiled": "green", "kept": "yellow", "refused": "bold red"}
FileArgument = Annotated[Path, typer.Argument(help="A configuration; `-` is standard input.")]
FlavorOption = Annotated[str, typer.Option("--flavor", help="ios15 or iosxe17.")]


@app.command()
def console(lab: RunningLabArgument, node: NodeArgument) -> None:
    """A router's console: type IOS commands. `exit` or Ctrl-] leaves."""
    from testbed.console.local import run_console  # noqa: PLC0415

    run_console(running_lab(lab), node)


def _text(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.buffer.read().decode(errors="replace")
    try:
        text = file.read_bytes().decode(errors="replace")
    except OSError as failure:
        raise SettingError(f"cannot read {file}: {failure.strerror}", expected="a configuration") from None
    topology = file.parent / FILE_NAME
    if "${" not in text or not topology.is_file():
        return text
    try:  # a lab's own, whose parameters have defaults
        return with_defaults(text, topology)
    except ValueError as failure:
        raise SettingError(f"{file}: {failure}", expected=f"a parameter of {topology}") from None


def _checked_flavor(flavor: str) -> str:
    if flavor not in ("ios15", "iosxe17"):
        raise SettingError(f"there is no flavor '{flavor}'", expected="ios15 or iosxe17")
    return flavor


@ios_app.command("check")
def check(file: FileArgument, flavor: FlavorOption = "ios15", as_json: JsonOption = False) -> None:
    """What becomes of each statement: compiled, kept without effect, or refused. Exit code 1 if any is refused."""
    from testbed.device.ios.explain import explain_text  # noqa: PLC0415

    explained = explain_text(_text(file), flavor=_checked_flavor(flavor))
    if as_json:
        output.print_json(
            {
                "file": str(file),
                "counts": {fate: explained.count(fate) for fate in _COLORS},
                "statements": [outcome.to_dict() for outcome in explained.outcomes],
            }
        )
    else:
        for outcome in explained.outcomes:
            if outcome.fate != "compiled":
                _print_outcome(file, outcome.line, outcome.text, outcome.fate, outcome.told, outcome.column)
        counts = ", ".join(f"{explained.count(fate)} {fate}" for fate in _COLORS)
        output.console.print(f"{file}: {counts}", soft_wrap=True, markup=False, highlight=False)
    if explained.refused:
        raise typer.Exit(EXIT_FAILED)


def _print_outcome(file: Path, line: int, text: str, fate: str, told: str, column: int | None) -> None:
    head = output.escape(f"{file}:{line}:")
    output.console.print(f"{head} [{_COLORS[fate]}]{fate}[/] {output.escape(text.rstrip())}", soft_wrap=True)
    indent = len(f"{file}:{line}: {fate} ")
    if column is not None and told.startswith("% Invalid"):
        output.console.print(" " * (indent + column) + "^", highlight=False)
    output.console.print(" " * indent + output.escape(told), soft_wrap=True, highlight=False)


@ios_app.command("explain")
def explain(file: FileArgument, flavor: FlavorOption = "ios15", as_json: JsonOption = False) -> None:
    """Statement by statement the strongSwan, chrony, CA or Linux setting that it becomes, and then the files."""
    from testbed.device.ios.explain import explain_text  # noqa: PLC0415
    from testbed.render import render_files  # noqa: PLC0415

    explained = explain_text(_text(file), flavor=_checked_flavor(flavor))
    rendered = render_files(explained.device, "kernel")
    wanted = ("/etc/swanctl/swanctl.conf", "/etc/chrony/", "/etc/testbed/connections/", "/etc/testbed/nftables.conf")
    files = {
        path: item.content.decode()
        for path, item in rendered.items()
        if path.startswith(wanted) and not path.endswith(".keys")
    }
    if as_json:
        statements = [outcome.to_dict() for outcome in explained.outcomes]
        output.print_json({"file": str(file), "statements": statements, "files": files})
        return
    width = max((len(outcome.text.rstrip()) for outcome in explained.outcomes), default=0)
    for outcome in explained.outcomes:
        color = _COLORS[outcome.fate]
        mark = {"compiled": "→", "kept": "·", "refused": "✗"}[outcome.fate]
        line = f"{output.escape(outcome.text.rstrip().ljust(min(width, 60)))} [{color}]{mark}[/] "
        output.console.print(line + output.escape(outcome.told), soft_wrap=True, highlight=False)
    for path, content in files.items():
        output.console.print(f"\n[bold]{output.escape(path)}[/]")
        output.console.print(output.escape(content), soft_wrap=True, highlight=False)


@ios_app.command("exec")
def execute(
    lab: RunningLabArgument,
    node: NodeArgument,
    command: Annotated[list[str], typer.Argument(help="Commands, each in quotes; run with privilege 15.")],
    as_json: JsonOption = False,
) -> None:
    """Run IOS commands on a router, for scripts. Exit code 1 if one is refused."""
    from testbed.console import LiveRouter  # noqa: PLC0415
    from testbed.console.runner import run_command  # noqa: PLC0415

    router = LiveRouter(running_lab(lab), node)
    answers = [(text, run_command(router, text)) for text in command]
    if as_json:
        output.print_json([{"command": text, "output": answer} for text, answer in answers])
    else:
        for _, answer in answers:
            sys.stdout.write(answer)
    if any(_is_refused(answer) for _, answer in answers):
        raise typer.Exit(EXIT_FAILED)


def _is_refused(answer: str) -> bool:
    words = ("% Invalid input", "% Ambiguous command", "% Incomplete command")
    return any(line.startswith(words) for line in answer.splitlines())


@app.command("ssh-config")
def ssh_config(lab: RunningLabArgument, as_json: JsonOption = False) -> None:
    """What an SSH client needs for the lab's routers: `testbed ssh-config LAB > f; ssh -F f kisii`."""
    from testbed.deadline import Deadline  # noqa: PLC0415
    from testbed.lab.ssh import SshFolder, start_ssh  # noqa: PLC0415

    made = running_lab(lab)
    if not made.loaded.configurations:
        raise SettingError(f"no router of '{made.name}' is configured by IOS text", expected="a node with kind: ios")
    start_ssh(made.folder)
    folder = SshFolder(made.folder)
    ports = folder.await_ports(Deadline(20.0))
    folder.client_key()
    if as_json:
        facts = {"identity_file": folder.path / "client_key", "known_hosts": folder.path / "known_hosts"}
        output.print_json({"host": "127.0.0.1", "user": "admin", "ports": ports, **facts})
        return
    for node, port in ports.items():
        sys.stdout.write(
            f"Host {node}\n  HostName 127.0.0.1\n  Port {port}\n  User admin\n"
            f"  IdentityFile {folder.path / 'client_key'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder.path / 'known_hosts'}\n"
        )
