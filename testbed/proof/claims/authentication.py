"""Authentication: nobody but the peer gets an SA, whatever he knows of it and wherever he stands."""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from testbed.daemons.enrolment import node_time
from testbed.daemons.reasons import explain_refusal
from testbed.deadline import Deadline
from testbed.network.capture import Capture
from testbed.network.packet import dissect
from testbed.network.rewrite import replaced
from testbed.network.wire import Sender
from testbed.proof.claims.forged import forged_esp, forged_ike
from testbed.proof.claims.traffic import ARRIVAL_S, await_drops, expect_valid, unharmed
from testbed.proof.packets import ethernet
from testbed.proof.result import UntriedError
from testbed.proof.rogue import Impersonation, find_rogue, initiator_spi
from testbed.runtime.files import read_file, read_log
from testbed.verify.drops import total_drops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.device import ConnectionConfig, TrustpointConfig
    from testbed.network.capture import Frame
    from testbed.proof.result import Findings
    from testbed.proof.rogue import RogueRouter
    from testbed.proof.scene import OnPath, Scene

__all__ = ["authentication"]

_SECRET = re.compile(r'secret = "?0s([A-Za-z0-9+/=]+)')
_FORGOTTEN_S = 0.5
_FORGED = 16
_KEY_COMPROMISE = 1  # RFC 5280, section 5.3.1


@dataclass(frozen=True)
class _Attempt:
    """How the rogue tries to be the far end: with a secret, or with a key and its certificate.

    `because` is a word of the reason for which it has to be refused: another one would prove something else.
    """

    what: str
    because: str
    config: ConnectionConfig
    secret: bytes | None = None
    key: bytes = b""
    certificate: bytes = b""


def authentication(scene: Scene, path: OnPath, found: Findings) -> None:
    """A rogue in the place of the peer, on the path, with several credentials; and its address from off the path.

    At last, as control, with the peer's own: then it is let in.
    """
    scene.bring_up()
    rogue = find_rogue(scene)
    if rogue is None:
        raise UntriedError(
            "nobody of this lab can play the peer: that takes a `rogue`, and a node that the near router's link goes "
            "through (see topologies/ipsec-goals)"
        )
    before = (scene.spis(scene.near), scene.spis(scene.far))
    with scene.stream() as stream:
        expect_valid(stream, found, "before")
        with Impersonation.playing(scene, path, rogue) as peer:
            for attempt in _attempts(scene, rogue):
                _refused(scene, peer, attempt, found)
        _spoofed(scene, rogue, peer.first_messages, found)
        expect_valid(stream, found, "afterwards")
    unharmed(scene, found, before)
    try:
        with Impersonation.playing(scene, path, rogue) as peer:
            _control(scene, peer, found)
        _calls(scene, path, rogue, found)
    finally:
        # The near end has forgotten the true peer for the rogue, and will not answer it.
        scene.charon(scene.far).terminate(ike=scene.connection, deadline=Deadline(_FORGOTTEN_S))
        scene.take_down()
        scene.bring_up()


def _calls(scene: Scene, path: OnPath, rogue: RogueRouter, found: Findings) -> None:
    """The near end calls, and the rogue answers in the peer's place, as a man in the middle would.

    With signatures only: of a pre-shared key it is the caller who shows first that it has it, and a charon that answers
    in aggressive mode with one says nothing at all unless it is told to be careless.
    """
    if scene.far.connection.trustpoint is None:
        return
    scene.charon(scene.far).terminate(ike=scene.connection, deadline=Deadline(_FORGOTTEN_S))
    scene.charon(scene.near).terminate(ike=scene.connection, deadline=Deadline(_FORGOTTEN_S))
    with Impersonation.playing(scene, path, rogue, answers=True) as peer:
        attempt = next(_attempts(scene, rogue))
        called = replace(attempt, what=f"{scene.near.node} calls, and is answered with {attempt.what}")
        _refused(scene, peer, called, found)


