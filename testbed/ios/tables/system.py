"""The router itself: names, users, interfaces, routes, access lists, NAT, time, lines."""

from __future__ import annotations

from testbed.ios.commands import compiled, kept, mode, refused
from testbed.ios.icmp import ICMP_TYPES, TCP_FLAGS
from testbed.ios.tables.crypto import GLOBAL as CRYPTO
from testbed.ios.tables.pki import GLOBAL as PKI

__all__ = ["MODES"]

_SECRET = "[type=0|5|7|8|9] <secret:line>"  # noqa: S105 - a pattern
_FROM = "{source=any | source=host <source_ip:ip> | <source_ip:ip> <source_wildcard:wildcard>}"
_TO = "{target=any | target=host <target_ip:ip> | <target_ip:ip> <target_wildcard:wildcard>}"
_FLAGS = "[{flag=log|log-input|established|fragments|" + "|".join([*ICMP_TYPES, *TCP_FLAGS]) + "}...]"
_PORTS = "[{side_op=eq|gt|lt|neq <side_port:port> | side_op=range <side_port:port> <side_port_to:port>}]"
_PROTOCOL = "{protocol=ip|tcp|udp|icmp|igmp|esp|ahp|gre|eigrp|ospf|pim | <protocol:0-255>}"
_STANDARD = "{source=any | source=host <source_ip:ip> | <source_ip:ip> [<source_wildcard:wildcard>]} [flag=log]"
_EXTENDED = " ".join(
    (_PROTOCOL, _FROM, _PORTS.replace("side", "source"), _TO, _PORTS.replace("side", "target"), _FLAGS)
)
_ACL = "packet filter (nftables) or traffic selectors, wherever the list is used"
_ROUTE = "[<distance:1-255>] [{name <route_name:word> | tag <tag:1-4294967295> | flag=permanent}...]"
_OSPF = "dynamic routing is not built yet; use static routes"

