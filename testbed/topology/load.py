"""From a lab folder to a checked topology, or to all that is wrong with it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from testbed.errors import Problem, SettingError, TopologyError
from testbed.topology.addressing import Addressing, plan_addresses
from testbed.topology.check import check, check_addressed, check_kinds
from testbed.topology.models import Topology
from testbed.topology.parameters import parameter_values, substitute
from testbed.topology.placed import check_secret, secret_sources
from testbed.topology.routers import overlaid, read_routers, router_texts, text_digest
from testbed.topology.secrets import SecretValue, resolve_secret
from testbed.topology.source import Path as DataPath
from testbed.topology.source import Source, parse
from testbed.topology.vocabulary import explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.ios.configuration import Configuration

__all__ = ["LoadedTopology", "load_text", "load_topology"]

FILE_NAME = "topology.yaml"
MAX_BYTES = 1024 * 1024
_ECHO = "does not fit here"
_UNREAD = b"00" * 16  # stands for a secret of any kind


@dataclass(frozen=True)
class LoadedTopology:
    """A topology fit to be built: checked, with every address planned and every secret at hand."""

    folder: Path
    name: str
    topology: Topology
    addressing: Addressing
    secrets: Mapping[DataPath, SecretValue] = field(repr=False)  # by where they stand in the topology
    settings: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    base: Topology | None = field(default=None, repr=False)  # without what routers' configurations say
    configurations: Mapping[str, Configuration] = field(default_factory=dict, repr=False)  # of nodes of kind ios
    startups: Mapping[str, str] = field(default_factory=dict, repr=False)  # their texts in the folder
    authorities: frozenset[str] = frozenset()  # those of them whose image has a certificate authority

    def startup_digest(self, node: str) -> str:
        """Of a router's configuration in the folder; another one needs another node."""
        return text_digest(self.startups[node])

    def reconfigured(self, changed: Mapping[str, Configuration]) -> LoadedTopology:
        """The same lab with other configurations of some routers. What these say is not checked: a router may be
        configured in any way.
        """
        base = self.base or self.topology
        configurations = {**self.configurations, **changed}
        topology = overlaid(base, configurations)
        addressing = plan_addresses(topology, Source(None))
        return replace(self, topology=topology, addressing=addressing, configurations=configurations)


def load_topology(
    folder: Path | str,
    *,
    settings: Mapping[str, str] | None = None,
    variants: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    with_secrets: bool = True,
) -> LoadedTopology:
    """Read `topology.yaml` of a folder (or a YAML file itself).

    Without secrets a stand-in is taken for each, for those who do not render anything. Raises TopologyError with all
    problems of the file, or SettingError for a setting the file does not declare.
    """
    path = Path(folder)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        if file.stat().st_size > MAX_BYTES:
            raise SettingError(f"{file} is no topology", seen=f"more than {MAX_BYTES} bytes")
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as failure:
        line = failure.object[: failure.start].count(b"\n") + 1
        raise TopologyError(file, [Problem(line, 1, ".", "the file is not UTF-8", "UTF-8 text")]) from None
    except OSError as failure:
        raise SettingError(
            f"cannot read {file}: {failure.strerror}",
            expected=f"a folder that holds {FILE_NAME}",
            hint="`testbed list` shows the labs that can be found from here",
        ) from None
    return load_text(text, file, settings=settings, variants=variants, environ=environ, with_secrets=with_secrets)


def load_text(
    text: str,
    file: Path,
    *,
    settings: Mapping[str, str] | None = None,
    variants: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    with_secrets: bool = True,
) -> LoadedTopology:
    """The same from the text of a topology that stands, or would stand, in `file`."""
    source = parse(text)
    if source.data is None:
        raise TopologyError(file, source.problems)
    values, secret = parameter_values(source, settings or {}, variants)
    substitution = substitute(source, values, secret)
    topology = _validate(source, substitution.data, substitution.secret_paths)
    if topology is None:
        raise TopologyError(file, source.problems)
    folder = file.resolve().parent
    base = topology
    check_kinds(base, source, folder)
    environment = os.environ if environ is None else environ
    texts = router_texts(base, source, folder, values, environment if with_secrets else None)
    configurations = read_routers(texts, base, source)
    topology = overlaid(base, configurations)
    check(topology, source, folder)
    addressing = plan_addresses(topology, source)
    if not source.problems:
        check_addressed(topology, addressing, source)
    if with_secrets:
        secrets = _secrets(topology, source, folder, environment)
    else:
        secrets = {path: SecretValue(_UNREAD) for path, _ in secret_sources(topology)}
    if source.problems:
        raise TopologyError(file, source.problems)
    name = topology.name or _name_of(folder)
    return LoadedTopology(
        folder,
        name,
        topology,
        addressing,
        secrets,
        dict(settings or {}),
        tuple(variants),
        base,
        configurations,
        texts,
        frozenset(
            node
            for node, configuration in configurations.items()
            if configuration.all("crypto pki server") or base.nodes[node].image == "ca"
        ),
    )


def _validate(source: Source, data: Any, secret_paths: frozenset[DataPath]) -> Topology | None:
    try:
        return Topology.model_validate(data)
    except ValidationError as failure:
        known = {problem.path for problem in source.problems}
        found = [explain(source, data, dict(error), secret_paths) for error in failure.errors(include_url=False)]
        source.problems += _without_echoes([problem for problem in found if problem.path not in known])
        return None


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """One problem for each place: what the members of a union say of a value that fits none of them is put together.

    A member that understood the value well enough to say more than that it does not fit is listened to alone.
    """
    merged: dict[tuple[str, str], Problem] = {}
    told = {problem.path for problem in problems if not problem.message.endswith(_ECHO)}
    for problem in problems:
        if problem.message.endswith(_ECHO) and problem.path in told:
            continue
        known = merged.get((problem.path, problem.message))
        if known is None:
            merged[problem.path, problem.message] = problem
        elif problem.expected and known.expected and problem.expected not in known.expected:
            merged[problem.path, problem.message] = replace(known, expected=f"{known.expected}, or {problem.expected}")
    return list(merged.values())


def _secrets(
    topology: Topology, source: Source, folder: Path, environ: Mapping[str, str]
) -> dict[DataPath, SecretValue]:
    found: dict[DataPath, SecretValue] = {}
    for path, value in secret_sources(topology):
        try:
            found[path] = resolve_secret(value, folder, environ)
            check_secret(topology, path, found[path])
        except ValueError as failure:
            source.problems.append(source.problem(path, str(failure)))
    return found


def _name_of(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:32].strip("-") or "lab"
