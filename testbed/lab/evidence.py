"""What is kept of a lab when something failed: logs, SAs, configurations, captures. No secret is in it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from testbed.daemons.enrolment import describe
from testbed.errors import TestbedError
from testbed.network.pcapng import write_pcapng
from testbed.runtime.files import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from testbed.lab.lab import Lab
    from testbed.lab.node import Node
    from testbed.network.capture import Frame

__all__ = ["write_evidence"]

_RENDERED = (
    "/etc/strongswan.conf",
    "/etc/swanctl/swanctl.conf",
    "/etc/testbed/nftables.conf",
    "/etc/samba/smb.conf",
    "/etc/chrony/chrony.conf",
    "/etc/testbed/ca.json",
)
_BELOW = ("/etc/testbed/connections/", "/etc/chrony/sources.d/")
_SECRET = re.compile(rb'(?m)^(\s*(?:secret\s*=\s*|"(?:challenge|archive_password)":\s*)).*?(,?)$')


def write_evidence(lab: Lab, folder: Path, captures: Mapping[str, list[Frame]]) -> list[Path]:
    """Write what is known of a lab below a folder, and return the files. What cannot be had is left out."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written: list[Path] = []

    def write(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)

    write("plan.json", json.dumps(lab.plan.to_dict(), indent=2).encode())
    write("verdicts.json", json.dumps([verdict.to_dict() for verdict in lab.verdicts], indent=2).encode())
    for name, state in lab.states().items():
        for daemon in lab.plan.nodes[name].daemons if name in lab.plan.nodes else ():
            for suffix in ("log", "out"):
                text = read_log(state.identity.directory, f"{daemon.name}.{suffix}")
                if text:
                    write(f"{name}/{daemon.name}.{suffix}", text.encode())
        files = lab.plan.nodes[name].files if name in lab.plan.nodes else {}
        for path, file in files.items():
            known = path in _RENDERED or path.startswith(_BELOW)
            if known and path not in lab.devices[name].files:  # a user's own may hold anything
                write(f"{name}{path}", _SECRET.sub(rb"\1***\2", file.content))
    write("certificates.json", json.dumps(_certificates(lab), indent=2).encode())
    with_clock = [name for name, device in lab.devices.items() if device.clock is not None]
    clocks = _asked(lab, with_clock, lambda node: asdict(node.clock))
    write("clocks.json", json.dumps(clocks, indent=2).encode())
    with_ike = [name for name, device in lab.devices.items() if device.runs_ike]
    sas = _asked(lab, with_ike, lambda node: [sa.to_dict() for sa in node.charon.sas()])
    write("sas.json", json.dumps(sas, indent=2).encode())
    for link, frames in captures.items():
        write_pcapng(folder / f"{link}.pcapng", frames, link)
        written.append(folder / f"{link}.pcapng")
    return written


def _certificates(lab: Lab) -> dict[str, object]:
    """What every certificate server has issued, and what every router holds."""
    found: dict[str, object] = {}
    for name, device in lab.devices.items():
        try:
            if device.certificate_server is not None:
                found[name] = lab.node(name).certificate_authority.certificates()
            for trustpoint, enrolment in lab.node(name).enrolments.items() if device.trustpoints else ():
                own = enrolment.certificate
                found[f"{name}:{trustpoint}"] = describe(own) if own is not None else "none"
        except TestbedError as failure:
            found[name] = str(failure)
    return found


def _asked(lab: Lab, names: Iterable[str], ask: Callable[[Node], object]) -> dict[str, object]:
    """What each of these nodes says, or why it does not."""
    found: dict[str, object] = {}
    for name in names:
        try:
            found[name] = ask(lab.node(name))
        except TestbedError as failure:
            found[name] = str(failure)
    return found
