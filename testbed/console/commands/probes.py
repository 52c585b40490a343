"""`ping` and `traceroute`: real packets of the router's own network stack."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Interface, ip_address
from typing import TYPE_CHECKING

from testbed.console.session import Exec
from testbed.deadline import Deadline
from testbed.errors import NegotiationError
from testbed.ios.names import parse_interface
from testbed.network.facts import route_facts, routes_to
from testbed.network.probe import Echo, echo, hop

if TYPE_CHECKING:
    from testbed.console.session import Session
    from testbed.ios.grammar import Match

__all__ = ["COMMANDS"]

_HEADERS = 28  # octets of IPv4 and ICMP, which IOS counts in the size
_ROW = 70  # marks in a row
_NEGOTIATION_S = 2.0
_PROBES, _HOPS, _WAIT_S = 3, 30, 3.0


def _ends(session: Session, match: Match[Exec]) -> tuple[IPv4Address, IPv4Address | None] | None:
    """Target and source of a probe; None, and said, if one of them is none."""
    target = _address(session, match.get("target"))
    if target is None:
        return None
    wanted, source = _source(session, match)
    if not wanted:
        source = _outgoing(session, target)
    return None if wanted and source is None else (target, source)


def _outgoing(session: Session, target: IPv4Address) -> IPv4Address | None:
    """The address of the interface by which the routing table leads there, as IOS takes it.

    The kernel would take what charon's own table for the tunnel says: an address that the tunnel protects.
    """
    routes = routes_to(target, route_facts(session.router.state.namespace))
    fact = session.router.interfaces().get(routes[0].interface) if routes else None
    own = [IPv4Interface(item) for item in fact.addresses if ":" not in item] if fact is not None else []
    return own[0].ip if own else None


def _ping(session: Session, match: Match[Exec]) -> None:
    ends = _ends(session, match)
    if ends is None:
        return
    target, source = ends
    _send(
        session,
        target,
        source,
        repeat=match.get("repeat", 5),
        size=match.get("size", 100),
        timeout_s=match.get("timeout", 2),
        df=match.get("df") is not None,
        told=_shows_source(match),
    )


def _extended(session: Session, _match: Match[Exec]) -> None:
    """The dialog of `ping` alone."""
    session.ask("Protocol [ip]: ")
    target = _address(session, session.ask("Target IP address: "))
    if target is None:
        return
    repeat = _number(session, "Repeat count [5]: ", 5, 1, 2147483647)
    size = _number(session, "Datagram size [100]: ", 100, 36, 18024)
    timeout_s = _number(session, "Timeout in seconds [2]: ", 2, 0, 3600)
    source: IPv4Address | None = None
    df = False
    if session.ask("Extended commands [n]: ").lower().startswith("y"):
        session.ask("Ingress ping [n]: ")
        text = session.ask("Source address or interface: ")
        if text:
            found = _of_interface(session, text)
            if found is None:
                session.out("% Invalid source\n")
                return
            source = found
        session.ask("Type of service [0]: ")
        df = session.ask("Set DF bit in IP header? [no]: ").lower().startswith("y")
        session.ask("Validate reply data? [no]: ")
        session.ask("Data pattern [0xABCD]: ")
        session.ask("Loose, Strict, Record, Timestamp, Verbose[none]: ")
    session.ask("Sweep range of sizes [n]: ")
    told = source is not None
    source = source or _outgoing(session, target)
    _send(session, target, source, repeat=repeat, size=size, timeout_s=timeout_s, df=df, told=told)


def _number(session: Session, prompt: str, default: int, low: int, high: int) -> int:
    """A number of that range; what is none is asked for again, as IOS does."""
    while True:
        answer = session.ask(prompt)
        if not answer:
            return default
        if answer.isdecimal() and low <= int(answer[:10]) <= high:
            return int(answer)
        session.out(f"% A decimal number between {low} and {high}.\n")


def _address(session: Session, text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        session.out(
            "% Unrecognized host or address, or protocol not running.\n"
            if not text or text[0].isdigit()
            else f'Translating "{text}"\n% Unrecognized host or address, or protocol not running.\n'
        )
        return None


def _source(session: Session, match: Match[Exec]) -> tuple[bool, IPv4Address | None]:
    """Whether a source was wanted, and its address; None if there is no such, or for whichever the kernel takes."""
    wanted = match.get("source_interface") or match.get("source_ip")
    if wanted is None:
        return False, None
    found = _of_interface(session, str(wanted))
    if found is None:
        session.out("% Invalid source interface - IP not enabled or interface is down\n")
    return True, found


def _of_interface(session: Session, text: str) -> IPv4Address | None:
    device = session.router.device
    try:
        wanted = ip_address(text)
        own = [item.ip for interface in device.interfaces for item in interface.addresses]
        own += [item.ip for item in device.loopbacks]
        return wanted if isinstance(wanted, IPv4Address) and wanted in own else None
    except ValueError:
        pass
    try:
        name = parse_interface(text)
    except ValueError:
        return None
    for section in session.router.configuration.all("interface"):
        if section.get("interface") == name and not section.says("shutdown"):
            return next((IPv4Address(item.get("address")) for item in section.all("ip address")), None)
    return None


def _shows_source(match: Match[Exec]) -> bool:
    return match.get("source_interface") is not None or match.get("source_ip") is not None


def _send(
    session: Session,
    target: IPv4Address,
    source: IPv4Address | None,
    *,
    repeat: int,
    size: int,
    timeout_s: int,
    df: bool,
    told: bool,
) -> None:
    """One after the other, as IOS does: the next one when the answer is there, or has been waited for."""
    session.out("Type escape sequence to abort.\n")
    session.out(f"Sending {repeat}, {size}-byte ICMP Echos to {target}, timeout is {timeout_s} seconds:\n")
    if told:
        session.out(f"Packet sent with a source address of {source} \n")
    if df:
        session.out("Packet sent with the DF bit set\n")
    probe = Echo(session.router.state.namespace, target, source, max(size - _HEADERS, 0), dont_fragment=df)
    times: list[float] = []
    for number in range(1, repeat + 1):
        result = echo([probe], count=1, interval_s=0, wait_s=float(timeout_s), until_answered=True)[0]
        if result.rtt_s is not None:
            times.append(result.rtt_s)
        session.out("!" if result.answered else _mark(result.error))
        if number == 1 and not result.answered and source is not None:
            _awaken(session, source, target)
        if number % _ROW == 0 and number < repeat:
            session.out("\n")
    percent = len(times) * 100 // repeat
    rtt = ""
    if times:
        low, mean, high = (max(1, round(value * 1000)) for value in (min(times), sum(times) / len(times), max(times)))
        rtt = f", round-trip min/avg/max = {low}/{mean}/{high} ms"
    session.out(f"\nSuccess rate is {percent} percent ({len(times)}/{repeat}){rtt}\n")


def _awaken(session: Session, source: IPv4Address, target: IPv4Address) -> None:
    """Negotiate what protects this traffic, if charon has not even begun to.

    Traffic does it by itself; but libipsec asks for an SA once in ten seconds and no more often, whatever became of the
    one before, so that after a failed attempt, and after `clear`, it would be as if nobody had asked.
    """
    charon = session.router.charon
    for connection in session.router.device.connections:
        for child in connection.children:
            inside = any(source in prefix for prefix in child.local_selectors)
            if child.start == "trap" and inside and any(target in prefix for prefix in child.remote_selectors):
                if not charon.sas(connection.name):
                    with contextlib.suppress(NegotiationError):  # the marks that follow say so
                        charon.initiate(child=child.name, deadline=Deadline(_NEGOTIATION_S))
                return


def _mark(error: str | None) -> str:
    """`M` where the packet is too long for the way, `.` where nothing came."""
    return "M" if error and "too long" in error.lower() else "."


def _traceroute(session: Session, match: Match[Exec]) -> None:
    ends = _ends(session, match)
    if ends is None:
        return
    target, source = ends
    session.out("Type escape sequence to abort.\n")
    session.out(f"Tracing the route to {target}\nVRF info: (vrf in name/id, vrf out name/id)\n")
    wait_s = float(match.get("timeout", _WAIT_S))
    for ttl in range(1, match.get("ttl", _HOPS) + 1):
        session.out(f"{ttl:>3} ")
        shown: str | None = None
        arrived = False
        for number in range(_PROBES):
            probe = Echo(session.router.state.namespace, target, source)
            found = hop(probe, ttl, ttl * _PROBES + number, wait_s)
            if found.address is None:
                session.out(" * ")
                continue
            if found.address != shown:
                session.out(f"{found.address} ")
                shown = found.address
            session.out(f"{max(1, round(found.rtt_s * 1000))} msec{'' if not found.unreachable else ' !H'} ")
            arrived = arrived or found.arrived or found.unreachable
        session.out("\n")
        if arrived:
            return


_SOURCE = "source {<source_interface:interface> | <source_ip:ip>}"
COMMANDS = (
    Exec("ping [ip]", _extended, 1, paged=False),
    Exec(
        f"ping [ip] <target:host> [{{{_SOURCE} | repeat <repeat:1-100000> | size <size:36-18024> | "
        "timeout <timeout:0-3600> | df=df-bit}...]",
        _ping,
        1,
        paged=False,
    ),
    Exec(
        f"traceroute [ip] <target:host> [{{{_SOURCE} | timeout <timeout:1-60> | numeric | ttl <ttl:1-255>}}...]",
        _traceroute,
        1,
        paged=False,
    ),
)
