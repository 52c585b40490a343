"""Crypto maps, and what they refer to, as IKE connections and their CHILD SAs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from testbed.device.ios.lists import list_statements, selectors
from testbed.device.ios.pki import router_fqdn
from testbed.device.ios.proposals import esp_proposals, ike_policies, ikev2_proposals
from testbed.device.ios.tunnels import tunnel_section
from testbed.device.model import ChildConfig, ConnectionConfig, IkeEnd, PreSharedKey
from testbed.ios.addresses import interface_addresses
from testbed.ios.arguments import netmask_prefix
from testbed.topology.secrets import SecretValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from testbed.device.ios.context import Context
    from testbed.device.model import InterfaceConfig, StartAction, TunnelInterface
    from testbed.device.services import TrustpointConfig
    from testbed.ios.configuration import Statement

__all__ = ["compile_crypto", "map_entries"]

_ANYONE = IPv4Address(0)
_EVERYTHING = IPv4Network("0.0.0.0/0")
_HEAD = 65537  # the sequence number that IOS gives to the map that it makes of a tunnel interface
_SECONDS, _KILOBYTES = 3600, 4608000
_IKE_LIFETIME_S = 86400


@dataclass(frozen=True)
class _Entry:
    """An entry of a map on an interface. A dynamic one has no peer, and its settings stand in its `template`."""

    map: str
    sequence: int
    template: Statement
    dynamic: bool = False

    @property
    def label(self) -> str:
        return f"{self.map} {self.sequence}"


def map_entries(context: Context, name: str) -> Iterator[_Entry]:
    """The entries of a crypto map in their order, with those of the dynamic maps that it refers to."""
    configuration = context.configuration
    found = [item for item in configuration.all("crypto map") if item.get("map") == name]
    for statement in sorted(found, key=lambda item: int(item.get("sequence"))):
        dynamic = statement.get("dynamic")
        if dynamic is None:
            yield _Entry(name, statement.get("sequence"), statement)
            continue
        templates = [item for item in configuration.all("crypto dynamic-map") if item.get("map") == dynamic]
        if not templates:
            context.note(statement, f"there is no dynamic map {dynamic}")
        for template in sorted(templates, key=lambda item: int(item.get("sequence"))):
            yield _Entry(name, statement.get("sequence"), template, dynamic=True)


def compile_crypto(
    context: Context,
    interfaces: Sequence[InterfaceConfig],
    trustpoints: Sequence[TrustpointConfig],
    tunnels: Sequence[TunnelInterface] = (),
) -> tuple[tuple[ConnectionConfig, ...], tuple[PreSharedKey, ...]]:
    """The connections of all maps that stand on an interface, and the keys. A map on no interface is not loaded."""
    compiler = _Compiler(context, trustpoints)
    sections = {section.get("interface").linux: section for section in context.configuration.all("interface")}
    for interface in interfaces:
        section = sections.get(interface.name)
        statement = section.one("crypto map") if section else None
        if statement is None:
            continue
        address = next((item.ip for item in interface.addresses if item.version == 4), None)
        if address is None or not interface.enabled:
            context.note(statement, f"{interface.name} has no address, or is shut down")
            continue
        source = _local_address(context, statement.get("map"))
        if not context.configuration.says("crypto isakmp enable"):
            context.note(statement, "`no crypto isakmp enable`: no map is loaded")
            continue
        entries = list(map_entries(context, statement.get("map")))
        if not entries:
            context.note(statement, f"there is no crypto map {statement.get('map')}")
        for entry in entries:
            compiler.entry(entry, interface, source or IPv4Address(address))
    for tunnel in tunnels:
        compiler.tunnel(tunnel, next(item for item in interfaces if item.name == tunnel.source))
    return tuple(compiler.connections), tuple(compiler.keys())


def _local_address(context: Context, name: str) -> IPv4Address | None:
    """The address that `crypto map NAME local-address INTERFACE` says; that of the map's own interface without it."""
    found = [item for item in context.configuration.all("crypto map local-address") if item.get("map") == name]
    if not found:
        return None
    wanted = found[0].get("interface").linux
    own = [item.ip for item in interface_addresses(context.configuration).get(wanted, ()) if item.version == 4]
    if not own:
        context.note(found[0], f"{found[0].get('interface')} has no address")
    return IPv4Address(own[0]) if own else None


