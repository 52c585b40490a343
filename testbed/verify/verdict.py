"""What was expected of a lab, and what was seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Phase", "Verdict"]

Phase = Literal["tunnel down", "set-up", "tunnel up"]


@dataclass(frozen=True)
class Verdict:
    """One expectation, checked. `held` is whether what was seen is what was expected; `step` is the part of bringing a
    lab up to which it belongs.
    """

    claim: str
    expected: str
    seen: str
    held: bool
    phase: Phase
    duration_s: float
    step: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
