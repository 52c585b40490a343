"""Interface names: as IOS writes them, as people abbreviate them, and as Linux has to call them."""

from __future__ import annotations

import re

__all__ = ["INTERFACE_TYPES", "InterfaceName", "is_ios_name", "parse_interface"]

# The order decides what an abbreviation means where IOS itself would ask back: `G0/0` is a GigabitEthernet.
_TYPES = (
    ("Ethernet", "et"),
    ("FastEthernet", "fa"),
    ("GigabitEthernet", "gi"),
    ("TenGigabitEthernet", "te"),
    ("TwentyFiveGigE", "twe"),
    ("FortyGigabitEthernet", "fo"),
    ("HundredGigE", "hu"),
    ("Loopback", "lo"),
    ("Tunnel", "tu"),
    ("Vlan", "vl"),
    ("Serial", "se"),
)
INTERFACE_TYPES = tuple(kind for kind, _ in _TYPES)
_SHAPE = re.compile(r"([A-Za-z]+)\s*(\d{1,5}(?:/\d{1,4}){0,3})(\.\d{1,6})?")
_LONGEST = 15  # characters of an interface's name in Linux, net/core/dev.c


class InterfaceName(str):
    """The full name, `GigabitEthernet0/0.10`; `linux` is what the node's interface is called, `gi0-0.10`."""

    __slots__ = ("kind", "linux", "unit")
    kind: str
    unit: str
    linux: str

    @property
    def short(self) -> str:
        """As `show ip interface brief` and syslog may cut it: `Gi0/0`."""
        return f"{self.kind[:2]}{self.unit}"

    @property
    def parent(self) -> str | None:
        """Of a sub-interface the interface that carries it."""
        head, dot, _ = self.partition(".")
        return head if dot else None


def parse_interface(text: str) -> InterfaceName:
    """The name that a text means, abbreviated or not, in any case. Raises ValueError."""
    match = _SHAPE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"'{text}' is no interface")
    word = match[1].lower()
    found = [(kind, prefix) for kind, prefix in _TYPES if kind.lower().startswith(word)]
    if not found:
        raise ValueError(f"'{text}' is no interface")
    kind, prefix = found[0]
    unit = match[2] + (match[3] or "")
    linux = prefix + unit.replace("/", "-")
    if len(linux) > _LONGEST:
        raise ValueError(f"'{text}' has too long a number")
    name = InterfaceName(kind + unit)
    name.kind, name.unit, name.linux = kind, unit, linux
    return name


def is_ios_name(text: str) -> bool:
    """Whether a text can only be meant as an IOS interface: it has a slash, or a type in full."""
    try:
        name = parse_interface(text)
    except ValueError:
        return False
    return "/" in text or text.lower().startswith(name.kind.lower())
