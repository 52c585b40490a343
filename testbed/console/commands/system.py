"""Modes, terminal, configuration files, clock, debugging."""

from __future__ import annotations

import calendar
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from testbed.console.session import Exec
from testbed.console.syslog import DEBUGS, debugs, zone
from testbed.daemons.chronyd import move_clock
from testbed.device.ios.lists import list_names
from testbed.ios.reader import Editor, complaint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.console.session import Session
    from testbed.ios.grammar import Match

__all__ = ["COMMANDS"]

_MONTHS = [month for month in calendar.month_name if month]


def _enable(session: Session, _match: Match[Exec]) -> None:
    session.enable()


def _disable(session: Session, _match: Match[Exec]) -> None:
    session.level = 1


def _configure(session: Session, match: Match[Exec]) -> None:
    if match.get("from") is None:
        session.ask("Configuring from terminal, memory, or network [terminal]? ")
    session.out("Enter configuration commands, one per line.  End with CNTL/Z.\n")
    session.begin_configuration()


def _length(session: Session, match: Match[Exec]) -> None:
    session.terminal.length = match.get("lines")


def _width(session: Session, match: Match[Exec]) -> None:
    session.terminal.width = match.get("columns") or session.terminal.width


def _monitor(session: Session, match: Match[Exec]) -> None:
    session.follow(on=match.get("no") is None)


def _nothing(_session: Session, _match: Match[Exec]) -> None:
    return None


def _write(session: Session, _match: Match[Exec]) -> None:
    session.out("Building configuration...\n")
    session.router.store.save_startup(session.router.configuration.text())
    session.out("[OK]\n")


def _copy_running(session: Session, _match: Match[Exec]) -> None:
    session.ask("Destination filename [startup-config]? ")
    _write(session, _match)


def _copy_startup(session: Session, _match: Match[Exec]) -> None:
    """IOS merges: what is in the start-up configuration is said again, and nothing is taken back."""
    session.ask("Destination filename [running-config]? ")
    text = session.router.store.startup()
    configuration = session.router.editable()
    editor = Editor(configuration)
    for number, line in enumerate(text.splitlines(), start=1):
        finding = editor.feed(line, number)
        if finding.refused:
            session.out(f"{complaint(finding)}\n")
    session.router.configure(configuration)
    session.out(f"{len(text)} bytes copied in 0.100 secs\n")


def _erase(session: Session, _match: Match[Exec]) -> None:
    answer = session.ask("Erasing the nvram filesystem will remove all configuration files! Continue? [confirm]")
    if answer in ("", "y", "yes"):
        session.router.store.save_startup("")
        session.out("[OK]\nErase of nvram: complete\n")
        session.syslog.write("SYS-7-NV_BLOCK_INIT", "Initialized the geometry of nvram")


def _reload(session: Session, _match: Match[Exec]) -> None:
    router = session.router
    if router.configuration.text() != router.store.startup():
        answer = session.ask("\nSystem configuration has been modified. Save? [yes/no]: ").lower()
        if answer and "yes".startswith(answer):
            _write(session, _match)
    if session.ask("Proceed with reload? [confirm]").lower() not in ("", "y", "yes"):
        return
    session.follow(on=False)
    router.lab.restart_node(router.name)
    session.level = 1
    session.syslog.write("SYS-5-RESTART", "System restarted --")
    session.out("\n\nPress RETURN to get started!\n\n")


def _clock_set(session: Session, match: Match[Exec]) -> None:
    month = next((index for index, name in enumerate(_MONTHS, 1) if match.get("month") == name.lower()), 1)
    hours, minutes, *seconds = map(int, match.get("time").split(":"))
    try:
        local = datetime(
            match.get("year"), month, match.get("day"), hours, minutes, seconds[0] if seconds else 0, tzinfo=UTC
        )
    except ValueError:
        session.out("%Invalid date\n")
        return
    moment = local - zone(session.router)[1]
    move_clock(session.router.lab.runtime, session.router.state, "set", str(int(moment.timestamp()) * 10**9))


