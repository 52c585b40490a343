"""Links: veth pairs whose both ends are born in their final namespaces, and LAN bridges in the lab's fabric.

One RTM_NEWLINK message carries both ends with their namespaces, names, addresses and MTU, so no interface is ever
visible anywhere else, and a killed process cannot leave half a link behind.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import functools
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from testbed.errors import NetworkFailure
from testbed.network.claim import CUT, cut_names, is_claimed
from testbed.network.namespace import create_named, named_path, remove_named, run_in_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from testbed.plan import Attachment, LinkPlan, NodePlan, Plan
    from testbed.runtime import NodeState

__all__ = ["Wiring", "be_silent", "delete_interface", "fabric_name", "is_operational", "reconcile"]

_SIOCETHTOOL, _SIOCGIFHWADDR = 0x8946, 0x8927
_SET_TX_CHECKSUM, _SET_TSO, _SET_GSO, _SET_GRO = 0x17, 0x1F, 0x24, 0x2C
_IFA_F_NODAD = 0x02
_FABRIC = ""  # stands for the fabric where nodes stand by name


def fabric_name(lab: str) -> str:
    """The name of the namespace that holds a lab's bridges. No lab name holds a dot, so it is unambiguous."""
    return f"testbed.{lab}"


class Wiring:
    """Makes, checks and repairs the links of one lab. `namespaces` maps a node's name to its namespace."""

    def __init__(self, lab: str, namespaces: Mapping[str, Path]) -> None:
        self.lab = lab
        self.namespaces = dict(namespaces)

    def connect(self, links: Iterable[LinkPlan], *, fresh: Collection[str] = ()) -> list[str]:
        """Make what does not stand of all the lab's links, and return the names of the links touched.

        A link whose other node does not run is left for later. Of a pair of which only a part stands, that part is
        removed first; `fresh` names nodes that are known to have no interface. Raises NetworkFailure.
        """
        try:
            return self._connect(list(links), fresh)
        except NetlinkError as failure:
            raise NetworkFailure("cannot wire the lab", seen=str(failure)) from failure

    def _connect(self, wanted: list[LinkPlan], fresh: Collection[str]) -> list[str]:
        if any(link.kind == "lan" for link in wanted):
            create_named(fabric_name(self.lab))
        taken = {link.name for link in wanted if is_claimed(self.lab, link.name)}
        self._mend_cuts(kept={name for link in taken for name in cut_names(link)})
        known = {node: {} if node in fresh else _interfaces(path) for node, path in self.namespaces.items()}
        known[_FABRIC] = _interfaces(named_path(fabric_name(self.lab)))
        made: list[str] = []
        with IPRoute() as netlink, self._open() as handles:
            for link in wanted:
                missing = self._missing_pairs(link, known)
                for pair in missing:
                    self._remove_rest(pair, known)
                    self._create(netlink, link, pair, handles)
                if missing:
                    made.append(link.name)
        self._raise_bridges(wanted, taken - set(made))
        return made

    def _mend_cuts(self, kept: Collection[str]) -> None:
        """Remove what a process that had taken a path, and was killed, has left: see `testbed.network.path`.

        Paths that a living process has taken are its own; it gives them back.
        """

        def mend() -> None:
            for name in _indices():
                if name.startswith(CUT) and name not in kept:
                    delete_interface(name)

        fabric = named_path(fabric_name(self.lab))
        if fabric.exists():
            run_in_namespace(fabric, mend)

    def configure(self, node: NodePlan, ends: Iterable[tuple[LinkPlan, Attachment]]) -> None:
        """Give a node its addresses and routes and raise its interfaces. Doing it twice changes nothing."""
        attachments = list(ends)
        try:
            run_in_namespace(self.namespaces[node.name], lambda: _configure(self.lab, node, attachments))
        except NetlinkError as failure:
            raise NetworkFailure("cannot configure the interfaces", node=node.name, seen=str(failure)) from failure

    def remains_of(self, node: str, ends: Iterable[tuple[LinkPlan, Attachment]]) -> list[str]:
        """The links of a stopped node whose other side stands yet: the kernel takes a namespace apart in its own time.

        Until then the node's addresses answer. A link whose path somebody has taken is not looked at: its other side
        is another interface meanwhile.
        """
        found = []
        for link, end in ends:
            if is_claimed(self.lab, link.name):
                continue
            if link.kind == "lan":
                stands = end.port in _interfaces(named_path(fabric_name(self.lab)))
            else:
                pair = next(pair for pair in link.pairs if end in pair)
                other = next(item for item in pair if item.node != node)
                there = self.namespaces.get(other.node)
                stands = there is not None and other.interface in _interfaces(there)
            found += [link.name] if stands else []
        return found

    def exists(self) -> bool:
        """Whether there is a fabric of this lab."""
        return named_path(fabric_name(self.lab)).exists()

    def remove(self) -> None:
        """Remove the fabric, and with it every LAN. Point-to-point links end with their nodes."""
        remove_named(fabric_name(self.lab))

    @contextlib.contextmanager
    def _open(self) -> Iterator[dict[str, int]]:
        handles: dict[str, int] = {}
        try:
            for node, path in self.namespaces.items():
                handles[node] = _open_namespace(node, path)
            fabric = named_path(fabric_name(self.lab))
            if fabric.exists():
                handles[_FABRIC] = os.open(fabric, os.O_RDONLY | os.O_CLOEXEC)
            yield handles
        finally:
            for handle in handles.values():
                os.close(handle)

    def _missing_pairs(
        self, link: LinkPlan, known: Mapping[str, Mapping[str, str]]
    ) -> list[tuple[Attachment, Attachment | None]]:
        """The veth pairs that do not stand; the second end is None where the pair leads to a bridge."""
        here = [end for end in link.ends if end.node in self.namespaces]
        if link.kind == "point-to-point":
            return [
                pair
                for pair in link.pairs
                if all(end.node in self.namespaces for end in pair)  # else the other node is stopped
                and not all(known[end.node].get(end.interface) == end.mac for end in pair)
            ]
        return [
            (end, None)
            for end in here
            if known[end.node].get(end.interface) != end.mac or end.port not in known[_FABRIC]
        ]

    def _remove_rest(self, pair: tuple[Attachment, Attachment | None], known: Mapping[str, Mapping[str, str]]) -> None:
        for end in pair:
            if end is not None and end.interface in known[end.node]:
                run_in_namespace(self.namespaces[end.node], functools.partial(delete_interface, end.interface))
        if pair[1] is None and pair[0].port in known[_FABRIC]:
            run_in_namespace(named_path(fabric_name(self.lab)), lambda: delete_interface(pair[0].port))

    def _create(
        self,
        netlink: IPRoute,
        link: LinkPlan,
        pair: tuple[Attachment, Attachment | None],
        handles: Mapping[str, int],
    ) -> None:
        one, other = pair
        far: dict[str, Any]
        if other is None:
            far = {"ifname": one.port, "net_ns_fd": handles[_FABRIC], "mtu": link.mtu}
        else:
            far = {
                "ifname": other.interface,
                "net_ns_fd": handles[other.node],
                "mtu": link.mtu,
                "address": other.mac,
            }
        try:
            netlink.link(
                "add",
                kind="veth",
                ifname=one.interface,
                net_ns_fd=handles[one.node],
                address=one.mac,
                mtu=link.mtu,
                peer=far,
            )
        except NetlinkError as failure:
            ends = " and ".join(f"{end.node}:{end.interface}" for end in link.ends)
            raise NetworkFailure(f"cannot make link '{link.name}' between {ends}", seen=str(failure)) from failure

    def _raise_bridges(self, links: list[LinkPlan], taken: Collection[str]) -> None:
        """But for those of paths that somebody has taken."""
        lans = [link for link in links if link.kind == "lan"]
        if lans:
            run_in_namespace(named_path(fabric_name(self.lab)), lambda: _lans(self.lab, lans, taken))
        for link in links:
            if link.through is not None and link.through[0].node in self.namespaces and link.name not in taken:
                self.bridge_through(link)

    def bridge_through(self, link: LinkPlan) -> None:
        """Join both sides of a link in the node that it goes through; so it stands unless somebody takes the path."""
        if link.through is None:
            return
        ports = [end.interface for end in link.through]

        def join() -> None:
            with IPRoute() as netlink:
                index = _indices()
                for port in ports:
                    if port in index:  # that of a stopped node is gone with it
                        with contextlib.suppress(OSError):
                            _offloads_off(port)
                            be_silent(port)
                _bridge(netlink, index, self.lab, link, ports, silent=True)

        run_in_namespace(self.namespaces[link.through[0].node], join)


