"""A lab that runs, as the checks see it: what was planned, and how to reach what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.daemons.ca import CertificateAuthority
from testbed.daemons.charon import Charon, vici_socket
from testbed.daemons.chronyd import Chronyd
from testbed.daemons.enrolment import Enrolment
from testbed.errors import DaemonError, LabNotRunningError
from testbed.network.links import fabric_name
from testbed.network.namespace import named_path
from testbed.topology import split_end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

    from testbed.device import Device, TrustpointConfig
    from testbed.plan import Plan
    from testbed.runtime import Completed, NodeState, Runtime
    from testbed.topology import LoadedTopology

    Address = IPv4Address | IPv6Address

__all__ = ["LiveLab"]


@dataclass(frozen=True)
class LiveLab:
    """Immutable: a node that is restarted needs a new one, since its process and its namespace are new."""

    loaded: LoadedTopology
    devices: Mapping[str, Device]
    plan: Plan
    runtime: Runtime
    states: Mapping[str, NodeState]

    def state(self, node: str) -> NodeState:
        """A node that runs. Raises LabNotRunningError."""
        state = self.states.get(node)
        if state is None or not state.running:
            raise LabNotRunningError(
                "the node does not run" if node in self.plan.nodes else "there is no such node",
                node=node,
                expected=f"one of {', '.join(sorted(name for name, s in self.states.items() if s.running)) or 'none'}",
                hint=f"`testbed up {self.plan.lab}`",
            )
        return state

    def charon(self, node: str) -> Charon:
        return Charon(node, vici_socket(self.state(node)))

    def execute(self, node: str, argv: Sequence[str]) -> Completed:
        return self.runtime.execute(self.state(node), argv)

    def reload_charon(self, node: str, *, clear: bool = False) -> None:
        """Give charon what the node's files say, in place of what was loaded by VICI. Raises DaemonError.

        With `clear` also in place of the credentials that it has.
        """
        done = self.execute(node, ["/usr/lib/testbed/load-connections", *(["--clear"] if clear else [])])
        if done.exit_code != 0:
            raise DaemonError("charon does not take its configuration again", node=node, seen=done.text.strip())

    def addresses(self, endpoint: str) -> list[Address]:
        """All addresses of `node:interface`; of a `node`, those of its first interface."""
        node, interface = split_end(endpoint)
        own = list(self.loaded.addressing.of_node(node))
        wanted = interface or (own[0][0] if own else "")
        return [address.ip for name, address in own if name == wanted]

    def chronyd(self, node: str) -> Chronyd:
        """The NTP daemon of a node that has one."""
        return Chronyd(self.runtime, self.state(node))

    def certificate_authority(self, node: str) -> CertificateAuthority:
        """The certificate server of a node that has one."""
        return CertificateAuthority(self.state(node))

    def enrolment(self, node: str, trustpoint: TrustpointConfig) -> Enrolment:
        """A trustpoint of a router, and how to enrol with it."""
        return Enrolment(self.runtime, self.state(node), trustpoint)

    def expected_fingerprint(self, trustpoint: TrustpointConfig) -> str | None:
        """What the CA's certificate must have: as configured, else as its operator says, which is another way than the
        network. None if nobody can be asked.
        """
        if trustpoint.fingerprint is not None or trustpoint.server is None:
            return trustpoint.fingerprint
        return self.certificate_authority(trustpoint.server).fingerprint()

    def source(self, endpoint: str, version: int) -> Address | None:
        """The address that `node:interface` sends from; None for a bare `node`, whose kernel chooses."""
        if ":" not in endpoint:
            return None
        return next((address for address in self.addresses(endpoint) if address.version == version), None)

    def families(self, node: str) -> set[int]:
        return {address.version for _, address in self.loaded.addressing.of_node(node)}

    def tap(self, link: str) -> tuple[Path, str]:
        """Where all frames of a link can be seen: a namespace and an interface in it.

        Of a point-to-point link that is the end which takes no part in any tunnel, if one does not.
        """
        plan = self.plan.links[link]
        if plan.kind == "lan":
            return named_path(fabric_name(self.plan.lab)), plan.bridge
        peers = {name for name, device in self.devices.items() if device.connections}
        end = next((end for end in plan.ends if end.node not in peers), plan.ends[0])
        return self.state(end.node).namespace, end.interface
