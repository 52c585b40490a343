"""A connection as VICI takes it, as a mapping: for those that no file of a node has."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.device import ChildConfig, ConnectionConfig

__all__ = ["vici_connection", "without_groups"]

_GROUP = re.compile(r"(modp|ecp|curve|x25519|x448|frodo|mlkem|ke\d_)")


def vici_connection(config: ConnectionConfig) -> dict[str, Any]:
    """For `load-conn`: addresses, identities, proposals and selectors; of lifetimes only that of CHILD SAs.

    Certificates are found by identity, among those that charon has loaded, and of any CA that it trusts. DPD and what
    expires by volume or idleness is left out: such a connection is there for minutes.

    Source: swanctl.conf(5), and the message load-conn in strongSwan `src/libcharon/plugins/vici/README.md`.
    """
    authentication = "psk" if config.trustpoint is None else "pubkey"
    remote = {"auth": authentication, "id": config.remote.identity}
    if config.trustpoint is not None:
        remote["revocation"] = "relaxed" if config.revocation_optional else "strict"
    return {
        "version": str(config.version),
        "aggressive": "yes" if config.aggressive else "no",
        "mobike": "yes" if config.mobike else "no",
        "local_addrs": [str(config.local.address)],
        "remote_addrs": ["%any" if config.remote.address.is_unspecified else str(config.remote.address)],
        "proposals": list(config.proposals),
        "local": {"auth": authentication, "id": config.local.identity},
        "remote": remote,
        "children": {child.name: _child(child) for child in config.children},
    }


def _child(child: ChildConfig) -> dict[str, Any]:
    made: dict[str, Any] = {
        "local_ts": [f"{prefix}{child.local_ports}" for prefix in child.local_selectors],
        "remote_ts": [f"{prefix}{child.remote_ports}" for prefix in child.remote_selectors],
        "esp_proposals": list(child.proposals),
        "mode": "transport" if child.transport else "tunnel",
        "start_action": "trap" if child.start == "trap" else "none",
    }
    if child.lifetime_s is not None:
        made["life_time"] = f"{child.lifetime_s}s"
    if child.replay_window is not None:
        made["replay_window"] = str(child.replay_window)
    return made


def without_groups(config: ConnectionConfig) -> ConnectionConfig:
    """The same without perfect forward secrecy: its CHILD SAs' proposals name no key exchange."""
    children = tuple(
        replace(child, proposals=tuple(_without_group(text) for text in child.proposals)) for child in config.children
    )
    return replace(config, children=children)


def _without_group(proposal: str) -> str:
    return "-".join(word for word in proposal.split("-") if not _GROUP.match(word))
