"""From devices to a plan."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from testbed.errors import PrerequisiteError
from testbed.plan.model import Attachment, DaemonPlan, LinkPlan, NodeFile, NodePlan, Plan, TunnelPlan
from testbed.render import CA_SETTINGS, CONNECTIONS, TRUSTPOINTS, render_files
from testbed.topology import split_end, through_interface

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.device import ConnectionConfig, Device
    from testbed.plan.model import DataPlane
    from testbed.topology import LoadedTopology

__all__ = ["HOOKS", "build_plan", "without_what_cannot_be_carried"]

HOOKS = "/etc/testbed/hooks"
DAEMONS = "/etc/testbed/daemons"  # read by images/bin/start
LOGS = "/var/log/testbed"
NVRAM = "/var/lib/testbed"
_CHANGING = (DAEMONS, TRUSTPOINTS, CONNECTIONS)

# What each role's programs were measured to need, and nothing else.
_CAPABILITIES = {
    "router": ("NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"),
    "host": ("NET_RAW",),
    "fileserver": ("NET_RAW", "SETGID", "SETUID"),
}


def build_plan(loaded: LoadedTopology, devices: Mapping[str, Device], dataplane: DataPlane) -> Plan:
    """The plan of a lab. Pure: the same topology and data plane always give the same plan."""
    _refuse_what_the_dataplane_cannot(devices, dataplane)
    hosts = _hosts(loaded, devices)
    return Plan(
        lab=loaded.name,
        dataplane=dataplane,
        nodes={
            name: _node(device, dataplane, hosts, loaded.startup_digest(name) if device.is_ios else None)
            for name, device in devices.items()
        },
        links=dict(_links(loaded, devices)),
        tunnels=tuple(_tunnels(devices)),
    )


def _refuse_what_the_dataplane_cannot(devices: Mapping[str, Device], dataplane: DataPlane) -> None:
    """Raise PrerequisiteError for what kernel-libipsec would accept and then not carry."""
    for device in devices.values():
        for connection in device.connections:
            why = cannot_carry(connection, dataplane)
            if why is not None:
                raise PrerequisiteError(
                    f"connection '{connection.name}' {why[0]} on the user-space data plane",
                    node=device.name,
                    expected=why[1],
                    hint="use a kernel with ESP, or another configuration",
                )


def cannot_carry(connection: ConnectionConfig, dataplane: DataPlane) -> tuple[str, str] | None:
    """What of a connection a data plane cannot do, and what it could do instead; None if it does all of it."""
    if dataplane == "kernel":
        return None
    if connection.if_id is not None:
        return "protects a tunnel interface, which it cannot", "a crypto map: kernel-libipsec has no XFRM interfaces"
    for child in connection.children:
        if child.transport:
            return "cannot use transport mode", "tunnel mode: kernel-libipsec knows no other"
        for selector in (*child.local_selectors, *child.remote_selectors):
            if selector.prefixlen == 0:
                told = "selectors longer than /0: its one TUN device would take the IKE traffic as well"
                return f"cannot protect {selector}", told
    return None


def without_what_cannot_be_carried(device: Device, dataplane: DataPlane) -> tuple[Device, list[str]]:
    """The device without the connections that the data plane cannot carry, and why each is left out."""
    told = [
        f"{connection.origin or connection.name} {why[0]} on the user-space data plane: expected {why[1]}"
        for connection in device.connections
        if (why := cannot_carry(connection, dataplane)) is not None
    ]
    kept = tuple(item for item in device.connections if cannot_carry(item, dataplane) is None)
    return (replace(device, connections=kept) if told else device), told


def _node(device: Device, dataplane: DataPlane, hosts: Mapping[str, str], startup: str | None) -> NodePlan:
    files = {path: NodeFile(file.content, file.mode) for path, file in render_files(device, dataplane).items()}
    daemons = tuple(_daemons(device))
    files |= {f"{DAEMONS}/{daemon.name}": NodeFile("\n".join((*daemon.argv, "")).encode()) for daemon in daemons}
    files |= {f"{HOOKS}/{name}": NodeFile(script, 0o755) for name, script in device.hooks.items()}
    needs_tun = device.runs_ike and dataplane == "userspace"
    return NodePlan(
        name=device.name,
        hostname=device.hostname,
        image=device.image or ("ca" if device.certificate_server else device.role),
        capabilities=_CAPABILITIES[device.role],
        devices=("/dev/net/tun",) if needs_tun else (),
        sysctls=_sysctls(device),
        hosts=hosts,
        files=files,
        loopbacks=device.loopbacks,
        routes=tuple((route.destination, route.gateway, route.metric) for route in device.routes),
        daemons=daemons,
        hooks=tuple(device.hooks),
        clock=device.clock,
        volumes=dict(_volumes(device)),
        tunnels=device.tunnels if dataplane == "kernel" else (),
        tunnel_routes=device.tunnel_routes if dataplane == "kernel" else (),
        folders=_CHANGING if device.is_ios else (),
        startup=startup,
        starts_after=device.ntp.nts_peers if device.ntp else (),
    )


def _volumes(device: Device) -> Iterator[tuple[str, str]]:
    """What of a node outlives its container, as a router's NVRAM does."""
    if device.is_ios or device.certificate_server or device.trustpoints or (device.ntp and device.ntp.nts_names):
        yield NVRAM, "nvram"
    if device.is_ios or device.trustpoints:
        for folder in ("private", "x509", "x509ca"):
            yield f"/etc/swanctl/{folder}", f"nvram-{folder}"


