"""IPv6 behind both routers, for as long as a matrix lasts: no lab needs to have it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from testbed.network.namespace import run_in_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.proof import Scene
    from testbed.proof.scene import End

__all__ = ["InnerIpv6"]

# Of RFC 4193, with a global ID that no lab of ours has.
NEAR, FAR = IPv6Network("fd6d:6174:7269:1::/64"), IPv6Network("fd6d:6174:7269:2::/64")
_NO_DAD = 0x02  # IFA_F_NODAD: the address is usable at once


@dataclass(frozen=True)
class _Given:
    """An address that an interface has meanwhile, and a route by way of a gateway."""

    node: str
    namespace: Path
    interface: str
    address: IPv6Address
    route: tuple[IPv6Network, IPv6Address] | None = None

    def give(self) -> None:
        with IPRoute() as netlink:
            index = netlink.link_lookup(ifname=self.interface)[0]
            netlink.addr("add", index=index, address=str(self.address), prefixlen=64, flags=_NO_DAD)
            if self.route:
                netlink.route("add", dst=str(self.route[0]), gateway=str(self.route[1]), oif=index)

    def take(self) -> None:
        with IPRoute() as netlink, contextlib.suppress(NetlinkError, IndexError):
            index = netlink.link_lookup(ifname=self.interface)[0]
            if self.route:
                with contextlib.suppress(NetlinkError):
                    netlink.route("del", dst=str(self.route[0]), gateway=str(self.route[1]), oif=index)
            netlink.addr("delete", index=index, address=str(self.address), prefixlen=64)


class InnerIpv6:
    """Addresses and routes for the hosts of a scene and their routers. A context manager; `lacking` if it cannot be."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.lacking: str | None = None
        self._stack = contextlib.ExitStack()

    @staticmethod
    def selector(*, near: bool) -> str:
        return str(NEAR if near else FAR)

    @staticmethod
    def host(*, near: bool) -> IPv6Address:
        return (NEAR if near else FAR)[0x10]

    def undo(self) -> list[list[str]]:
        """What takes the addresses back, and their routes with them: each a node and a command."""
        with contextlib.suppress(LookupError):
            return [
                [given.node, "ip", "-6", "address", "del", f"{given.address}/64", "dev", given.interface]
                for given in self._all()
            ]
        return []

    def _all(self) -> Iterator[_Given]:
        for end, own, peer in ((self._scene.near, NEAR, FAR), (self._scene.far, FAR, NEAR)):
            yield from self._at(end, own, peer)

    def __enter__(self) -> InnerIpv6:
        with contextlib.ExitStack() as stack:
            try:
                for given in self._all():
                    stack.callback(run_in_namespace, given.namespace, given.take)
                    run_in_namespace(given.namespace, given.give)
            except (NetlinkError, LookupError) as failure:
                self.lacking = f"the nodes take no IPv6 addresses: {failure}"
                return self
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _at(self, end: End, own: IPv6Network, peer: IPv6Network) -> Iterator[_Given]:
        """The router's address, and the host's with its route to the other side."""
        spaces = self._scene.live.state
        inside = {link.name: at.interface for link, at in self._scene.lab.plan.attachments_of(end.node)}
        for link, at in self._scene.lab.plan.attachments_of(end.host):
            if link.name in inside and end.host != end.node:
                yield _Given(end.node, spaces(end.node).namespace, inside[link.name], own[1])
                yield _Given(end.host, spaces(end.host).namespace, at.interface, own[0x10], (peer, own[1]))
                return
        raise LookupError(f"behind {end.node} is no host on a link of its own")
