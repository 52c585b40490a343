"""The configuration files of a node: one template each, rendered from its device."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jinja2

from testbed.render.certificates import CA_SETTINGS, render_certificate_server, render_trustpoints
from testbed.render.content import RenderedFile
from testbed.render.escape import (
    chrony_key,
    guard_ports,
    nft_address,
    nft_comment,
    nft_entry,
    nft_string,
    samba_value,
    selectors,
    strongswan_secret,
    strongswan_string,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from testbed.device import Device, NtpConfig

__all__ = ["NTS_PEERS", "RenderedFile", "render_files", "render_guard"]

# All that strongSwan 6.0 needs for the proposals the topology format knows, X.509, revocation, EAP and XAUTH.
_PLUGINS = (
    *(
        "random",
        "nonce",
        "openssl",
        "pem",
        "pkcs1",
        "pkcs7",
        "pkcs8",
        "pkcs12",
        "x509",
        "pubkey",
        "constraints",
    ),
    *("revocation", "curl", "cmac", "xcbc", "kdf", "kernel-libipsec", "kernel-netlink", "resolve", "attr"),
    *("socket-default", "vici", "updown", "counters"),
    *("eap-identity", "eap-mschapv2", "eap-md5", "eap-tls", "eap-ttls", "xauth-generic"),
)
_TOOL_PLUGINS = ("random", "openssl", "pem", "pkcs1", "pkcs8", "pkcs12", "x509", "pubkey")
_STRONGSWAN, _USER_STRONGSWAN = "/etc/strongswan.conf", "/etc/strongswan.user.conf"
_SWANCTL = "/etc/swanctl/swanctl.conf"
_LOGS = "/var/log/testbed"
NTS_PEERS = "/etc/testbed/nts"
CONNECTIONS = "/etc/testbed/connections"  # read by images/bin/load-connections


def render_files(device: Device, dataplane: Literal["kernel", "userspace"]) -> dict[str, RenderedFile]:
    """Every file of a node by absolute path; the user's own files win over rendered ones."""
    files = dict(_rendered(device, dataplane))
    for path, raw in device.files.items():
        target = _USER_STRONGSWAN if path == _STRONGSWAN else path
        files[target] = RenderedFile(raw.content, raw.mode)
    for share, content in device.shares.items():
        for name, data in content.files.items():
            files[f"/srv/{share}/{name}"] = RenderedFile(data)
    return files


def render_guard(device: Device) -> bytes:
    """The packet filter of a gateway alone: see nftables.conf.j2."""
    return _render("nftables.conf.j2", device=device)


def _rendered(device: Device, dataplane: str) -> Iterator[tuple[str, RenderedFile]]:
    if device.runs_ike:
        yield _STRONGSWAN, RenderedFile(_strongswan(device, dataplane))
        yield _SWANCTL, RenderedFile(_render("swanctl.conf.j2", device=device), 0o600)
    if device.trustpoints:
        yield from render_trustpoints(device)
        for connection in device.connections:
            if connection.trustpoint is not None:
                path = f"{CONNECTIONS}/{connection.trustpoint}/{connection.name}.conf"
                yield path, RenderedFile(_render("pubkey.conf.j2", device=device, connection=connection))
    if device.certificate_server is not None or device.is_ios:
        server = device.certificate_server
        yield CA_SETTINGS, RenderedFile(render_certificate_server(server) if server else b"", 0o600)
    if device.connections or device.drop_private or device.is_ios:
        yield "/etc/testbed/nftables.conf", RenderedFile(render_guard(device))
    if device.clock is not None:
        yield "/etc/ld.so.preload", RenderedFile(b"/usr/lib/testbed/vclock.so\n")
    if device.ntp is not None:
        yield from _chrony(device, device.ntp)
    if device.shares:
        yield (
            "/etc/samba/smb.conf",
            RenderedFile(_render("smb.conf.j2", device=device, log=f"{_LOGS}/smbd.log")),
        )


def _chrony(device: Device, ntp: NtpConfig) -> Iterator[tuple[str, RenderedFile]]:
    yield "/etc/chrony/chrony.conf", RenderedFile(_render("chrony.conf.j2", device=device, ntp=ntp))
    if device.is_ios:
        yield "/etc/chrony/sources.d/testbed.sources", RenderedFile(_render("chrony.sources.j2", ntp=ntp))
    if ntp.keys or device.is_ios:
        lines = [chrony_key(key.number, key.type, key.secret.reveal()) for key in ntp.keys]
        yield "/etc/chrony/chrony.keys", RenderedFile("".join(lines).encode(), 0o600)
    if ntp.nts_names:
        # Names and addresses by which clients ask; the key never leaves the node, which makes it when it boots.
        names = "".join(f"--san {name}\n" for name in ntp.nts_names)
        text = f"--type ecdsa\n--dn CN={device.name}\n{names}--flag serverAuth\n--lifetime 7300\n--outform pem\n"
        yield "/etc/testbed/nts-server/certificate", RenderedFile(text.encode())
        yield "/etc/testbed/nts-server/key", RenderedFile(b"--type ecdsa\n--size 256\n--outform pem\n")
    for node in ntp.nts_peers:
        yield f"{NTS_PEERS}/{node}.pem", RenderedFile(b"")  # filled in when that node has made its certificate


def _strongswan(device: Device, dataplane: str) -> bytes:
    return _render(
        "strongswan.conf.j2",
        device=device,
        dataplane=dataplane,
        plugins=[name for name in _PLUGINS if name != "kernel-libipsec" or dataplane == "userspace"],
        tool_plugins=_TOOL_PLUGINS,
        revocation=_revocation(device),
        aggressive_psk=any(connection.aggressive for connection in device.connections),
        log=f"{_LOGS}/charon.log",
        user_file=_USER_STRONGSWAN if _STRONGSWAN in device.files else None,
    )


def _revocation(device: Device) -> set[str]:
    """How charon asks whether a certificate is revoked; a router that has no trustpoint yet may get one."""
    if device.is_ios and not device.trustpoints:
        return {"crl", "ocsp"}
    return {way for trustpoint in device.trustpoints for way in trustpoint.revocation}


def _render(template: str, **values: Any) -> bytes:
    return _environment().get_template(template).render(**values).encode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - no HTML: each value passes the filter of its language
        loader=jinja2.PackageLoader("testbed.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "quoted": strongswan_string,
        "secret": strongswan_secret,
        "nft": nft_string,
        "address": nft_address,
        "nft_comment": nft_comment,
        "nft_entry": nft_entry,
        "guard_ports": guard_ports,
        "local_ts": lambda child: selectors(child.local_selectors, child.local_ports),
        "remote_ts": lambda child: selectors(child.remote_selectors, child.remote_ports),
        "samba": samba_value,
        "netbios": lambda name: samba_value(name)[:15],
        # Rekeyed at nine tenths, so that the SA never reaches the lifetime it was given.
        "rekey": lambda lifetime_s: max(1, lifetime_s * 9 // 10),
    }
    return environment
