"""Commands that prove what a tunnel promises."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import output
from testbed.cli.common import EXIT_FAILED, JsonOption, RunningLabArgument, running_lab

if TYPE_CHECKING:
    from testbed.proof import Proof

app = typer.Typer()


def _complete_claim(incomplete: str) -> list[str]:
    from testbed.proof import CLAIMS  # noqa: PLC0415

    return [name for name in CLAIMS if name.startswith(incomplete)]


@app.command()
def prove(
    lab: RunningLabArgument,
    claims: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CLAIM]…", help="All of them if none.", autocompletion=_complete_claim),
    ] = None,
    connection: Annotated[str | None, typer.Option("--connection", help="Of which tunnel; the lab's first.")] = None,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Write captures, SAs, logs and configurations below this folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let an adversary try what a tunnel promises, on the live lab, and show what came of it.

    Claims: confidentiality, integrity, authentication, anti-replay, forward-secrecy, hidden-addresses, no-leak,
    key-confinement. While it runs, the tunnel is rekeyed and taken down, and charon of the near router is killed once.
    """
    from testbed.proof import prove as try_claims  # noqa: PLC0415

    made = running_lab(lab)
    with output.Progress(quiet=as_json) as progress:
        made.events.subscribers.append(progress)
        proofs = try_claims(made, claims or (), connection=connection, evidence=evidence)
    if as_json:
        output.print_json([proof.to_dict() for proof in proofs])
    else:
        _show(proofs, evidence)
    untried = [proof for proof in proofs if proof.untried is not None]
    if any(proof.refuted for proof in proofs) or (claims and untried):
        raise typer.Exit(EXIT_FAILED)


def _show(proofs: list[Proof], evidence: Path | None) -> None:
    output.table(("claim", "", "what was seen", "s"), [_row(proof) for proof in proofs], ruled=True)
    proven = sum(proof.proven for proof in proofs)
    untried = sum(proof.untried is not None for proof in proofs)
    told = f"{proven} of {len(proofs)} claims are proven."
    if untried:
        told += f" {untried} could not be tried here."
    output.console.print(told + (f" The evidence is in {evidence}." if evidence else ""), soft_wrap=True)


def _row(proof: Proof) -> tuple[str, str, str, str]:
    mark = "·" if proof.untried else "✓" if proof.proven else "✗"
    lines = [proof.untried] if proof.untried else [*(f"NOT SO: {text}" for text in proof.refuted), *proof.shown]
    return f"{proof.claim}\n{proof.promise}", mark, "\n".join(lines), f"{proof.duration_s:.1f}"
