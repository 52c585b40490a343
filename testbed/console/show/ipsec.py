"""Crypto maps, IPsec SAs and sessions."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from testbed.console.numbers import conn_ids, flow_ids
from testbed.console.session import Exec
from testbed.console.show.isakmp import clock_text, group_number
from testbed.device.ios.crypto import map_entries
from testbed.device.ios.lists import entry_text, is_extended, list_statements
from testbed.verify.drops import drops_of_charon, drops_of_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.console.router import LiveRouter
    from testbed.console.session import Session
    from testbed.daemons.sa import ChildSa, IkeSa
    from testbed.device import ChildConfig, ConnectionConfig
    from testbed.ios.configuration import Statement
    from testbed.ios.grammar import Match
    from testbed.verify.drops import Drops

__all__ = ["SHOW", "entry_list"]

_KILOBYTES, _SECONDS = 4608000, 3600
_HASHES = {
    "HMAC_MD5_96": "esp-md5-hmac",
    "HMAC_SHA1_96": "esp-sha-hmac",
    "HMAC_SHA2_256_128": "esp-sha256-hmac",
    "HMAC_SHA2_384_192": "esp-sha384-hmac",
    "HMAC_SHA2_512_256": "esp-sha512-hmac",
}
_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51}
_REPLAY_WINDOW = 32  # strongSwan's own, charon.replay_window of strongswan.conf(5)
_ESP_OVERHEAD = 62  # what IOS takes off the path MTU for ESP in tunnel mode with AES, at most


def entry_list(router: LiveRouter, connection: ConnectionConfig) -> object:
    """The access list of the map's entry that a connection was made of."""
    entry = _entry_of(router, connection)
    return None if entry is None else entry.value("match address", "acl")


def _entry_of(router: LiveRouter, connection: ConnectionConfig) -> Statement | None:
    _, _, label = connection.origin.partition("crypto map ")
    name, _, sequence = label.rpartition(" ")
    for entry in map_entries(router.context, name):
        if str(entry.sequence) == sequence:
            return entry.template
    return None


def _map_name(connection: ConnectionConfig) -> str:
    return connection.origin.removeprefix("crypto map ").rpartition(" ")[0]


# -- show crypto map


def _maps(session: Session, match: Match[Exec]) -> Iterator[str]:
    router, configuration = session.router, session.router.configuration
    names = list(dict.fromkeys(item.get("map") for item in configuration.all("crypto map")))
    interfaces = {
        name: [
            str(section.get("interface"))
            for section in configuration.all("interface")
            if section.value("crypto map", "map") == name
        ]
        for name in names
    }
    if not names:
        yield "No crypto maps found."
        return
    if match.get("map") is not None and match.get("map") not in names:
        yield f"% Crypto map {match.get('map')} does not exist."
    for name in names:
        if match.get("map") not in (None, name):
            continue
        if match.get("interface") is not None and match.get("interface") not in interfaces[name]:
            continue
        for entry in map_entries(router.context, name):
            yield from _map_entry(router, name, entry.sequence, entry.template)
            indent = "\t" if router.is_xe else "        "
            yield f"{indent}Interfaces using crypto map {name}:"
            for interface in interfaces[name]:
                yield f"{indent * 2}{interface}"
            yield ""


def _map_entry(router: LiveRouter, name: str, sequence: int, entry: Statement) -> Iterator[str]:
    indent = "\t" if router.is_xe else "        "
    yield f'Crypto Map IPv4 "{name}" {sequence} ipsec-isakmp'
    yield from _map_match(router, entry, indent)
    seconds, kilobytes = _lifetimes(router, entry)
    yield f"{indent}Security association lifetime: {kilobytes} kilobytes/{seconds} seconds"
    idle = entry.value("set security-association idle-time", "seconds")
    if idle:
        yield f"{indent}Security association idletime: {idle} seconds"
    if router.is_xe:
        yield f"{indent}Dualstack (Y/N): N"
        yield ""
    yield f"{indent}Responder-Only (Y/N): N"
    pfs = entry.one("set pfs")
    yield f"{indent}PFS (Y/N): {'Y' if pfs else 'N'}"
    if pfs is not None:
        yield f"{indent}DH group:  {pfs.get('group', 'group1')}"
    yield f"{indent}Mixed-mode : Disabled"
    yield f"{indent}Transform sets={{"
    known = {item.get("set"): item for item in router.configuration.all("crypto ipsec transform-set")}
    for wanted in (item for statement in entry.all("set transform-set") for item in statement.every("set")):
        shown = _transforms(known[wanted]) if wanted in known else ""
        yield f"{indent * 2}{wanted}:  {{ {shown}  }} ,"
    yield f"{indent}}}"