def _attempts(scene: Scene, rogue: RogueRouter) -> Iterator[_Attempt]:
    """All as the far end, so with its address, its identity and its selectors; but for what the name says."""
    base = replace(scene.far.connection, lifetime_s=None)
    stranger = replace(base, local=replace(base.local, identity="stranger.test"))
    if base.trustpoint is None:
        yield _Attempt("the wrong pre-shared key", "is another one", base, secret=secrets.token_bytes(16))
        yield _Attempt("the right key, as somebody else", "identities of the peer", stranger, secret=_secret(scene))
        trustpoint = _trustpoint(scene, rogue, rogue.spec.other)
        named = replace(base.local, identity=trustpoint.fqdn)
        signing = replace(base, trustpoint=trustpoint.name, local=named)
        held = _held(scene, rogue.node, trustpoint)
        yield _Attempt("a certificate instead of the key", "no connection", signing, None, *held)
        return
    own = _self_made(scene, rogue, base.local.identity)
    yield _Attempt("a key of its own, certified by itself", "can be trusted|signed by itself", base, None, *own)
    spec = rogue.spec
    _revoke(scene, rogue, spec.revoked)
    for what, because, name in (
        ("a certificate of another CA", "is of another CA", spec.foreign),
        ("a revoked certificate", "was revoked on", spec.revoked),
        ("the right CA's certificate, of somebody else", "identities of the peer", spec.other),
    ):
        trustpoint = _trustpoint(scene, rogue, name)
        config = replace(base, trustpoint=name, local=replace(base.local, identity=trustpoint.fqdn))
        yield _Attempt(what, because, config, None, *_held(scene, rogue.node, trustpoint))


def _control(scene: Scene, peer: Impersonation, found: Findings) -> None:
    """With what the far end itself has, the rogue is the far end: it was not for want of a way that it was refused."""
    far = scene.far.connection
    base = replace(far, lifetime_s=None)
    if far.trustpoint is None:
        gained, told = peer.attempt(base, _secret(scene), b"", b"")
    else:
        trustpoint = next(item for item in scene.lab.devices[scene.far.node].trustpoints if item.name == far.trustpoint)
        gained, told = peer.attempt(base, None, *_held(scene, scene.far.node, trustpoint))
    found.expect(
        gained, "control: with the peer's own key it is let in", f"the control fails: with the peer's own key {told}"
    )


def _held(scene: Scene, node: str, trustpoint: TrustpointConfig) -> tuple[bytes, bytes]:
    """A node's private key, and the certificate of it."""
    directory = scene.live.state(node).identity.directory
    return (
        read_file(directory / "nvram-private" / f"{trustpoint.key_label}.pem"),
        read_file(directory / "nvram-x509" / f"{trustpoint.name}.pem"),
    )


def _secret(scene: Scene) -> bytes:
    """The pre-shared key of the connection, from the far end's own file."""
    text = read_file(scene.live.state(scene.far.node).identity.directory / "files/etc/swanctl/swanctl.conf").decode()
    section = text[text.index(f"ike-{scene.connection} {{") :] if f"ike-{scene.connection} {{" in text else text
    match = _SECRET.search(section)
    if match is None:
        raise UntriedError(f"{scene.far.node} has no pre-shared key that could be tried as control")
    return base64.b64decode(match[1])


def _trustpoint(scene: Scene, rogue: RogueRouter, name: str) -> TrustpointConfig:
    return next(item for item in scene.lab.devices[rogue.node].trustpoints if item.name == name)


def _self_made(scene: Scene, rogue: RogueRouter, identity: str) -> tuple[bytes, bytes]:
    """A key, and a certificate for an identity that it has signed itself."""
    key = scene.live.execute(rogue.node, ["pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem"]).stdout
    argv = ["pki", "--self", "--dn", f"CN={identity}", "--san", identity, "--outform", "pem"]
    state = scene.live.state(rogue.node)
    return key, scene.live.runtime.execute(state, argv, stdin=key).stdout


def _revoke(scene: Scene, rogue: RogueRouter, name: str) -> None:
    """Let the CA revoke a certificate, unless it has."""
    trustpoint = _trustpoint(scene, rogue, name)
    certificate = scene.live.enrolment(rogue.node, trustpoint).certificate
    if certificate is None or trustpoint.server is None:
        return
    authority = scene.live.certificate_authority(trustpoint.server)
    known = {item["serial"]: item for item in authority.certificates()}
    if known.get(certificate.serial, {}).get("revoked") is None:
        authority.revoke(certificate.serial, _KEY_COMPROMISE)
    authority.publish_crl()


