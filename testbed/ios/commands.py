"""A configuration command: its grammar, what it opens, and what becomes of it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Command", "Fate", "compiled", "kept", "mode", "refused"]

Fate = Literal["compiled", "kept", "refused"]


@dataclass(frozen=True, eq=False)
class Command:
    """A statement of one mode.

    `name` is what the compiler finds it by. `key` names the values that make a second one another statement and not a
    replacement; `*` is its whole text. `enters` is the mode it opens. `default` is what holds where it is not said, of
    statements that are on or off. One that is `beside` the one before it in its table stands among those of that one in
    `show running-config`. `told` says what it became (compiled) or why not (kept, refused).
    """

    pattern: str
    name: str
    fate: Fate
    told: str
    key: tuple[str, ...] = ()
    enters: str | None = None
    default: bool | None = None
    sort: tuple[str, ...] = ()
    beside: bool = False

    def __deepcopy__(self, memo: object) -> Command:
        """There is one of each, whatever configurations hold it."""
        return self


def _named(pattern: str) -> str:
    words = []
    for word in pattern.split():
        if any(letter in word for letter in "<[]{}=|"):
            break
        words.append(word.partition("~")[0])
    return " ".join(words)


def compiled(
    pattern: str,
    told: str,
    *,
    name: str | None = None,
    key: tuple[str, ...] = (),
    enters: str | None = None,
    default: bool | None = None,
    sort: tuple[str, ...] = (),
    beside: bool = False,
) -> Command:
    """`told` may hold values of the statement in braces."""
    return Command(pattern, name or _named(pattern), "compiled", told, key, enters, default, sort, beside)


def kept(
    pattern: str,
    why: str = "no effect here",
    *,
    name: str | None = None,
    key: tuple[str, ...] = (),
    enters: str | None = None,
    default: bool | None = None,
    sort: tuple[str, ...] = (),
) -> Command:
    return Command(pattern, name or _named(pattern), "kept", why, key, enters, default, sort)


def refused(pattern: str, why: str, *, enters: str | None = None, name: str | None = None) -> Command:
    return Command(pattern, name or _named(pattern), "refused", why, ("*",), enters)


@dataclass(frozen=True)
class Mode:
    """A configuration mode: what stands in its prompt, and its commands in the order of `show running-config`."""

    name: str
    prompt: str
    commands: tuple[Command, ...]


def mode(name: str, *commands: Command, prompt: str | None = None) -> Mode:
    return Mode(name, prompt or name, commands)