def _map_match(router: LiveRouter, entry: Statement, indent: str) -> Iterator[str]:
    """What an entry is about: its peers and its list, or that they are missing."""
    configuration = router.configuration
    description = entry.value("description", "text")
    if description:
        yield f"{indent}Description: {description}"
    peers = [item.get("peer") for item in entry.all("set peer")]
    acl = entry.value("match address", "acl")
    if not peers or acl is None:
        yield f"{indent}WARNING: This crypto map is in an incomplete state!"
        yield f"{indent}\t(missing peer or access-list definitions)"
    for peer in peers:
        yield f"{indent}Peer = {peer}"
    for kind, word in (("ikev2", "IKEv2"), ("isakmp", "ISAKMP")):
        profile = entry.value(f"set {kind}-profile", "profile")
        if profile:
            yield f"{indent}{word} Profile: {profile}"
    if router.is_xe:
        yield f"{indent}Access-List SS dynamic: False"
    if acl is not None:
        kind = "Extended" if is_extended(configuration, acl) else "Standard"
        yield f"{indent}{kind} IP access list {acl}"
        for statement in list_statements(configuration, acl):
            yield f"{indent}    access-list {acl} {entry_text(statement)}"
    if peers:
        yield f"{indent}Current peer: {peers[0]}"


def _lifetimes(router: LiveRouter, entry: Statement) -> tuple[int, int]:
    configuration = router.configuration
    found = []
    for unit, default in (("seconds", _SECONDS), ("kilobytes", _KILOBYTES)):
        general = configuration.value(f"crypto ipsec security-association lifetime {unit}", unit, default)
        found.append(entry.value(f"set security-association lifetime {unit}", unit, general))
    return found[0], found[1]


def _transforms(statement: Statement) -> str:
    """As IOS shows a set: `esp-256-aes esp-sha256-hmac`, `esp-gcm 256`."""
    bits = statement.get("bits", "128")
    words = []
    for transform in statement.every("transform"):
        if transform == "esp-aes":
            words.append("esp-aes" if bits == "128" else f"esp-{bits}-aes")
        elif transform == "esp-gcm":
            words.append(f"esp-gcm {bits}")
        else:
            words.append(transform)
    return " ".join(sorted(words, key=lambda word: word.endswith("-hmac")))


def _transform_sets(session: Session, match: Match[Exec]) -> Iterator[str]:
    if match.get("set") in (None, "default"):
        yield "Transform set default: { esp-aes esp-sha-hmac  } "
        yield "   will negotiate = { Transport,  }, "
        yield ""
    for statement in session.router.configuration.all("crypto ipsec transform-set"):
        if match.get("set") in (None, statement.get("set")):
            mode = statement.value("mode", "mode", "tunnel").capitalize()
            yield f"Transform set {statement.get('set')}: {{ {_transforms(statement)}  }} "
            yield f"   will negotiate = {{ {mode},  }}, "
            yield ""


