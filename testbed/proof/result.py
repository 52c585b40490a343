"""What came of a claim: whether it is proven, the numbers that show it, and where the evidence lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Findings", "Proof", "UntriedError"]

Number = int | float | str


@dataclass(frozen=True)
class Proof:
    """One claim, tried on a live tunnel. `refuted` says what spoke against it; it is proven if nothing did."""

    claim: str
    promise: str
    shown: tuple[str, ...]
    refuted: tuple[str, ...]
    numbers: Mapping[str, Number]
    duration_s: float
    untried: str | None = None  # why it could not be tried here
    evidence: Path | None = None

    @property
    def proven(self) -> bool:
        return not self.refuted and self.untried is None

    def __str__(self) -> str:
        outcome = "proven" if self.proven else "NOT proven"
        lines = [f"{self.claim}: {outcome if self.untried is None else 'not tried'} - {self.promise}"]
        lines += [f"  {self.untried}"] if self.untried else []
        lines += [f"  not so: {text}" for text in self.refuted]
        lines += [f"  shown: {text}" for text in self.shown]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "proven": self.proven, "evidence": str(self.evidence) if self.evidence else None}


class UntriedError(Exception):
    """A claim cannot be tried in this lab; the text says what is missing."""


@dataclass
class Findings:
    """Gathered while a claim is tried."""

    shown: list[str] = field(default_factory=list)
    refuted: list[str] = field(default_factory=list)
    numbers: dict[str, Number] = field(default_factory=dict)

    def expect(self, holds: bool, shown: str, otherwise: str | None = None) -> bool:
        """One thing that has to be so: what it shows, or what speaks against the claim. Returns whether it is so."""
        (self.shown if holds else self.refuted).append(shown if holds else otherwise or f"not: {shown}")
        return holds

    def count(self, name: str, seen: int, expected: int, what: str) -> bool:
        """A number that has to be exactly this."""
        self.numbers[name] = seen
        return self.expect(seen == expected, f"{seen} {what}", f"{seen} {what}, expected {expected}")

    def fail(self, text: str) -> None:
        self.refuted.append(text)
