"""A lab as text: a tree, readable in a terminal and in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.graph.tree import lab_trees, tunnels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.graph.tree import GraphNode
    from testbed.topology import LoadedTopology

__all__ = ["to_text"]


def to_text(loaded: LoadedTopology) -> str:
    lines = [line for tree in lab_trees(loaded) for line in _node(tree, "", "")]
    lines += [f"{one} ═══ {other}  IPsec {name}, IKEv{version}" for name, version, one, other in tunnels(loaded)]
    return "\n".join(lines) + "\n"


def _node(node: GraphNode, first: str, rest: str) -> Iterator[str]:
    addresses = ", ".join(f"{interface} {' '.join(found)}" for interface, found in node.addresses)
    yield f"{first}{node.name} ({node.what})  {addresses}".rstrip()
    for number, link in enumerate(node.links):
        last = number == len(node.links) - 1
        again = f"  through {link.through}" if link.through else ""
        again += f"  also {', '.join(link.again)}" if link.again else ""
        kind = "LAN" if link.lan else "link"
        yield f"{rest}{'└' if last else '├'}─ {kind} {link.name}  {' '.join(link.prefixes)}{again}".rstrip()
        inner = rest + ("   " if last else "│  ")
        for position, other in enumerate(link.nodes):
            end = position == len(link.nodes) - 1
            yield from _node(other, f"{inner}{'└' if end else '├'}─ ", inner + ("   " if end else "│  "))
