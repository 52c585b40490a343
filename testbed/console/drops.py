"""Inbound ESP that was dropped: replayed or forged. Where it is counted depends on who does ESP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.console.router import LiveRouter

__all__ = ["Drops", "inbound_drops"]

# libipsec's words, `src/libipsec/esp_packet.c` and `ipsec_processor.c`: the first line has no SPI, so it counts for
# the SA of which the next line speaks, or for the only one there is.
_REPLAYED = "ESP sequence number verification failed"
_FORGED = "ESP decryption or ICV verification failed"
_SPI = re.compile(r"SPI ([0-9a-f]{8})")
# `ip -s xfrm state`: `proto esp spi 0xc5…(…)`, and below it `replay-window 0 replay 3 failed 1`.
_STATE = re.compile(r"spi 0x([0-9a-f]{8})")
_STATS = re.compile(r"replay (\d+) failed (\d+)")


@dataclass(frozen=True)
class Drops:
    """Packets of one inbound SA."""

    replayed: int
    forged: int


def inbound_drops(router: LiveRouter) -> dict[str, Drops]:
    """By inbound SPI, of SAs of which any packet was dropped."""
    if router.lab.plan.dataplane == "kernel":
        return _of_kernel(router.ask("ip", "-s", "xfrm", "state"))
    inbound = [child.spi_in for sa in router.sas() for child in sa.children if child.spi_in]
    return _of_charon(router.log(), inbound)


def _of_kernel(text: str) -> dict[str, Drops]:
    found: dict[str, Drops] = {}
    spi = ""
    for line in text.splitlines():
        state, stats = _STATE.search(line), _STATS.search(line)
        spi = state[1] if state else spi
        if stats and spi:
            drops = Drops(int(stats[1]), int(stats[2]))
            if drops.replayed or drops.forged:
                found[spi] = drops
    return found


def _of_charon(log: str, inbound: list[str]) -> dict[str, Drops]:
    replayed: dict[str, int] = {}
    forged: dict[str, int] = {}
    lines = log.splitlines()
    for number, line in enumerate(lines):
        counts = replayed if _REPLAYED in line else forged if _FORGED in line else None
        if counts is None:
            continue
        match = _SPI.search(line) or (_SPI.search(lines[number + 1]) if number + 1 < len(lines) else None)
        spi = match[1] if match else inbound[0] if len(inbound) == 1 else ""
        counts[spi] = counts.get(spi, 0) + 1
    return {spi: Drops(replayed.get(spi, 0), forged.get(spi, 0)) for spi in {*replayed, *forged} if spi}
