"""What a lab could leave on a machine, counted before and after."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from testbed.lab.state import state_root
from testbed.runtime import DockerRuntime


@dataclass(frozen=True)
class Machine:
    """All that one lab has on this machine, and every interface of the host that no container engine made.

    Other labs may run meanwhile; theirs is not counted. Processes count if their container is the lab's, or is gone.
    """

    containers: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls, lab: str) -> Machine:
        runtime = DockerRuntime()
        # Whose a process is, is asked before and after: a container of another lab may have begun or ended meanwhile.
        owners = {state.reference: state.identity.lab for state in runtime.nodes()}
        processes = _processes()
        states = runtime.nodes()
        owners |= {state.reference: state.identity.lab for state in states}
        mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return cls(
            containers=frozenset(state.reference for state in states if state.identity.lab == lab),
            namespaces=frozenset(path.name for path in Path("/run/netns").glob(f"testbed.{lab}")),
            links=frozenset(_links()),
            mounts=frozenset(mount for mount in mounts if f".{lab}" in mount or f"/{lab}/" in mount),
            processes=frozenset(
                f"{number} {name}" for number, name, container in processes if owners.get(container, lab) == lab
            ),
            files=frozenset(_files(lab)),
        )

    def difference(self, other: Machine) -> dict[str, tuple[set[str], set[str]]]:
        """For each kind of thing that differs: what is only here, and what is only there."""
        found = {}
        for kind in self.__dataclass_fields__:
            here, there = getattr(self, kind), getattr(other, kind)
            if here != there:
                found[kind] = (set(here - there), set(there - here))
        return found


def _links() -> list[str]:
    with IPRoute() as netlink:
        names = [str(link.get("ifname")) for link in netlink.get_links()]
    return [name for name in names if not name.startswith(("veth", "docker", "br-"))]


def _files(lab: str) -> Iterator[str]:
    """Its folder with all that is in it, and its lock. Nothing of other labs, which come and go meanwhile."""
    root = state_root()
    yield from (str(path) for path in (root / lab, root / f"{lab}.lock") if path.exists())
    for folder, folders, files in os.walk(root / lab):
        yield from (f"{folder}/{name}" for name in (*folders, *files))


def _processes() -> list[tuple[str, str, str]]:
    """Processes in containers: pid, name, and the container's ID."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            container = re.search(r"docker[/-]([0-9a-f]{64})", (directory / "cgroup").read_text())
            name = (directory / "comm").read_text().strip()
        except OSError:
            continue
        # `runc:[2:INIT]` is a container that somebody, perhaps somebody else, is starting at this moment.
        if container and not name.startswith("runc:"):
            found.append((directory.name, name, container[1]))
    return found