_GLOBAL = mode(
    "config",
    kept("version <text:line>"),
    kept("service <text:line>", key=("*",)),
    kept("platform <text:line>", key=("*",)),
    compiled("hostname <hostname:name>", "hostname: {hostname}"),
    kept("mmi <text:line>", key=("*",)),
    kept("call-home", "this router calls nobody", enters="config-call-home"),
    kept("subscriber templating"),
    kept("app-hosting <text:line>", key=("*",)),
    kept("boot-start-marker"),
    kept("boot-end-marker"),
    kept("boot <text:line>", key=("*",)),
    kept("vrf definition <vrf:name>", "one routing table; VRFs have no effect", key=("vrf",), enters="config-vrf"),
    compiled("logging buffered [<size:4096-2147483647>] [level=debugging|informational|notifications|warnings|errors]",
             "size of `show logging`"),
    kept("logging <text:line>", key=("*",)),
    compiled(f"enable secret {_SECRET}", "console: asked by `enable`"),
    compiled(f"enable password {_SECRET}", "console: asked by `enable` where there is no secret"),
    kept("aaa <text:line>", key=("*",)),
    compiled("clock timezone <zone:name> <hours:word> [<minutes:0-59>]", "console: times are shown in {zone}"),
    kept("clock summer-time <text:line>", "times are shown without summer time"),
    kept("clock calendar-valid"),
    kept("ip subnet-zero"),
    kept("ip source-route", default=True),
    kept("ip cef", default=True),
    kept("ipv6 cef"),
    kept("ipv6 ioam <text:line>", key=("*",)),
    kept("cdp run"),
    kept("lldp run"),
    compiled("ip domain name <domain:host>", "FQDN of trustpoints: {domain}"),
    compiled("ip domain-name~domain+name <domain:host>", "FQDN of trustpoints: {domain}", name="ip domain name"),
    kept("ip domain lookup", "there is no name server", default=True),
    kept("ip domain-lookup", "there is no name server", default=True),
    kept("ip host <host:host> <address:ip>", "names are not looked up", key=("host",)),
    kept("ip name-server <text:line>", "there is no name server", key=("*",)),
    kept("ip dhcp <text:line>", "no DHCP server", key=("*",)),
    kept("ip ssh <text:line>", "the console's SSH server decides for itself", key=("*",)),
    kept("ip scp <text:line>", key=("*",)),
    compiled("ipv6 unicast-routing", "sysctl net.ipv6.conf.all.forwarding (always on)"),
    kept("multilink <text:line>", key=("*",)),
    kept("license <text:line>", key=("*",)),
    kept("diagnostic <text:line>", key=("*",)),
    kept("memory-size <text:line>", key=("*",)),
    kept("memory <text:line>", key=("*",)),
    kept("spanning-tree <text:line>", key=("*",)),
    *PKI,
    compiled(f"username <user:name> [privilege <privilege:0-15>] {{how=secret|password {_SECRET} | nopassword}}",
             "console: may log in by SSH", key=("user",)),
    compiled("username <user:name> privilege <privilege:0-15>", "console: may log in", key=("user",)),
    kept("redundancy", enters="config-red"),
    *CRYPTO,
    kept("track <text:line>", key=("*",)),
    kept("archive", enters="config-archive"),
    kept("class-map <text:line>", "no QoS", key=("*",), enters="config-cmap"),
    kept("policy-map <text:line>", "no QoS", key=("*",), enters="config-pmap"),
    compiled("interface <interface:interface>", "interface {interface.linux}", key=("interface",), enters="config-if"),
    refused("router <protocol:name> [<text:line>]", _OSPF, enters="config-router"),
    kept("ip forward-protocol <text:line>", key=("*",)),
    compiled("ip http server", "the certificate server's HTTP (SCEP, CRL, OCSP)", default=False),
    kept("ip http secure-server", default=False),
    kept("ip http <text:line>", key=("*",)),
    compiled("ip nat inside source list {<acl:1-199> | <acl:name>} interface <interface:interface> [flag=overload]",
             "nftables: masquerade on {interface.linux} what list {acl} permits", key=("acl",)),
    compiled("ip nat inside source route-map <route_map:name> interface <interface:interface> [flag=overload]",
             "nftables: masquerade on {interface.linux} what route-map {route_map} permits", key=("route_map",)),
    compiled("ip nat inside source static <inside:ip> <outside:ip>", "nftables: {inside} is {outside} outside",
             key=("inside",)),
    kept("ip nat inside source <text:line>", "this kind of NAT is not built", key=("*",), name="ip nat other"),
    kept("ip nat outside source <text:line>", "this kind of NAT is not built", key=("*",), name="ip nat other"),
    kept("ip nat word=pool|translation|service|portmap|log <text:line>", "this kind of NAT is not built", key=("*",),
         name="ip nat other"),
    compiled("ip default-gateway <gateway:ip>", "only without routing, so not here"),
    compiled("ip route <prefix:ip> <mask:mask> <gateway:ip> " + _ROUTE, "route to {prefix}/{mask} via {gateway}",
             key=("prefix", "mask", "gateway")),
    compiled("ip route <prefix:ip> <mask:mask> <interface:interface> <gateway:ip> " + _ROUTE,
             "route to {prefix}/{mask} via {gateway}", key=("prefix", "mask", "gateway")),
    compiled("ip route <prefix:ip> <mask:mask> <interface:interface> " + _ROUTE,
             "route to {prefix}/{mask} over {interface.linux}", name="ip route interface",
             key=("prefix", "mask", "interface")),
    compiled("ipv6 route <prefix6:ip6prefix> <gateway:ip6> [<distance:1-254>]", "route to {prefix6} via {gateway}",
             key=("prefix6", "gateway")),
    kept("ip classless", default=True),
    kept("ip tftp <text:line>", key=("*",)),
    kept("ip sla <text:line>", key=("*",)),
    kept("ip prefix-list <text:line>", key=("*",)),
    compiled("ip access-list standard {<acl:1-99> | <acl:1300-1999> | <acl:name>}", _ACL, key=("acl",),
             enters="config-std-nacl"),
    compiled("ip access-list extended {<acl:100-199> | <acl:2000-2699> | <acl:name>}", _ACL, key=("acl",),
             enters="config-ext-nacl"),
    kept("access-list <acl:1-2699> remark <text:line>", "a remark", key=("*",)),
    compiled(f"access-list {{<acl:1-99> | <acl:1300-1999>}} action=permit|deny {_STANDARD}", _ACL, key=("*",), beside=True),
    compiled(f"access-list {{<acl:100-199> | <acl:2000-2699>}} action=permit|deny {_EXTENDED}", _ACL, key=("*",), beside=True),
    compiled("route-map <map:name> action=permit|deny <sequence:0-65535>", "which traffic NAT takes",
             key=("map", "sequence"), enters="config-route-map"),
    kept("snmp-server <text:line>", key=("*",)),
    kept("radius <text:line>", key=("*",)),
    kept("tacacs-server <text:line>", key=("*",)),
    kept("control-plane", enters="config-cp"),
    kept("banner <kind:word> <text:line>", "shown by nobody", key=("kind",)),
    kept("alias <text:line>", key=("*",)),
    kept("login <text:line>", key=("*",)),
    kept("line <text:line>", "the console lets in whoever the users name", key=("*",), enters="config-line"),
    kept("scheduler <text:line>", key=("*",)),
    compiled("ntp authentication-key <key:1-4294967295> {type=md5|sha1|hmac-sha2-256 <secret:word> | "
             "type=cmac-aes-128 <secret:aes128>} [<enc:0-7>]",
             "chrony.keys: {key} {type}", key=("key",)),
    compiled("ntp authenticate", "chrony.conf: authselectmode require", default=False),
    compiled("ntp trusted-key <key:1-4294967295>", "chrony.conf: key {key} may authenticate", key=("key",)),
    compiled("ntp source <interface:interface>", "chrony.conf: asked from {interface.linux}"),
    compiled("ntp master [<stratum:1-15>]", "chrony.conf: local stratum {stratum}"),
    kept("ntp update-calendar"),
    compiled("ntp server <server:host> [{flag=prefer|iburst|burst | key <key:1-4294967295> | source <interface:interface> "
             "| version <version:1-4> | minpoll <minpoll:4-17> | maxpoll <maxpoll:4-17>}...]",
             "chrony.conf: server {server}", key=("server",)),
    kept("ntp word=access-group|allow|broadcastdelay|clock-period|logging|max-associations|maxdistance|mindistance|orphan|"
         "panic|passive|peer|refclock [<text:line>]", key=("*",), name="ntp other"),
    kept("mac address-table <text:line>", key=("*",)),
    kept("monitor <text:line>", key=("*",)),
    kept("netconf-yang"),
)  # fmt: skip

