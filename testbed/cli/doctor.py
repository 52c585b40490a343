"""What this machine can and cannot do for a lab, each with its fix."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_PREREQUISITE, JsonOption
from testbed.errors import TestbedError
from testbed.network.kernel import has_netem, kernel_features
from testbed.prerequisites import Finding, essential

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer()

_MARKS = {"ok": "[green]✓[/]", "missing": "[bold red]✗[/]", "note": "[yellow]·[/]"}
_ENOUGH_DISK = 3 * 1024**3


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Look at everything a lab needs of this machine. Exit code 3 if something is missing."""
    findings = [*essential(), *_kernel(), *_images(), _disk()]
    if as_json:
        output.print_json([finding.__dict__ for finding in findings])
    else:
        for finding in findings:
            output.console.print(
                f"{_MARKS[finding.verdict]} {finding.name}: {output.escape(finding.seen)}", soft_wrap=True
            )
            if finding.fix:
                output.console.print(f"    {output.escape(finding.fix)}", soft_wrap=True)
    if any(finding.verdict == "missing" for finding in findings):
        raise typer.Exit(EXIT_PREREQUISITE)


def _kernel() -> Iterator[Finding]:
    if os.geteuid() != 0:
        return
    by = "netem, and the testbed's own forwarder for the rest" if has_netem() else "the testbed's own forwarder"
    yield Finding("impairments", "ok", f"by {by}")
    for feature, (able, answer) in kernel_features().items():
        if able:
            yield Finding(feature, "ok", answer)
        elif feature in ("veth", "bridge"):
            yield Finding(feature, "missing", answer, f"use a kernel with {feature} (`modprobe {feature}`)")
        else:
            yield Finding(feature, "note", f"{answer}; no lab needs it")


def _images() -> Iterator[Finding]:
    from testbed.runtime import DockerRuntime  # noqa: PLC0415
    from testbed.runtime.images import ROLES, ImageStore  # noqa: PLC0415

    try:
        store = ImageStore(DockerRuntime().api)
        missing = [store.tag(role) for role in ROLES if not store.exists(store.tag(role))]
    except TestbedError:
        return  # without an engine, and that was said already
    if not missing:
        yield Finding("node images", "ok", "all are built")
    elif shutil.which("mmdebstrap") or shutil.which("apt-get"):
        yield Finding("node images", "note", f"{', '.join(missing)} will be built at the first `up`")
    else:
        fix = "set TESTBED_BASE_IMAGE to a Debian 13 image that this engine has"
        yield Finding("node images", "note", "not built, and this is no Debian: a registry will be needed", fix)


def _disk() -> Finding:
    free = shutil.disk_usage("/var").free
    text = f"{free / 1024**3:.1f} GiB free below /var"
    if free < _ENOUGH_DISK:
        return Finding("disk", "note", text, "the node images take about 1 GiB; free some space")
    return Finding("disk", "ok", text)
