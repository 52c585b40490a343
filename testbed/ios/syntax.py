"""All configuration modes, from the tables of commands."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from testbed.ios.grammar import Grammar
from testbed.ios.tables import crypto, pki, system

if TYPE_CHECKING:
    from testbed.ios.commands import Command, Mode

__all__ = ["MODES", "grammar_of", "rank"]

GLOBAL = "config"
MODES: dict[str, Mode] = {mode.name: mode for mode in (*system.MODES, *pki.MODES, *crypto.MODES)}


@functools.cache
def grammar_of(mode: str) -> Grammar[Command]:
    """The commands of a mode. Made when it is first needed: the tables are long, and most modes are never entered."""
    return Grammar((command.pattern, command) for command in MODES[mode].commands)


@functools.cache
def _ranks() -> dict[int, int]:
    ranks: dict[int, int] = {}
    for mode in MODES.values():
        rank = 0
        for number, command in enumerate(mode.commands):
            rank = rank if command.beside else number
            ranks[id(command)] = rank
    return ranks


def rank(command: Command) -> int:
    """Where a statement stands in its mode's part of `show running-config`."""
    return _ranks()[id(command)]
