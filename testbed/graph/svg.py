"""A lab as a drawing: the core above, everything that hangs on it below, tunnels as arcs over what they cross."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jinja2

from testbed.graph.tree import lab_trees, tunnels

if TYPE_CHECKING:
    from testbed.graph.tree import GraphLink, GraphNode
    from testbed.topology import LoadedTopology

__all__ = ["to_svg"]

WIDTH, LINE, GAP, LEVEL, MARGIN = 190, 15, 34, 110, 30
HEAD = 40
CAPTION, NARROW = 27, 200  # characters that fit into a box; how near two boxes are for a label between them


@dataclass
class _Box:
    node: GraphNode
    x: float
    y: float
    lines: list[str]

    @property
    def height(self) -> float:
        return HEAD + LINE * len(self.lines) + 6

    @property
    def caption(self) -> str:
        """What the node is, and its host name as far as there is room."""
        text = self.node.what if self.node.hostname == self.node.name else f"{self.node.what} · {self.node.hostname}"
        return text if len(text) <= CAPTION else text[: CAPTION - 1] + "…"

    @property
    def middle(self) -> float:
        return self.x + WIDTH / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass
class _Wire:
    link: GraphLink
    path: str
    x: float
    y: float

    @property
    def width_on_path(self) -> float:
        """Of the box for the node that the link goes through."""
        return 20 + 7 * len(self.link.through or "")


@dataclass
class _Drawing:
    boxes: dict[str, _Box] = field(default_factory=dict)
    wires: list[_Wire] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def to_svg(loaded: LoadedTopology) -> str:
    """The drawing as one SVG document; every text in it is escaped."""
    drawing = _Drawing()
    x = float(MARGIN)
    trees = lab_trees(loaded)
    rows = [0.0] * 64
    for tree in trees:
        _measure(tree, 0, rows)
    tops = [MARGIN + sum(rows[:depth]) + depth * LEVEL for depth in range(len(rows))]
    for tree in trees:
        x += _place(drawing, tree, 0, x, tops) + GAP
    drawing.width = max(box.x + WIDTH for box in drawing.boxes.values()) + MARGIN
    drawing.height = max(box.bottom for box in drawing.boxes.values()) + MARGIN
    environment = jinja2.Environment(loader=jinja2.PackageLoader("testbed.graph"), autoescape=True, trim_blocks=True)
    return environment.get_template("lab.svg.j2").render(
        title=loaded.topology.title or loaded.name,
        drawing=drawing,
        tunnels=[_tunnel(drawing, *tunnel) for tunnel in tunnels(loaded)],
        width_of_box=WIDTH,
        head=HEAD,
        line=LINE,
    )


def _lines(node: GraphNode) -> list[str]:
    return [f"{interface}  {address}" for interface, found in node.addresses for address in found]


def _measure(node: GraphNode, depth: int, rows: list[float]) -> None:
    rows[depth] = max(rows[depth], HEAD + LINE * len(_lines(node)) + 6)
    for link in node.links:
        for other in link.nodes:
            _measure(other, depth + 1, rows)


def _place(drawing: _Drawing, node: GraphNode, depth: int, x: float, tops: list[float]) -> float:
    """Place a node over what hangs on it, and return the width that all of it takes."""
    at = x
    for link in node.links:
        for other in link.nodes:
            at += _place(drawing, other, depth + 1, at, tops) + GAP
    width = max(float(WIDTH), at - x - GAP)
    box = _Box(node, x + (width - WIDTH) / 2, tops[depth], _lines(node))
    drawing.boxes[node.name] = box
    for link in node.links:
        _wire(drawing, box, link)
    return width


def _wire(drawing: _Drawing, above: _Box, link: GraphLink) -> None:
    below = [drawing.boxes[other.name] for other in link.nodes]
    if not below:
        return
    middle = sum(box.middle for box in below) / len(below)
    if not link.lan:
        rail = below[0].y - LEVEL / 2
        path = f"M {above.middle} {above.bottom} L {middle} {rail} L {middle} {below[0].y}"
        drawing.wires.append(_Wire(link, path, middle, rail))
        return
    rail = below[0].y - LEVEL / 2.6
    ends = [box.middle for box in below]
    path = f"M {above.middle} {above.bottom} L {middle} {rail} M {min(ends)} {rail} L {max(ends)} {rail}"
    path += "".join(f" M {box.middle} {rail} L {box.middle} {box.y}" for box in below)
    drawing.wires.append(_Wire(link, path, middle, rail))


def _tunnel(drawing: _Drawing, name: str, version: int, one: str, other: str) -> dict[str, object]:
    left, right = sorted((drawing.boxes[one], drawing.boxes[other]), key=lambda box: box.x)
    start, end = left.x + WIDTH, right.x
    if end - start < NARROW:  # too near to each other for a label between them: below both
        start, end, y = start - 25, end + 25, max(left.bottom, right.bottom)
        path = f"M {start} {left.bottom} C {start} {y + 30}, {end} {y + 30}, {end} {right.bottom}"
        return {"name": name, "version": version, "path": path, "x": (start + end) / 2, "y": y + 40}
    y = max(left.y, right.y) + 20
    dip = y + min(60, (end - start) / 8)
    return {
        "name": name,
        "version": version,
        "path": f"M {start} {y} C {start + 60} {dip}, {end - 60} {dip}, {end} {y}",
        "x": (start + end) / 2,
        "y": (y + 3 * dip) / 4 - 14,
    }
