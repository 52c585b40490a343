"""`show ntp`: what chronyd says, in NTP's own words (RFC 5905)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from testbed.console.session import Exec
from testbed.console.syslog import zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.console.router import LiveRouter
    from testbed.console.session import Session
    from testbed.ios.grammar import Match

__all__ = ["SHOW"]

_NTP_EPOCH = 2208988800  # of 1900, in seconds before that of 1970
_NOMINAL_HZ = {"ios15": 1000.0003, "iosxe17": 250.0}
_PRECISION = {"ios15": 14, "iosxe17": 10}
_MARKS = {"*": "*", "+": "+", "-": "-", "x": "x", "~": "-", "?": " "}
_LEGEND = " * sys.peer, # selected, + candidate, - outlyer, x falseticker, ~ configured"


def _status(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    report = router.chrony("tracking")[0]
    reference, stratum, when = report[1], int(report[2]), float(report[3])
    clock = router.clock()  # which chronyd marks as synchronised a moment later
    synchronised = report[13] != "Not synchronised" and stratum > 0 and (clock is None or clock.synchronised)
    nominal = _NOMINAL_HZ[router.flavor]
    ppm = float(report[7])
    if synchronised:
        yield f"Clock is synchronized, stratum {stratum}, reference is {_reference(router, reference):<16}"
    else:
        yield "Clock is unsynchronized, stratum 16, no reference clock"
    actual = nominal * (1 - ppm * 1e-6)
    precision = _PRECISION[router.flavor]
    yield f"nominal freq is {nominal:.4f} Hz, actual freq is {actual:.4f} Hz, precision is 2**{precision}"
    yield f"ntp uptime is {int(router.uptime_s() * 100)} (1/100 of seconds), resolution is {round(1e6 / nominal)}"
    yield f"reference time is {_hex_time(when)} ({_moment(router, when)})"
    offset_ms = abs(float(report[4])) * 1000 if router.is_xe else -float(report[4]) * 1000
    yield f"clock offset is {offset_ms:.4f} msec, root delay is {float(report[10]) * 1000:.2f} msec"
    peer = router.chrony("sourcestats") if synchronised else []
    deviation = next((float(row[7]) for row in peer if row[0] == reference), 0.0)
    yield f"root dispersion is {float(report[11]) * 1000:.2f} msec, peer dispersion is {deviation * 1000:.2f} msec"
    state = "'CTRL' (Normal Controlled Loop)" if synchronised else "'NSET' (Never set)"
    yield f"loopfilter state is {state}, drift is {-ppm * 1e-6:.9f} s/s"
    ago = int(router.now().timestamp() - when) if when else 0
    yield f"system poll interval is {max(1, round(float(report[12])))}, last update was {max(0, ago)} sec ago."


def _reference(router: LiveRouter, reference: str) -> str:
    """A server's address; for the router's own clock the name that IOS gives it."""
    if reference and reference[0].isdigit():
        return "127.127.1.1" if reference == "127.127.1.1" and not router.is_xe else reference
    return ".LOCL." if router.is_xe else "127.127.1.1"


def _hex_time(when: float) -> str:
    seconds = int(when) + _NTP_EPOCH if when else 0
    return f"{seconds & 0xFFFFFFFF:08X}.{int(when % 1 * 2**32):08X}"


def _moment(router: LiveRouter, when: float) -> str:
    name, offset = zone(router)
    moment = datetime.fromtimestamp(when, UTC) + offset
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {name} {moment:%a %b} {moment.day} {moment:%Y}"


def _associations(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    yield ""
    yield "  address         ref clock       st   when   poll reach  delay  offset   disp"
    if router.fact("ntp master", "stratum") is not None or router.configuration.one("ntp master"):
        yield from _own_clock(router)
    details = {row[0]: row for row in router.chrony("ntpdata")}
    stats = {row[0]: row for row in router.chrony("sourcestats")}
    for row in router.chrony("sources"):
        yield _row(row, details.get(row[2]), stats.get(row[2]))
    yield _LEGEND


def _own_clock(router: LiveRouter) -> Iterator[str]:
    stratum = router.fact("ntp master", "stratum", 8)
    report = router.chrony("tracking")[0]
    mark = "*" if not report[1][:1].isdigit() or report[1].startswith("127.") else " "
    yield f"{mark}~127.127.1.1     .LOCL.         {stratum - 1:>3}      0     16   377  0.000   0.000  0.000"


def _row(row: list[str], detail: list[str] | None, stats: list[str] | None) -> str:
    """Of one server. `when` is `-` and the rest nought as long as it has not answered."""
    _, state, address, stratum, poll, reach, when = row[:7]
    interval = max(1, round(2 ** int(poll)))
    heard = int(reach, 8) > 0 and detail is not None
    reference = _hex_address(detail[15]) if heard and detail else ".INIT."
    delay = abs(float(detail[19])) * 1000 if heard and detail else 0.0
    offset = -float(row[7]) * 1000 if heard else 0.0
    dispersion = (float(stats[7]) if stats else float(detail[20] if detail else 0)) * 1000 if heard else 15937.5
    shown = f"{dispersion:6.3f}" if dispersion < 1000 else f"{dispersion:.0f}."
    since = when if heard and when.isdecimal() and int(when) < 10**6 else "-"
    return (
        f"{_MARKS.get(state, ' ')}~{address:<15} {reference:<15} {int(stratum) or 16:>2} {since:>6} {interval:>6} "
        f"{int(reach, 8):>5o} {delay:6.3f} {offset:7.3f} {shown}"
    )


def _hex_address(text: str) -> str:
    """Chrony gives a reference as eight hexadecimal digits; of a stratum 1 they are letters."""
    if len(text) != 8:
        return text or ".INIT."
    octets = bytes.fromhex(text)
    name = octets.rstrip(b"\0")
    if name.isalnum() and name.isascii() and not name.isdigit():
        return f".{name.decode()}."
    return "127.127.1.1" if text == "7F7F0101" else ".".join(map(str, octets))


def _associations_detail(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    for row in router.chrony("ntpdata"):
        source = next((item for item in router.chrony("sources") if item[2] == row[0]), None)
        chosen = {"*": "our_master, sane, valid", "+": "selected, sane, valid"}
        state = chosen.get(source[1] if source else "", "sane, valid")
        poll = max(1, round(2.0 ** int(row[9])))
        moment = float(row[17])
        reach = source[5] if source else "0"
        distance = (float(row[13]) / 2 + float(row[14])) * 1000
        yield f"{row[0]} configured, ipv4, {state}, stratum {row[8]}"
        yield f"ref ID {_hex_address(row[15])}, time {_hex_time(moment)} ({_moment(router, moment)})"
        yield f"our mode client, peer mode server, our poll intvl {poll}, peer poll intvl {poll}"
        yield (
            f"root delay {float(row[13]) * 1000:.2f} msec, root disp {float(row[14]) * 1000:.2f}, reach {reach}, "
            f"sync dist {distance:.2f}"
        )
        yield (
            f"delay {float(row[19]) * 1000:.2f} msec, offset {-float(row[18]) * 1000:.4f} msec, "
            f"dispersion {float(row[20]) * 1000:.2f}"
        )
        yield f"precision 2**{int(row[11])}, version {row[6]}"
        yield ""


def _config(session: Session, _match: Match[Exec]) -> Iterator[str]:
    for statement in session.router.configuration.ordered():
        if statement.command.name in ("ntp server", "ntp master", "ntp source"):
            yield f" {statement.text}"


SHOW = (
    Exec("show ntp status", _status, 1),
    Exec("show ntp associations", _associations, 1),
    Exec("show ntp associations detail", _associations_detail, 1),
    Exec("show ntp config", _config, 1),
)