_PORT = "an interface of a virtual link has no such setting"
_INTERFACE = mode(
    "config-if",
    kept("description <text:line>", "a description"),
    kept("bandwidth <text:line>"),
    kept("vrf forwarding <vrf:name>", "one routing table; VRFs have no effect"),
    compiled("mtu <mtu:576-9216>", "link MTU {mtu}"),
    kept("encapsulation dot1Q <vlan:1-4094> [native]", "the sub-interface's addresses are given to its interface"),
    compiled("ip address <address:ip> <mask:mask> secondary=secondary", "address {address}, mask {mask}",
             name="ip address secondary", key=("address",)),
    compiled("ip address <address:ip> <mask:mask>", "address {address}, mask {mask}"),
    refused("ip address dhcp", "no DHCP client; give the address"),
    compiled("ip access-group {<acl:1-2699> | <acl:name>} direction=in|out", "nftables: list {acl} filters {direction}",
             key=("direction",)),
    compiled("ip nat side=inside|outside", "nftables: {side} of NAT"),
    compiled("ip mtu <mtu:68-9216>", "link MTU {mtu}", name="mtu"),
    kept("ip virtual-reassembly [<text:line>]"),
    compiled("ip tcp adjust-mss <mss:500-1460>", "nftables: TCP MSS of at most {mss}"),
    kept("ip ospf <text:line>", _OSPF, key=("*",)),
    kept("ip word=proxy-arp|redirects|unreachables|mask-reply|route-cache|directed-broadcast|split-horizon|helper-address|"
         "policy|flow|pim|igmp|verify|load-sharing|summary-address|rip|authentication|tcp|nbar|inspect|hello-interval|"
         "hold-time|unnumbered|vrf|ips [<text:line>]", key=("*",), name="other"),
    compiled("tunnel source {<interface:interface> | <address:ip>}", "swanctl.conf connections.*.local_addrs"),
    compiled("tunnel mode ipsec ipv4", "an XFRM interface of the kernel, if_id_in and if_id_out", name="tunnel mode"),
    refused("tunnel mode <text:line>", "GRE and its like are not built; `tunnel mode ipsec ipv4` is"),
    compiled("tunnel destination <address:ip>", "swanctl.conf connections.*.remote_addrs = {address}"),
    compiled("tunnel protection ipsec profile <profile:name> [shared]", "swanctl.conf connections.*: of profile {profile}"),
    kept("tunnel word=bandwidth|path-mtu-discovery|ttl|tos|key|checksum|vrf|sequence-datagrams [<text:line>]", key=("*",),
         name="tunnel other"),
    compiled("shutdown", "link down", default=False),
    kept("duplex <text:line>", _PORT),
    kept("speed <text:line>", _PORT),
    kept("media-type <text:line>", _PORT),
    kept("negotiation <text:line>", _PORT),
    kept("keepalive [<text:line>]", _PORT),
    kept("load-interval <text:line>", _PORT),
    kept("cdp enable", _PORT, default=True),
    kept("mop word=enabled|sysid", _PORT, key=("*",)),
    kept("lldp word=transmit|receive", _PORT, key=("*",)),
    kept("switchport [<text:line>]", _PORT, key=("*",)),
    compiled("ipv6 address <address6:ip6prefix>", "address {address6}", key=("address6",)),
    kept("ipv6 word=enable|nd|mtu|ospf|redirects|unreachables|traffic-filter|dhcp|rip|eigrp|verify [<text:line>]",
         key=("*",), name="other"),
    kept("standby <text:line>", "no HSRP", key=("*",)),
    kept("service-policy <text:line>", "no QoS", key=("*",)),
    kept("arp <text:line>", key=("*",)),
    compiled("crypto map <map:name> [redundancy <group:name>]", "swanctl.conf: the connections of map {map} are loaded"),
)  # fmt: skip