def _profiles(session: Session, _match: Match[Exec]) -> Iterator[str]:
    router = session.router
    known = {item.get("set"): item for item in router.configuration.all("crypto ipsec transform-set")}
    for profile in router.configuration.all("crypto ipsec profile"):
        seconds, kilobytes = _lifetimes(router, profile)
        yield f"IPSEC profile {profile.get('profile')}"
        ikev2 = profile.value("set ikev2-profile", "profile")
        if ikev2:
            yield f"\tIKEv2 Profile: {ikev2}"
        yield f"\tSecurity association lifetime: {kilobytes} kilobytes/{seconds} seconds"
        yield f"\tResponder-Only (Y/N): {'Y' if profile.one('responder-only') else 'N'}"
        yield f"\tPFS (Y/N): {'Y' if profile.one('set pfs') else 'N'}"
        yield "\tMixed-mode : Disabled"
        yield "\tTransform sets={ "
        for name in (item for statement in profile.all("set transform-set") for item in statement.every("set")):
            yield f"\t\t{name}:  {{ {_transforms(known[name]) if name in known else ''}  }} , "
        yield "\t}"
        yield ""
    yield "IPSEC profile default"
    yield f"\tSecurity association lifetime: {_KILOBYTES} kilobytes/{_SECONDS} seconds"
    yield "\tResponder-Only (Y/N): N"
    yield "\tPFS (Y/N): N"
    yield "\tMixed-mode : Disabled"
    yield "\tTransform sets={ "
    yield "\t\tdefault:  { esp-aes esp-sha-hmac  } , "
    yield "\t}"


def _lifetime(session: Session, _match: Match[Exec]) -> Iterator[str]:
    configuration = session.router.configuration
    seconds = configuration.value("crypto ipsec security-association lifetime seconds", "seconds", _SECONDS)
    kilobytes = configuration.value("crypto ipsec security-association lifetime kilobytes", "kilobytes", _KILOBYTES)
    yield f"Security association lifetime: {kilobytes} kilobytes/{seconds} seconds"


# -- show crypto ipsec sa


def _ipsec_sa(session: Session, match: Match[Exec]) -> Iterator[str]:
    """Every flow of every map that is on an interface, whether it has SAs or not."""
    router = session.router
    sas = router.sas()
    drops = _inbound_drops(router)
    last: str | None = None
    detail = match.get("detail") is not None
    for connection in router.device.connections:
        if match.get("peer") not in (None, connection.remote.address):
            continue
        if match.get("map") not in (None, _map_name(connection)):
            continue
        name = router.interface_name(connection.interface)
        if match.get("interface") not in (None, name):
            continue
        if connection.interface != last:
            last = connection.interface
            yield ""
            yield f"interface: {name}"
            yield f"    Crypto map tag: {_map_name(connection)}, local addr {connection.local.address}"
            yield ""
        for child in connection.children:
            found = _installed(sas, connection.name, child.name)
            yield from _flow(router, connection, child, found, drops=drops, detail=detail)
    if last is None:
        yield "No SAs found"


def _installed(sas: list[IkeSa], connection: str, child: str) -> list[tuple[IkeSa, ChildSa]]:
    return [
        (sa, found)
        for sa in sas
        if sa.name == connection
        for found in sa.children
        if found.name == child and found.state in ("INSTALLED", "REKEYING", "REKEYED")
    ]


