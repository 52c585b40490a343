"""The router itself: version, clock, interfaces, routes, access lists, configuration, log."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.console.session import Exec
from testbed.console.show.ipsec import entry_list
from testbed.console.syslog import debugs, local_time, zone
from testbed.device.ios.lists import entry_text, is_extended, list_names, list_statements
from testbed.device.ios.pki import serial_number
from testbed.network.facts import route_facts, routes_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from testbed.console.router import LiveRouter
    from testbed.console.session import Session
    from testbed.ios.configuration import Configuration
    from testbed.ios.grammar import Match
    from testbed.network.facts import RouteFacts

__all__ = ["SHOW", "running_lines"]

_CODES = (
    "Codes: L - local, C - connected, S - static, R - RIP, M - mobile, B - BGP",
    "       D - EIGRP, EX - EIGRP external, O - OSPF, IA - OSPF inter area ",
    "       i - IS-IS, su - IS-IS summary, L1 - IS-IS level-1, L2 - IS-IS level-2",
    "       * - candidate default, U - per-user static route",
    "       + - replicated route, % - next hop override",
    "",
)
_LOG_OCTETS = 8192  # of `logging buffered`, without a size
_LEVELS = {"errors": 3, "warnings": 4, "notifications": 5, "informational": 6, "debugging": 7}
_UNITS = (("year", 31536000), ("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60))
# Carried out when they are typed; in a start-up file they say what `up` does, and IOS never shows them.
_DONE = {"crypto key generate rsa", "crypto pki authenticate", "crypto pki enroll"}


def _version(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    charon = router.charon.version()
    software = f"strongSwan {charon.version}, {charon.system} {charon.release}"
    name = router.configuration.hostname
    if router.is_xe:
        yield "Cisco IOS XE Software, Version 17.09.01"
        yield (
            "Cisco IOS Software [Cupertino], Virtual XE Software (X86_64_LINUX_IOSD-UNIVERSALK9-M), Version 17.9.1, "
            f"emulated by ipsec-testbed with {software}"
        )
    else:
        yield (
            "Cisco IOS Software, IOSv Software (VIOS-ADVENTERPRISEK9-M), Version 15.9(3)M, "
            f"emulated by ipsec-testbed with {software}"
        )
    yield "This is no Cisco device: the text is IOS's, the daemons are Linux's."
    yield ""
    yield "ROM: Bootstrap program is Linux"
    yield ""
    yield f"{name} uptime is {_duration(router.uptime_s())}"
    yield "System returned to ROM by power-on"
    yield 'System image file is "flash0:/ipsec-testbed"'
    yield "Last reload reason: Unknown reason"
    yield ""
    if router.is_xe:
        yield "cisco C8000V (VXE) processor (revision VXE) with 2048000K/6147K bytes of memory."
    else:
        yield "Cisco IOSv (revision 1.0) with  with 460034K/62464K bytes of memory."
    yield f"Processor board ID {serial_number(router.name)}"
    count = len(router.device.interfaces)
    yield f"{count} Gigabit Ethernet interface{'s' if count != 1 else ''}"
    yield ""
    yield "Configuration register is 0x0"


def _duration(seconds: float) -> str:
    left, parts = int(seconds), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count != 1 else ''}")
    return ", ".join(parts) or "0 minutes"


def _operating_mode(_session: Session, _match: Match[Exec]) -> Iterator[str]:
    yield "Router operating mode: Autonomous"


def _clock(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    moment, clock = local_time(router), router.clock()
    mark = "" if clock is None or clock.synchronised else "*"
    when = (
        f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {zone(router)[0]} {moment:%a %b} {moment.day} {moment:%Y}"
    )
    yield f"{mark}{when}"
    if match.get("detail") is not None:
        yield "Time source is NTP" if not mark else "No time source"


def _interface_brief(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    facts = router.interfaces()
    yield "Interface                  IP-Address      OK? Method Status                Protocol"
    for section in router.configuration.all("interface"):
        name = section.get("interface")
        if match.get("interface") not in (None, name):
            continue
        fact = facts.get(name.linux.partition(".")[0])
        loopback = name.linux.startswith("lo")
        addresses = [IPv4Interface(item) for item in (fact.addresses if fact else ()) if ":" not in item]
        configured = section.one("ip address")
        own = next((item for item in addresses if configured and item.ip == configured.get("address")), None)
        if loopback and configured is not None:
            present = any(item.startswith(f"{configured.get('address')}/") for item in facts["lo"].addresses)
            own = IPv4Interface(configured.get("address")) if present else None
        shut = section.says("shutdown")
        up = (loopback and not shut) or (fact is not None and fact.up)
        protocol = "up" if loopback and not shut else "up" if fact is not None and fact.up and fact.carrier else "down"
        status = "administratively down" if shut else "up" if up else "down"
        address = str(own.ip) if own else "unassigned"
        method = "manual" if configured is not None else "unset "
        yield f"{name:<26} {address:<15} YES {method:<6} {status:<21} {protocol:<8}"


def _interfaces(session: Session, match: Match[Exec]) -> Iterator[str]:
    router, wanted = session.router, match.get("interface")
    facts = router.interfaces()
    for section in router.configuration.all("interface"):
        name = section.get("interface")
        fact = facts.get(name.linux)
        if fact is None or wanted not in (None, name):
            continue
        state = "administratively down" if section.says("shutdown") else "up" if fact.up else "down"
        yield f"{name} is {state}, line protocol is {'up' if fact.up and fact.carrier else 'down'} "
        mac = fact.mac.replace(":", "")
        dotted = ".".join(mac[at : at + 4] for at in (0, 4, 8))
        yield f"  Hardware is iGbE, address is {dotted} (bia {dotted})"
        description = section.value("description", "text")
        if description:
            yield f"  Description: {description}"
        for address in (item for item in fact.addresses if ":" not in item):
            yield f"  Internet address is {address}"
        yield f"  MTU {fact.mtu} bytes, BW 1000000 Kbit/sec, DLY 10 usec, "
        counters = fact.counters
        yield f"     {counters.get('rx_packets', 0)} packets input, {counters.get('rx_bytes', 0)} bytes, 0 no buffer"
        yield f"     {counters.get('rx_errors', 0)} input errors, 0 CRC, 0 frame, 0 overrun, 0 ignored"
        yield f"     {counters.get('tx_packets', 0)} packets output, {counters.get('tx_bytes', 0)} bytes, 0 underruns"
        yield f"     {counters.get('tx_errors', 0)} output errors, 0 collisions, 0 interface resets"


def _descriptions(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router, facts = session.router, session.router.interfaces()
    yield "Interface                      Status         Protocol Description"
    for section in router.configuration.all("interface"):
        name = section.get("interface")
        fact = facts.get("lo" if name.linux.startswith("lo") else name.linux.partition(".")[0])
        status = "admin down" if section.says("shutdown") else "up" if fact is not None and fact.up else "down"
        protocol = "up" if status == "up" and fact is not None and fact.carrier else "down"
        yield f"{name.short:<30} {status:<14} {protocol:<8} {section.value('description', 'text', '')}"


def _routes(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    routes = _used(route_facts(router.state.namespace))
    wanted = match.get("target")
    if wanted is not None:
        yield from _route_to(router, wanted, routes)
        return
    yield from _CODES
    gateway = next((route.gateway for route in routes if route.destination == "0.0.0.0/0"), None)
    yield f"Gateway of last resort is {f'{gateway} to network 0.0.0.0' if gateway else 'not set'}"
    yield ""
    lines: list[tuple[IPv4Network, int, str]] = []
    for route in routes:
        network = IPv4Network(route.destination)
        name = router.interface_name(route.interface)
        if route.gateway:
            code = "S*" if network.prefixlen == 0 else "S "
            via = f"[{route.metric or 1}/0] via {route.gateway}"
            lines.append((network, 0, f"{code}{'   ' if code == 'S*' else '    '} {network} {via}"))
        elif name != route.interface:
            lines.append((network, 0, f"C        {network} is directly connected, {name}"))
    for linux, fact in router.interfaces().items():
        name = router.interface_name(linux)
        for address in (IPv4Interface(item) for item in fact.addresses if ":" not in item):
            if linux == "lo" and not address.is_loopback:
                lines.append(
                    (
                        address.network,
                        0,
                        f"C        {address.network} is directly connected, {_loopback(router, address)}",
                    )
                )
            elif name != linux and fact.up:
                lines.append((IPv4Network(address.ip), 1, f"L        {address.ip}/32 is directly connected, {name}"))
    for _, _, line in sorted(lines):
        yield line


def _used(routes: Iterable[RouteFacts]) -> list[RouteFacts]:
    """Of several routes to one prefix those with the lowest distance, which is the kernel's metric."""
    best: dict[str, int] = {}
    known = list(routes)
    for route in known:
        best[route.destination] = min(best.get(route.destination, route.metric), route.metric)
    return [route for route in known if route.metric == best[route.destination]]


