"""What became of a configuration, statement by statement: for `testbed ios check` and `testbed ios explain`."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from testbed.device.ios import Context, compile_device
from testbed.ios.addresses import interface_addresses
from testbed.ios.reader import read_configuration

if TYPE_CHECKING:
    from testbed.device import Device
    from testbed.ios.configuration import Statement
    from testbed.ios.reader import Finding, Reading

__all__ = ["Explained", "Outcome", "explain_text"]


@dataclass(frozen=True)
class Outcome:
    """One line of a configuration. `told` is what it became, or why it has no effect, or why it is refused."""

    line: int
    text: str
    fate: str
    told: str
    column: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "text": self.text.strip(),
            "fate": self.fate,
            "told": self.told,
            "column": None if self.column is None else self.column + 1,
        }


@dataclass(frozen=True)
class Explained:
    """A whole text, and the device that it makes by itself, outside any lab."""

    outcomes: tuple[Outcome, ...]
    device: Device

    @property
    def refused(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.fate == "refused"]

    def count(self, fate: str) -> int:
        return sum(outcome.fate == fate for outcome in self.outcomes)


def explain_text(text: str, *, flavor: str = "ios15", name: str = "router") -> Explained:
    """Read a text as if it were a router's start-up configuration. Any text will do; nothing is raised for it."""
    reading = read_configuration(text)
    device, notes = _compiled(reading, flavor, name)
    outcomes = []
    for finding in reading.findings:
        if finding.fate in ("comment", "left"):
            continue
        told, fate = _told(finding), finding.fate
        if finding.line in notes and fate == "compiled":
            fate, told = "kept", "; ".join(notes[finding.line])
        outcomes.append(Outcome(finding.line, finding.text, fate, told, finding.column))
    return Explained(tuple(outcomes), device)


def _compiled(reading: Reading, flavor: str, name: str) -> tuple[Device, dict[int, list[str]]]:
    configuration = reading.configuration
    addresses = interface_addresses(configuration)
    links = [(interface, interface, 1500) for interface in addresses if not interface.startswith(("lo", "tu", "vl"))]
    context = Context(
        node=name,
        configuration=configuration,
        flavor="iosxe17" if flavor == "iosxe17" else "ios15",
        owners={ip_address(item.ip): name for found in addresses.values() for item in found},
        order=(name,),
    )
    device = compile_device(context, links=links, clock=None, image=None)
    notes: dict[int, list[str]] = {}
    for note in context.notes:
        if note.text not in notes.setdefault(note.line, []):
            notes[note.line].append(note.text)
    return device, notes


def _told(finding: Finding) -> str:
    if finding.statement is None or finding.fate != "compiled":
        return finding.told
    return _filled(finding.told, finding.statement)


class _Values(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def _filled(template: str, statement: Statement) -> str:
    """The text of a command's effect with the values of this statement."""
    values = _Values({name: found[-1] for name, found in statement.lists.items()})
    values |= {f"{name}s": " ".join(map(str, found)) for name, found in statement.lists.items()}
    return template.format_map(values)