def _flow(
    router: LiveRouter,
    connection: ConnectionConfig,
    child: ChildConfig,
    found: list[tuple[IkeSa, ChildSa]],
    *,
    drops: Mapping[str, Drops],
    detail: bool,
) -> Iterator[str]:
    out = sum(sa.packets_out for _, sa in found)
    into = sum(sa.packets_in for _, sa in found)
    lost = [drops[sa.spi_in] for _, sa in found if sa.spi_in is not None and sa.spi_in in drops]
    replayed, forged = sum(item.replayed for item in lost), sum(item.forged for item in lost)
    peer = found[-1][0] if found else None
    port = peer.remote_port if peer else 500
    remote = peer.remote_address if peer else str(connection.remote.address)
    yield "   protected vrf: (none)"
    yield f"   local  ident (addr/mask/prot/port): ({_ident(str(child.local_selectors[0]), child.local_ports)})"
    yield f"   remote ident (addr/mask/prot/port): ({_ident(str(child.remote_selectors[0]), child.remote_ports)})"
    yield f"   current_peer {remote} port {port}"
    yield "     PERMIT, flags={origin_is_acl,}"
    yield f"    #pkts encaps: {out}, #pkts encrypt: {out}, #pkts digest: {out}"
    yield f"    #pkts decaps: {into}, #pkts decrypt: {into}, #pkts verify: {into}"
    yield "    #pkts compressed: 0, #pkts decompressed: 0"
    yield "    #pkts not compressed: 0, #pkts compr. failed: 0"
    yield "    #pkts not decompressed: 0, #pkts decompress failed: 0"
    if detail:
        yield "    #pkts no sa (send) 0, #pkts invalid sa (rcv) 0"
        yield "    #pkts encaps failed (send) 0, #pkts decaps failed (rcv) 0"
        yield f"    #pkts invalid prot (recv) 0, #pkts verify failed: {forged}"
        yield "    #pkts invalid identity (recv) 0, #pkts invalid len (rcv) 0"
        yield "    #pkts replay rollover (send): 0, #pkts replay rollover (rcv) 0"
        yield f"    ##pkts replay failed (rcv): {replayed}"
        yield "    #pkts tagged (send): 0, #pkts untagged (rcv): 0"
        yield "    #pkts not tagged (send): 0, #pkts not untagged (rcv): 0"
        yield "    #pkts internal err (send): 0, #pkts internal err (recv) 0"
    else:
        yield f"    #send errors 0, #recv errors {replayed + forged}"
    yield ""
    interface = next((item for item in router.device.interfaces if item.name == connection.interface), None)
    mtu = interface.mtu if interface else 1500
    yield f"     local crypto endpt.: {connection.local.address}, remote crypto endpt.: {remote}"
    plain = mtu - _ESP_OVERHEAD if found else mtu
    name = router.interface_name(connection.interface)
    yield f"     plaintext mtu {plain}, path mtu {mtu}, ip mtu {mtu}, ip mtu idb {name}"
    current = found[-1][1].spi_out if found else None
    yield f"     current outbound spi: {_spi(current)}"
    group = found[-1][1].group if found else None
    yield f"     PFS (Y/N): {'Y' if group else 'N'}, DH group: {f'group{group_number(group)}' if group else 'none'}"
    for direction in ("inbound", "outbound"):
        yield ""
        yield f"     {direction} esp sas:"
        for _, sa in found:
            yield from _one_sa(connection, child, sa, direction, detail=detail)
        yield ""
        yield f"     {direction} ah sas:"
        yield ""
        yield f"     {direction} pcp sas:"
    yield ""


def _ident(prefix: str, ports: str) -> str:
    """`192.168.10.0/255.255.255.0/0/0`: address, mask, protocol, port."""
    network = ip_network(prefix)
    protocol, _, port = ports.strip("[]").partition("/")
    number = _NUMBERS.get(protocol, int(protocol) if protocol.isdecimal() else 0)
    return f"{network.network_address}/{network.netmask}/{number}/{port or 0}"


def _spi(spi: str | None) -> str:
    return f"0x{int(spi, 16):X}({int(spi, 16)})" if spi else "0x0(0)"


