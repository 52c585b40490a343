"""Taking the path of a link, so that every frame on it passes a `Wire`, and giving it back.

A link that goes through a node is taken there: its bridge is opened. Another link is cut in the lab's fabric: of a
LAN, between the bridge and one end's port; of a point-to-point link, by moving one end's interface into the fabric
and giving that node a new one. The end that is named keeps its interface, its addresses and its routes throughout.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from typing import TYPE_CHECKING

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded, NetworkFailure, SettingError
from testbed.network.claim import claimed, cut_names
from testbed.network.links import Wiring, be_silent, delete_interface, fabric_name, is_operational
from testbed.network.namespace import create_named, named_path, run_in_namespace
from testbed.network.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from testbed.plan import LinkPlan, Plan

__all__ = ["take_path"]

_OPERATIONAL_S = 2.0


@contextlib.contextmanager
def take_path(plan: Plan, namespaces: Mapping[str, Path], link: str, end: str) -> Iterator[Wire]:
    """A wire on a link while the context lasts; `forward` is away from the node `end`, one of the link's.

    Raises NetworkFailure if the path is taken already, SettingError if the link does not end there.
    """
    planned = plan.links[link]
    members = [item.node for item in planned.ends]
    if end not in members:
        raise SettingError(f"link '{link}' does not end at '{end}'", expected=f"one of {', '.join(members)}")
    wiring = Wiring(plan.lab, namespaces)
    through = [item.node for item in planned.through or ()]
    for node in (*members, *through):
        if node not in namespaces:
            raise NetworkFailure(f"cannot take the path of link '{link}'", node=node, seen="the node does not run")
    take = _through if planned.through else _lan if planned.kind == "lan" else _cut
    try:
        with (
            claimed(plan.lab, link),
            take(plan, wiring, planned, end) as (namespace, first, second),
            Wire(namespace, first, second) as wire,
        ):
            yield wire
    except (NetlinkError, OSError) as failure:
        raise NetworkFailure(f"cannot take the path of link '{link}'", seen=str(failure)) from failure


@contextlib.contextmanager
def _through(_plan: Plan, wiring: Wiring, link: LinkPlan, end: str) -> Iterator[tuple[Path, str, str]]:
    towards_first, towards_second = link.through or link.ends
    namespace = wiring.namespaces[towards_first.node]
    names = [towards_first.interface, towards_second.interface]
    if link.ends[0].node != end:
        names.reverse()

    def leave() -> None:
        with IPRoute() as netlink:
            for index in [socket.if_nametoindex(name) for name in names]:
                netlink.link("set", index=index, master=0)

    try:
        run_in_namespace(namespace, leave)
        yield namespace, names[0], names[1]
    finally:
        if namespace.exists():
            wiring.bridge_through(link)


@contextlib.contextmanager
def _lan(plan: Plan, _wiring: Wiring, link: LinkPlan, end: str) -> Iterator[tuple[Path, str, str]]:
    fabric = named_path(fabric_name(plan.lab))
    port = next(item.port for item in link.ends if item.node == end)
    near, far = cut_names(link.name)

    def cut() -> None:
        with IPRoute() as netlink:
            bridge, cable = socket.if_nametoindex(link.bridge), socket.if_nametoindex(port)
            netlink.link("add", kind="veth", ifname=near, mtu=link.mtu, peer={"ifname": far, "mtu": link.mtu})
            for name in (near, far, port):
                be_silent(name)
            netlink.link("set", index=socket.if_nametoindex(far), master=bridge, state="up")
            netlink.link("set", index=socket.if_nametoindex(near), state="up")
            netlink.link("set", index=cable, master=0)

    def mend() -> None:
        with IPRoute() as netlink, contextlib.suppress(OSError):  # gone with its node
            netlink.link(
                "set", index=socket.if_nametoindex(port), master=socket.if_nametoindex(link.bridge), state="up"
            )
        delete_interface(near)

    try:
        run_in_namespace(fabric, cut)
        _await_carriers((fabric, name) for name in (near, far, port))
        yield fabric, port, near
    finally:
        run_in_namespace(fabric, mend)


@contextlib.contextmanager
def _cut(plan: Plan, wiring: Wiring, link: LinkPlan, end: str) -> Iterator[tuple[Path, str, str]]:
    fabric = create_named(fabric_name(plan.lab))
    other = next(item for item in link.ends if item.node != end)
    there = wiring.namespaces[other.node]
    near, far = cut_names(link.name)

    def move_in(handle: int) -> None:
        with IPRoute() as netlink:
            index = socket.if_nametoindex(other.interface)
            netlink.link("set", index=index, net_ns_fd=handle, ifname=near)

    def join(handle: int) -> None:
        with IPRoute() as netlink:
            mtu = max([link.mtu, *(item.mtu for item in link.ends if item.mtu)])
            new = {"ifname": other.interface, "net_ns_fd": handle, "mtu": mtu, "address": other.mac}
            netlink.link("add", kind="veth", ifname=far, mtu=mtu, peer=new)
            for name in (near, far):
                be_silent(name)  # the fabric has no part in the talk on this line
                netlink.link("set", index=socket.if_nametoindex(name), state="up")

    def move_back(handle: int) -> None:
        delete_interface(far)
        with IPRoute() as netlink, contextlib.suppress(OSError):  # gone with the other node
            index = socket.if_nametoindex(near)
            netlink.link("set", index=index, net_ns_fd=handle, ifname=other.interface)

    def configure() -> None:
        if not there.exists():
            return  # the node has been stopped meanwhile
        wiring.configure(plan.nodes[other.node], plan.attachments_of(other.node))

    sides = [(wiring.namespaces[item.node], item.interface) for item in link.ends]
    with _open(fabric) as inside, _open(there) as outside:
        try:
            run_in_namespace(there, functools.partial(move_in, inside))
            run_in_namespace(fabric, functools.partial(join, outside))
            configure()
            _await_carriers(sides)
            yield fabric, near, far
        finally:
            run_in_namespace(fabric, functools.partial(move_back, outside))
            configure()
            _await_carriers(sides)


def _await_carriers(sides: Iterable[tuple[Path, str]]) -> None:
    """The kernel may take a second to believe in a carrier: `linkwatch_run_queue` in net/core/link_watch.c."""
    known = [side for side in sides if side[0].exists()]
    with contextlib.suppress(DeadlineExceeded):  # one that is down, or gone, will not be
        Deadline(_OPERATIONAL_S).until(lambda: all(is_operational(*side) for side in known), "the carrier", every=0.002)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