def _route_to(router: LiveRouter, target: IPv4Address, routes: list[RouteFacts]) -> Iterator[str]:
    """`show ip route ADDRESS`: the most specific route to it."""
    found = routes_to(target, routes)
    if not found:
        yield "% Network not in table"
        return
    kind = "static" if found[0].gateway else "connected"
    distance = (found[0].metric or 1) if found[0].gateway else 0
    yield f"Routing entry for {found[0].destination}"
    how = "" if found[0].gateway else " (connected, via interface)"
    yield f'  Known via "{kind}", distance {distance}, metric 0{how}'
    yield "  Routing Descriptor Blocks:"
    for route in found:
        yield f"  * {route.gateway or f'directly connected, via {router.interface_name(route.interface)}'}"
        yield "      Route metric is 0, traffic share count is 1"


def _loopback(router: LiveRouter, address: IPv4Interface) -> str:
    for section in router.configuration.all("interface"):
        if any(item.get("address") == address.ip for item in section.all("ip address")):
            return str(section.get("interface"))
    return "Loopback"


def _access_lists(session: Session, match: Match[Exec]) -> Iterator[str]:
    router, wanted = session.router, match.get("acl")
    configuration, hits = router.configuration, _hits(router)
    for name in list_names(configuration):
        if wanted not in (None, name):
            continue
        kind = "Extended" if is_extended(configuration, name) else "Standard"
        yield f"{kind} IP access list {name}"
        for index, statement in enumerate(list_statements(configuration, name), start=1):
            sequence = statement.get("sequence", index * 10)
            count = hits.get((name, index), 0)
            matched = f" ({count} match{'es' if count != 1 else ''})" if count else ""
            yield f"    {sequence} {_shown_entry(entry_text(statement))}{matched}"