_SEQUENCE = "[<sequence:1-2147483647>]"
MODES = (
    _GLOBAL,
    _INTERFACE,
    mode(
        "config-std-nacl",
        kept(f"{_SEQUENCE} remark <text:line>", "a remark", name="remark", key=("*",), sort=("sequence",)),
        compiled(f"{_SEQUENCE} action=permit|deny {_STANDARD}", _ACL, name="entry", key=("*",), sort=("sequence",), beside=True),
    ),
    mode(
        "config-ext-nacl",
        kept(f"{_SEQUENCE} remark <text:line>", "a remark", name="remark", key=("*",), sort=("sequence",)),
        compiled(f"{_SEQUENCE} action=permit|deny {_EXTENDED}", _ACL, name="entry", key=("*",), sort=("sequence",), beside=True),
    ),
    mode(
        "config-route-map",
        compiled("match ip address {<acl:1-199> | <acl:name>}", "what list {acl} permits", key=("acl",)),
        kept("word=set|match|description|continue [<text:line>]", "this part of a route-map is not built", key=("*",), name="other"),
    ),
    mode("config-call-home", kept("word=active|contact-email-addr|destination|mail-server|profile|reporting|sender|site-id|"
                                  "source-interface [<text:line>]", name="other", key=("*",))),
    mode("config-vrf", kept("word=rd|description|route-target|address-family [<text:line>]", key=("*",),
                            name="other")),
    mode("config-red", kept("word=mode|main-cpu [<text:line>]", key=("*",), name="other")),
    mode("config-archive", kept("word=log|path|write-memory|maximum|time-period|hidekeys [<text:line>]", key=("*",),
                                name="other")),
    mode("config-cmap", kept("word=match|description <text:line>", key=("*",), name="other")),
    mode("config-pmap", kept("word=class|priority|bandwidth|police|set|shape|fair-queue|description [<text:line>]",
                             key=("*",), name="other")),
    mode("config-cp", kept("service-policy <text:line>", key=("*",), name="other")),
    mode("config-line", kept("word=exec-timeout|login|password|transport|logging|privilege|history|length|width|stopbits|"
                             "session-timeout|access-class|speed|flowcontrol|modem|rotary|autocommand|escape-character "
                             "[<text:line>]", key=("*",), name="other")),
    mode("config-router", refused("word=network|router-id|redistribute|passive-interface|neighbor|area|version|"
                                  "auto-summary|default-information|default-metric|distance|log-adjacency-changes|"
                                  "eigrp|bgp|address-family|maximum-paths [<text:line>]", _OSPF,
                                  name="other")),
)  # fmt: skip