def _debug(session: Session, match: Match[Exec]) -> None:
    name = f"crypto {match.get('what')}"
    _set_debugs(session, debugs(session.router) | {name})
    session.out(f"Crypto {DEBUGS[name][0].replace('CRYPTO_', '')} debugging is on\n")


def _undebug(session: Session, match: Match[Exec]) -> None:
    what = match.get("what")
    if what is None:
        _set_debugs(session, set())
        session.out("All possible debugging has been turned off\n")
        return
    _set_debugs(session, debugs(session.router) - {f"crypto {what}"})
    session.out(f"Crypto {DEBUGS[f'crypto {what}'][0].replace('CRYPTO_', '')} debugging is off\n")


def _set_debugs(session: Session, names: set[str]) -> None:
    session.router.store.debugging.write_text("".join(f"{name}\n" for name in sorted(names)))


def _clear_logging(session: Session, _match: Match[Exec]) -> None:
    if session.ask("Clear logging buffer [confirm]").lower() in ("", "y", "yes"):
        session.router.store.log.unlink(missing_ok=True)


def _clear_lists(session: Session, match: Match[Exec]) -> None:
    """Of one list, or of all. Those of crypto maps are what their SAs carried, and last as long as these."""
    wanted = match.get("acl")
    if wanted is not None and wanted not in list_names(session.router.configuration):
        session.out(f"% Access-list {wanted} does not exist\n")
        return
    for family, table in (("inet", "testbed_filter"), ("ip", "testbed_nat")):
        if table not in session.router.ask("nft", "list", "tables"):
            continue
        for rule in json.loads(session.router.ask("nft", "-a", "-j", "list", "table", family, table))["nftables"]:
            found = rule.get("rule", {})
            if found.get("comment", "").rpartition(" ")[0] == (wanted or found.get("comment", "").rpartition(" ")[0]):
                _reset(session, found)


def _reset(session: Session, rule: dict[str, Any]) -> None:
    where = [str(rule.get(key, "")) for key in ("family", "table", "chain")]
    if "handle" in rule and "comment" in rule:
        session.router.execute(["nft", "reset", "rule", *where, "handle", str(rule["handle"])])


def _clear_arp(session: Session, _match: Match[Exec]) -> None:
    session.router.execute(["ip", "neigh", "flush", "all"])


def _help(_session: Session, _match: Match[Exec]) -> Iterator[str]:
    yield "Help may be requested at any point in a command by entering"
    yield "a question mark '?'.  If nothing matches, the help list will"
    yield "be empty and you must backup until entering a '?' shows the"
    yield "available options."


_MONTH = "month=" + "|".join(_MONTHS)
_DEBUG = "crypto what=isakmp|ipsec|pki|ikev2 [{error|messages|transactions|detail}...]"
COMMANDS = (
    Exec("enable [<level:0-15>]", _enable, 1),
    Exec("disable", _disable, 1),
    Exec("help", _help, 1),
    Exec("configure [from=terminal]", _configure),
    Exec("terminal length <lines:0-512>", _length, 1),
    Exec("terminal width <columns:0-512>", _width, 1),
    Exec("terminal [no=no] monitor", _monitor, 1),
    Exec("terminal {no | history | editing | default | exec | shell} [<text:line>]", _nothing, 1),
    Exec("write [memory]", _write),
    Exec("write erase", _erase),
    Exec("erase {startup-config | nvram:}", _erase),
    Exec("copy running-config startup-config", _copy_running),
    Exec("copy startup-config running-config", _copy_startup),
    Exec("reload", _reload),
    Exec(f"clock set <time:time> {{<day:1-31> {_MONTH} | {_MONTH} <day:1-31>}} <year:1993-2035>", _clock_set),
    Exec(f"debug {_DEBUG}", _debug),
    Exec("undebug {all | crypto what=isakmp|ipsec|pki|ikev2}", _undebug),
    Exec("no debug {all | crypto what=isakmp|ipsec|pki|ikev2}", _undebug),
    Exec("clear logging", _clear_logging),
    Exec("clear access-list counters [<acl:name>]", _clear_lists),
    Exec("clear arp-cache", _clear_arp),
)
