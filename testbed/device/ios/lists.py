"""Access lists: as packet filters, as what NAT takes, and as traffic selectors."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from testbed.device.model import FilterEntry, PortMatch
from testbed.ios.arguments import wildcard_prefix
from testbed.ios.icmp import ICMP_TYPES, TCP_FLAGS

if TYPE_CHECKING:
    from testbed.ios.configuration import Configuration, Statement

__all__ = ["access_list", "list_names", "list_statements", "selectors"]

_ALL, _NONE = IPv4Address("255.255.255.255"), IPv4Address(0)
_PROTOCOLS = {"ahp": "ah", "ospf": "89", "gre": "47", "eigrp": "88", "pim": "103"}
_NUMBERS = {
    "icmp": "icmp",
    "tcp": "tcp",
    "udp": "udp",
    "esp": "50",
    "ahp": "51",
    "gre": "47",
    "ospf": "89",
    "igmp": "2",
    "eigrp": "88",
    "pim": "103",
}


def list_names(configuration: Configuration) -> list[str]:
    names = [str(item.get("acl")) for item in configuration.all("access-list")]
    for kind in ("standard", "extended"):
        names += [str(item.get("acl")) for item in configuration.all(f"ip access-list {kind}")]
    return list(dict.fromkeys(names))


def list_statements(configuration: Configuration, name: object) -> list[Statement]:
    """The entries of a list, numbered or named, in their order. IOS has one list where both name the same."""
    found = [
        item for item in configuration.all("access-list") if str(item.get("acl")) == str(name) and item.get("action")
    ]
    for kind in ("standard", "extended"):
        for section in configuration.all(f"ip access-list {kind}"):
            if str(section.get("acl")) == str(name):
                found += [entry for entry in section.ordered() if entry.command.name == "entry"]
    return found


def is_extended(configuration: Configuration, name: object) -> bool:
    return any(entry.get("protocol") is not None for entry in list_statements(configuration, name))


def access_list(configuration: Configuration, name: object) -> tuple[FilterEntry, ...]:
    return tuple(_entry(statement) for statement in list_statements(configuration, name))


def _entry(statement: Statement) -> FilterEntry:
    protocol = statement.get("protocol")
    flags = statement.every("flag")
    return FilterEntry(
        permit=statement.get("action") == "permit",
        protocol=None if protocol in (None, "ip") else _PROTOCOLS.get(protocol, str(protocol)),
        source=_matched(statement, "source"),
        target=_matched(statement, "target"),
        source_ports=_ports(statement, "source"),
        target_ports=_ports(statement, "target"),
        established="established" in flags,
        icmp=next((ICMP_TYPES[flag] for flag in flags if flag in ICMP_TYPES), None),
        tcp_flags=tuple(flag for flag in flags if flag in TCP_FLAGS),
        fragments="fragments" in flags,
        text=entry_text(statement),
    )


def entry_text(statement: Statement) -> str:
    words = statement.plain()
    return " ".join(words[2:] if words[0] == "access-list" else words)


def _matched(statement: Statement, side: str) -> tuple[IPv4Address, IPv4Address]:
    """An address and where it has to agree: a wildcard is a mask whose ones do not count."""
    address = statement.get(f"{side}_ip")
    if statement.get(side) == "any" or address is None:
        return _NONE, _NONE
    wildcard = statement.get(f"{side}_wildcard", _NONE)
    mask = _ALL if statement.get(side) == "host" else IPv4Address(int(wildcard) ^ int(_ALL))
    return IPv4Address(int(address) & int(mask)), mask


def _ports(statement: Statement, side: str) -> PortMatch | None:
    how = statement.get(f"{side}_op")
    if how is None:
        return None
    port = int(statement.get(f"{side}_port"))
    if how == "range":
        return PortMatch(port, max(port, int(statement.get(f"{side}_port_to"))))
    if how == "gt":
        return PortMatch(min(port + 1, 65535), 65535)
    if how == "lt":
        return PortMatch(0, max(port - 1, 0))
    return PortMatch(port, port, negated=how == "neq")


def selectors(statement: Statement) -> tuple[IPv4Network, IPv4Network, str, str]:
    """Local and remote traffic selector of one entry, and the protocol and port of each as strongSwan writes them.

    Raises ValueError for what no selector can be.
    """
    sides = []
    for side in ("source", "target"):
        address, mask = _matched(statement, side)
        try:
            length = wildcard_prefix(IPv4Address(int(mask) ^ int(_ALL)))
        except ValueError:
            raise ValueError("a wildcard that is no prefix cannot be a traffic selector") from None
        ports = _ports(statement, side)
        if ports is not None and (ports.low != ports.high or ports.negated):
            raise ValueError("of ports, a traffic selector takes one (`eq`)")
        protocol = statement.get("protocol", "ip")
        suffix = ""
        if protocol != "ip":
            suffix = f"[{_NUMBERS.get(protocol, protocol)}{f'/{ports.low}' if ports else ''}]"
        sides.append((IPv4Network((address, length)), suffix))
    (local, local_ports), (remote, remote_ports) = sides
    return local, remote, local_ports, remote_ports
