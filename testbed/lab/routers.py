"""What a router of kind `ios` keeps while the lab runs: its running and its start-up configuration, its log.

They stand in the node's directory on this machine, so that every console, in whatever process, sees the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from testbed.ios.reader import read_configuration
from testbed.lab.state import write_private
from testbed.topology.routers import bare_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.ios.configuration import Configuration
    from testbed.lab.state import StateFolder
    from testbed.topology import LoadedTopology

__all__ = ["RouterStore", "as_they_run", "bare"]


class RouterStore:
    """The files of one router."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "ios"
        self._read: tuple[tuple[int, int], Configuration] | None = None

    @property
    def _running(self) -> Path:
        return self.directory / "running-config"

    @property
    def _startup(self) -> Path:
        return self.directory / "startup-config"

    @property
    def log(self) -> Path:
        """The router's syslog, a line a message."""
        return self.directory / "log"

    @property
    def debugging(self) -> Path:
        """What `debug` is on, a word a line."""
        return self.directory / "debug"

    def begin(self, configuration: Configuration, origin: str) -> None:
        """A router that boots for the first time. `origin` tells which configuration of the lab folder this is."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.log, self.debugging):
            path.unlink(missing_ok=True)
        write_private(self._startup, configuration.text().encode())
        write_private(self._running, configuration.text().encode())
        write_private(self.directory / "origin", origin.encode())

    def origin(self) -> str | None:
        """Of which start-up configuration this is the running one; None if there is none."""
        try:
            return (self.directory / "origin").read_text()
        except OSError:
            return None

    def running(self) -> Configuration:
        """The running configuration; a copy that may be edited."""
        return self.current().copy()

    def mark(self) -> tuple[int, int]:
        """Another one whenever the running configuration was saved."""
        found = self._running.stat()
        return found.st_mtime_ns, found.st_ino

    def current(self) -> Configuration:
        """The running configuration, to be read only: the same object until it changes."""
        mark = self.mark()
        if self._read is None or self._read[0] != mark:
            self._read = mark, read_configuration(self._running.read_text()).configuration
        return self._read[1]

    def is_bare(self) -> bool:
        """Whether it is as it was when it first booted."""
        return self.current().text() == self.startup()

    def save_running(self, configuration: Configuration) -> None:
        write_private(self._running, configuration.text().encode())

    def startup(self) -> str:
        """The start-up configuration; empty if it was erased."""
        try:
            return self._startup.read_text()
        except OSError:
            return ""

    def save_startup(self, text: str) -> None:
        write_private(self._startup, text.encode())

    @contextlib.contextmanager
    def editing(self) -> Iterator[None]:
        """One at a time in the whole lab, over all processes: what one router says means something to the others."""
        handle = os.open(self.directory.parents[2] / "configuring", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def as_they_run(loaded: LoadedTopology, folder: StateFolder) -> LoadedTopology:
    """The topology with what its routers are configured to be now, where they run."""
    changed = {}
    for name in loaded.configurations:
        store = RouterStore(folder.node(name))
        if store.origin() == loaded.startup_digest(name):
            with contextlib.suppress(OSError):
                changed[name] = store.current()
    return loaded.reconfigured(changed) if changed else loaded


def bare(loaded: LoadedTopology) -> LoadedTopology:
    """The topology with routers that nobody has configured."""
    texts = {name: bare_text(loaded.base or loaded.topology, name) for name in loaded.configurations}
    changed = {name: read_configuration(text).configuration for name, text in texts.items()}
    return replace(loaded.reconfigured(changed), startups=texts)
