"""A recording as a ladder: for a terminal, and as SVG. Time goes down, from the first message of each phase on."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.exchange.messages import Message
    from testbed.exchange.record import Exchange, Phase

__all__ = ["summary", "to_svg", "to_text"]

_WIDTH = 60  # characters between the two lines
_X = (150, 610)
_ROW, _LINE, _HEAD = 30, 14, 96
_WRAP = 58


def summary(phase: Phase) -> str:
    """`main mode 6, quick mode 3: 9 messages, 4.5 round trips, 1560 bytes, 12.1 ms`."""
    parts = ", ".join(f"{name} {count}" for name, count in phase.exchanges)
    trips = f"{phase.round_trips:g} round trip{'s' if phase.round_trips != 1 else ''}"
    return f"{parts}: {phase.count} messages, {trips}, {phase.bytes} bytes, {phase.duration_ms:.1f} ms"


def to_text(exchange: Exchange) -> str:
    """For a terminal of 100 columns."""
    (one, one_address), (other, other_address) = exchange.ends
    lines = [exchange.title, "", f"  {one:<{_WIDTH // 2 + 1}}{other:>{_WIDTH // 2 + 1}}"]
    lines.append(f"  {one_address:<{_WIDTH // 2 + 1}}{other_address:>{_WIDTH // 2 + 1}}")
    for phase in exchange.phases:
        lines += ["", f"{phase.name}: {summary(phase)}" if phase.messages else phase.name]
        for message in phase.messages:
            lines += _rungs(message, exchange, phase.messages[0].time_ns)
    return "\n".join(lines) + "\n"


def _label(message: Message) -> str:
    name = f"{message.exchange} {message.kind} {message.message_id}" if message.version == 2 else message.exchange
    if message.datagrams > 1:
        name += f", in {message.datagrams} fragments"
    return name + (", again" if message.retransmission else "")


def _rungs(message: Message, exchange: Exchange, begun_ns: int) -> Iterator[str]:
    right = message.source == exchange.ends[0][1]
    label = f" {_label(message)} "
    dashes = "─" * max(0, _WIDTH - len(label) - 3)
    arrow = f"──{label}{dashes}▶" if right else f"◀{dashes}{label}──"
    when = (message.time_ns - begun_ns) / 1e6
    yield f"  │{arrow}│ {when:8.1f} ms {message.size:5d} B"
    lock = "🔒" if message.encrypted else "  "
    for line in textwrap.wrap(" ".join(message.payloads), _WRAP - 4):
        yield f"  │ {lock} {line:<{_WIDTH - 4}}│"
        lock = "  "


@dataclass(frozen=True)
class _Rung:
    y: int
    right: bool
    label: str
    when: str
    size: int
    encrypted: bool
    payloads: list[str]


@dataclass(frozen=True)
class _Section:
    y: int
    title: str
    told: list[str]
    rungs: list[_Rung]


def to_svg(exchange: Exchange) -> str:
    """A drawing that stands by itself."""
    y = _HEAD
    sections = []
    for phase in exchange.phases:
        told = textwrap.wrap(summary(phase) if phase.messages else "", 100)
        section = _Section(y, phase.name, told, [])
        y += 34 + _LINE * len(told)
        for message in phase.messages:
            section.rungs.append(_rung(message, exchange, phase.messages[0].time_ns, y))
            y += _ROW + _LINE * len(section.rungs[-1].payloads)
        sections.append(section)
        y += 16
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("testbed.exchange"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("ladder.svg.j2")
    return template.render(exchange=exchange, sections=sections, x=_X, height=y + 10, line=_LINE)


def _rung(message: Message, exchange: Exchange, begun_ns: int, y: int) -> _Rung:
    return _Rung(
        y,
        message.source == exchange.ends[0][1],
        _label(message),
        f"{(message.time_ns - begun_ns) / 1e6:.1f} ms",
        message.size,
        message.encrypted,
        textwrap.wrap(" ".join(message.payloads), _WRAP),
    )
