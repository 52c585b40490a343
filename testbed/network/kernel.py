"""What the kernel can do for links, found out by trying in a namespace that ends with the question."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from testbed.network.namespace import run_in_new_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["has_netem", "kernel_features"]


def kernel_features() -> dict[str, tuple[bool, str]]:
    """For each feature whether the kernel has it, and what it answered. Needs root."""
    return run_in_new_namespace(_try_all)


@functools.cache
def has_netem() -> bool:
    """Whether the kernel has tc-netem(8). Needs root."""
    return kernel_features()["netem"][0]


def _try_all() -> dict[str, tuple[bool, str]]:
    with IPRoute() as netlink:
        netlink.link("add", kind="veth", ifname="a", peer={"ifname": "b"})
        index = netlink.link_lookup(ifname="a")[0]
        attempts: dict[str, Callable[[], object]] = {
            "veth": lambda: netlink.link("add", kind="veth", ifname="c", peer={"ifname": "d"}),
            "bridge": lambda: netlink.link("add", kind="bridge", ifname="e"),
            "vrf": lambda: netlink.link("add", kind="vrf", ifname="f", vrf_table=10),
            "netem": lambda: netlink.tc("add", "netem", index, handle="1:", delay=10),
        }
        return {feature: _try(attempt) for feature, attempt in attempts.items()}


def _try(attempt: Callable[[], object]) -> tuple[bool, str]:
    try:
        attempt()
    except NetlinkError as failure:
        return False, f"the kernel says no: {failure.args[-1]}"
    return True, "the kernel has it"