def _sysctls(device: Device) -> dict[str, str]:
    forward = "1" if device.forwards else "0"
    settings = {
        "net.ipv4.ip_forward": forward,
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "0",
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv6.conf.all.disable_ipv6": "0",
        "net.ipv6.conf.default.disable_ipv6": "0",
        "net.ipv6.conf.all.forwarding": forward,
        "net.ipv6.conf.default.accept_dad": "0",  # addresses are planned: no wait for duplicates
        "net.ipv6.conf.default.accept_ra": "0",
    }
    if not device.forwards:
        settings.pop("net.ipv6.conf.all.forwarding")
    return settings


def _daemons(device: Device) -> Iterator[DaemonPlan]:
    if device.ntp is not None:
        log, ready = f"{LOGS}/chronyd.out", "/run/chrony/chronyd.sock"
        yield DaemonPlan("chronyd", ("/usr/lib/testbed/chronyd",), log, ready)
    if device.certificate_server is not None:
        yield DaemonPlan("testbed-ca", ("/usr/lib/testbed/testbed-ca", CA_SETTINGS), f"{LOGS}/testbed-ca.out")
    if device.is_ios or device.trustpoints:
        yield DaemonPlan("enrold", ("/usr/lib/testbed/enrold",), f"{LOGS}/enrold.out", "/run/enrold.ready")
    if device.runs_ike:
        yield DaemonPlan("charon", ("/usr/sbin/charon-systemd",), f"{LOGS}/charon.log")
    if device.shares:
        argv = ("/usr/sbin/smbd", "--foreground", "--no-process-group", "--log-basename", LOGS)
        yield DaemonPlan("smbd", argv, f"{LOGS}/smbd.log")


def _hosts(loaded: LoadedTopology, devices: Mapping[str, Device]) -> dict[str, str]:
    """Every node's name with its first address, for /etc/hosts of each node."""
    hosts: dict[str, str] = {}
    for name in devices:
        for _, address in loaded.addressing.of_node(name):
            hosts.setdefault(name, str(address.ip))
    return hosts


def _links(loaded: LoadedTopology, devices: Mapping[str, Device]) -> Iterator[tuple[str, LinkPlan]]:
    for name, link in loaded.topology.links.items():
        ends = tuple(_attachment(loaded, end, devices, link.mtu) for end in link.ends)
        through = None
        if link.through is not None:
            towards = [through_interface(end.node) for end in ends]
            through = (_tap(link.through, towards[0]), _tap(link.through, towards[1]))
        yield name, LinkPlan(name, "point-to-point" if len(ends) == 2 else "lan", link.mtu, ends, through)


def _tap(node: str, interface: str) -> Attachment:
    return Attachment(node, interface, _mac(f"{node}:{interface}"), ())


def _mac(end: str) -> str:
    """Locally administered, unicast, and the same at every run, so captures of two runs can be compared."""
    octets = hashlib.sha256(end.encode()).digest()[:5]
    return ":".join(f"{octet:02x}" for octet in (0x02, *octets))


def _attachment(loaded: LoadedTopology, end: str, devices: Mapping[str, Device], mtu: int) -> Attachment:
    node, interface = split_end(end)
    config = next(item for item in devices[node].interfaces if item.name == interface)
    own_mtu = config.mtu if config.mtu != mtu else None
    return Attachment(
        node, interface, _mac(end), loaded.addressing.interfaces[node, interface], config.enabled, own_mtu
    )


def _tunnels(devices: Mapping[str, Device]) -> Iterator[TunnelPlan]:
    for device in devices.values():
        for connection in device.connections:
            start = connection.children[0].start
            by_itself = device.is_ios and start == "trap" and bool(connection.remote_node)
            if connection.initiator and (start == "none" or by_itself):
                children = tuple(child.name for child in connection.children)
                yield TunnelPlan(connection.name, device.name, connection.remote_node, children, by_itself)
