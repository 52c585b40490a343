"""Lines from the patterns of commands, so that every command of the tables is tested, also those to come."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from testbed.ios.commands import Command
from testbed.ios.syntax import MODES

PIECE = re.compile(r"\.\.\.|[\[\]{}]|\|(?=\s)|[^\s\[\]{}]+?(?=\.\.\.|[\[\]{}\s]|$)")
VALUES = {
    "name": "ALPHA",
    "word": "w0rd",
    "host": "192.0.2.9",
    "url": "nvram:",
    "httpurl": "http://192.0.2.6:80",
    "dn": "CN=a.example.test, O=Example, C=KE",
    "fingerprint": "0011223344556677 8899AABBCCDDEEFF",
    "hex": "0A",
    "hexkey": "0A0B",
    "aes128": "00112233445566778899AABBCCDDEEFF",
    "ip": "192.0.2.1",
    "mask": "255.255.255.0",
    "wildcard": "0.0.0.255",
    "ip6": "2001:db8::1",
    "ip6prefix": "2001:db8::/64",
    "time": "12:30:00",
    "port": "443",
    "interface": "GigabitEthernet0/1",
    "line": "some text",
}
ENTRANCES = {
    "config": [],
    "config-if": ["interface GigabitEthernet0/1"],
    "config-std-nacl": ["ip access-list standard ALPHA"],
    "config-ext-nacl": ["ip access-list extended ALPHA"],
    "config-pubkey": ["crypto pki certificate chain ALPHA", "certificate ca 01"],
    "config-cert-chain": ["crypto pki certificate chain ALPHA"],
    "config-ikev2-keyring-peer": ["crypto ikev2 keyring ALPHA", "peer BETA"],
    "config-crypto-map": ["crypto map ALPHA 10 ipsec-isakmp"],
}


def lines(pattern: str, seed: int) -> str:
    """A line that the pattern takes, another one for each seed; the shortest one for seed 0."""
    pieces = PIECE.findall(pattern)
    chance = random.Random(seed)
    words = list(_sequence(pieces, chance, seed == 0))
    assert not pieces, pattern
    return " ".join(words)


def _sequence(pieces: list[str], chance: random.Random, shortest: bool) -> Iterator[str]:
    while pieces and pieces[0] not in ("]", "}", "|"):
        piece = pieces.pop(0)
        if piece in ("[", "{"):
            branches = _branches(pieces, chance, shortest)
            if pieces[:1] == ["..."]:
                pieces.pop(0)
            if piece == "[" and (shortest or chance.random() < 0.5):
                continue
            yield from branches[0 if shortest else chance.randrange(len(branches))]
            continue
        if pieces[:1] == ["..."]:
            pieces.pop(0)
        yield _word(piece, chance)


def _branches(pieces: list[str], chance: random.Random, shortest: bool) -> list[list[str]]:
    found = []
    while True:
        found.append(list(_sequence(pieces, chance, shortest)))
        if pieces.pop(0) in ("]", "}"):
            return found


def _word(piece: str, chance: random.Random) -> str:
    if piece.startswith("<"):
        kind = piece.strip("<>").partition(":")[2] or "word"
        if kind[0].isdigit():
            low, high = map(int, kind.split("-"))
            return str(chance.choice([low, high, (low + high) // 2]))
        return VALUES[kind]
    choices = piece.rpartition("=")[2].split("|")
    return chance.choice(choices).partition("~")[0]


def commands() -> Iterator[tuple[str, Command]]:
    """Every command of every mode that can be entered here, with its mode."""
    for mode in MODES.values():
        for command in mode.commands:
            yield mode.name, command


def entrance(mode: str) -> list[str]:
    """Lines that lead into a mode."""
    if mode in ENTRANCES:
        return ENTRANCES[mode]
    opener = next((outer, command) for outer, command in commands() if command.enters == mode and outer == "config")
    return [lines(opener[1].pattern, 0)]
