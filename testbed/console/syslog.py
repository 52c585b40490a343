"""Messages: what the router logs of itself, what charon's log means in IOS's words, and what `debug` lets through."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.console.router import LiveRouter

__all__ = ["DEBUGS", "Follower", "Syslog", "local_time", "stamp", "zone"]

_POLL_S = 0.1
_MAX_LINES = 400
# `Nov 24 17:30:15.123 08[IKE] <kisii-kisumu|1> …`
_CHARON = re.compile(r"(\w{3} +\d+ [\d:]+\.\d+) \d+\[(\w+)\] (?:<[^>]*> )?(.*)")
# Which of charon's subsystems (strongswan.conf(5), charon.filelog) each `debug` shows.
DEBUGS = {
    "crypto isakmp": ("ISAKMP", {"IKE", "ENC", "CFG", "NET"}),
    "crypto ikev2": ("IKEv2", {"IKE", "ENC", "CFG", "NET"}),
    "crypto ipsec": ("IPSEC", {"CHD", "KNL", "ESP"}),
    "crypto pki": ("CRYPTO_PKI", {"CFG", "LIB", "IKE"}),
}
_PKI_WORDS = re.compile(r"certificate|crl|ocsp|issuer|enrol|CA ", re.IGNORECASE)
_MEANINGS = (
    (
        re.compile(r"invalid HASH_V1 payload length, decryption failed|could not decrypt payloads"),
        "CRYPTO-4-IKMP_BAD_MESSAGE",
        "IKE message from {peer} failed its sanity check or is malformed",
    ),
    (
        re.compile(r"no (?:acceptable )?(?:proposal|PROPOSAL).*(?:found|chosen)|received NO_PROPOSAL_CHOSEN"),
        "CRYPTO-6-IKMP_MODE_FAILURE",
        "Processing of {mode} mode failed with peer at {peer}",
    ),
    (re.compile(r"giving up after \d+ retransmits"), "CRYPTO-4-IKMP_NO_SA", "no answer of the peer at {peer}"),
)
_PEER = re.compile(r"(?:from|to) ([0-9a-fA-F.:]+?)\[\d+\]")


class Syslog:
    """The router's own messages."""

    def __init__(self, router: LiveRouter) -> None:
        self._router = router

    def write(self, mnemonic: str, text: str) -> None:
        """Log a message; every console that listens shows it."""
        self.plain(f"%{mnemonic}: {text}")

    def plain(self, text: str) -> None:
        """A line without a mnemonic, as `CRYPTO_PKI:` writes them."""
        handle = os.open(self._router.store.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"{stamp(self._router)}: {text}\n")

    def lines(self) -> list[str]:
        """All messages, the oldest first: those logged here, and what charon's log means."""
        own = _content(self._router.store.log).splitlines()
        offset = zone(self._router)[1]
        own += list(_enrolled(self._router.log("enrold", "out").splitlines(), offset))
        meant = list(_meanings(self._router.log().splitlines(), debugs(self._router), offset))
        return sorted([*own, *meant], key=_moment)[-_MAX_LINES:]


