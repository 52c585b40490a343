"""What a lab could leave on a machine, counted before and after."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from testbed.lab.state import state_root
from testbed.runtime import DockerRuntime


@dataclass(frozen=True)
class Machine:
    """Everything of this machine that a lab touches. Equal means that nothing was left and nothing is missing."""

    containers: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls) -> Machine:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return cls(
            containers=frozenset(state.reference for state in DockerRuntime().nodes()),
            namespaces=frozenset(path.name for path in Path("/run/netns").glob("*")),
            links=frozenset(_links()),
            mounts=frozenset(line.split()[4] for line in mounts if "docker" not in line.split()[4]),
            processes=frozenset(_processes()),
            files=frozenset(str(path) for path in state_root().rglob("*")),
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
        return [str(link.get("ifname")) for link in netlink.get_links()]


def _processes() -> list[str]:
    """Daemons of nodes and commands of the testbed, as `pid name`."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and directory.name != str(os.getpid()):
            try:
                name = (directory / "comm").read_text().strip()
            except OSError:
                continue
            if name in ("charon-systemd", "smbd", "sleep", "testbed", "docker-init"):
                found.append(f"{directory.name} {name}")
    return found
