"""Impairments by the kernel's own network emulator, tc-netem(8), where the kernel has it (CONFIG_NET_SCH_NETEM)."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from pyroute2 import IPRoute

from testbed.network.namespace import run_in_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["netem", "remove_netem"]

_HANDLE = "1:"


@contextlib.contextmanager
def netem(
    namespace: Path,
    interface: str,
    *,
    loss: float = 0.0,
    duplicate: float = 0.0,
    corrupt: float = 0.0,
    delay_ms: float = 0.0,
    jitter_ms: float = 0.0,
) -> Iterator[Callable[[], int]]:
    """What leaves an interface is lost, repeated, corrupted (percent of it) and delayed while the context lasts.

    Gives a function that says how many frames it has dropped. Raises NetlinkError if the kernel has no netem.
    """
    settings = {
        "loss": loss,
        "duplicate": duplicate,
        "prob_corrupt": corrupt,
        "delay": int(delay_ms * 1000),
        "jitter": int(jitter_ms * 1000),
        "limit": 10_000,  # frames that wait: enough for a gigabit and 100 ms
    }
    run_in_namespace(namespace, functools.partial(_add, interface, settings))
    try:
        yield lambda: run_in_namespace(namespace, functools.partial(_dropped, interface))
    finally:
        remove_netem(namespace, interface)


def remove_netem(namespace: Path, interface: str) -> None:
    """Of an interface that has it; nothing otherwise."""
    if namespace.exists():  # else it has gone with its node
        run_in_namespace(namespace, functools.partial(_remove, interface))


def _add(interface: str, settings: dict[str, float]) -> None:
    with IPRoute() as netlink:
        netlink.tc("add", "netem", netlink.link_lookup(ifname=interface)[0], handle=_HANDLE, **settings)


def _remove(interface: str) -> None:
    with IPRoute() as netlink:
        for index in netlink.link_lookup(ifname=interface):
            if any(item.get_attr("TCA_KIND") == "netem" for item in netlink.get_qdiscs(index=index)):
                netlink.tc("del", "netem", index, handle=_HANDLE)


def _dropped(interface: str) -> int:
    with IPRoute() as netlink:
        for index in netlink.link_lookup(ifname=interface):
            for discipline in netlink.get_qdiscs(index=index):
                if discipline.get_attr("TCA_KIND") == "netem":
                    return int(discipline.get_attr("TCA_STATS")["drop"])
    return 0
