"""Routers configured by IOS text: reading a long configuration, and what the console needs for an answer."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path

from testbed.console import LiveRouter
from testbed.console.runner import Typist
from testbed.ios.reader import read_configuration
from testbed.lab import Lab

FOLDER = Path("topologies/moigetech-pki")
LINES = 5000
ROUNDS = 11
COMMANDS = (
    *(
        "show version",
        "show clock",
        "show ip interface brief",
        "show ip route",
        "show access-lists",
        "show running-config",
    ),
    *("show ntp status", "show ntp associations", "show crypto key mypubkey rsa", "show crypto pki certificates"),
    *("show crypto pki certificates verbose", "show crypto pki trustpoints status", "show crypto pki crls"),
    *("show crypto isakmp policy", "show crypto isakmp sa", "show crypto isakmp sa detail", "show crypto map"),
    *("show crypto ipsec sa", "show crypto ipsec transform-set", "show crypto session detail"),
    *("show crypto engine connections active", "show crypto ikev2 proposal", "show logging"),
)


def reading_time() -> float:
    """Seconds for a configuration of 5,000 lines, most of them access lists and crypto maps."""
    rows = []
    for number in range(LINES // 5):
        octets = f"10.{number // 250}.{number % 250}"
        rows += [
            f"access-list {100 + number % 99} permit tcp {octets}.0 0.0.0.255 host 192.0.2.{number % 250} eq {number}",
            f"crypto map M {number + 1} ipsec-isakmp",
            f" set peer 198.51.{number // 250}.{number % 250}",
            " set transform-set T",
            f" match address {100 + number % 99}",
        ]
    text = "\n".join(rows)
    begun = time.monotonic()
    reading = read_configuration(text)
    taken = time.monotonic() - begun
    assert not reading.refused
    return taken


def splitting_time() -> float:
    """The floor: Python splits the same number of such lines into words, in a process that does nothing else."""
    code = (
        "import time; rows = ['access-list 110 permit tcp 10.0.0.0 0.0.0.255 host 192.0.2.1 eq 80'] * 5000; "
        "begun = time.monotonic(); found = [row.split() for row in rows]; print(time.monotonic() - begun)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)


def answer_times() -> dict[str, list[float]]:
    """Seconds for each command on a lab of seven nodes that is up, and for one bare question to charon by VICI."""
    lab = Lab.from_folder(FOLDER, name=f"bench-{uuid.uuid4().hex[:8]}")
    try:
        lab.up()
        attached = Lab.attach(lab.name)
        router = LiveRouter(attached, "kisii")
        typist = Typist(router, level=15)
        found: dict[str, list[float]] = {"vici": []}
        for number in range(ROUNDS + 1):
            begun = time.monotonic()
            router.charon.sas()
            found["vici"] += [time.monotonic() - begun] if number else []
            for command in COMMANDS:
                begun = time.monotonic()
                answer = typist.type(command)
                taken = time.monotonic() - begun
                assert not any(line.startswith(("% Invalid", "% Incomplete")) for line in answer.splitlines()), answer
                if number:
                    found.setdefault(command, []).append(taken)
        typist.close()
        return found
    finally:
        lab.down()


def slowest(times: dict[str, list[float]]) -> tuple[str, float]:
    """The command with the highest median."""
    medians = {name: statistics.median(values) for name, values in times.items() if name != "vici"}
    name = max(medians, key=lambda item: medians[item])
    return name, medians[name]