def _refused(scene: Scene, peer: Impersonation, attempt: _Attempt, found: Findings) -> None:
    """One attempt: no SA at either end, and why, in the words of charon's log."""
    near, rogue = scene.near, peer.rogue
    scene.charon(near).flush_certificates()  # of earlier attempts, whose faults it would tell again
    nodes = (near.node, rogue.node)
    written = {name: len(_log(scene, name)) for name in nodes}
    gained, told = peer.attempt(attempt.config, attempt.secret, attempt.key, attempt.certificate)
    reasons = [
        f"{name}: {reason}"
        for name in nodes
        for reason in explain_refusal(_log(scene, name)[written[name] :], node_time(scene.live.state(name)))
    ]
    # Who is called refuses first, or lets itself be told; who calls has to find out itself.
    verifiers = (near.node,) if peer.answers else nodes
    right = [
        reason for reason in reasons if re.search(attempt.because, reason) and reason.partition(":")[0] in verifiers
    ]
    why = "it has an SA" if gained else f"refused, but not for this: {'; '.join(reasons) or told}"
    found.expect(not gained and bool(right), f"{attempt.what}: refused; {'; '.join(right)}", f"{attempt.what}: {why}")


def _spoofed(scene: Scene, rogue: RogueRouter, messages: list[bytes], found: Findings) -> None:
    """From off the path the peer's address is easily sent, but the answers go to the peer, which wants none of them."""
    what = "the peer's address from off the path"
    own = next(
        (end for _, end in scene.live.plan.attachments_of(rogue.node) if end.interface != rogue.own.interface), None
    )
    if not messages or own is None:
        found.fail(f"{what}: there is no message to send, or no line to send it on")
        return
    gateway = next(
        end for link in scene.live.plan.links.values() for end in link.ends if own in link.ends and end != own
    )
    message, spi = _renamed(messages[0], gateway.mac, own.mac)
    namespace = scene.live.state(rogue.node).namespace
    known = {sa.unique_id for sa in scene.charon(scene.near).sas()}
    with (
        scene.lab.link(scene.far.link).capture() as beyond,
        Capture(namespace, own.interface) as seen,
        Sender(namespace, own.interface) as sender,
    ):
        sender.send(message)

        def answered() -> bool:
            """At the far end: what went another way has had its time, too."""
            return any(_is_ike(frame, spi, scene.near.outer) for frame in beyond.frames)

        Deadline(ARRIVAL_S).until(answered, "an answer to the spoofed message at the far end")
        header = ethernet(gateway.mac, own.mac, scene.near.outer.version)
        _forge(scene, sender, header, found)
    back = sum(_is_ike(frame, spi, scene.near.outer) for frame in seen.frames)
    new = [sa for sa in scene.charon(scene.near).sas() if sa.unique_id not in known]
    found.numbers["spoofed_answers_to_attacker"] = back
    found.expect(
        back == 0 and not any(sa.established for sa in new),
        f"{what}: answered to the true peer, which does not go on; the attacker saw nothing and has no SA",
        f"{what}: {back} answers came to the attacker, {sum(sa.established for sa in new)} SAs",
    )


def _forge(scene: Scene, sender: Sender, header: bytes, found: Findings) -> None:
    """In the peer's name, under the SPIs of living SAs, with nothing that a key has made: all of it is for nothing."""
    sas = scene.sas(scene.near)
    if not sas or not sas[-1].children:
        found.fail("the tunnel has no SAs that anything could be forged of")
        return
    before = total_drops(scene.live, scene.near.node)
    for packet in forged_ike(scene, sas[-1], _FORGED):
        sender.send(header + packet)
    for packet in forged_esp(scene, sas[-1], sas[-1].children[-1], _FORGED):
        sender.send(header + packet)
    seen = await_drops(scene.live, scene.near, before, _FORGED)
    what = f"of {_FORGED} ESP packets forged under a living SPI were dropped and counted by {scene.near.node}"
    found.count("forged_esp", seen.forged + seen.replayed, _FORGED, what)
    living = {sa.unique_id for sa in scene.sas(scene.near)}
    found.expect(
        {sa.unique_id for sa in sas} == living,
        f"{_FORGED} IKE messages forged under living SPIs have ended nothing and begun nothing",
        f"the IKE SAs are others after {_FORGED} forged messages",
    )


def _renamed(frame: bytes, destination: str, source: str) -> tuple[bytes, bytes]:
    """The first message of a negotiation under another initiator's SPI, for a link with these hardware addresses."""
    spi, offset = secrets.token_bytes(8), dissect(frame).offset
    return bytes.fromhex((destination + source).replace(":", "")) + replaced(frame, offset, spi)[12:], spi


def _is_ike(frame: Frame, spi: bytes, source: object) -> bool:
    packet = dissect(frame.data)
    return packet.kind == "ike" and packet.source == source and initiator_spi(frame.data, packet.offset) == spi


def _log(scene: Scene, node: str) -> str:
    return read_log(scene.live.state(node).identity.directory, "charon.log")