def _content(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _moment(line: str) -> tuple[int, str]:
    match = re.match(r"[*.]?(\w{3}) +(\d+) ([\d:.]+)", line)
    if not match:
        return (0, "")
    months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    return months.find(match[1]) // 3 * 31 + int(match[2]), match[3]


def debugs(router: LiveRouter) -> set[str]:
    """What `debug` is on."""
    return set(_content(router.store.debugging).splitlines())


def zone(router: LiveRouter) -> tuple[str, timedelta]:
    """The name and the offset of the router's time zone."""
    name = router.fact("clock timezone", "zone", "UTC")
    hours = str(router.fact("clock timezone", "hours", "0"))
    minutes = int(router.fact("clock timezone", "minutes", 0))
    if not re.fullmatch(r"-?\d{1,2}", hours):
        return name, timedelta(0)
    sign = -1 if hours.startswith("-") else 1
    return name, timedelta(hours=int(hours), minutes=sign * minutes)


def local_time(router: LiveRouter) -> datetime:
    return router.now() + zone(router)[1]


def stamp(router: LiveRouter) -> str:
    """`*Nov 24 17:30:15.123`; the `*` as long as the clock is not synchronised."""
    moment, clock = local_time(router), router.clock()
    mark = "" if clock is None or clock.synchronised else "*"
    return f"{mark}{moment:%b} {moment.day:>2} {moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


# What images/bin/enrold says: `Nov 24 17:30:15 MOIGETECH: request: a new certificate is in use`.
_ENROLLED = re.compile(r"(\w{3} +\d+ [\d:]+) \S+: (request|renew): a new certificate is in use")


def _enrolled(lines: list[str], offset: timedelta) -> Iterator[str]:
    """Certificates that came when the router asked again by itself."""
    for line in lines:
        match = _ENROLLED.fullmatch(line)
        if match:
            when = _shifted(f"{match[1]}.000", offset)
            yield f"{when}: %PKI-6-CERTRET: Certificate received from Certificate Authority"


def _shifted(when: str, offset: timedelta) -> str:
    """A time of charon's log, which is UTC, in the router's zone."""
    moment = datetime.strptime(f"2000 {when}", "%Y %b %d %H:%M:%S.%f").replace(tzinfo=UTC) + offset
    return f"{moment:%b} {moment.day:>2} {moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def _meanings(lines: list[str], wanted: set[str], offset: timedelta) -> Iterator[str]:
    """What lines of charon's log are in IOS's words, and those that `debug` shows."""
    peer, mode = "", "Main"
    for line in lines:
        match = _CHARON.fullmatch(line)
        if not match:
            continue
        when, subsystem, text = match.groups()
        when = _shifted(when, offset)
        found = _PEER.search(text)
        peer = found[1] if found else peer
        for word, name in (("ID_PROT", "Main"), ("AGGRESSIVE", "Aggressive"), ("QUICK_MODE", "Quick")):
            mode = name if word in text else mode
        for pattern, mnemonic, meaning in _MEANINGS:
            if pattern.search(text):
                yield f"{when}: %{mnemonic}: {meaning.format(peer=peer, mode=mode)}"
        for name in sorted(wanted):
            label, subsystems = DEBUGS[name]
            if subsystem in subsystems and (name != "crypto pki" or _PKI_WORDS.search(text)):
                yield f"{when}: {label}: {text}"


class Follower:
    """Shows messages as they come, on a console that wants them. A thread looks at two files."""

    def __init__(self, router: LiveRouter, show: Callable[[str], None]) -> None:
        self._router = router
        self._show = show
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            sizes = [_size(path) for path in self._paths()]
            self._thread = threading.Thread(target=self._run, args=(sizes,), name="syslog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def _paths(self) -> list[Path]:
        directory = self._router.lab.states_directory(self._router.name)
        return [self._router.store.log, directory / "log" / "charon.log", directory / "log" / "enrold.out"]

    def _run(self, sizes: list[int]) -> None:
        paths = self._paths()
        while not self._stop.wait(_POLL_S):
            for index, path in enumerate(paths):
                with contextlib.suppress(OSError):
                    if path.stat().st_size == sizes[index]:
                        continue
                    with path.open("rb") as file:
                        file.seek(sizes[index] if sizes[index] <= path.stat().st_size else 0)
                        fresh = file.read()
                    whole = fresh[: fresh.rfind(b"\n") + 1]
                    sizes[index] += len(whole)
                    lines = whole.decode(errors="replace").splitlines()
                    shown = self._shown(index, lines)
                    if shown:
                        self._show("\n".join(shown))

    def _shown(self, index: int, lines: list[str]) -> list[str]:
        """What a console shows of lines of one of the files."""
        if index == 0:
            return lines
        offset = zone(self._router)[1]
        return list(_meanings(lines, debugs(self._router), offset) if index == 1 else _enrolled(lines, offset))
