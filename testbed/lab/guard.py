"""The clear-text guard of a gateway whose connections only its own swanctl.conf knows.

Those of a topology are rendered before the node has a link. What a user's own file protects is known when charon has
loaded it: then the same guard is made from what charon lists.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from testbed.daemons.charon import Charon, vici_socket
from testbed.device import ChildConfig, ConnectionConfig, IkeEnd
from testbed.errors import DaemonError
from testbed.render import render_guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.device import Device
    from testbed.runtime import NodeState, Runtime
    from testbed.topology.addressing import Prefix

__all__ = ["guard_loaded_connections", "loaded_selectors"]

_ANYWHERE = IkeEnd(ip_address("0.0.0.0"), "%any")  # noqa: S104 - nothing listens: a guard knows no peers


def guard_loaded_connections(runtime: Runtime, state: NodeState, device: Device) -> None:
    """Replace a gateway's guard by one for every connection that its charon has loaded. Raises DaemonError."""
    loaded = list(loaded_selectors(Charon(state.name, vici_socket(state)).connections()))
    connections = [
        _as_connection(interface.name, name, local, remote)
        for name, local, remote in loaded
        for interface in device.interfaces
        if not any(_overlap(address.network, prefix) for address in interface.addresses for prefix in local)
    ]
    text = render_guard(replace(device, connections=tuple(connections), drop_private=False))
    fresh = b"table inet testbed_guard { }\ndelete table inet testbed_guard\n"
    done = runtime.execute(state, ["nft", "-f", "-"], stdin=fresh + text)
    if done.exit_code != 0:
        raise DaemonError("nft takes no guard", node=state.name, seen=done.stderr.decode(errors="replace").strip())


def loaded_selectors(connections: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Prefix, ...], tuple[Prefix, ...]]]:
    """Name, local and remote prefixes of each CHILD SA to be, from VICI's list-conn. `dynamic` ones have none yet."""
    for connection in connections.values():
        for name, child in connection.get("children", {}).items():
            local, remote = (tuple(_prefixes(child.get(key, ()))) for key in ("local-ts", "remote-ts"))
            if local and remote:
                yield name, local, remote


def _prefixes(selectors: list[str]) -> Iterator[Prefix]:
    for selector in selectors:
        try:
            yield ip_network(selector.split("[")[0])  # without protocol and port
        except ValueError:
            continue  # dynamic, or a range


def _as_connection(
    interface: str, name: str, local: tuple[Prefix, ...], remote: tuple[Prefix, ...]
) -> ConnectionConfig:
    child = ChildConfig(name, local, remote, (), None, "none")
    return ConnectionConfig(
        name=name,
        version=2,
        aggressive=False,
        interface=interface,
        local=_ANYWHERE,
        remote=_ANYWHERE,
        remote_node="",
        proposals=(),
        lifetime_s=None,
        dpd_delay_s=None,
        initiator=False,
        children=(child,),
    )


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and one.overlaps(other)
