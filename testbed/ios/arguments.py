"""Arguments of IOS commands: what a word at that place may be, and how IOS describes it after `?`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.ios.names import parse_interface
from testbed.names import parse_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Argument", "argument", "interface_number", "netmask_prefix", "wildcard_prefix"]


@dataclass(frozen=True)
class Argument:
    """`read` raises ValueError for what the word cannot be. `line`: it takes the rest of the line as it is.

    `joined`: what it reads begins with the word before it, as the number of an interface does.
    """

    name: str
    shown: str
    help: str
    read: Callable[[str], Any]
    line: bool = False
    joined: bool = False


_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.:/@+-]{0,127}")
_WORD = re.compile(r"[\x21-\x7e]{1,254}")
_HEX = re.compile(r"[0-9A-Fa-f]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


def _pattern(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"'{text}' is no {what}")
        return text

    return read


def _address(text: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(text)


def netmask_prefix(mask: ipaddress.IPv4Address) -> int:
    """255.255.255.0 is 24. Raises ValueError for what is no mask."""
    bits = f"{int(mask):032b}"
    if "01" in bits:
        raise ValueError(f"{mask} is no network mask")
    return bits.count("1")


def wildcard_prefix(wildcard: ipaddress.IPv4Address) -> int:
    """0.0.0.255 is 24. Raises ValueError for a wildcard that is no prefix."""
    return netmask_prefix(ipaddress.IPv4Address(int(wildcard) ^ 0xFFFFFFFF))


def _mask(text: str) -> ipaddress.IPv4Address:
    mask = _address(text)
    netmask_prefix(mask)
    return mask


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"'{text}' is no number from {low} to {high}")
        return int(text)

    return read


def _time(text: str) -> str:
    if not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?", text):
        raise ValueError(f"'{text}' is no time")
    return text


def _interface(text: str) -> Any:
    return parse_interface(text)


# As `eq` and its like take them, and as `show run` writes them back.
PORTS = {
    "bootpc": 68, "bootps": 67, "domain": 53, "ftp": 21, "ftp-data": 20, "isakmp": 500, "non500-isakmp": 4500,
    "ntp": 123, "pop3": 110, "smtp": 25, "snmp": 161, "syslog": 514, "telnet": 23, "tftp": 69, "www": 80,
}  # fmt: skip


def _port(text: str) -> int:
    if text.lower() in PORTS:
        return PORTS[text.lower()]
    return int(_number(0, 65535)(text))


def _distinguished_name(text: str) -> str:
    parse_name(text)
    return text


_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}([ :]?[0-9A-Fa-f]{2}){15,63}")

_KINDS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "name": ("WORD", "Name", _pattern(_NAME, "name")),
    "word": ("WORD", "Text without blanks", _pattern(_WORD, "word")),
    "host": ("Hostname or A.B.C.D", "IP address or host name", _pattern(_HOST, "host")),
    "url": ("WORD", "URL", _pattern(_WORD, "URL")),
    "httpurl": ("WORD", "URL of HTTP", _pattern(_URL, "URL of HTTP that can be reached")),
    "dn": ("LINE", "Distinguished name: CN=name, O=organization", _distinguished_name),
    "fingerprint": ("LINE", "Fingerprint, hexadecimal", _pattern(_FINGERPRINT, "fingerprint")),
    "aes128": (
        "Hex-string",
        "Key of 16 octets",
        _pattern(re.compile(r"[0-9A-Fa-f]{32}"), "key of 16 octets in hexadecimal"),
    ),
    "hexkey": (
        "Hex-string",
        "Key in hexadecimal",
        _pattern(re.compile(r"([0-9A-Fa-f]{2}){1,64}"), "key in hexadecimal"),
    ),
    "hex": ("Hex-data", "Hexadecimal digits", _pattern(_HEX, "hexadecimal number")),
    "serial": (
        "Hex-data",
        "Serial number, hexadecimal",
        _pattern(re.compile(r"(0[xX])?[0-9A-Fa-f]{1,40}"), "serial number in hexadecimal"),
    ),
    "ip": ("A.B.C.D", "IP address", _address),
    "mask": ("A.B.C.D", "IP subnet mask", _mask),
    "wildcard": ("A.B.C.D", "Wildcard bits", _address),
    "ip6": ("X:X:X:X::X", "IPv6 address", ipaddress.IPv6Address),
    "ip6prefix": ("X:X:X:X::X/<0-128>", "IPv6 prefix", ipaddress.IPv6Interface),
    "time": ("hh:mm:ss", "Time", _time),
    "port": ("<0-65535>", "Port number or name", _port),
    "interface": ("IFNAME", "Interface, such as GigabitEthernet0/0", _interface),
    "line": ("LINE", "The rest of the line", str),
}


def interface_number(name: str) -> Argument:
    """What follows the type of an interface that is written apart: `GigabitEthernet 0/1`."""
    return Argument(name, "<0-65535>", "Number of the interface, with slots", _interface, joined=True)


def argument(name: str, kind: str) -> Argument:
    """`kind` is one of the names above, or a range of numbers `1-10000`."""
    if "-" in kind and kind[0].isdigit():
        low, high = map(int, kind.split("-"))
        return Argument(name, f"<{low}-{high}>", "Number", _number(low, high))
    shown, text, read = _KINDS[kind]
    return Argument(name, shown, text, read, line=shown == "LINE")
