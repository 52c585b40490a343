"""Values as the configuration languages of the daemons want them. Every value of a template passes through here."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["nft_address", "nft_string", "samba_value", "strongswan_secret", "strongswan_string"]

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


def nft_string(value: str) -> str:
    """An interface name in nft's quotes. nft knows no escapes, so what would need one is refused."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", value):
        raise ValueError(f"{value!r} cannot be written in an nft string")
    return f'"{value}"'


def nft_address(value: IPv4Address | IPv6Address | IPv4Network | IPv6Network) -> str:
    return str(value)


def samba_value(value: str) -> str:
    """A name in smb.conf, which ends at the line and where % and ; would have a meaning."""
    if not re.fullmatch(r"[A-Za-z0-9 ._-]+", value):
        raise ValueError(f"{value!r} cannot be written in smb.conf")
    return value