class _Compiler:
    def __init__(self, context: Context, trustpoints: Sequence[TrustpointConfig]) -> None:
        self._context = context
        self._configuration = context.configuration
        self._trustpoints = {trustpoint.name: trustpoint for trustpoint in trustpoints}
        self._policies = ike_policies(context)
        self.connections: list[ConnectionConfig] = []
        self._used: set[str] = set()
        self._keyrings: set[str] = set()  # of IKEv2 profiles that are in use
        self._inline: dict[str, tuple[dict[str, bytes], str]] = {}  # their keys and whose they are, by profile

    def entry(self, entry: _Entry, interface: InterfaceConfig, address: IPv4Address) -> None:
        """Add the connections of one entry: one for each peer, of which the first is called on traffic."""
        template = entry.template
        peers = [] if entry.dynamic else list(self._peers(template))
        acl = template.value("match address", "acl")
        children = list(self._children(entry, acl))
        if not children or not (peers or entry.dynamic):
            missing = "peer or access-list" if not entry.dynamic else "access-list or transform-set"
            self._context.note(template, f"map {entry.label} is incomplete: no {missing}")
            return
        for number, peer in enumerate(peers or [_ANYONE]):
            base = self._base(entry, peer, address)
            if base is None:
                continue
            name = self._name(entry, peer)
            start: StartAction = "trap" if number == 0 and not entry.dynamic else "none"
            self.connections.append(
                replace(
                    base,
                    name=name,
                    interface=interface.name,
                    local=IkeEnd(address, base.local.identity or str(address)),
                    children=tuple(
                        replace(child, name=name if len(children) == 1 else f"{name}-{index}", start=start)
                        for index, child in enumerate(children, start=1)
                    ),
                    origin=f"crypto map {entry.label}",
                )
            )

    def tunnel(self, tunnel: TunnelInterface, source: InterfaceConfig) -> None:
        """Add the connection of a tunnel interface. Everything that is routed into it is protected."""
        context, section = self._context, tunnel_section(self._context, tunnel.name)
        name = section.value("tunnel protection ipsec profile", "profile")
        found = [item for item in self._configuration.all("crypto ipsec profile") if item.get("profile") == name]
        if not found:
            context.note(section, f"there is no IPsec profile {name}")
            return
        entry = _Entry(f"{section.get('interface')}-head-0", _HEAD, found[0])
        peer = section.value("tunnel destination", "address")
        address = IPv4Address(next(item.ip for item in source.addresses if item.version == 4))
        base = self._base(entry, peer, address)
        child = self._child(found[0], (_EVERYTHING, _EVERYTHING, "", ""))
        if base is None or child is None:
            context.note(section, f"IPsec profile {name} has no transform set, or nothing to authenticate with")
            return
        connection = self._name(entry, peer)
        self.connections.append(
            replace(
                base,
                name=connection,
                interface=tunnel.name,
                local=IkeEnd(address, base.local.identity or str(address)),
                # Such a tunnel waits for no traffic: IOS negotiates as soon as the interface is up.
                children=(
                    replace(child, name=connection, start="none" if found[0].says("responder-only") else "start"),
                ),
                origin=f"crypto map {entry.label}",
                if_id=tunnel.if_id,
            )
        )

    def _peers(self, template: Statement) -> Iterator[IPv4Address]:
        for statement in template.all("set peer"):
            try:
                yield IPv4Address(statement.get("peer"))
            except ValueError:
                self._context.note(statement, "a peer has to be named by its address: there is no name server")

    def _name(self, entry: _Entry, peer: IPv4Address) -> str:
        owner = self._context.owners.get(peer)
        stem = self._context.pair(owner) if owner else f"{entry.map}-{entry.sequence}"
        name, number = stem, 1
        while name in self._used:
            number += 1
            name = f"{stem}-{number}"
        self._used.add(name)
        return name

    def _base(self, entry: _Entry, peer: IPv4Address, local: IPv4Address) -> ConnectionConfig | None:
        profile = entry.template.value("set ikev2-profile", "profile")
        return self._ikev1(entry, peer) if profile is None else self._ikev2(entry, peer, profile, local)

    def _ikev1(self, entry: _Entry, peer: IPv4Address) -> ConnectionConfig | None:
        context, template = self._context, entry.template
        profile = self._profile(template)
        key = self._key_for(peer, profile)
        trustpoint = self._trustpoint(profile)
        for policy in self._policies:
            usable = key is not None if policy.method == "pre-share" else trustpoint is not None
            if usable:
                chosen = policy
                break
        else:
            context.note(template, f"map {entry.label}: no ISAKMP policy fits a key or a trustpoint that there is")
            return None
        proposals = tuple(policy.proposal for policy in self._policies if policy.method == chosen.method)
        keepalive = (profile.one("keepalive") if profile else None) or self._configuration.one(
            "crypto isakmp keepalive"
        )
        signature = chosen.method == "rsa-sig"
        return self._connection(
            version=1,
            aggressive=profile is not None and profile.one("initiate mode aggressive") is not None,
            identity=self._identity(profile, trustpoint if signature else None),
            remote=self._remote_identity(profile),
            peer=peer,
            proposals=proposals,
            lifetime_s=chosen.lifetime_s,
            dpd=keepalive.get("interval") if keepalive else None,
            dpd_timeout_s=_silence(keepalive) if keepalive else None,
            trustpoint=trustpoint if signature else None,
        )

    def _connection(
        self,
        *,
        version: int,
        aggressive: bool,
        identity: str,
        remote: str,
        peer: IPv4Address,
        proposals: tuple[str, ...],
        lifetime_s: int,
        dpd: int | None,
        dpd_timeout_s: int | None = None,
        trustpoint: TrustpointConfig | None,
    ) -> ConnectionConfig:
        owner = self._context.owners.get(peer)
        order = self._context.order
        return ConnectionConfig(
            name="",
            version=1 if version == 1 else 2,
            aggressive=aggressive,
            interface="",
            local=IkeEnd(_ANYONE, identity),
            remote=IkeEnd(peer, remote),
            remote_node=owner or "",
            proposals=proposals,
            lifetime_s=lifetime_s,
            dpd_delay_s=dpd,
            dpd_timeout_s=dpd_timeout_s,
            initiator=owner is not None and order.index(self._context.node) < order.index(owner),
            children=(),
            trustpoint=trustpoint.name if trustpoint else None,
            revocation_optional=trustpoint.revocation_optional if trustpoint else False,
            mobike=version == 1,  # IOS has none for crypto maps
        )

    def _profile(self, template: Statement) -> Statement | None:
        name = template.value("set isakmp-profile", "profile")
        found = [item for item in self._configuration.all("crypto isakmp profile") if item.get("profile") == name]
        if name is not None and not found:
            self._context.note(template, f"there is no ISAKMP profile {name}")
        return found[0] if found else None

    def _trustpoint(self, profile: Statement | None) -> TrustpointConfig | None:
        wanted = profile.value("ca trust-point", "trustpoint") if profile else None
        if wanted is not None:
            return self._trustpoints.get(wanted)
        return next(iter(self._trustpoints.values()), None)

    def _identity(self, profile: Statement | None, trustpoint: TrustpointConfig | None) -> str:
        """What the router calls itself; empty for its address. With signatures that is its FQDN, as on IOS."""
        how = self._configuration.value("crypto isakmp identity", "how")
        own = profile.one("self-identity") if profile else None
        if own is not None:
            how = {"address": "address", "fqdn": "hostname"}.get(own.get("how"), "")
            if own.get("user") is not None:
                return str(own.get("user"))
        if how == "dn" and trustpoint is not None:
            return ", ".join(f"{kind}={value}" for kind, value in trustpoint.subject)
        if trustpoint is not None and how in (None, "hostname"):
            return trustpoint.fqdn
        return router_fqdn(self._context) if how == "hostname" else ""

    def _remote_identity(self, profile: Statement | None) -> str:
        """Without a profile IOS lets in whoever has the key or a certificate, whatever the peer calls itself."""
        if profile is not None:
            for name, value in (("match identity address", "address"), ("match identity host", "host")):
                found = profile.one(name)
                if found is not None and found.get("mask") in (None, IPv4Address("255.255.255.255")):
                    return str(found.get(value))
        return "%any"

    # -- CHILD SAs

    def _children(self, entry: _Entry, acl: object) -> Iterator[ChildConfig]:
        template, context = entry.template, self._context
        if acl is None:
            return
        for statement in list_statements(self._configuration, acl):
            if statement.get("action") == "deny":
                context.note(
                    statement, "a deny entry of a crypto access list has no effect: give what is to be protected"
                )
                continue
            try:
                child = self._child(template, selectors(statement))
            except ValueError as failure:
                context.note(statement, str(failure))
                continue
            if child is None:
                return
            yield child

    def _child(self, template: Statement, what: tuple[IPv4Network, IPv4Network, str, str]) -> ChildConfig | None:
        """What is protected, and how; None without a transform set that there is."""
        sets = [name for item in template.all("set transform-set") for name in item.every("set")]
        proposals, transport = esp_proposals(self._context, template, sets)
        if not proposals:
            return None
        local, remote, local_ports, remote_ports = what
        replay = template.one("set security-association replay") or self._configuration.one(
            "crypto ipsec security-association replay"
        )
        idle_s = self._configuration.value("crypto ipsec security-association idle-time", "seconds")
        return ChildConfig(
            name="",
            local_selectors=(local,),
            remote_selectors=(remote,),
            proposals=proposals,
            lifetime_s=self._sa_lifetime(template, "seconds", _SECONDS),
            start="trap",
            lifetime_bytes=self._volume(template),
            transport=transport,
            replay_window=None if replay is None else int(replay.get("window", 0)),
            inactivity_s=template.value("set security-association idle-time", "seconds", idle_s),
            local_ports=local_ports,
            remote_ports=remote_ports,
        )

    def _sa_lifetime(self, template: Statement, unit: str, default: int) -> int:
        general = self._configuration.value(f"crypto ipsec security-association lifetime {unit}", unit, default)
        days = template.value(f"set security-association lifetime {unit}", "days")
        if days is not None:
            return int(days) * 86400
        return int(template.value(f"set security-association lifetime {unit}", unit, general))

    def _volume(self, template: Statement) -> int | None:
        own = template.one("set security-association lifetime kilobytes")
        general = self._configuration.one("crypto ipsec security-association lifetime kilobytes")
        found = own or general
        if found is not None and found.get("flag") == "disable":
            return None
        return (found.get("kilobytes") if found else _KILOBYTES) * 1024

    # -- IKEv2

    def _ikev2(self, entry: _Entry, peer: IPv4Address, name: str, local: IPv4Address) -> ConnectionConfig | None:
        context, template = self._context, entry.template
        found = [item for item in self._configuration.all("crypto ikev2 profile") if item.get("profile") == name]
        if not found:
            context.note(template, f"there is no IKEv2 profile {name}")
            return None
        profile = found[0]
        methods = {item.get("side"): item.get("method") for item in profile.all("authentication")}
        matches = profile.all("match identity remote")
        if len(methods) < 2 or not matches:
            context.note(profile, f"IKEv2 profile {name} is incomplete: `match identity` and both `authentication`")
            return None
        if len(set(methods.values())) > 1:
            context.note(profile, f"IKEv2 profile {name}: both ends have to authenticate in the same way here")
            return None
        signature = methods["local"] != "pre-share"
        wanted = profile.value("pki trustpoint", "trustpoint")
        trustpoint = self._trustpoints.get(wanted) if wanted else self._trustpoint(None)
        if signature and trustpoint is None:
            context.note(profile, f"IKEv2 profile {name} needs a trustpoint")
            return None
        for other in matches[1:]:
            context.note(other, "of several `match identity remote` of a profile the first one counts")
        self._keyrings |= {item.get("keyring") for item in profile.all("keyring local")}
        keys = {
            item.get("side"): item.get("secret").encode()
            for item in profile.all("authentication")
            if item.get("secret")
        }
        if len(keys) == 2:
            remote = _ikev2_remote(matches[0])
            self._inline[name] = keys, remote if remote != "%any" or peer == _ANYONE else str(peer)
        dpd = profile.one("dpd") or self._configuration.one("crypto ikev2 dpd")
        return self._connection(
            version=2,
            aggressive=False,
            identity=self._ikev2_identity(profile, trustpoint if signature else None),
            remote=_ikev2_remote(matches[0]),
            peer=peer,
            proposals=ikev2_proposals(context, local),
            lifetime_s=profile.value("lifetime", "seconds", _IKE_LIFETIME_S),
            dpd=dpd.get("interval") if dpd else None,
            trustpoint=trustpoint if signature else None,
        )

    def _ikev2_identity(self, profile: Statement, trustpoint: TrustpointConfig | None) -> str:
        own = profile.one("identity local")
        if own is not None and own.get("kind") != "dn":
            return str(own.get("identity") or own.get("address"))
        if trustpoint is not None:  # the default of signatures is the distinguished name
            return ", ".join(f"{kind}={value}" for kind, value in trustpoint.subject)
        return ""

    # -- keys

    def _key_for(self, peer: IPv4Address, profile: Statement | None) -> Statement | None:
        found = [item for item in self._pre_shared(profile) if _covers(item, peer)]
        return max(found, key=_key_length, default=None)

    def _pre_shared(self, profile: Statement | None) -> list[Statement]:
        keys = [*self._configuration.all("crypto isakmp key")]
        wanted = [item.get("keyring") for item in profile.all("keyring")] if profile else []
        for ring in self._configuration.all("crypto keyring"):
            if not wanted or ring.get("keyring") in wanted:
                keys += [*ring.all("pre-shared-key address"), *ring.all("pre-shared-key hostname")]
        return keys

    def keys(self) -> Iterator[PreSharedKey]:
        for number, item in enumerate(self._pre_shared(None), start=1):
            secret = item.get("secret")
            if item.get("type") == "6":
                self._context.note(item, "a key of type 6 can only be read by the router that wrote it")
                continue
            yield PreSharedKey(f"isakmp-{number}", SecretValue(secret.encode()), (_owner(item),))
        for ring in self._configuration.all("crypto ikev2 keyring"):
            if ring.get("keyring") in self._keyrings:
                for peer in ring.all("peer"):
                    yield from self._peer_keys(ring, peer)
        for profile, (keys, owner) in self._inline.items():
            yield from self._pair_of_keys(f"ikev2-profile-{profile}", keys["remote"], keys["local"], (owner,))

    def _peer_keys(self, ring: Statement, peer: Statement) -> Iterator[PreSharedKey]:
        name = f"ikev2-{ring.get('keyring')}-{peer.get('peer')}"
        keys = {item.get("side"): item for item in peer.all("pre-shared-key")}
        owners = _peer_owners(peer)
        if not owners:
            self._context.note(peer, "a peer of a keyring needs an address or an identity")
            return
        both = keys.get(None)
        remote, local = keys.get("remote", both), keys.get("local", both)
        if remote is None or local is None:
            return
        yield from self._pair_of_keys(name, _octets(remote), _octets(local), owners)

    def _pair_of_keys(self, name: str, remote: bytes, local: bytes, owners: tuple[str, ...]) -> Iterator[PreSharedKey]:
        """The peer's key and the router's own, which are one if they are alike."""
        if remote == local:
            yield PreSharedKey(name, SecretValue(remote), owners)
            return
        yield PreSharedKey(f"{name}-remote", SecretValue(remote), owners)
        yield PreSharedKey(f"{name}-local", SecretValue(local), self._own_identities())

    def _own_identities(self) -> tuple[str, ...]:
        names = [connection.local.identity for connection in self.connections if connection.version == 2]
        return tuple(dict.fromkeys(names))


