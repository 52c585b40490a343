"""IKE policies, IKEv2 proposals and transform sets as strongSwan's proposal keywords (`facts`: proposal_keywords)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address

    from testbed.device.ios.context import Context
    from testbed.ios.configuration import Statement

__all__ = ["GROUPS", "IkePolicy", "esp_proposals", "ike_policies", "ikev2_proposals"]

GROUPS = {
    "1": "modp768",
    "2": "modp1024",
    "5": "modp1536",
    "14": "modp2048",
    "15": "modp3072",
    "16": "modp4096",
    "19": "ecp256",
    "20": "ecp384",
    "21": "ecp521",
    "24": "modp2048s256",
}
_HASHES = {"md5": "md5", "sha": "sha1", "sha1": "sha1", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}
_TRANSFORMS = {
    "esp-3des": "3des",
    "esp-null": "null",
    "esp-md5-hmac": "md5",
    "esp-sha-hmac": "sha1",
    "esp-sha256-hmac": "sha256",
    "esp-sha384-hmac": "sha384",
    "esp-sha512-hmac": "sha512",
}
_SMART = {  # IKEv2's default proposal
    "ios15": (("aes256", "aes192", "aes128"), ("sha512", "sha384", "sha256", "sha1", "md5"), ("modp1536", "modp1024")),
    "iosxe17": (("aes256",), ("sha512", "sha384"), ("ecp256", "modp2048", "ecp521", "modp1536")),
}


@dataclass(frozen=True)
class IkePolicy:
    """An ISAKMP policy that can be offered."""

    priority: int
    method: str
    proposal: str
    lifetime_s: int


def ike_policies(context: Context) -> list[IkePolicy]:
    """In the order of their priority, with IOS's defaults where the text is silent."""
    found = []
    for section in context.configuration.ordered():
        if section.command.name != "crypto isakmp policy":
            continue
        encryption = section.one("encryption")
        if encryption is None:
            text = "means single DES (the default of `encr`), which the nodes' crypto library has not"
            context.note(section, f"policy {section.get('priority')} {text}")
            continue
        cipher = "3des" if encryption.get("cipher") == "3des" else f"aes{encryption.get('bits', '128')}"
        digest = _HASHES[section.value("hash", "hash", "sha")]
        group = GROUPS[section.value("group", "group", "1")]
        method = section.value("authentication", "method", "rsa-sig")
        lifetime_s = section.value("lifetime", "seconds", 86400)
        found.append(IkePolicy(section.get("priority"), method, f"{cipher}-{digest}-{group}", lifetime_s))
    return found


def esp_proposals(context: Context, template: Statement, names: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """The proposals of a map's transform sets, and whether the first one means transport mode."""
    known = {item.get("set"): item for item in context.configuration.all("crypto ipsec transform-set")}
    pfs = template.one("set pfs")
    group = GROUPS[pfs.get("group", "group1").removeprefix("group")] if pfs is not None else None
    proposals: list[str] = []
    transport = False
    for name in names:
        if name not in known:
            context.note(template, f"there is no transform set {name}")
            continue
        words = _esp(known[name])
        transport = transport or (not proposals and known[name].value("mode", "mode") == "transport")
        proposals.append("-".join([*words, *([group] if group else [])]))
    return tuple(proposals), transport


def _esp(statement: Statement) -> list[str]:
    bits = statement.get("bits", "128")
    ciphers = {"esp-aes": f"aes{bits}", "esp-gcm": f"aes{bits}gcm16"}
    words = [ciphers.get(transform) or _TRANSFORMS[transform] for transform in statement.every("transform")]
    return sorted(words, key=lambda word: word in _HASHES.values())


def ikev2_proposals(context: Context, local: IPv4Address) -> tuple[str, ...]:
    """Those of the policies for a local address, or else of the smart default; AEAD ciphers apart, as strongSwan
    wants them.
    """
    configuration = context.configuration
    policies = []
    for policy in configuration.all("crypto ikev2 policy"):
        addresses = [item.get("address") for item in policy.all("match address local")]
        policies += [policy] if not addresses or local in addresses else []
    wanted = [item.get("proposal") for policy in policies for item in policy.all("proposal")]
    sections = {item.get("proposal"): item for item in configuration.all("crypto ikev2 proposal")}
    found: list[str] = []
    for name in wanted:
        if name in sections:
            found += _ikev2(sections[name])
        elif name == "default":
            found += _smart(context)
    return tuple(found or _smart(context))


def _smart(context: Context) -> list[str]:
    return ["-".join(word for words in _SMART[context.flavor] for word in words)]


def _ikev2(section: Statement) -> Iterator[str]:
    ciphers = [item for statement in section.all("encryption") for item in statement.every("cipher")]
    hashes = [_HASHES[item] for statement in section.all("integrity") for item in statement.every("hash")]
    prfs = [f"prf{_HASHES[item]}" for statement in section.all("prf") for item in statement.every("hash")]
    groups = [GROUPS[item] for statement in section.all("group") for item in statement.every("group")]
    classic = [_cipher(item) for item in ciphers if "gcm" not in item]
    combined = [_cipher(item) for item in ciphers if "gcm" in item]
    if classic and hashes and groups:
        yield "-".join([*classic, *hashes, *prfs, *groups])
    if combined and groups and (prfs or hashes):
        yield "-".join([*combined, *(prfs or [f"prf{item}" for item in hashes]), *groups])


def _cipher(name: str) -> str:
    if name == "3des":
        return "3des"
    kind, bits = name.removeprefix("aes-").split("-")
    return f"aes{bits}" if kind == "cbc" else f"aes{bits}gcm16"
