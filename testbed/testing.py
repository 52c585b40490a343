"""Assertions about a running lab, for tests. Each failure says what was expected, what was seen, and where.

They are meant to read like this:

    def test_the_tunnel(lab: Lab) -> None:
        kisii, kisumu = lab.node("kisii"), lab.node("kisumu")
        assert_tunnel(kisii, kisumu, version=1, ike="aes256-sha256-modp2048", esp="aes256-sha256")
        with assert_encrypted(lab.link("wan-kisii"), data=b"a secret of at least sixteen bytes"):
            assert_reachable(lab.node("pc-kisii"), "pc-kisumu")
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from testbed.daemons.keywords import child_proposal, ike_proposal, matches_proposal
from testbed.deadline import Deadline
from testbed.errors import DeadlineExceeded
from testbed.verify.wire import BLOCK, inspect_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.daemons.sa import IkeSa
    from testbed.lab import Link, Node

__all__ = ["assert_encrypted", "assert_reachable", "assert_tunnel", "assert_unreachable"]


def assert_tunnel(
    one: Node,
    other: Node,
    *,
    version: int | None = None,
    ike: str | None = None,
    esp: str | None = None,
    timeout_s: float = 5.0,
) -> None:
    """Both routers have an established IKE SA with each other, and a CHILD SA of it installed.

    `version` is the IKE version, `ike` and `esp` are proposals in strongSwan's keywords; what is left out is not
    looked at. Waits for at most `timeout_s`.
    """
    for here, there in ((one, other), (other, one)):
        faults = [f"{here.name} has no IKE SA with {there.name}"]

        def look(here: Node = here, there: Node = there, faults: list[str] = faults) -> bool:
            addresses = {str(address) for address in there.addresses}
            sas = [sa for sa in here.charon.sas() if sa.remote_address in addresses]
            faults[:] = _faults(sas, version, ike, esp) if sas else faults
            return not faults

        try:
            Deadline(timeout_s).until(look, "the tunnel", every=0.05)
        except DeadlineExceeded:
            raise AssertionError(
                f"no tunnel between {here.name} and {there.name} as seen by {here.name}: {'; '.join(faults)}\n"
                f"charon of {here.name} says:\n{here.log(tail=12)}"
            ) from None


def _faults(sas: list[IkeSa], version: int | None, ike: str | None, esp: str | None) -> list[str]:
    sa = next((sa for sa in sas if sa.established), None)
    if sa is None:
        return [f"its IKE SA is {', '.join(sa.state for sa in sas)}, not ESTABLISHED"]
    faults = []
    if version is not None and sa.version != version:
        faults.append(f"IKEv{sa.version}, expected IKEv{version}")
    if ike is not None and not matches_proposal(ike_proposal(sa), ike):
        faults.append(f"IKE proposal {ike_proposal(sa)}, expected {ike}")
    children = [child for child in sa.children if child.state == "INSTALLED"]
    if not children:
        faults.append("no CHILD SA is installed")
    faults += [
        f"ESP proposal {child_proposal(child)}, expected {esp}"
        for child in children
        if esp is not None and not matches_proposal(child_proposal(child), esp)
    ]
    return faults


def assert_reachable(node: Node, target: str, *, source: str | None = None, timeout_s: float = 5.0) -> None:
    """The target (an address, a node or `node:interface`) answers an ICMP echo of the node in time."""
    tries = max(1, int(timeout_s / 0.2))
    result = node.ping(target, count=tries, interval_s=0.2, wait_s=0.2, source=source, until_answered=True)
    if not result.answered:
        raise AssertionError(
            f"{node.name} does not reach {target} ({node.resolve(target)}): none of {result.sent} echo requests was "
            f"answered{f' ({result.error})' if result.error else ''}"
        )


def assert_unreachable(node: Node, target: str, *, control: str, source: str | None = None) -> None:
    """The target answers none of three ICMP echoes, while `control` does answer the same node afterwards."""
    result = node.ping(target, count=3, interval_s=0.1, wait_s=0.5, source=source)
    if result.answered:
        raise AssertionError(
            f"{node.name} reaches {target} ({node.resolve(target)}): {result.received} of {result.sent} were answered"
        )
    assert_reachable(node, control)


@contextlib.contextmanager
def assert_encrypted(link: Link, *, data: bytes = b"", addresses: bool = True) -> Iterator[None]:
    """While the context lasts, ESP crosses the link, no 16 bytes of `data` do, and (unless `addresses` is false) no
    packet from or to a private address.
    """
    if data and len(data) < BLOCK:
        raise ValueError(f"at least {BLOCK} bytes are needed to be told from chance")
    with link.capture() as capture:
        yield
    report = inspect_frames(capture.frames, [data] if data else [])
    faults = []
    if not report.kinds["esp"]:
        faults.append("no ESP packet crossed it")
    if report.blocks_seen:
        faults.append(f"{report.blocks_seen} of {report.blocks} blocks of the data crossed it in clear")
    if addresses and report.private:
        faults.append(f"private addresses crossed it, first {report.private[0]}")
    if faults:
        raise AssertionError(f"link {link.name} is not encrypted: {'; '.join(faults)}\nseen: {report}")
