"""`make bench`: how long a lab takes, beside the same containers started by the engine alone, in the same run.

Everything is measured in turn, round after round, so that a machine which is slower for a while is slower for all. The
medians are what counts, and the ratios to the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.floor import Compose, Floor
from tests.bench.ios import LINES, answer_times, reading_time, slowest, splitting_time
from tests.bench.lab import LabRun, link_times, memory_per_node, orchestrator_memory, tunnel_times
from tests.bench.pki import CLIENTS, PHASES, PkiRun, enrolments_per_second, pki_floor, signatures_per_second
from tests.bench.plot import draw
from tests.bench.throughput import plane_figures, planes, proof_figures

FOLDER = Path("topologies/safari-sacco")


@dataclass
class Results:
    """Seconds (or MB) by name, one value for each round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return statistics.median(self.values[name])


@dataclass(frozen=True)
class Row:
    what: str
    median: float
    low: float
    high: float
    unit: str
    ratio: float | None = None
    aim: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure labs beside their floor.")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    results = Results()
    measure(results, options.rounds)
    rows = table_rows(results)
    show(rows)
    options.output.mkdir(exist_ok=True)
    facts = {
        "machine": {"processors": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "rows": [asdict(row) for row in rows],
        "values": results.values,
    }
    (options.output / "bench.json").write_text(json.dumps(facts, indent=2) + "\n")
    (options.output / "bench.md").write_text(markdown(rows))
    draw(results.median, planes(), options.output / "bench")
    names = ", ".join(f"{options.output}/bench.{kind}" for kind in ("json", "md", "png", "svg"))
    Console().print(f"written: {names}")


def measure(results: Results, rounds: int) -> None:
    """All measurements, in turn; the first round warms up and does not count.

    Each round begins with another one: what the engine still does for the one before falls on each of them alike.
    """
    floor, compose = Floor(FOLDER), Compose.of(FOLDER)
    contenders: list[Callable[[], dict[str, float]]] = [
        lambda: dict(zip(("floor up", "floor down"), floor.run(), strict=True)),
        lambda: LabRun(FOLDER).measure(),
        pki_floor,
        lambda: PkiRun().measure(),
    ]
    if compose is not None:
        contenders.insert(1, lambda: dict(zip(("compose up", "compose down"), compose.run(), strict=True)))
    measure_labs(results, rounds, contenders)
    several: list[tuple[str, Callable[[], list[float]]]] = [
        ("link", link_times),
        ("tunnel", lambda: tunnel_times(FOLDER)),
    ]
    for name, measure_all in several:
        for value in measure_all():
            results.add(name, value)
    for role, megabytes in memory_per_node(FOLDER).items():
        results.add(f"memory {role}", megabytes)
    results.add("memory orchestrator", orchestrator_memory(FOLDER))
    for _ in range(min(rounds, 3)):
        measure_enrolments(results)
    measure_ios(results, rounds)
    for figures in (*(plane_figures(plane, rounds) for plane in planes()), proof_figures(min(rounds, 3))):
        for name, values in figures.items():
            results.values[name] = values


def measure_labs(results: Results, rounds: int, contenders: list[Callable[[], dict[str, float]]]) -> None:
    progress = Console(stderr=True)
    for number in range(rounds + 1):
        progress.print(f"round {number} of {rounds}" if number else "warming up")
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            for name, value in contender().items():
                if number:
                    results.add(name, value)


def measure_enrolments(results: Results) -> None:
    results.add("rsa signatures", signatures_per_second())
    for clients in CLIENTS:
        results.add(f"enrolments {clients}", enrolments_per_second(clients))


def measure_ios(results: Results, rounds: int) -> None:
    for _ in range(rounds):
        results.add("ios splitting", splitting_time())
        results.add("ios reading", reading_time())
    times = answer_times()
    for value in times["vici"]:
        results.add("vici", value)
    for name, values in times.items():
        for value in values if name != "vici" else []:
            results.add("show", value)
    name, _ = slowest(times)
    for value in times[name]:
        results.add(f"slowest {name}", value)


def table_rows(results: Results) -> list[Row]:
    floor_up, floor_down = results.median("floor up"), results.median("floor down")

    def row(what: str, name: str, *, floor: float | None = None, aim: str = "", unit: str = "s") -> Row:
        scale = 1000.0 if unit == "ms" else 1.0
        values = [value * scale for value in results.values[name]]
        ratio = results.median(name) / floor if floor else None
        return Row(what, statistics.median(values), min(values), max(values), unit, ratio, aim)

    rows = [
        row("floor: the 8 containers by the Docker API alone", "floor up", floor=floor_up),
        row("up, to verified traffic through the tunnel", "up to traffic", floor=floor_up, aim="≤ 1.3"),
    ]
    rows += [row(f"  of it: {phase}", f"phase {phase}") for phase in ("nodes", "links", "daemons", "tunnel", "traffic")]
    rows.append(row("up, with all 20 checks", "up with checks", floor=floor_up))
    if "compose up" in results.values:
        rows.append(row("docker compose up of the same services, no links", "compose up", floor=floor_up))
    rows += [
        row("floor: the containers removed by the API alone", "floor down", floor=floor_down),
        row("down", "down", floor=floor_down),
    ]
    if "compose down" in results.values:
        rows.append(row("docker compose down", "compose down", floor=floor_down))
    rows += [
        row("one link, both ends in place", "link", unit="ms", aim="≤ 2 ms"),
        row("one tunnel, IKEv1 main mode and quick mode", "tunnel", unit="ms"),
    ]
    for name in sorted(results.values):
        if name.startswith("memory "):
            aim = "≤ 80 MB" if "orchestrator" in name else ""
            rows.append(row(f"memory: {name.removeprefix('memory ')}", name, unit="MB", aim=aim))
    return rows + pki_rows(results, row) + ios_rows(results, row) + ipsec_rows(results, row)


def ipsec_rows(results: Results, row: Callable[..., Row]) -> list[Row]:
    """Data through tunnels, tunnels in a second, cells of a matrix, and a proof."""
    rows = []
    for plane in planes():
        floor = results.median(f"raw {plane}")
        rows += [
            row("floor: TCP over as many veth pairs, without a tunnel", f"raw {plane}", unit="Mbit/s", floor=floor),
            row(f"TCP through ESP, {plane} data plane", f"esp {plane}", unit="Mbit/s", floor=floor),
            row(f"IKEv2 tunnels set up and taken down, {plane} data plane", f"rate {plane}", unit="/s"),
        ]
    return [
        *rows,
        row("cells of a matrix, RSA-2048 and group 14", "cells", unit="/s", aim="≥ 5 /s"),
        row("all claims proved on one tunnel", "proof", aim="< 20 s"),
    ]


def ios_rows(results: Results, row: Callable[..., Row]) -> list[Row]:
    """Reading configurations, and what the console needs for an answer."""
    splitting, vici = results.median("ios splitting"), results.median("vici")
    slow = next(name for name in results.values if name.startswith("slowest "))
    return [
        row(f"floor: {LINES} lines split into words", "ios splitting", unit="ms", floor=splitting),
        row(f"an IOS configuration of {LINES} lines read", "ios reading", unit="ms", floor=splitting, aim="< 1 s"),
        row("floor: one question to charon by VICI", "vici", unit="ms", floor=vici),
        row("a `show` command, over 23 of them", "show", unit="ms", floor=vici, aim="< 50 ms"),
        row(f"  the slowest: {slow.removeprefix('slowest ')}", slow, unit="ms", floor=vici),
    ]


def pki_rows(results: Results, row: Callable[..., Row]) -> list[Row]:
    """The lab with certificates, and its certificate authority."""
    floor = results.median("pki floor up")
    phases = [f"pki phase {phase}" for phase in (*PHASES, "tunnel", "traffic")]
    return [
        row("floor: the 7 containers of moigetech-pki by the API alone", "pki floor up", floor=floor),
        row("moigetech-pki: up, to verified traffic", "pki up to traffic", floor=floor, aim="≤ 2"),
        *(row(f"  of it: {phase.removeprefix('pki phase ')}", phase) for phase in phases),
        row("every clock right, from the last chronyd's start", "ntp from the last", aim="< 1 s"),
        row("  and from the first's, before other nodes exist", "ntp from the first"),
        row("RSA-2048 signatures by openssl, one processor", "rsa signatures", unit="/s"),
        *(
            row(f"enrolments by SCEP, {clients} clients at once", f"enrolments {clients}", unit="/s", aim="≥ 300 /s")
            for clients in CLIENTS
        ),
    ]


def show(rows: list[Row]) -> None:
    table = Table(title="safari-sacco", title_justify="left", header_style="bold")
    for column in ("what", "median", "min - max", "x floor", "aim"):
        table.add_column(column, justify="left" if column in ("what", "aim") else "right")
    for row in rows:
        table.add_row(row.what, number(row.median, row.unit), spread(row), ratio(row), row.aim)
    Console(width=110).print(table)


def markdown(rows: list[Row]) -> str:
    lines = ["| what | median | min – max | × floor | aim |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {row.what} | {number(row.median, row.unit)} | {spread(row)} | {ratio(row)} | {row.aim} |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def number(value: float, unit: str) -> str:
    return (
        f"{value:.0f} {unit}"
        if unit in ("/s", "Mbit/s")
        else f"{value:.1f} MB"
        if unit == "MB"
        else f"{value:.2f} {unit}"
    )


def spread(row: Row) -> str:
    return f"{row.low:.2f} – {row.high:.2f}"


def ratio(row: Row) -> str:
    return (
        f"{row.ratio:.2g}"
        if row.ratio is not None and row.ratio < 0.1
        else f"{row.ratio:.2f}"
        if row.ratio is not None
        else ""
    )


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.exit(f"{failure}\n{failure.stderr}")