def _open_namespace(node: str, path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as failure:
        raise NetworkFailure("the node's namespace is gone", node=node, seen=failure.strerror) from failure


def _interfaces(path: Path) -> dict[str, str]:
    """Interface names of a namespace with the hardware address of each, by ioctl: a dump costs a hundred times that."""
    if not path.exists():
        return {}
    return run_in_namespace(path, lambda: {name: _hardware_address(name) for _, name in socket.if_nameindex()})


def _hardware_address(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            answer = fcntl.ioctl(handle, _SIOCGIFHWADDR, struct.pack("16s24x", name.encode()))
        except OSError:  # gone since it was listed
            return ""
    return answer[18:24].hex(":")


def _indices() -> dict[str, int]:
    return {name: index for index, name in socket.if_nameindex()}


def delete_interface(name: str) -> None:
    """In the caller's namespace; nothing happens if there is none of that name."""
    with IPRoute() as netlink, _gone(), contextlib.suppress(OSError):
        netlink.link("del", index=socket.if_nametoindex(name))


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """The kernel takes a dead namespace apart in its own time: an interface may vanish between look-up and use."""
    try:
        yield
    except NetlinkError as failure:
        if failure.code != errno.ENODEV:
            raise


def is_operational(namespace: Path, interface: str) -> bool:
    """Whether an interface is up, and the kernel sends what it is given (RFC 2863, ifOperStatus)."""

    def look() -> bool:
        with IPRoute() as netlink, _gone():
            index = _indices().get(interface)
            return index is not None and netlink.get_links(index)[0].get_attr("IFLA_OPERSTATE") == "UP"
        return False

    return run_in_namespace(namespace, look)


def _lans(lab: str, lans: list[LinkPlan], taken: Collection[str]) -> None:
    """A bridge for each LAN, and none for a LAN that the topology no longer has."""
    with IPRoute() as netlink:
        index = _indices()
        planned = {lan.bridge for lan in lans} | {end.port for lan in lans for end in lan.ends}
        for name in index.keys() - planned - {"lo"}:
            if not name.startswith(CUT):  # of a path that is taken: the others are mended already
                netlink.link("del", index=index[name])
        for lan in (lan for lan in lans if lan.name not in taken):
            _bridge(netlink, index, lab, lan, [end.port for end in lan.ends])


def be_silent(interface: str) -> None:
    """Let the kernel send nothing of its own there: no router solicitation, no multicast report."""
    Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("1")


def _bridge(
    netlink: IPRoute, index: dict[str, int], lab: str, link: LinkPlan, ports: Iterable[str], *, silent: bool = False
) -> None:
    """A bridge that forwards at once: no spanning tree, no learning delay, no multicast snooping."""
    if link.bridge not in index:
        netlink.link("add", kind="bridge", ifname=link.bridge, br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0)
        index[link.bridge] = socket.if_nametoindex(link.bridge)
    if silent:
        be_silent(link.bridge)
    netlink.link("set", index=index[link.bridge], state="up", mtu=link.mtu, ifalias=f"testbed {lab} {link.name}")
    for port in ports:
        if port in index:  # that of a stopped node is gone with it
            with _gone():
                netlink.link("set", index=index[port], master=index[link.bridge], state="up")


def _configure(lab: str, node: NodePlan, attachments: list[tuple[LinkPlan, Attachment]]) -> None:
    with IPRoute() as netlink:
        index = _indices()
        netlink.link("set", index=index["lo"], state="up")
        for address in node.loopbacks:
            _add_address(netlink, index["lo"], address)
        for link, end in attachments:
            if end.interface not in index:
                continue  # the node at the other end is stopped
            _offloads_off(end.interface)
            settings = {"state": "up" if end.enabled else "down", **({"mtu": end.mtu} if end.mtu else {})}
            netlink.link("set", index=index[end.interface], ifalias=f"testbed {lab} {link.name}", **settings)
            for address in end.addresses:
                _add_address(netlink, index[end.interface], address)
        _tunnels(netlink, node, index)
        for route in node.routes:
            with _already_there(), _unreachable_while_stopped(node, index, attachments):
                netlink.route("add", **_route(*route))


def _tunnels(netlink: IPRoute, node: NodePlan, index: dict[str, int]) -> None:
    """XFRM interfaces, their addresses, and the routes over them. Source: include/uapi/linux/if_link.h, IFLA_XFRM_*."""
    for tunnel in node.tunnels:
        if tunnel.source not in index:
            continue  # the node at the other end is stopped
        if tunnel.name not in index:
            carrier = index[tunnel.source]
            netlink.link("add", ifname=tunnel.name, kind="xfrm", xfrm_link=carrier, xfrm_if_id=tunnel.if_id)
            index[tunnel.name] = socket.if_nametoindex(tunnel.name)
        settings = {"state": "up" if tunnel.enabled else "down", **({"mtu": tunnel.mtu} if tunnel.mtu else {})}
        netlink.link("set", index=index[tunnel.name], **settings)
        for address in tunnel.addresses:
            _add_address(netlink, index[tunnel.name], address)
    for prefix, name in node.tunnel_routes:
        if name in index:
            with _already_there(), _unreachable_while_stopped(node, index, []):
                netlink.route("add", dst=str(prefix), oif=index[name], family=_family(prefix.version))


def reconcile(node: NodeState, plans: tuple[Plan, Plan]) -> None:
    """Give a running node the addresses, states and routes of the second plan in place of those of the first.

    What neither of them knows is left alone. Raises NetworkFailure.
    """
    before, after = (plan.nodes[node.name] for plan in plans)
    ends = [plan.attachments_of(node.name) for plan in plans]
    try:
        run_in_namespace(node.namespace, lambda: _reconcile(plans[1].lab, (before, after), (ends[0], ends[1])))
    except NetlinkError as failure:
        raise NetworkFailure("cannot change the interfaces", node=node.name, seen=str(failure)) from failure


def _reconcile(
    lab: str,
    nodes: tuple[NodePlan, NodePlan],
    ends: tuple[list[tuple[LinkPlan, Attachment]], list[tuple[LinkPlan, Attachment]]],
) -> None:
    before, after = nodes
    kept = {(end.interface, address) for _, end in ends[1] for address in end.addresses}
    kept |= {("lo", address) for address in after.loopbacks}
    old = [("lo", address) for address in before.loopbacks]
    old += [(end.interface, address) for _, end in ends[0] for address in end.addresses]
    with IPRoute() as netlink:
        index = _indices()
        for route in before.routes:
            if route not in after.routes:
                _undo(netlink.route, **_route(*route))
        for prefix, name in before.tunnel_routes:
            if (prefix, name) not in after.tunnel_routes and name in index:
                _undo(netlink.route, dst=str(prefix), oif=index[name], family=_family(prefix.version))
        for tunnel in before.tunnels:
            if tunnel not in after.tunnels and tunnel.name in index:  # made anew, if it only changed
                _undo(netlink.link, index=index.pop(tunnel.name))
        for interface, address in old:
            if (interface, address) not in kept and interface in index:
                length = address.network.prefixlen
                _undo(netlink.addr, index=index[interface], address=str(address.ip), prefixlen=length)
    _configure(lab, after, ends[1])


def _route(prefix: Any, gateway: Any, metric: int) -> dict[str, Any]:
    """The kernel holds several routes to one prefix if their metrics differ, and takes the lowest."""
    more = {"priority": metric} if metric else {}
    return {"dst": str(prefix), "gateway": str(gateway), "family": _family(prefix.version), **more}


def _undo(command: Callable[..., object], **arguments: Any) -> None:
    """Take away what may have gone by itself, as routes do with the interface that they lead out of."""
    try:
        command("del", **arguments)
    except NetlinkError as failure:
        if failure.code not in (errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENETUNREACH):
            raise


def _add_address(netlink: IPRoute, index: int, address: Any) -> None:
    with _already_there():
        flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
        netlink.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)


@contextlib.contextmanager
def _already_there() -> Iterator[None]:
    try:
        yield
    except NetlinkError as failure:
        if failure.code != errno.EEXIST:
            raise


@contextlib.contextmanager
def _unreachable_while_stopped(
    node: NodePlan, index: Mapping[str, int], attachments: list[tuple[LinkPlan, Attachment]]
) -> Iterator[None]:
    """A route over a link whose other node is stopped has to wait until that node starts.

    So has a router's over an interface that is shut down, or to a next hop that no interface leads to (yet).
    """
    try:
        yield
    except NetlinkError as failure:
        complete = all(end.interface in index for _, end in attachments) and node.startup is None
        if complete or failure.code not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            raise


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def _offloads_off(interface: str) -> None:
    """Checksums are computed and segments cut by the sender, so what is captured is what a wire would carry.

    veth hands over packets with partial checksums and of up to 64 KiB otherwise, and a raw receiver or an on-path
    forwarder then drops or mangles them. Source: SIOCETHTOOL, include/uapi/linux/ethtool.h.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for command in (_SET_TX_CHECKSUM, _SET_TSO, _SET_GSO, _SET_GRO):
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP16x", interface.encode(), value.buffer_info()[0])
            with contextlib.suppress(OSError):  # a driver need not know all of them
                fcntl.ioctl(handle, _SIOCETHTOOL, request)
