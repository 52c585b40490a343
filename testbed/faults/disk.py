"""A disk that is full: a small file system in place of a node's storage, filled to its last page."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import DaemonError
from testbed.network.namespace import mount_in, unmount_in
from testbed.plan import NVRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.lab import Lab

__all__ = ["fill_disk", "give_back_disk"]

_USES_IT = "testbed-ca"  # the one that keeps files of it open
_ROOM = 512 * 1024  # what a daemon needs to open its database, before the rest is taken
_FILLER = ".full"
_PAGE = 4096


def fill_disk(lab: Lab, node: str) -> None:
    """The node's storage takes no byte more. What was there is there, before, meanwhile and afterwards.

    A certificate authority is stopped and started on it, so that the files it has open are on it too: a real file
    system without room says ENOSPC wherever it is written to, in the middle of a transaction as well.
    """
    disk = _Disk(lab, node)
    with disk.stopped():
        disk.mount()
    disk.fill()


def give_back_disk(lab: Lab, node: str) -> None:
    """The storage as it was, with what was written meanwhile."""
    disk = _Disk(lab, node)
    with disk.stopped():
        disk.unmount()


class _Disk:
    def __init__(self, lab: Lab, node: str) -> None:
        self._lab, self._node = lab, lab.node(node)
        state = lab.live().state(node)
        volumes = lab.plan.nodes[node].volumes
        if NVRAM not in volumes or not state.pid:
            raise DaemonError("no storage that could be full", node=node, expected="a router that runs")
        self._beneath = state.identity.directory / volumes[NVRAM]
        self._process = Path(f"/proc/{state.pid}")
        self._inside = self._process / "root" / NVRAM.lstrip("/")

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Without the daemon that has files open there, which runs again afterwards whatever happens."""
        if self._process.exists() and self._node.daemons.get(_USES_IT):
            self._node.kill_daemon(_USES_IT, signal="TERM")
        try:
            yield
        finally:
            self._lab.start_daemons(self._node.name)

    def mount(self) -> None:
        used = sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in self._beneath.rglob("*") if path.is_file())
        mount_in(self._process / "ns" / "mnt", NVRAM, f"size={used + _ROOM},mode=0700")
        try:
            _mirror(self._beneath, self._inside)
            (self._inside / _FILLER).touch(0o600)  # by which it is known to be this disk
        except BaseException:
            unmount_in(self._process / "ns" / "mnt", NVRAM)
            raise

    def fill(self) -> None:
        handle = os.open(self._inside / _FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while os.write(handle, bytes(_PAGE)):
                pass
        except OSError:  # ENOSPC, which is what is wanted
            pass
        finally:
            os.close(handle)

    def unmount(self) -> None:
        """What could be written meanwhile (room that was freed) is kept. A node that was restarted has no such disk."""
        if not self._process.exists() or not (self._inside / _FILLER).exists():
            return
        (self._inside / _FILLER).unlink()
        _mirror(self._inside, self._beneath)
        unmount_in(self._process / "ns" / "mnt", NVRAM)


def _mirror(source: Path, target: Path) -> None:
    """Make `target` like `source`, each file whole or as it was."""
    wanted = {path.relative_to(source) for path in source.rglob("*")}
    for name in sorted(wanted):
        if (source / name).is_dir():
            (target / name).mkdir(mode=0o700, exist_ok=True)
            shutil.copystat(source / name, target / name)
            continue
        partial = target / f"{name}.partial"
        shutil.copy2(source / name, partial)
        partial.replace(target / name)
    for path in sorted(target.rglob("*"), reverse=True):
        if path.relative_to(target) not in wanted:
            path.rmdir() if path.is_dir() else path.unlink()
