"""`show crypto ikev2`."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from testbed.console.session import Exec
from testbed.console.show.isakmp import group_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.console.router import LiveRouter
    from testbed.console.session import Session
    from testbed.daemons.sa import ChildSa, IkeSa
    from testbed.ios.grammar import Match

__all__ = ["SHOW"]

_PRFS = {
    "PRF_HMAC_MD5": "MD5",
    "PRF_HMAC_SHA1": "SHA1",
    "PRF_HMAC_SHA2_256": "SHA256",
    "PRF_HMAC_SHA2_384": "SHA384",
    "PRF_HMAC_SHA2_512": "SHA512",
}
_HASHES = {
    "HMAC_MD5_96": "MD596",
    "HMAC_SHA1_96": "SHA96",
    "HMAC_SHA2_256_128": "SHA256",
    "HMAC_SHA2_384_192": "SHA384",
    "HMAC_SHA2_512_256": "SHA512",
}
_GROUPS = {
    "1": "DH_GROUP_768_MODP/Group 1",
    "2": "DH_GROUP_1024_MODP/Group 2",
    "5": "DH_GROUP_1536_MODP/Group 5",
    "14": "DH_GROUP_2048_MODP/Group 14",
    "15": "DH_GROUP_3072_MODP/Group 15",
    "16": "DH_GROUP_4096_MODP/Group 16",
    "19": "DH_GROUP_256_ECP/Group 19",
    "20": "DH_GROUP_384_ECP/Group 20",
    "21": "DH_GROUP_521_ECP/Group 21",
    "24": "DH_GROUP_2048_256_MODP/Group 24",
}
_HEADER = "Tunnel-id Local                 Remote                fvrf/ivrf            Status "


def _cipher(name: str | None, bits: int | None) -> str:
    if name == "3DES_CBC":
        return "3DES"
    kind = "AES-GCM" if "GCM" in (name or "") else "AES-CBC"
    return f"{kind}, keysize: {bits or 128}"


def _head(router: LiveRouter, sa: IkeSa) -> Iterator[str]:
    local, remote = f"{sa.local_address}/{sa.local_port}", f"{sa.remote_address}/{sa.remote_port}"
    status = "READY" if sa.established else "IN-NEG"
    yield f"{sa.unique_id:<9} {local:<21} {remote:<21} none/none            {status:<6} "
    connection = router.connection_of(sa.name)
    sign = "RSA" if connection is not None and connection.trustpoint else "PSK"
    yield (
        f"      Encr: {_cipher(sa.encryption, sa.encryption_bits)}, PRF: {_PRFS.get(sa.prf or '', 'None')}, "
        f"Hash: {_HASHES.get(sa.integrity or '', 'None')}, DH Grp:{group_number(sa.group)}, "
        f"Auth sign: {sign}, Auth verify: {sign}"
    )
    life = connection.lifetime_s if connection is not None and connection.lifetime_s else 86400
    yield f"      Life/Active Time: {life}/{sa.established_s or 0} sec"


def _detail(router: LiveRouter, sa: IkeSa) -> Iterator[str]:
    connection = router.connection_of(sa.name)
    own, other = (sa.initiator_spi, sa.responder_spi) if sa.initiator else (sa.responder_spi, sa.initiator_spi)
    yield f"      CE id: {1000 + sa.unique_id}, Session-id: {sa.unique_id}"
    yield (
        "      Status Description: Negotiation done"
        if sa.established
        else "      Status Description: Initiator waiting"
    )
    yield f"      Local spi: {own.upper()}       Remote spi: {other.upper()}"
    yield f"      Local id: {sa.local_identity}"
    yield f"      Remote id: {sa.remote_identity}"
    dpd = connection.dpd_delay_s if connection is not None and connection.dpd_delay_s else 0
    yield f"      DPD configured for {dpd} seconds, retry {2 if dpd else 0}"
    yield "      Fragmentation not  configured."
    yield "      Dynamic Route Update: disabled"
    yield "      Extended Authentication not configured."
    natted = sa.local_port == 4500
    yield f"      NAT-T is {'detected' if natted else 'not detected  '}"
    yield "      Cisco Trust Security SGT is disabled"
    yield f"      Initiator of SA : {'Yes' if sa.initiator else 'No'}"


def _sa(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    detailed = match.get("detailed") is not None
    peer = match.get("peer")
    found = [sa for sa in router.sas() if sa.version == 2 and (peer is None or sa.remote_address == str(peer))]
    gap = " " if router.is_xe else "  "
    yield f"{'' if router.is_xe else ' '}IPv4 Crypto IKEv2{gap}SA "
    yield ""
    if found:
        yield _HEADER
    for sa in found:
        yield from _head(router, sa)
        if detailed:
            yield from _detail(router, sa)
        yield ""
    yield f" IPv6 Crypto IKEv2{gap}SA "
    yield ""


def _session(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    yield " IPv4 Crypto IKEv2 Session "
    yield ""
    for sa in (item for item in router.sas() if item.version == 2):
        installed = [child for child in sa.children if child.state == "INSTALLED"]
        status = "UP-ACTIVE" if installed else "UP-IDLE"
        yield f"Session-id:{sa.unique_id}, Status:{status}, IKE count:1, CHILD count:{len(installed)}"
        yield ""
        yield _HEADER
        yield from _head(router, sa)
        if match.get("detailed") is not None:
            yield from _detail(router, sa)
        for child in installed:
            yield from _child(child, detailed=match.get("detailed") is not None)
        yield ""
    yield " IPv6 Crypto IKEv2 Session "
    yield ""


def _child(child: ChildSa, *, detailed: bool) -> Iterator[str]:
    local, remote = (_range(item[0]) if item else "" for item in (child.local_selectors, child.remote_selectors))
    yield f"Child sa: local selector  {local}"
    yield f"          remote selector {remote}"
    spis = [f"0x{int(spi, 16):X}" if spi else "0x0" for spi in (child.spi_in, child.spi_out)]
    yield f"          ESP spi in/out: {spis[0]}/{spis[1]}  "
    if detailed:
        yield "          AH spi in/out: 0x0/0x0  "
        yield "          CPI in/out: 0x0/0x0  "
        hashed = _HASHES.get(child.integrity or "", "None")
        yield f"          Encr: {_cipher(child.encryption, child.encryption_bits)}, esp_hmac: {hashed}"
        yield f"          ah_hmac: None, comp: IPCOMP_NONE, mode {(child.mode or 'tunnel').lower()}"


def _range(selector: str) -> str:
    network = ip_network(selector.partition("[")[0])
    return f"{network.network_address}/0 - {network.broadcast_address}/65535"


def _proposals(session: Session, match: Match[Exec]) -> Iterator[str]:
    router = session.router
    if match.get("proposal") in (None, "default"):
        yield "IKEv2 proposal: default"
        if router.is_xe:
            yield from _values("AES-CBC-256", "SHA512 SHA384", "SHA512 SHA384", ("19", "14", "21", "5"))
        else:
            words = "SHA512 SHA384 SHA256 SHA96 MD596"
            yield from _values("AES-CBC-256 AES-CBC-192 AES-CBC-128", words, words.replace("96", ""), ("5", "2"))
    for section in router.configuration.all("crypto ikev2 proposal"):
        if match.get("proposal") not in (None, section.get("proposal")):
            continue
        yield f"IKEv2 proposal: {section.get('proposal')}"
        ciphers = [item.upper() for statement in section.all("encryption") for item in statement.every("cipher")]
        hashes = [item for statement in section.all("integrity") for item in statement.every("hash")]
        prfs = [item for statement in section.all("prf") for item in statement.every("hash")] or hashes
        groups = [item for statement in section.all("group") for item in statement.every("group")]
        shown = {"sha1": "SHA96", "md5": "MD596"}
        yield from _values(
            " ".join(ciphers),
            " ".join(shown.get(item, item.upper()) for item in hashes) or "none",
            " ".join(item.upper() for item in prfs),
            tuple(groups),
        )


def _values(encryption: str, integrity: str, prf: str, groups: tuple[str, ...]) -> Iterator[str]:
    yield f"     Encryption : {encryption}"
    yield f"     Integrity  : {integrity}"
    yield f"     PRF        : {prf}"
    yield f"     DH Group   : {' '.join(_GROUPS[item] for item in groups)}"


def _policies(session: Session, match: Match[Exec]) -> Iterator[str]:
    if match.get("policy") in (None, "default"):
        yield " IKEv2 policy : default"
        yield "      Match fvrf : any"
        yield "      Match address local : any"
        yield "      Proposal    : default"
        yield ""
    for section in session.router.configuration.all("crypto ikev2 policy"):
        if match.get("policy") not in (None, section.get("policy")):
            continue
        yield f" IKEv2 policy : {section.get('policy')}"
        yield "      Match fvrf  : global"
        addresses = [str(item.get("address")) for item in section.all("match address local")]
        for address in addresses or ["any"]:
            yield f"      Match address local : {address}"
        for item in section.all("proposal"):
            yield f"      Proposal    : {item.get('proposal')}"
        yield ""


SHOW = (
    Exec("show crypto ikev2 sa [{detailed=detailed | detailed=detail | remote <peer:ip>}]", _sa, 1),
    Exec("show crypto ikev2 session [{detailed=detailed | detailed=detail}]", _session, 1),
    Exec("show crypto ikev2 proposal [<proposal:name>]", _proposals, 1),
    Exec("show crypto ikev2 policy [<policy:name>]", _policies, 1),
)
