"""Distinguished names (X.501): written from settings, and read for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.pki import der
from testbed.pki.ber import BerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from testbed.pki.ber import Element

__all__ = ["attributes", "encode_name", "ios_name", "show_name"]

OIDS = {
    "C": "2.5.4.6",
    "ST": "2.5.4.8",
    "L": "2.5.4.7",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "CN": "2.5.4.3",
    "serialNumber": "2.5.4.5",
    "DC": "0.9.2342.19200300.100.1.25",
    "E": "1.2.840.113549.1.9.1",
    "unstructuredName": "1.2.840.113549.1.9.2",
    "unstructuredAddress": "1.2.840.113549.1.9.8",
}
# How IOS shows them, and strongSwan.
_IOS = {"2.5.4.5": "serialNumber", "1.2.840.113549.1.9.2": "hostname", "1.2.840.113549.1.9.8": "ipaddress"}
_SHOWN = {number: name for name, number in reversed(OIDS.items())}
_ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x14: "latin-1", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}


def encode_name(pairs: Iterable[tuple[str, str]]) -> bytes:
    """A Name from attribute types and values, one to each RDN, in this order."""
    return der.sequence(*(der.set_of([der.sequence(der.oid(OIDS[kind]), _value(kind, text))]) for kind, text in pairs))


def _value(kind: str, text: str) -> bytes:
    if kind in ("C", "serialNumber"):
        return der.printable(text)
    return der.ia5(text) if kind in ("DC", "E") else der.text(text)


def attributes(name: Element) -> list[tuple[str, str]]:
    """Types (OIDs in dots) and values of a Name, whatever kinds of string it uses. Raises BerError."""
    found = []
    for rdn in name.expect(0x30).children:
        for pair in rdn.expect(0x31).children:
            kind, value = pair.expect(0x30)[0].oid(), pair[1]
            if value.tag not in _ENCODINGS:
                raise BerError(f"a name with a value of tag {value.tag:#04x}")
            found.append((kind, value.content.decode(_ENCODINGS[value.tag], errors="replace")))
    return found


def show_name(name: Element) -> str:
    """As strongSwan shows it."""
    return ", ".join(f"{_SHOWN.get(kind, kind)}={_plain(value)}" for kind, value in attributes(name))


def ios_name(name: Element) -> str:
    """As IOS shows it in `show crypto pki server`: an RDN of several attributes joined by `+`, types in lower case."""
    rdns: list[str] = []
    at: Sequence[tuple[str, str]] = attributes(name)
    for rdn in name.children:
        part, at = at[: len(rdn)], at[len(rdn) :]
        rdns.append(
            "+".join(f"{_IOS.get(kind, _SHOWN.get(kind, kind).lower())}={_plain(value)}" for kind, value in part)
        )
    return ",".join(rdns)


def _plain(value: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in value)
