"""How a node runs. The Docker engine does it today; the protocol is all that the rest of the testbed knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from testbed.deadline import Deadline
    from testbed.plan import NodePlan

__all__ = ["Completed", "Identity", "NodeState", "Runtime"]


@dataclass(frozen=True)
class Identity:
    """To whom a node belongs: what its labels say, and where its files are on this machine."""

    lab: str
    node: str
    run: str
    digest: str
    directory: Path


@dataclass(frozen=True)
class NodeState:
    """A node as the runtime sees it now. `pid` is that of its first process, 0 if it does not run."""

    identity: Identity
    reference: str
    status: Literal["running", "stopped"]
    pid: int

    @property
    def name(self) -> str:
        return self.identity.node

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def namespace(self) -> Path:
        """Its network namespace, for whoever has to enter it."""
        return Path(f"/proc/{self.pid}/ns/net")


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")


class Runtime(Protocol):
    """What a lab needs of whatever runs its nodes. All methods may be called from several threads at once."""

    def prepare(self, images: Sequence[str], report: Callable[[str], None]) -> Mapping[str, str]:
        """Make sure that the images are there; roles are built if need be. Returns what to run for each name."""

    def nodes(self, lab: str | None = None) -> list[NodeState]:
        """Every node of a lab, or of all labs, found by label alone."""

    def create(self, plan: NodePlan, identity: Identity, image: str) -> NodeState:
        """A new node, running, without any link."""

    def start(self, node: NodeState, plan: NodePlan) -> NodeState:
        """Start a stopped node; it has no links, whatever it had before, and its clock shows what it does at boot."""

    def stop(self, node: NodeState, deadline: Deadline) -> None:
        """Stop a node; its links end with it."""

    def remove(self, node: NodeState) -> None:
        """Remove a node, running or not, with whatever was inside. Twice is no error."""

    def execute(
        self,
        node: NodeState,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command in a node as root and wait for its end. A non-zero exit code is no error here."""

    def last_words(self, node: NodeState) -> str:
        """The last lines that a node's first process wrote."""

    def output(self, node: NodeState) -> bytes:
        """All that a node's first process has written, as the engine keeps it."""

    def describe(self, node: NodeState) -> str:
        """All that the engine tells of a node to whoever may ask it."""

    def interactive(self, node: NodeState, argv: Sequence[str]) -> list[str]:
        """The command line that gives a person a terminal in a node."""
