"""What is combined, and which combinations there cannot be, with the reason."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from testbed.errors import SettingError
from testbed.topology.proposals import AEAD, KEY_EXCHANGE, check_proposal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["AUTHENTICATIONS", "FEATURES", "VERSIONS", "Axes", "Cell", "cells", "impossible", "sweep"]

VERSIONS = ("ikev1-main", "ikev1-aggressive", "ikev2")
AUTHENTICATIONS = ("psk", "rsa-sig", "ecdsa-sig", "ed25519")
FEATURES = {
    "plain": "nothing beside",
    "nat-t": "UDP encapsulation, as if there were a NAT",
    "fragmentation": "IKE messages sent in fragments",
    "narrowing": "the initiator asks for more than the responder grants",
    "children": "two CHILD SAs of one IKE SA",
    "mobike": "RFC 4555",
    "outer-ipv6": "IPv6 between the routers",
    "inner-ipv6": "IPv6 between the hosts",
    "transport": "transport mode between the routers themselves",
    "compression": "IPComp",
}
_BASE_IKE, _BASE_ESP = "aes256-sha256-modp2048", "aes256-sha256"
_LEGACY_SMALL = {"modp768"}


@dataclass(frozen=True)
class Cell:
    """One combination. With `pfs` the CHILD SA has the group of the IKE SA."""

    version: str
    authentication: str
    ike: str
    esp: str
    pfs: bool
    feature: str = "plain"

    @property
    def number(self) -> int:
        return 2 if self.version == "ikev2" else 1

    @property
    def credential(self) -> str:
        """Which key and certificate: a longer one, where messages are to be too long for one datagram."""
        return f"{self.authentication}-long" if self.feature == "fragmentation" else self.authentication

    @property
    def aggressive(self) -> bool:
        return self.version == "ikev1-aggressive"

    @property
    def esp_proposal(self) -> str:
        """As it is configured: with a group for perfect forward secrecy."""
        return "-".join([self.esp, *self.groups]) if self.pfs else self.esp

    @property
    def groups(self) -> list[str]:
        return [word for word in self.ike.split("-") if word in KEY_EXCHANGE]

    def __str__(self) -> str:
        pfs = "pfs" if self.pfs else "no pfs"
        feature = "" if self.feature == "plain" else f", {self.feature}"
        return f"{self.version}, {self.authentication}, IKE {self.ike}, ESP {self.esp}, {pfs}{feature}"


@dataclass(frozen=True)
class Axes:
    """The values of each axis."""

    versions: Sequence[str] = VERSIONS
    authentications: Sequence[str] = ("psk", "rsa-sig")
    ike: Sequence[str] = (_BASE_IKE,)
    esp: Sequence[str] = (_BASE_ESP, "aes256gcm16")
    pfs: Sequence[bool] = (True,)
    features: Sequence[str] = ("plain",)

    def check(self) -> None:
        """Raise SettingError for a value that an axis does not have."""
        for what, values, known in (
            ("version", self.versions, VERSIONS),
            ("authentication", self.authentications, AUTHENTICATIONS),
            ("feature", self.features, tuple(FEATURES)),
        ):
            for value in values:
                if value not in known:
                    raise SettingError(f"there is no {what} '{value}'", expected=f"one of {', '.join(known)}")
        for proposal in self.esp:
            if set(proposal.split("-")) & set(KEY_EXCHANGE):
                raise SettingError(
                    f"esp proposal '{proposal}' has a group", expected="none: `--pfs` says whether it has"
                )
        for protocol, proposals in (("ike", self.ike), ("esp", self.esp)):
            for proposal in proposals:
                wrong = check_proposal(proposal, protocol)
                if wrong is not None:
                    near = f"did you mean '{wrong[1]}'?" if wrong[1] else None
                    raise SettingError(f"{protocol} proposal '{proposal}': {wrong[0]}", hint=near)


def cells(axes: Axes) -> Iterator[Cell]:
    """All combinations. Raises SettingError."""
    axes.check()
    for version, authentication, ike, esp, pfs, feature in itertools.product(
        axes.versions, axes.authentications, axes.ike, axes.esp, axes.pfs, axes.features
    ):
        yield Cell(version, authentication, ike, esp, pfs, feature)


def sweep() -> Iterator[Cell]:
    """Everything there is, one axis after the other, by each version: a product would be some millions."""
    groups = sorted(KEY_EXCHANGE, key=lambda name: (name.rstrip("0123456789"), len(name), name))
    ciphers = ("aes128", "aes192", "aes256", "3des", "camellia256")
    integrity = ("md5", "sha1", "sha256", "sha384", "sha512", "aesxcbc", "aescmac")
    aead = [name for name in sorted(AEAD) if name.startswith(("aes128", "aes256", "chacha")) and "12" not in name[6:]]
    ike = [
        *(f"{cipher}-sha256-modp2048" for cipher in ciphers),
        *(f"aes256-{name}-modp2048" for name in ("md5", "sha1", "sha384", "sha512")),
        *(f"aes256-sha256-{group}" for group in groups),
        "aes256gcm16-prfsha256-modp2048",
        "aes256ccm16-prfsha256-modp2048",
        "chacha20poly1305-prfsha256-curve25519",
    ]
    esp = [
        *(f"{cipher}-sha256" for cipher in (*ciphers, "aes128ctr", "aes256ctr", "null")),
        *(f"aes256-{name}" for name in integrity),
        *aead,
    ]
    for version in VERSIONS:
        base = Cell(version, "psk", _BASE_IKE, _BASE_ESP, pfs=True)
        found = [
            *(replace(base, authentication=name) for name in AUTHENTICATIONS),
            *(replace(base, ike=proposal) for proposal in ike),
            *(replace(base, esp=proposal) for proposal in esp),
            replace(base, pfs=False),
            *(replace(base, feature=name, authentication="rsa-sig") for name in FEATURES if name != "plain"),
        ]
        yield from dict.fromkeys(found)


def impossible(cell: Cell, dataplane: str) -> str | None:
    """Why a combination cannot be, whatever the routers; None if it may."""
    if cell.feature == "fragmentation" and cell.authentication == "psk":
        return "without certificates no message is long enough to be sent in fragments"
    if dataplane == "userspace" and cell.feature == "transport":
        return "kernel-libipsec knows tunnel mode only"
    if dataplane == "userspace" and cell.feature == "compression":
        return "kernel-libipsec has no IPComp"
    return _not_in_version_one(cell) if cell.number == 1 else None


def _not_in_version_one(cell: Cell) -> str | None:
    if set(cell.ike.split("-")) & AEAD:
        return "IKEv1 has no AEAD algorithms for IKE itself: RFC 5282 is of IKEv2"
    if cell.authentication == "ed25519":
        return "IKEv1 has no EdDSA: RFC 8420 is of IKEv2"
    if {"aescmac", "chacha20poly1305"} & set(cell.esp.split("-")):
        return f"IKEv1 has no number for {cell.esp} (IANA, ISAKMP identifiers for IPsec)"
    return {
        "mobike": "MOBIKE is of IKEv2 (RFC 4555)",
        "narrowing": "IKEv1 narrows nothing: selectors are taken or refused (RFC 2409, section 5.5)",
    }.get(cell.feature)
