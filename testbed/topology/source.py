"""YAML with positions: plain data, and for each place of it the line and column where it was written.

ruamel.yaml is used because it reads YAML 1.2, in which `no` is a word and `12:30` is no number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from testbed.errors import Problem

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node as YamlNode

__all__ = ["Path", "Source", "parse", "show_path"]

Path = tuple[str | int, ...]
MAX_NODES = 200_000


@dataclass
class Source:
    """A parsed file: `data` is made of dict, list, str, int, float, bool and None."""

    data: Any
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column (from 1) of a place, or of the nearest place around it that is in the file."""
        while path not in self.positions and path:
            path = path[:-1]
        return self.positions.get(path, (1, 1))

    def problem(self, path: Path, message: str, expected: str | None = None, near: str | None = None) -> Problem:
        line, column = self.position(path)
        return Problem(line, column, show_path(path), message, expected, near)


def show_path(path: Path) -> str:
    """`nodes.kisii.routes[0].via`; the whole file is `.`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "."


def parse(text: str) -> Source:
    """Read YAML. What is not well-formed becomes a problem of the result, whose data is then None."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        why = " ".join(str(error.problem or error.context or "cannot be read").split())
        return Source(None, problems=[Problem(line, column, ".", f"not YAML: {why}", "well-formed YAML 1.2")])
    except (YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        return Source(None, problems=[Problem(1, 1, ".", f"not YAML: {why}", "well-formed YAML 1.2")])
    if root is None:
        return Source(None, problems=[Problem(1, 1, ".", "the file is empty", "a topology")])
    builder = _Builder()
    source = builder.source
    try:
        source.data = builder.build(root, ())
    except RecursionError:
        source.problems.append(Problem(1, 1, ".", "not YAML: nested too deeply", "well-formed YAML 1.2"))
    return source


class _Builder:
    def __init__(self) -> None:
        self.source = Source(None)
        self._count = 0

    def build(self, node: YamlNode, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_NODES:  # aliases of aliases grow without bound
            raise RecursionError
        mark = node.start_mark
        self.source.positions.setdefault(path, (mark.line + 1, mark.column + 1))
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, ScalarNode):
                self.source.problems.append(Problem(line, column, show_path(path), "a key is no plain word", "a name"))
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in data:
                first = self.source.positions[here][0]
                message = f"the key '{key}' was already given in line {first}"
                self.source.problems.append(Problem(line, column, show_path(here), message, "each key once"))
                continue
            self.source.positions[here] = (line, column)
            data[key] = self.build(value_node, here)
        return data

    def _scalar(self, node: YamlNode) -> Any:
        text = str(node.value)
        tag = str(node.tag).rsplit(":", 1)[-1]
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        return _integer(text) if tag == "int" else text  # no number with a fraction means anything in a topology


def _integer(text: str) -> int | str:
    try:
        return int(text.replace("_", ""), 0 if text.lower().lstrip("+-").startswith(("0x", "0o")) else 10)
    except ValueError:
        return text
