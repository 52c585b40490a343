"""What commands share: options, finding a lab by name or folder, and exit codes."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.errors import SettingError, TestbedError
from testbed.topology import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.lab import Lab

__all__ = [
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_PREREQUISITE",
    "EXIT_USAGE",
    "Dataplane",
    "JsonOption",
    "LabArgument",
    "NameOption",
    "NodeArgument",
    "RunningLabArgument",
    "SetOption",
    "VariantOption",
    "find_folder",
    "lab_folders",
    "lab_name",
    "running_lab",
    "settings_from",
]

EXIT_FAILED = 1  # an expectation did not hold, or what was asked for failed
EXIT_USAGE = 2  # the topology, a setting or the command line is wrong
EXIT_PREREQUISITE = 3  # the machine lacks something
EXIT_INTERRUPTED = 130


def lab_folders() -> Iterator[Path]:
    """Folders that hold a topology: below TESTBED_TOPOLOGIES (a search path), else ./topologies and the checkout's."""
    checkout = Path(__file__).resolve().parents[2] / "topologies"
    roots = os.environ.get("TESTBED_TOPOLOGIES", f"topologies{os.pathsep}{checkout}").split(os.pathsep)
    seen: set[Path] = set()
    for root in map(Path, roots):
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if (path / FILE_NAME).is_file() and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def find_folder(lab: str) -> Path:
    """The folder that a command's LAB means: a path, or the name of a folder of labs. Raises SettingError."""
    if len(lab) > 1024:  # more than a path may have
        raise SettingError(f"there is no lab '{lab[:40]}…'")
    path = Path(lab)
    if path.is_file() or (path / FILE_NAME).is_file():
        return path
    folders = {folder.name: folder for folder in lab_folders()}
    if lab in folders:
        return folders[lab]
    near = difflib.get_close_matches(lab, folders, n=1)
    raise SettingError(
        f"there is no lab '{lab}'",
        expected=f"a folder with a {FILE_NAME}, or one of {', '.join(folders) or 'none (no folder of labs found)'}",
        hint=f"did you mean '{near[0]}'?" if near else "`testbed list` shows the labs",
    )


def lab_name(lab: str) -> str:
    """The name under which a lab runs, from that name, its folder, or the folder's name. Raises SettingError."""
    from testbed.lab.state import StateFolder, valid_name  # noqa: PLC0415
    from testbed.topology import load_topology  # noqa: PLC0415

    if valid_name(lab):
        if StateFolder(lab).path.is_dir():
            return lab
        try:
            return load_topology(find_folder(lab), with_secrets=False).name
        except TestbedError:
            return lab  # of what is left of it, labels may know
    return load_topology(find_folder(lab), with_secrets=False).name


def running_lab(lab: str) -> Lab:
    """A lab that is up, by its name or by its folder. Raises LabNotRunningError."""
    from testbed.lab import Lab  # noqa: PLC0415 - heavy, and not every command needs it

    return Lab.attach(lab_name(lab))


def settings_from(pairs: list[str], option: str = "--set ") -> dict[str, str]:
    """`NAME=VALUE` of the command line, behind an option or alone. Raises SettingError."""
    settings: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise SettingError(f"{option}{pair!r} is no setting", expected=f"{option}NAME=VALUE")
        settings[name] = value
    return settings


def _complete_folder(incomplete: str) -> list[str]:
    return [folder.name for folder in lab_folders() if folder.name.startswith(incomplete)]


def _complete_running(incomplete: str) -> list[str]:
    from testbed.lab.state import state_root  # noqa: PLC0415

    names = [path.name for path in state_root().iterdir() if path.is_dir()] if state_root().is_dir() else []
    return sorted(name for name in names if name.startswith(incomplete))


def _complete_node(context: typer.Context, incomplete: str) -> list[str]:
    from testbed.lab.state import StateFolder  # noqa: PLC0415

    folder = StateFolder(str(context.params.get("lab", "-"))).path / "nodes"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(name for name in names if name.startswith(incomplete))


LabArgument = Annotated[str, typer.Argument(help="A lab: its folder, or its name.", autocompletion=_complete_folder)]
RunningLabArgument = Annotated[str, typer.Argument(help="A lab that is up.", autocompletion=_complete_running)]
NodeArgument = Annotated[str, typer.Argument(help="A node of the lab.", autocompletion=_complete_node)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Run it under another name, beside others.")]
SetOption = Annotated[list[str], typer.Option("--set", "-s", metavar="NAME=VALUE", help="Set a parameter.")]
VariantOption = Annotated[list[str], typer.Option("--variant", help="Take a named set of parameters.")]
Dataplane = Annotated[
    str | None,
    typer.Option("--dataplane", help="auto, kernel or userspace instead of what the topology says."),
]
