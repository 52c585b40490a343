"""Values as the configuration languages of the daemons want them. Every value of a template passes through here."""

from __future__ import annotations

import base64
import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from testbed.device import ChildConfig, FilterEntry

__all__ = [
    "chrony_key",
    "guard_ports",
    "nft_address",
    "nft_comment",
    "nft_entry",
    "nft_string",
    "pki_option",
    "samba_value",
    "selectors",
    "shell_assignment",
    "strongswan_secret",
    "strongswan_string",
]

_STRONGSWAN = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def strongswan_string(value: object) -> str:
    r"""A quoted string of strongswan.conf and swanctl.conf.

    Source: strongSwan `src/libstrongswan/settings/settings_lexer.l`: within quotes only backslash and quote are
    special, and `\n`, `\r`, `\t` stand for control characters.
    """
    text = str(value)
    if "\0" in text:
        raise ValueError("a strongSwan string cannot hold a NUL")
    return '"' + text.translate(_STRONGSWAN) + '"'


def strongswan_secret(value: bytes) -> str:
    """A secret, whatever bytes it is made of: always `0s` and Base64, so no prefix or quote of its own can matter.

    Source: swanctl.conf(5), secrets: a value is text unless it begins with 0x (hex) or 0s (Base64).
    """
    return "0s" + base64.b64encode(value).decode("ascii")


def chrony_key(number: int, kind: str, value: bytes) -> str:
    """A line of chrony.keys(5); the key always in hexadecimal, so that it can be any octets."""
    octets = bytes.fromhex(value.decode("ascii")) if kind.startswith("aes") else value
    return f"{number} {kind.upper()} HEX:{octets.hex()}\n"


def pki_option(name: str, value: str) -> str:
    """A line of an options file of strongSwan's `pki`.

    Source: `src/libstrongswan/utils/optionsfrom.c`: a token that begins with a quote ends at the next same quote, and
    nothing is special within. Raises ValueError for what cannot be written so.
    """
    if not value or any(ord(letter) < 0x20 for letter in value):
        raise ValueError("an option of pki cannot be empty or hold control characters")
    for quote in ('"', "'"):
        if quote not in value:
            return f"--{name} {quote}{value}{quote}\n"
    if any(letter.isspace() for letter in value) or value[0] in "\"'":
        raise ValueError("an option of pki cannot hold both kinds of quotes and a space")
    return f"--{name} {value}\n"


def shell_assignment(name: str, value: object) -> str:
    """`name='value'` for a file that a shell reads."""
    return f"{name}={shlex.quote(str(value))}\n"


def nft_string(value: str) -> str:
    """An interface name in nft's quotes. nft knows no escapes, so what would need one is refused."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", value):
        raise ValueError(f"{value!r} cannot be written in an nft string")
    return f'"{value}"'


def nft_address(value: IPv4Address | IPv6Address | IPv4Network | IPv6Network) -> str:
    return str(value)


def nft_comment(value: str) -> str:
    """A comment, by which a rule is found again."""
    if not re.fullmatch(r"[A-Za-z0-9_.:/@+ -]{1,120}", value):
        raise ValueError(f"{value!r} cannot be written in an nft comment")
    return f'"{value}"'


def nft_entry(entry: FilterEntry) -> str:
    """What one entry of an access list matches, ending with a blank."""
    words = _between(entry)
    if entry.protocol is not None:
        words.append(f"meta l4proto {_protocol(entry.protocol)}")
    for side, ports in (("sport", entry.source_ports), ("dport", entry.target_ports)):
        if ports is not None:
            words.append(f"th {side} {'!= ' if ports.negated else ''}{ports.low}-{ports.high}")
    if entry.established:
        words.append("tcp flags & (ack | rst) != 0")
    words += [f"tcp flags & {_protocol(flag)} != 0" for flag in entry.tcp_flags]
    if entry.icmp is not None:
        kind, code = entry.icmp
        words.append(f"icmp type {kind}")
        words += [f"icmp code {code}"] if code is not None else []
    if entry.fragments:
        words.append("ip frag-off & 0x1fff != 0")
    return "".join(f"{word} " for word in words)


def _between(entry: FilterEntry) -> list[str]:
    """Its addresses: whole ones, or where a mask has ones."""
    words = []
    for side, (address, mask) in (("saddr", entry.source), ("daddr", entry.target)):
        if int(mask) == 0xFFFFFFFF:
            words.append(f"ip {side} {address}")
        elif int(mask):
            words.append(f"ip {side} & {mask} == {address}")
    return words


def _protocol(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,30}", value):
        raise ValueError(f"{value!r} is no protocol")
    return value


def selectors(prefixes: Iterable[object], ports: str) -> str:
    """Traffic selectors of swanctl.conf, each with protocol and port: `192.168.1.0/24[tcp/80]`."""
    return ", ".join(f"{prefix}{ports}" for prefix in prefixes)


def guard_ports(child: ChildConfig, direction: str) -> str:
    """Protocol and ports that a CHILD SA protects, as nft matches them; nothing if it protects all."""
    sides = (("sport", child.local_ports), ("dport", child.remote_ports))
    if direction == "inbound":
        sides = (("dport", child.local_ports), ("sport", child.remote_ports))
    words: list[str] = []
    for side, text in sides:
        protocol, _, port = text.strip("[]").partition("/")
        if protocol and f" meta l4proto {_protocol(protocol)}" not in words:
            words.append(f" meta l4proto {_protocol(protocol)}")
        if port:
            words.append(f" th {side} {int(port)}")
    return "".join(words)


def samba_value(value: str) -> str:
    """A name in smb.conf, which ends at the line and where % and ; would have a meaning."""
    if not re.fullmatch(r"[A-Za-z0-9 ._-]+", value):
        raise ValueError(f"{value!r} cannot be written in smb.conf")
    return value
