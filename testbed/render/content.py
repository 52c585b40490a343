"""A file as it will stand in a node."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["RenderedFile"]


@dataclass(frozen=True)
class RenderedFile:
    """A file as it will stand in the node. Files that hold a secret have mode 0600."""

    content: bytes = field(repr=False)
    mode: int = 0o644
