"""`show crypto isakmp`: policies and keys of the configuration, SAs as charon has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.console.numbers import conn_ids
from testbed.console.session import Exec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from testbed.console.router import LiveRouter
    from testbed.console.session import Session
    from testbed.daemons.sa import IkeSa
    from testbed.ios.configuration import Statement
    from testbed.ios.grammar import Match

__all__ = ["SHOW", "clock_text", "group_number"]

GROUP_BITS = {
    "1": "768 bit", "2": "1024 bit", "5": "1536 bit", "14": "2048 bit", "15": "3072 bit", "16": "4096 bit",
    "19": "256 bit", "20": "384 bit", "21": "521 bit", "24": "2048 bit, 256 bit subgroup",
}  # fmt: skip
_GROUPS = {
    "MODP_768": "1", "MODP_1024": "2", "MODP_1536": "5", "MODP_2048": "14", "MODP_3072": "15", "MODP_4096": "16",
    "ECP_256": "19", "ECP_384": "20", "ECP_521": "21", "MODP_2048_256": "24",
}  # fmt: skip
_CIPHERS = {
    "des": "DES - Data Encryption Standard (56 bit keys).",
    "3des": "Three key triple DES",
    "aes": "AES - Advanced Encryption Standard ({bits} bit keys).",
}
_HASHES = {
    "md5": "Message Digest 5",
    "sha": "Secure Hash Standard",
    "sha256": "Secure Hash Standard 2 (256 bit)",
    "sha384": "Secure Hash Standard 2 (384 bit)",
    "sha512": "Secure Hash Standard 2 (512 bit)",
}
_METHODS = {"pre-share": "Pre-Shared Key", "rsa-sig": "Rivest-Shamir-Adleman Signature"}
_SA_HASHES = {
    "HMAC_MD5_96": "md5",
    "HMAC_SHA1_96": "sha",
    "HMAC_SHA2_256_128": "sha256",
    "HMAC_SHA2_384_192": "sha384",
    "HMAC_SHA2_512_256": "sha512",
}
# charon's states of an IKEv1 SA as IOS has them: the exchange, and what was sent last.
_STATES = {"ESTABLISHED": "QM_IDLE", "REKEYED": "QM_IDLE", "DELETING": "MM_NO_STATE"}
_NO_SPI = "0" * 16
_LEGEND = (
    "Codes: C - IKE configuration mode, D - Dead Peer Detection",
    "       K - Keepalives, N - NAT-traversal",
    "       T - cTCP encapsulation, X - IKE Extended Authentication",
    "       psk - Preshared key, rsig - RSA signature",
    "       renc - RSA encryption",
)


def group_number(name: str | None) -> str:
    return _GROUPS.get(name or "", "none")


def clock_text(seconds: int | None) -> str:
    """`23:47:17`; empty for what charon does not say."""
    if seconds is None:
        return ""
    left = max(0, seconds)
    return f"{left // 3600:02d}:{left // 60 % 60:02d}:{left % 60:02d}"


def _policy(session: Session, _match: Match[Exec]) -> Iterator[str]:
    policies = [item for item in session.router.configuration.ordered() if item.command.name == "crypto isakmp policy"]
    yield ""
    if policies:
        yield "Global IKE policy"
        for section in policies:
            yield from _suite(f"Protection suite of priority {section.get('priority')}", section)
        return
    yield "Default IKE policy"
    for priority, bits, hash_name, method, group in _defaults(xe=session.router.is_xe):
        yield (
            f"Protection suite of priority {priority}"
            if session.router.is_xe
            else f"Default protection suite of priority {priority}"
        )
        yield from _values(_CIPHERS["aes"].format(bits=bits), _HASHES[hash_name], _METHODS[method], group, 86400)


def _defaults(*, xe: bool) -> Iterator[tuple[int, int, str, str, str]]:
    """The suites that IOS offers where none is configured. Shown, and not offered: charon has no such defaults."""
    if xe:
        yield from ((65513, 128, "sha", "rsa-sig", "14"), (65514, 128, "sha", "pre-share", "14"))
        return
    number = 65507
    for group in ("5", "2"):
        for hash_name in ("sha", "md5"):
            for method in ("rsa-sig", "pre-share"):
                yield number, 128, hash_name, method, group
                number += 1


def _suite(head: str, section: Statement) -> Iterator[str]:
    yield head
    encryption = section.one("encryption")
    cipher = encryption.get("cipher") if encryption else "des"
    bits = encryption.get("bits", "128") if encryption else "56"
    yield from _values(
        _CIPHERS[cipher].format(bits=bits),
        _HASHES[section.value("hash", "hash", "sha")],
        _METHODS[section.value("authentication", "method", "rsa-sig")],
        section.value("group", "group", "1"),
        section.value("lifetime", "seconds", 86400),
    )


def _values(cipher: str, hash_name: str, method: str, group: str, lifetime_s: int) -> Iterator[str]:
    yield f"\tencryption algorithm:\t{cipher}"
    yield f"\thash algorithm:\t\t{hash_name}"
    yield f"\tauthentication method:\t{method}"
    yield f"\tDiffie-Hellman group:\t#{group} ({GROUP_BITS[group]})"
    yield f"\tlifetime:\t\t{lifetime_s} seconds, no volume limit"


def _key(session: Session, _match: Match[Exec]) -> Iterator[str]:
    configuration = session.router.configuration
    rows: list[tuple[str, Statement]] = [("default", item) for item in configuration.all("crypto isakmp key")]
    for ring in configuration.all("crypto keyring"):
        keys = (*ring.all("pre-shared-key address"), *ring.all("pre-shared-key hostname"))
        rows += [(ring.get("keyring"), item) for item in keys]
    yield "Keyring      Hostname/Address                            Preshared Key"
    yield ""
    for ring_name, item in rows:
        where = str(item.get("address") or item.get("hostname") or item.get("prefix6"))
        mask = item.get("mask")
        shown = f"{where:<14} [{mask!s:<15}]" if mask is not None and str(mask) != "255.255.255.255" else where
        yield f"{ring_name:<12} {shown:<43} {item.get('secret')}"


def _exchange(router: LiveRouter, sa: IkeSa) -> str:
    """How far an exchange has come: no word of the peer yet, its proposal, or the keys."""
    if sa.state in _STATES:
        return _STATES[sa.state]
    connection = router.connection_of(sa.name)
    mode = "AG" if connection is not None and connection.aggressive else "MM"
    if sa.responder_spi in ("", _NO_SPI):
        return f"{mode}_NO_STATE"
    if sa.encryption is None:
        return "MM_SA_SETUP" if mode == "MM" else "AG_INIT_EXCH"
    return "MM_KEY_EXCH" if mode == "MM" else "AG_INIT_EXCH"


def _sa(session: Session, _match: Match[Exec]) -> Iterator[str]:
    yield "IPv4 Crypto ISAKMP SA"
    yield "dst             src             state          conn-id status"
    for number, sa in _ikev1(session.router.sas()):
        # The responder is where it went to.
        target, source = (
            (sa.remote_address, sa.local_address) if sa.initiator else (sa.local_address, sa.remote_address)
        )
        gone = " (deleted)" if sa.state == "DELETING" else ""
        yield f"{target:<15} {source:<15} {_exchange(session.router, sa):<13} {number:>8} ACTIVE{gone}"
    yield ""
    yield "IPv6 Crypto ISAKMP SA"
    yield ""


def _ikev1(sas: Iterable[IkeSa]) -> list[tuple[int, IkeSa]]:
    return [(number, sa) for number, sa in sorted(conn_ids(sas).items(), reverse=True) if sa.version == 1]


def _sa_detail(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    yield from _LEGEND
    yield "IPv4 Crypto ISAKMP SA"
    yield ""
    yield "C-id  Local           Remote          I-VRF  Status Encr Hash   Auth DH Lifetime Cap."
    yield ""
    for number, sa in _ikev1(router.sas()):
        connection = router.connection_of(sa.name)
        method = "rsig" if connection is not None and connection.trustpoint else "psk"
        lifetime = connection.lifetime_s if connection is not None else None
        left = None if lifetime is None or sa.established_s is None else lifetime - sa.established_s
        capabilities = "D" if connection is not None and connection.dpd_delay_s else ""
        capabilities += "N" if sa.local_port == 4500 else ""
        cipher = {"3DES_CBC": "3des"}.get(sa.encryption or "", "aes" if sa.encryption else "")
        status = "ACTIVE" if sa.established else "IN-PROG"
        yield (
            f"{number:<5} {sa.local_address:<15} {sa.remote_address:<15}        {status:<6} "
            f"{cipher:<4} {_SA_HASHES.get(sa.integrity or '', ''):<6} {method:<4} {group_number(sa.group):<2} "
            f"{clock_text(left):<8} {capabilities:<4}"
        )
        yield f"       Engine-id:Conn-id =  SW:{number - 1000}"
        yield ""
    yield "IPv6 Crypto ISAKMP SA"
    yield ""


def _peers(session: Session, match: Match[Exec]) -> Iterator[str]:
    for sa in session.router.sas():
        if sa.version == 1 and match.get("peer") in (None, sa.remote_address):
            yield f"Peer: {sa.remote_address} Port: {sa.remote_port} Local: {sa.local_address}"
            yield f" Phase1 id: {sa.remote_identity}"


SHOW = (
    Exec("show crypto isakmp policy", _policy, 1),
    Exec("show crypto isakmp key", _key, 15),
    Exec("show crypto isakmp sa [active]", _sa, 1),
    Exec("show crypto isakmp sa detail", _sa_detail, 1),
    Exec("show crypto isakmp peers [<peer:host>]", _peers, 1),
)