def _shown_entry(text: str) -> str:
    """A standard entry as IOS shows it: `permit 10.0.0.0, wildcard bits 0.0.0.255`."""
    words = text.split()
    if len(words) == 3 and words[1][0].isdigit():
        return f"{words[0]} {words[1]}, wildcard bits {words[2]}"
    return text


def _hits(router: LiveRouter) -> dict[tuple[str, int], int]:
    """How many packets each entry has matched: of a filter as nft counts them, of a crypto map what its SAs carried."""
    found: dict[tuple[str, int], int] = {}
    tables = [("inet", "testbed_filter")] if router.device.filters else []
    tables += [("ip", "testbed_nat")] if router.device.source_nat else []
    for table in tables:
        rules = json.loads(router.ask("nft", "-j", "list", "table", *table))["nftables"]
        for rule in (item["rule"] for item in rules if "rule" in item):
            name, _, index = rule.get("comment", "").rpartition(" ")
            packets = next((part["counter"]["packets"] for part in rule["expr"] if "counter" in part), 0)
            if name and index.isdecimal():
                found[name, int(index)] = found.get((name, int(index)), 0) + packets
    for name, index, packets in _protected(router):
        found[name, index] = found.get((name, index), 0) + packets
    return found


def _protected(router: LiveRouter) -> Iterator[tuple[str, int, int]]:
    """Crypto access lists with the entries whose SAs have carried packets."""
    sas: dict[str, int] = {}
    for sa in router.sas():
        for child in sa.children:
            sas[child.name] = sas.get(child.name, 0) + child.packets_out + child.packets_in
    for connection in router.device.connections:
        acl = entry_list(router, connection)
        for index, config in enumerate(connection.children, start=1):
            if acl is not None and sas.get(config.name):
                yield str(acl), index, sas[config.name]


def running_lines(configuration: Configuration, router: LiveRouter) -> list[str]:
    version = "17.9" if router.is_xe else "15.9"
    head = [
        "!",
        f"version {version}",
        "service timestamps debug datetime msec",
        "service timestamps log datetime msec",
        "!",
    ]
    body = [line for line in configuration.lines() if not any(line.startswith(name) for name in _DONE)]
    said = {statement.command.name for statement in configuration.children}
    return [*(line for line in head if line.split()[0] not in said or line == "!"), *body]


