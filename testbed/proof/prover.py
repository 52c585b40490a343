"""Trying claims one after another on one scene, and keeping what was seen."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from testbed.errors import SettingError, TestbedError
from testbed.lab.evidence import write_evidence
from testbed.proof import claims
from testbed.proof.result import Findings, Proof, UntriedError
from testbed.proof.scene import find_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from testbed.lab import Lab
    from testbed.network.capture import Frame
    from testbed.proof.scene import OnPath, Scene

__all__ = ["CLAIMS", "Claim", "prove"]


@dataclass(frozen=True)
class Claim:
    """A promise, and how it is tried."""

    name: str
    promise: str
    attempt: Callable[[Scene, OnPath, Findings], None]


CLAIMS: Mapping[str, Claim] = {
    name: Claim(name, promise, attempt)
    for name, promise, attempt in (
        ("confidentiality", "who sees all of the path learns nothing of what crosses it", claims.confidentiality),
        ("integrity", "what was changed on the path is not delivered, and is counted", claims.integrity),
        ("authentication", "nobody but the peer gets an SA", claims.authentication),
        ("anti-replay", "what was delivered once is not delivered again", claims.anti_replay),
        ("forward-secrecy", "a rekeying makes keys of a key exchange of its own", claims.forward_secrecy),
        ("hidden-addresses", "no private address is seen on an untrusted link", claims.hidden_addresses),
        ("no-leak", "without a tunnel nothing leaves, rather than in clear", claims.no_leak),
        ("key-confinement", "no key is where somebody could read it who may not", claims.key_confinement),
    )
}


def prove(
    lab: Lab,
    wanted: Iterable[str] = (),
    *,
    connection: str | None = None,
    hosts: tuple[str, str] | None = None,
    evidence: Path | None = None,
) -> list[Proof]:
    """Try claims, all of them if none is named, on a connection of a running lab, the first if none is named.

    `hosts` are the nodes between which traffic runs, near end first; found by their addresses when left out. Below
    `evidence` a folder is written for each claim: captures, the SAs before and after, logs, configurations, versions.
    What refutes a claim raises nothing. Raises SettingError for a claim or a connection that there is not.
    """
    names = list(wanted) or list(CLAIMS)
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        raise SettingError(f"there is no claim '{unknown[0]}'", expected=f"one of {', '.join(CLAIMS)}")
    if evidence is not None:
        _make_folder(evidence)
    scene = find_scene(lab, connection, hosts)
    scene.bring_up()
    proofs: list[Proof] = []
    with scene.on_path() as path:
        for name in names:
            proofs.append(_tried(CLAIMS[name], scene, path, evidence))
            path.forget()
    return proofs


def _make_folder(folder: Path) -> None:
    """Before anything is tried: what is seen then can be kept."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise SettingError(
            f"evidence cannot be written to {folder}", expected="a folder", seen=failure.strerror or str(failure)
        ) from failure


class _RefutedError(Exception):
    """Ends the step of a claim that does not hold, so that who watches sees it."""


def _tried(claim: Claim, scene: Scene, path: OnPath, evidence: Path | None) -> Proof:
    found, begun, untried = Findings(), time.monotonic(), None
    before: Mapping[str, object] = {}
    lost = path.wire.lost
    captures: dict[str, list[Frame]] = {}
    with (
        contextlib.suppress(_RefutedError),
        scene.lab.events.step("prove", claim.promise, claim.name),
        _beside(scene, captures if evidence is not None else None),
    ):
        try:
            before = _sas(scene)
            claim.attempt(scene, path, found)
        except UntriedError as missing:
            untried = str(missing)
        except (TestbedError, OSError) as failure:
            found.fail(f"it could not be tried to its end: {str(failure).replace(chr(10), ';')}")
        lost = path.wire.lost - lost
        if lost:
            found.fail(f"the wire lost {lost} frames, so nothing that was counted can be relied on")
        if found.refuted:
            raise _RefutedError(found.refuted[0])
    proof = Proof(
        claim.name,
        claim.promise,
        tuple(found.shown),
        tuple(found.refuted),
        found.numbers,
        time.monotonic() - begun,
        untried,
        evidence / claim.name if evidence else None,
    )
    if evidence is not None:
        near = {scene.near.link: path.frames, f"{scene.near.link}-after-the-adversary": path.left}
        _write(proof, scene, near | captures, before)
    return proof


@contextlib.contextmanager
def _beside(scene: Scene, captures: dict[str, list[Frame]] | None) -> Iterator[None]:
    """Keep what crosses the other untrusted links meanwhile. One that is taken apart in between has what it had."""
    if captures is None:
        yield
        return
    running = {
        name: scene.lab.link(name).capture(captures.setdefault(name, []).append).start()
        for name in scene.untrusted_links()
        if name != scene.near.link
    }
    try:
        yield
    finally:
        for capture in running.values():
            with contextlib.suppress(TestbedError):
                capture.stop()


def _write(proof: Proof, scene: Scene, captures: Mapping[str, list[Frame]], before: Mapping[str, object]) -> None:
    """The evidence of one claim. What a dead daemon does not tell is left out."""
    folder = proof.evidence
    assert folder is not None  # noqa: S101 - the caller has just made it
    write_evidence(scene.lab, folder, captures)
    (folder / "sas-before.json").write_text(json.dumps(before, indent=2))
    (folder / "proof.json").write_text(json.dumps(proof.to_dict(), indent=2))
    versions: dict[str, object] = {"testbed": metadata.version("ipsec-testbed"), "dataplane": scene.live.plan.dataplane}
    for end in (scene.near, scene.far):
        with contextlib.suppress(TestbedError):
            versions[end.node] = scene.charon(end).version().__dict__
    (folder / "versions.json").write_text(json.dumps(versions, indent=2))


def _sas(scene: Scene) -> dict[str, object]:
    return {end.node: [sa.to_dict() for sa in scene.charon(end).sas()] for end in (scene.near, scene.far)}
