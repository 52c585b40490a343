"""The automaton: abbreviations, where the `^` stands, what may come next."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.ios.grammar import Failure, Grammar

GRAMMAR: Grammar[str] = Grammar(
    [
        ("clear counters", "clear counters"),
        ("clock set <time:time>", "clock set"),
        ("clock timezone <zone:name> <hours:1-12> [<minutes:0-59>]", "clock timezone"),
        ("hostname <name:name>", "hostname"),
        ("ip address <address:ip> <mask:mask> [secondary=secondary]", "ip address"),
        ("ip address dhcp", "dhcp"),
        ("ip route <prefix:ip>", "ip route"),
        ("ip route-cache", "ip route-cache"),
        ("set transform-set {<set:name>}...", "set transform-set"),
        ("server <server:host> [{prefer=prefer | key <key:1-9>}...]", "server"),
        ("encryption~encr {cipher=3des | cipher=aes [bits=128|192|256]}", "encryption"),
        ("description <text:line>", "description"),
        ("no-op", "no-op"),
    ]
)


@pytest.mark.parametrize(
    ("line", "command", "shown"),
    [
        ("hostname R1", "hostname", "hostname R1"),
        ("HOST R1", "hostname", "hostname R1"),
        ("cle c", "clear counters", "clear counters"),
        ("clo s 12:00", "clock set", "clock set 12:00"),
        ("ip addr 10.0.0.1 255.0.0.0", "ip address", "ip address 10.0.0.1 255.0.0.0"),
        ("ip addr 10.0.0.1 255.0.0.0 sec", "ip address", "ip address 10.0.0.1 255.0.0.0 secondary"),
        ("ip address dhcp", "dhcp", "ip address dhcp"),
        ("ip route 10.0.0.0", "ip route", "ip route 10.0.0.0"),
        ("ip route-c", "ip route-cache", "ip route-cache"),
        ("set trans A B C", "set transform-set", "set transform-set A B C"),
        ("server h key 3 pref", "server", "server h key 3 prefer"),
        ("encr aes 256", "encryption", "encr aes 256"),
        ("encryption aes", "encryption", "encr aes"),
        ("desc  two   words  ", "description", "description two   words"),
    ],
)
def test_a_line_that_is_taken(line: str, command: str, shown: str) -> None:
    found = GRAMMAR.match(line)
    assert not isinstance(found, Failure)
    assert (found.command, found.text) == (command, shown)


@pytest.mark.parametrize(
    ("line", "kind", "column"),
    [
        ("cl", "ambiguous", 0),
        ("clock", "incomplete", 5),
        ("hostname", "incomplete", 8),
        ("foo", "invalid", 0),
        ("hostname R1 more", "invalid", 12),
        ("ip address 10.0.0.1 255.0.255.0", "invalid", 20),
        ("clock set 25:00", "invalid", 10),
        ("  clock timezone EAT 13", "invalid", 21),
        ("encr aes 100", "invalid", 9),
        ("server h key", "incomplete", 12),
        ("", "incomplete", 0),
    ],
)
def test_a_line_that_is_refused(line: str, kind: str, column: int) -> None:
    found = GRAMMAR.match(line)
    assert isinstance(found, Failure)
    assert (found.kind, found.column) == (kind, column)


def test_values_are_kept_by_name_and_in_order() -> None:
    found = GRAMMAR.match("set transform-set A B")
    assert not isinstance(found, Failure)
    assert found.lists == {"set": ["A", "B"]}
    assert found.get("set") == "B"
    assert found.get("nothing", 7) == 7


@pytest.mark.parametrize(
    ("line", "offered", "ends"),
    [
        ("c", ["clear", "clock"], False),
        ("clock ", ["set", "timezone"], False),
        ("clock timezone EAT ", ["<1-12>"], False),
        ("clock timezone EAT 3 ", ["<0-59>"], True),
        ("server h ", ["key", "prefer"], True),
        ("zzz", [], False),
    ],
)
def test_what_may_come_next(line: str, offered: list[str], ends: bool) -> None:
    found = GRAMMAR.candidates(line)
    assert not isinstance(found, Failure)
    assert [word for word, _ in found[0]] == offered
    assert found[1] is ends


def test_what_comes_after_nonsense_is_nothing() -> None:
    assert isinstance(GRAMMAR.candidates("zzz "), Failure)


@pytest.mark.parametrize("pattern", ["a [b", "a {b | c", "a ]"])
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Grammar([(pattern, "x")])


@given(st.text(max_size=60))
@settings(max_examples=400)
def test_any_text_is_taken_or_refused(line: str) -> None:
    found = GRAMMAR.match(line)
    if isinstance(found, Failure):
        assert 0 <= found.column <= len(line)
    GRAMMAR.candidates(line)