def _running(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    lines = running_lines(router.configuration, router)
    if match.get("interface") is not None:
        lines = [*_one_section(lines, f"interface {match.get('interface')}"), "end"]
    size = sum(len(line) + 1 for line in lines)
    yield "Building configuration..."
    yield ""
    yield f"Current configuration : {size} bytes"
    yield from lines
    yield ""


def _one_section(lines: list[str], head: str) -> list[str]:
    found = ["!"]
    inside = False
    for line in lines:
        inside = line == head or (inside and line.startswith(" "))
        if inside:
            found.append(line)
    return found


def _running_section(session: Session, match: Match[Exec]) -> Iterator[str]:
    """`show running-config | section X` in words: what begins with them."""
    wanted, inside = match.get("words"), False
    for line in running_lines(session.router.configuration, session.router):
        inside = (line.startswith(wanted)) or (inside and line.startswith(" "))
        if inside:
            yield line


def _startup(session: Session, _match: Match[Exec]) -> Iterator[str]:
    text = session.router.store.startup()
    if not text:
        yield "startup-config is not present"
        return
    yield f"Using {len(text)} out of 262144 bytes"
    for line in text.splitlines():
        if not any(line.startswith(name) for name in _DONE):
            yield line


def _logging(session: Session, _match: Match[Exec]) -> Iterator[str]:
    lines = session.syslog.lines()
    yield (
        "Syslog logging: enabled (0 messages dropped, 0 messages rate-limited, 0 flushes, 0 overruns, xml disabled, "
        "filtering disabled)"
    )
    yield ""
    buffered = session.router.configuration.one("logging buffered")
    level = buffered.get("level", "debugging") if buffered else "debugging"
    size = buffered.get("size", _LOG_OCTETS) if buffered else None
    lines = _buffered(lines, _LEVELS[level], size)
    yield f"    Console logging: level debugging, {len(lines)} messages logged, xml disabled,"
    yield "                     filtering disabled"
    yield f"    Buffer logging:  level {level}, {len(lines)} messages logged, xml disabled,"
    yield "                    filtering disabled"
    yield ""
    yield f"Log Buffer ({size or _LOG_OCTETS} bytes):"
    yield ""
    yield from lines


def _buffered(lines: list[str], level: int, octets: int | None) -> list[str]:
    """The latest messages of this severity and worse; of a buffer whose size is configured, those that fit into it."""
    kept: list[str] = []
    for line in reversed(lines):
        found = re.search(r": %[A-Z0-9_]+-([0-7])-", line)
        if int(found[1] if found else 7) > level:
            continue
        if octets is not None:
            octets -= len(line) + 1
            if octets < 0:
                break
        kept.append(line)
    return kept[::-1]


def _debugging(session: Session, _match: Match[Exec]) -> Iterator[str]:
    names = debugs(session.router)
    if names:
        yield ""
        yield "Cryptographic Subsystem:"
        for name in sorted(names):
            yield f"  Crypto {name.removeprefix('crypto ').upper()} debugging is on"


def _privilege(session: Session, _match: Match[Exec]) -> Iterator[str]:
    yield f"Current privilege level is {session.level}"


def _history(session: Session, _match: Match[Exec]) -> Iterator[str]:
    yield from (f"  {line}" for line in session.terminal.history)


def _users(session: Session, _match: Match[Exec]) -> Iterator[str]:
    number = 0 if session.line == "console" else 2 + int(session.line.removeprefix("vty"))
    name = "con 0" if session.line == "console" else f"vty {session.line.removeprefix('vty')}"
    yield "    Line       User       Host(s)              Idle       Location"
    yield f"*{number:>3} {name:<10} {session.user:<10} idle                 00:00:00"


def _nat(session: Session, _match: Match[Exec]) -> Iterator[str]:
    yield "Pro Inside global      Inside local       Outside local      Outside global"
    for nat in session.router.device.static_nat:
        yield f"--- {nat.outside!s:<18} {nat.inside!s:<18} ---                ---"
    flows = Path(f"/proc/{session.router.state.pid}/net/nf_conntrack")
    if session.router.device.source_nat and flows.exists():
        for line in flows.read_text().splitlines():
            yield from _translation(line)


def _translation(line: str) -> Iterator[str]:
    """One flow of the kernel's: the addresses of its two directions, which differ if it is translated."""
    words = line.split()
    fields = [part.split("=", 1) for part in words if "=" in part]
    source, target, _, outside = ([value for name, value in fields if name in ("src", "dst")] + [""] * 4)[:4]
    ports = [value for name, value in fields if name in ("sport", "dport", "id")]
    if not outside or outside == source:
        return
    inside, other, *_ = (
        *(f":{port}" for port in ports),
        *([f":{ports[0]}"] if len(ports) < 4 and ports else []),
        "",
        "",
    )
    yield f"{words[2]:<3} {outside + inside:<18} {source + inside:<18} {target + other:<18} {target + other}"


SHOW = (
    Exec("show version", _version, 1),
    Exec("show clock [detail=detail]", _clock, 1),
    Exec("show ip interface brief [<interface:interface>]", _interface_brief, 1),
    Exec("show interfaces description", _descriptions, 1),
    Exec("show interfaces [<interface:interface>]", _interfaces, 1),
    Exec("show ip route [{static | <target:ip>}]", _routes, 1),
    Exec("show ip nat translations", _nat, 1),
    Exec("show access-lists [<acl:name>]", _access_lists, 1),
    Exec("show ip access-lists [<acl:name>]", _access_lists, 1),
    Exec("show running-config [{all | full | brief}]", _running),
    Exec("show running-config interface <interface:interface>", _running),
    Exec("show running-config section <words:line>", _running_section),
    Exec("show startup-config", _startup),
    Exec("show configuration", _startup),
    Exec("show logging", _logging, 1),
    Exec("show debugging", _debugging, 1),
    Exec("show privilege", _privilege, 1),
    Exec("show history", _history, 1),
    Exec("show users", _users, 1),
    Exec("show platform software operating mode", _operating_mode, 1),
)