_HOST = IPv4Address("255.255.255.255")


def _silence(keepalive: Statement) -> int:
    """How long a peer may say nothing: IOS asks five times more, every `retry` seconds, before it gives up."""
    return int(keepalive.get("interval")) + 5 * int(keepalive.get("retry", 2))


def _covers(key: Statement, peer: IPv4Address) -> bool:
    address = key.get("address")
    if address is None:
        return key.get("hostname") is not None
    return peer in IPv4Network((address, _key_length(key)), strict=False)


def _key_length(key: Statement) -> int:
    """Of the prefix of peers that a key is for: `address 0.0.0.0` is for all of them, also without a mask."""
    return 0 if key.get("address") == _ANYONE else netmask_prefix(key.get("mask", _HOST))


def _owner(key: Statement) -> str:
    """Whose key it is, as strongSwan writes it: an address, a subnet, a name, or anybody's."""
    if key.get("hostname") is not None:
        return str(key.get("hostname"))
    if key.get("prefix6") is not None:
        return str(key.get("prefix6").network)
    length = _key_length(key)
    if length == 0:
        return "%any"
    return str(key.get("address")) if length == 32 else str(IPv4Network((key.get("address"), length), strict=False))


def _peer_owners(peer: Statement) -> tuple[str, ...]:
    found: list[str] = []
    address = peer.one("address")
    if address is not None:
        found.append(_owner(address))
    identity = peer.one("identity")
    if identity is not None:
        found.append(str(identity.get("identity") or identity.get("address")))
    return tuple(found)


def _octets(key: Statement) -> bytes:
    if key.get("type") == "hex":
        return bytes.fromhex(key.get("secret"))
    return str(key.get("secret")).encode()


def _ikev2_remote(match: Statement) -> str:
    if match.get("address") is not None:
        length = netmask_prefix(match.get("mask", _HOST))
        return str(match.get("address")) if length == 32 and match.get("address") != _ANYONE else "%any"
    return str(match.get("identity") or "%any")
