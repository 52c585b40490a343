"""Mutated configurations against the reader and the compiler: `python -m tests.unit.ios.fuzz --count 100000`.

Seeded, so a failure can be had again. What must hold: nothing raises anything, every line has an outcome, what is shown
is read as the same again, and whatever compiles can be rendered.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from testbed.device.ios.explain import explain_text
from testbed.ios.reader import read_configuration
from testbed.render import render_files
from tests.unit.ios.patterns import commands, entrance, lines

ROOT = Path(__file__).parents[3]
PIECES = (
    *(
        "no ",
        "default ",
        "do ",
        "exit",
        "end",
        "!",
        "quit",
        "^C",
        "banner motd ^C",
        "|",
        "'",
        '"',
        "\\",
        "{{",
        "}}",
        "%s",
    ),
    *(
        "\t",
        "\x00",
        "\x1b[31m",
        "é",
        "0x",
        "255.255.255.255",
        "0.0.0.0",
        "999.1.1.1",
        "-1",
        "65536",
        "a" * 300,
        " ",
        "\r",
    ),
    *("$(id)", "`id`", "; drop", "\n", "include /etc/passwd", "}", "CN=,O=", "../../x"),
)


@dataclass
class Report:
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def seeds() -> list[str]:
    """Whole configurations of the labs, and a line of every command."""
    found = [path.read_text() for path in sorted((ROOT / "topologies").glob("*/*.ios"))]
    for mode, command in commands():
        found += ["\n".join([*entrance(mode), lines(command.pattern, seed)]) for seed in (1, 2)]
    return found


def mutated(text: str, dice: random.Random, pool: list[str]) -> str:
    """The text with one to a few things changed."""
    rows = text.split("\n")
    for _ in range(dice.choice((1, 1, 2, 3, 6))):
        at = dice.randrange(len(rows)) if rows else 0
        kind = dice.randrange(9)
        if not rows or kind == 0:
            rows.insert(at, dice.choice(dice.choice(pool).split("\n")))
        elif kind == 1:
            del rows[at]
        elif kind == 2:
            rows[at] = rows[at].strip()
        elif kind == 3:
            words = rows[at].split(" ")
            words[dice.randrange(len(words))] = dice.choice(PIECES)
            rows[at] = " ".join(words)
        elif kind == 4:
            cut = dice.randrange(len(rows[at]) + 1)
            rows[at] = rows[at][:cut] + dice.choice(PIECES) + rows[at][cut:]
        elif kind == 5:
            rows[at] = " ".join(word[: dice.randrange(1, len(word) + 1)] for word in rows[at].split())
        elif kind == 6:
            other = dice.randrange(len(rows))
            rows[at], rows[other] = rows[other], rows[at]
        elif kind == 7:
            rows[at] = dice.choice(("no ", "default ")) + rows[at]
        else:
            rows[at] = rows[at].swapcase()
    return "\n".join(rows)


def examine(text: str, report: Report) -> None:
    reading = read_configuration(text)
    assert len(reading.findings) == text.count("\n") + 1, "a line has no outcome"
    for finding in reading.findings:
        report.outcomes[finding.fate] += 1
        assert finding.told or finding.fate == "comment", f"line {finding.line} has no word"
    shown = reading.configuration.text()
    again = read_configuration(shown)
    assert not again.refused, f"what is shown is refused: {again.refused[0].text!r}"
    assert again.configuration.text() == shown, "what is shown is read as another"
    render_files(explain_text(text, flavor="iosxe17").device, "kernel")


def fuzz(count: int, seed: int) -> Report:
    dice, pool, report = random.Random(seed), seeds(), Report()
    for number in range(count):
        text = mutated(dice.choice(pool), dice, pool)
        try:
            examine(text, report)
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            report.failures.append(f"number {number} of seed {seed}:\n{text!r}\n{traceback.format_exc(limit=-4)}")
            if len(report.failures) == 5:
                break
    return report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.unit.ios.fuzz")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    report = fuzz(options.count, options.seed)
    print(
        f"{options.count} configurations, seed {options.seed}, {time.monotonic() - begun:.0f} s: {dict(report.outcomes)}"
    )
    for failure in report.failures:
        print(failure)
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
