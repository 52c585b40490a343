"""Everything that can go wrong, as one tree.

    TestbedError
    ├── TopologyError        a lab folder that does not describe a lab; carries every problem found
    ├── SettingError         a value given on the command line or in the environment
    ├── PrerequisiteError    the machine lacks something; carries the fix
    ├── ImageError           a node image could not be built
    ├── RuntimeFailure       the container engine refused or failed
    ├── NetworkFailure       the kernel refused a link, an address or a route
    ├── DaemonError          a daemon did not start, or said no
    │   ├── NegotiationError     IKE did not establish what was asked for
    │   └── EnrolmentError       a CA was not trusted, or gave no certificate
    ├── LabBusyError         another process holds this lab
    ├── LabNotRunningError   the lab, or the node asked for, is not up
    ├── DeadlineExceeded     also a TimeoutError
    └── LabErrors            several of the above, one per node

Each error says where it happened, what was being done, what was expected, what was seen and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "DaemonError",
    "DeadlineExceeded",
    "EnrolmentError",
    "ImageError",
    "LabBusyError",
    "LabErrors",
    "LabNotRunningError",
    "NegotiationError",
    "NetworkFailure",
    "PrerequisiteError",
    "Problem",
    "RuntimeFailure",
    "SettingError",
    "TestbedError",
    "TopologyError",
]


class TestbedError(Exception):
    """The base of all errors of this package.

    `str()` of it is fit to be shown to a user: one line for what happened, then one indented line each for
    what is known of `node`, `expected`, `seen` and `hint`.
    """

    __test__ = False  # pytest collects classes named Test*

    def __init__(
        self,
        what: str,
        *,
        node: str | None = None,
        expected: str | None = None,
        seen: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.node = node
        self.expected = expected
        self.seen = seen
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.node}: {self.what}" if self.node else self.what
        details = (("expected", self.expected), ("seen", self.seen), ("to do", self.hint))
        return "\n".join([head, *(f"  {label}: {text}" for label, text in details if text)])


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a topology file. `line` and `column` count from 1."""

    line: int
    column: int
    path: str
    message: str
    expected: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        text = f"{self.line}:{self.column}: {self.path}: {self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean '{self.suggestion}'?"
        return text


class TopologyError(TestbedError):
    """A topology that cannot be used. `problems` holds all that was found, in the order of the file."""

    def __init__(self, source: Path | str, problems: Sequence[Problem]) -> None:
        self.source = str(source)
        self.problems = sorted(set(problems), key=lambda problem: (problem.line, problem.column, str(problem)))
        count = len(self.problems)
        super().__init__(f"{self.source}: {count} problem{'s' if count != 1 else ''}")

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {self.source}:{problem}" for problem in self.problems)])


class SettingError(TestbedError): ...


class PrerequisiteError(TestbedError): ...


class ImageError(TestbedError): ...


class RuntimeFailure(TestbedError): ...


class NetworkFailure(TestbedError): ...


class DaemonError(TestbedError): ...


class NegotiationError(DaemonError): ...


class EnrolmentError(DaemonError): ...


class LabBusyError(TestbedError): ...


class LabNotRunningError(TestbedError): ...


class DeadlineExceeded(TestbedError, TimeoutError): ...


class LabErrors(TestbedError):
    """What went wrong on several nodes at once; `errors` maps a node's name to its error."""

    def __init__(self, what: str, errors: Mapping[str, Exception]) -> None:
        super().__init__(what)
        self.errors = dict(errors)

    def __str__(self) -> str:
        lines = [self.what]
        for name, error in sorted(self.errors.items()):
            text = str(error) or type(error).__name__
            if not text.startswith(f"{name}: "):
                text = f"{name}: {text}"
            lines += [f"  {line}" for line in text.splitlines()]
        return "\n".join(lines)
