"""Inbound ESP that was dropped: replayed or forged. Where it is counted depends on who does ESP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from testbed.verify.live import LiveLab

__all__ = ["Drops", "drops_of_charon", "drops_of_kernel", "total_drops"]

# libipsec's words, `src/libipsec/esp_packet.c` and `ipsec_processor.c`: the first line has no SPI, so it counts for
# the SA of which the next line speaks, or for the only one there is.
_REPLAYED = "ESP sequence number verification failed"
_FORGED = "ESP decryption or ICV verification failed"
_SPI = re.compile(r"SPI ([0-9a-f]{8})")
# `ip -s xfrm state`: `proto esp spi 0xc5…(…)`, and below it `replay-window 0 replay 3 failed 1`.
_STATE = re.compile(r"spi 0x([0-9a-f]{8})")
_STATS = re.compile(r"replay (\d+) failed (\d+)")
# Of the whole network stack, Documentation/networking/xfrm_proc.rst.
_SEQUENCE, _PROTOCOL = "XfrmInStateSeqError", "XfrmInStateProtoError"


@dataclass(frozen=True)
class Drops:
    """Packets of one inbound SA, or of all there ever were."""

    replayed: int
    forged: int

    def since(self, before: Drops) -> Drops:
        return Drops(self.replayed - before.replayed, self.forged - before.forged)


def total_drops(live: LiveLab, node: str) -> Drops:
    """All that a node has dropped since it, or its charon's log, began."""
    if live.plan.dataplane == "kernel":
        text = live.execute(node, ["cat", "/proc/net/xfrm_stat"]).text
        counts = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
        return Drops(counts.get(_SEQUENCE, 0), counts.get(_PROTOCOL, 0))
    log = read_log(live.state(node).identity.directory, "charon.log")
    return Drops(log.count(_REPLAYED), log.count(_FORGED))


def drops_of_kernel(text: str) -> dict[str, Drops]:
    """By inbound SPI, from `ip -s xfrm state`; of SAs of which any packet was dropped."""
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


def drops_of_charon(log: str, inbound: list[str]) -> dict[str, Drops]:
    """By inbound SPI, from charon's log; `inbound` are the SPIs that there are."""
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