def _one_sa(
    connection: ConnectionConfig, child: ChildConfig, sa: ChildSa, direction: str, *, detail: bool
) -> Iterator[str]:
    inbound = direction == "inbound"
    number = flow_ids(sa)[0 if inbound else 1]
    yield f"      spi: {_spi(sa.spi_in if inbound else sa.spi_out)}"
    yield f"        transform: {_negotiated(sa)} ,"
    settings = (sa.mode or "tunnel").capitalize() + (" UDP-Encaps" if sa.encapsulated else "")
    yield f"        in use settings ={{{settings}, }}"
    yield (
        f"        conn id: {number}, flow_id: SW:{number}, sibling_flags 80000040, crypto map: {_map_name(connection)}"
    )
    octets = sa.bytes_in if inbound else sa.bytes_out
    if child.lifetime_bytes is None:
        volume = "KB Vol Rekey Disabled"
    else:
        volume = str(max(0, child.lifetime_bytes - octets) // 1024)
    yield f"        sa timing: remaining key lifetime (k/sec): ({volume}/{sa.expires_in_s or 0})"
    yield f"        IV size: {8 if 'GCM' in (sa.encryption or '') or '3DES' in (sa.encryption or '') else 16} bytes"
    window = _REPLAY_WINDOW if child.replay_window is None else child.replay_window
    size = f"  replay window size: {window}" if detail else ""
    yield f"        replay detection support: {'Y' if window else 'N'}{size}"
    yield "        Status: ACTIVE(ACTIVE)"


def _negotiated(sa: ChildSa) -> str:
    bits = sa.encryption_bits or 128
    name = sa.encryption or ""
    if "GCM" in name:
        return f"esp-gcm {bits}" if bits != 128 else "esp-gcm"
    cipher = {"3DES_CBC": "esp-3des", "NULL": "esp-null"}.get(name, "esp-aes" if bits == 128 else f"esp-{bits}-aes")
    return f"{cipher} {_HASHES.get(sa.integrity or '', '')}".strip()


# -- sessions and engine


def _session(session: Session, match: Match[Exec]) -> Iterator[str]:
    router, detail = session.router, match.get("detail") is not None
    sas = router.sas()
    yield "Crypto session current status"
    yield ""
    if detail:
        yield "Code: C - IKE Configuration mode, D - Dead Peer Detection     "
        yield "K - Keepalives, N - NAT-traversal, T - cTCP encapsulation     "
        yield "X - IKE Extended Authentication, F - IKE Fragmentation"
        yield "R - IKE Auto Reconnect, U - IKE Dynamic Route Update"
        yield "S - SIP VPN"
        yield ""
    for connection in router.device.connections:
        if match.get("remote") not in (None, connection.remote.address):
            continue
        if match.get("local") not in (None, connection.local.address):
            continue
        own = [sa for sa in sas if sa.name == connection.name]
        yield from _one_session(router, connection, own, _inbound_drops(router) if detail else None)


def _one_session(
    router: LiveRouter, connection: ConnectionConfig, sas: list[IkeSa], drops: Mapping[str, Drops] | None
) -> Iterator[str]:
    """With `drops`, in detail."""
    detail = drops is not None
    installed = [child for sa in sas for child in sa.children if child.state == "INSTALLED"]
    living = [sa for sa in sas if sa.established]
    yield f"Interface: {router.interface_name(connection.interface)}"
    if detail and living:
        yield f"Uptime: {clock_text(living[-1].established_s)}"
    status = "UP-ACTIVE" if living and installed else "UP-IDLE" if living else "DOWN-NEGOTIATING" if sas else "DOWN"
    yield f"Session status: {status}     "
    remote = living[-1].remote_address if living else str(connection.remote.address)
    port = living[-1].remote_port if living else 500
    if detail:
        yield f"Peer: {remote} port {port} fvrf: (none) ivrf: (none)"
        yield f"      Phase1_id: {living[-1].remote_identity if living else '(none)'}"
        yield "      Desc: (none)"
    else:
        yield f"Peer: {remote} port {port} "
    for number, sa in sorted(conn_ids(living).items()):
        yield "  Session ID: 0  " if sa.version == 1 else f"  Session ID: {sa.unique_id}  "
        local, peer = f"{sa.local_address}/{sa.local_port}", f"{sa.remote_address}/{sa.remote_port}"
        yield f"  IKEv{sa.version} SA: local {local} remote {peer} Active "
        if detail:
            capabilities = "D" if connection.dpd_delay_s else "(none)"
            left = None if connection.lifetime_s is None else connection.lifetime_s - (sa.established_s or 0)
            yield f"          Capabilities:{capabilities} connid:{number} lifetime:{clock_text(left)}"
    for child in connection.children:
        yield from _session_flow(child, [item for item in installed if item.name == child.name], drops)
    yield ""


def _inbound_drops(router: LiveRouter) -> dict[str, Drops]:
    """By inbound SPI, of SAs of which any packet was dropped."""
    if router.lab.plan.dataplane == "kernel":
        return drops_of_kernel(router.ask("ip", "-s", "xfrm", "state"))
    inbound = [child.spi_in for sa in router.sas() for child in sa.children if child.spi_in]
    return drops_of_charon(router.log(), inbound)


def _session_flow(child: ChildConfig, found: list[ChildSa], drops: Mapping[str, Drops] | None) -> Iterator[str]:
    local, remote = child.local_selectors[0], child.remote_selectors[0]
    protocol = child.local_ports.strip("[]").partition("/")[0] or "ip"
    yield f"  IPSEC FLOW: permit {protocol} {_flow_side(str(local))} {_flow_side(str(remote))} "
    yield f"        Active SAs: {len(found) * 2}, origin: crypto map"
    if drops is None:
        return
    lost = [drops[sa.spi_in] for sa in found if sa.spi_in is not None and sa.spi_in in drops]
    dropped = sum(item.replayed + item.forged for item in lost)
    for label, verb, attribute, octets in (
        ("Inbound: ", "dec'ed", "packets_in", "bytes_in"),
        ("Outbound:", "enc'ed", "packets_out", "bytes_out"),
    ):
        packets = sum(getattr(sa, attribute) for sa in found)
        used = sum(getattr(sa, octets) for sa in found)
        volume = "KB Vol Rekey Disabled" if child.lifetime_bytes is None else (child.lifetime_bytes - used) // 1024
        seconds = found[-1].expires_in_s if found else 0
        count = dropped if verb == "dec'ed" else 0
        yield f"        {label} #pkts {verb} {packets} drop {count} life (KB/Sec) {volume if found else 0}/{seconds}"


def _flow_side(prefix: str) -> str:
    network = ip_network(prefix)
    if network.prefixlen == 32:
        return f"host {network.network_address}"
    return f"{network.network_address}/{network.netmask}"


def _engine(session: Session, _match: Match[Exec]) -> Iterator[str]:
    """Ordered as IOS does: the IPsec SAs first, then the IKE SAs."""
    yield "Crypto Engine Connections"
    yield ""
    yield "   ID  Type    Algorithm           Encrypt  Decrypt LastSeqN IP-Address"
    sas = session.router.sas()
    for sa in sas:
        for child in sa.children:
            if child.state != "INSTALLED":
                continue
            algorithm = _algorithm(child.encryption, child.encryption_bits, child.integrity)
            inbound, outbound = flow_ids(child)
            yield _connection(inbound, "IPsec", algorithm, 0, child.packets_in, child.packets_in, sa.local_address)
            yield _connection(outbound, "IPsec", algorithm, child.packets_out, 0, 0, sa.local_address)
    for number, sa in conn_ids(sas).items():
        algorithm = _algorithm(sa.encryption, sa.encryption_bits, sa.integrity, ike=True)
        yield _connection(number, "IKE" if sa.version == 1 else "IKEv2", algorithm, 0, 0, 0, sa.local_address)


def _connection(number: int, kind: str, algorithm: str, out: int, into: int, last: int, address: str) -> str:
    return f"{number:>5}  {kind:<7} {algorithm:<18} {out:>8} {into:>8} {last:>8} {address}"


def _algorithm(cipher: str | None, bits: int | None, integrity: str | None, *, ike: bool = False) -> str:
    name = "3DES" if cipher == "3DES_CBC" else f"AES{'' if bits in (128, None) else bits}"
    hashed = {
        "HMAC_MD5_96": "MD5",
        "HMAC_SHA1_96": "SHA",
        "HMAC_SHA2_256_128": "SHA256",
        "HMAC_SHA2_384_192": "SHA384",
        "HMAC_SHA2_512_256": "SHA512",
    }.get(integrity or "", "")
    if "GCM" in (cipher or ""):
        return f"AES-GCM{bits or ''}"
    return f"{hashed}+{name}" if ike else f"{name}+{hashed}"


SHOW = (
    Exec("show crypto map [{tag <map:name> | interface <interface:interface> | <map:name>}]", _maps, 1),
    Exec("show crypto ipsec sa [{peer <peer:ip> | interface <interface:interface> | map <map:name> "
         "| detail=detail}...]", _ipsec_sa, 1),
    Exec("show crypto ipsec transform-set [<set:name>]", _transform_sets, 1),
    Exec("show crypto ipsec profile", _profiles, 1),
    Exec("show crypto ipsec security-association [lifetime]", _lifetime, 1),
    Exec("show crypto session [{remote <remote:ip> | local <local:ip> | detail=detail}...]", _session, 1),
    Exec("show crypto engine connections active", _engine, 1),
)  # fmt: skip
