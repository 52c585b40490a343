"""What compiling one router needs to know of the lab around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

    from testbed.ios.configuration import Configuration, Statement

    Address = IPv4Address | IPv6Address

__all__ = ["Context", "Note"]


@dataclass(frozen=True)
class Note:
    """Why a statement, or something that needs it, has no effect."""

    line: int
    text: str


@dataclass
class Context:
    """`owners` are the nodes of the lab by address, in the topology's order; `authorities` those that can be a CA."""

    node: str
    configuration: Configuration
    flavor: Literal["ios15", "iosxe17"]
    owners: Mapping[Address, str]
    order: tuple[str, ...]
    authorities: frozenset[str] = frozenset()
    notes: list[Note] = field(default_factory=list)

    def note(self, statement: Statement, text: str) -> None:
        self.notes.append(Note(statement.line, text))

    def pair(self, other: str) -> str:
        """The name of the connections between this node and another: the same at both ends."""
        return "-".join(sorted((self.node, other), key=self.order.index))
