"""From IOS text to what strongSwan, chrony and the kernel are told; defaults of IOS where the text is silent."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address

import pytest

from testbed.device import Device
from testbed.device.ios import Context, compile_device
from testbed.ios.reader import read_configuration
from testbed.plan import cannot_carry
from testbed.render import render_files, render_guard

HERE = """
interface GigabitEthernet0/0
 ip address 203.0.113.2 255.255.255.252
 crypto map M
interface GigabitEthernet0/1
 ip address 192.168.10.1 255.255.255.0
access-list 110 permit ip 192.168.10.0 0.0.0.255 192.168.20.0 0.0.0.255
crypto map M 10 ipsec-isakmp
 set peer 198.51.100.2
 set transform-set T
 match address 110
crypto ipsec transform-set T esp-aes 256 esp-sha256-hmac
"""
POLICY = "crypto isakmp policy 10\n encr aes 256\n hash sha256\n authentication pre-share\n group 14\n"
KEY = "crypto isakmp key secret address 198.51.100.2\n"
TRUSTPOINT = "crypto pki trustpoint T\n enrollment url http://192.0.2.6:80\n fqdn kisii.example.test\n"


def context(text: str, flavor: str = "ios15", authorities: frozenset[str] = frozenset({"ca"})) -> Context:
    reading = read_configuration(text)
    assert reading.refused == []
    return Context(
        node="kisii",
        configuration=reading.configuration,
        flavor="iosxe17" if flavor == "iosxe17" else "ios15",
        owners={ip_address("198.51.100.2"): "kisumu", ip_address("192.0.2.6"): "ca"},
        order=("ca", "kisii", "kisumu"),
        authorities=authorities,
    )


def device(text: str, flavor: str = "ios15") -> Device:
    return compile_device(context(text, flavor), links=LINKS, clock=None, image=None)


LINKS = [("wan", "gi0-0", 1500), ("lan", "gi0-1", 1500)]


def notes(text: str) -> list[str]:
    made = context(text)
    compile_device(made, links=LINKS, clock=None, image=None)
    return [note.text for note in made.notes]


def test_a_crypto_map_is_a_connection_that_traffic_sets_up() -> None:
    made = device(HERE + POLICY + KEY)
    (connection,) = made.connections
    assert connection.name == "kisii-kisumu"
    assert (connection.version, connection.initiator, connection.remote_node) == (1, True, "kisumu")
    assert connection.proposals == ("aes256-sha256-modp2048",)
    assert (connection.lifetime_s, connection.dpd_delay_s, connection.trustpoint) == (86400, None, None)
    (child,) = connection.children
    assert (child.start, child.transport, child.proposals) == ("trap", False, ("aes256-sha256",))
    assert (child.local_selectors, child.remote_selectors) == (
        (IPv4Network("192.168.10.0/24"),),
        (IPv4Network("192.168.20.0/24"),),
    )
    assert (child.lifetime_s, child.lifetime_bytes) == (3600, 4608000 * 1024)
    assert [(key.secret.reveal(), key.identities) for key in made.keys] == [(b"secret", ("198.51.100.2",))]


def test_both_ends_call_the_connection_the_same() -> None:
    made = context(HERE.replace("203.0.113.2", "198.51.100.2").replace("set peer 198.51.100.2", "set peer 203.0.113.2"))
    made.node, made.owners = "kisumu", {ip_address("203.0.113.2"): "kisii"}
    found = compile_device(made, links=LINKS, clock=None, image=None)
    assert found.connections == ()
    made.configuration = read_configuration(
        HERE.replace("set peer 198.51.100.2", "set peer 203.0.113.2")
        + POLICY
        + KEY.replace("198.51.100.2", "203.0.113.2")
    ).configuration
    (connection,) = compile_device(made, links=LINKS, clock=None, image=None).connections
    assert (connection.name, connection.initiator) == ("kisii-kisumu", False)


@pytest.mark.parametrize(
    ("policy", "proposal"),
    [
        ("encr aes\nauthentication pre-share", "aes128-sha1-modp768"),
        ("encr aes 192\nhash md5\ngroup 2\nauthentication pre-share", "aes192-md5-modp1024"),
        ("encr 3des\nhash sha\ngroup 5\nauthentication pre-share", "3des-sha1-modp1536"),
        ("encr aes 256\nhash sha384\ngroup 15\nauthentication pre-share", "aes256-sha384-modp3072"),
        ("encr aes 256\nhash sha512\ngroup 16\nauthentication pre-share", "aes256-sha512-modp4096"),
        ("encr aes\nhash sha256\ngroup 19\nauthentication pre-share", "aes128-sha256-ecp256"),
        ("encr aes\ngroup 20\nauthentication pre-share", "aes128-sha1-ecp384"),
        ("encr aes\ngroup 21\nauthentication pre-share", "aes128-sha1-ecp521"),
        ("encr aes\ngroup 24\nauthentication pre-share", "aes128-sha1-modp2048s256"),
    ],
)
def test_isakmp_policies(policy: str, proposal: str) -> None:
    (connection,) = device(f"{HERE}{KEY}crypto isakmp policy 10\n{policy}\n").connections
    assert connection.proposals == (proposal,)


def test_policies_are_offered_in_the_order_of_their_priority() -> None:
    text = POLICY.replace("10", "200") + POLICY.replace("10", "5").replace("aes 256", "3des")
    (connection,) = device(HERE + KEY + text).connections
    assert connection.proposals == ("3des-sha256-modp2048", "aes256-sha256-modp2048")


def test_single_des_by_default_is_said_and_not_offered() -> None:
    text = HERE + KEY + "crypto isakmp policy 10\nauthentication pre-share\n"
    assert device(text).connections == ()
    assert any("single DES" in note for note in notes(text))


@pytest.mark.parametrize(
    ("transforms", "proposal"),
    [
        ("esp-aes esp-sha-hmac", "aes128-sha1"),
        ("esp-sha-hmac esp-aes", "aes128-sha1"),
        ("esp-aes 192 esp-sha384-hmac", "aes192-sha384"),
        ("esp-3des esp-md5-hmac", "3des-md5"),
        ("esp-null esp-sha512-hmac", "null-sha512"),
        ("esp-gcm", "aes128gcm16"),
        ("esp-gcm 256", "aes256gcm16"),
        ("esp-aes 256", "aes256"),
    ],
)
def test_transform_sets(transforms: str, proposal: str) -> None:
    text = (HERE + KEY + POLICY).replace("esp-aes 256 esp-sha256-hmac", transforms)
    assert device(text).connections[0].children[0].proposals == (proposal,)


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("set pfs", "proposals", ("aes256-sha256-modp768",)),
        ("set pfs group14", "proposals", ("aes256-sha256-modp2048",)),
        ("set security-association lifetime seconds 900", "lifetime_s", 900),
        ("set security-association lifetime kilobytes 2560", "lifetime_bytes", 2560 * 1024),
        ("set security-association lifetime kilobytes disable", "lifetime_bytes", None),
        ("set security-association replay window-size 512", "replay_window", 512),
        ("set security-association replay disable", "replay_window", 0),
        ("set security-association idle-time 600", "inactivity_s", 600),
    ],
)
def test_settings_of_an_entry(line: str, attribute: str, value: object) -> None:
    made = device(f"{HERE}{KEY}{POLICY}crypto map M 10\n{line}\n")
    assert getattr(made.connections[0].children[0], attribute) == value


def test_global_lifetimes_hold_where_an_entry_is_silent() -> None:
    text = HERE + KEY + POLICY + "crypto ipsec security-association lifetime seconds 1800\n"
    assert device(text).connections[0].children[0].lifetime_s == 1800
    own = text + "crypto map M 10\nset security-association lifetime seconds 600\n"
    assert device(own).connections[0].children[0].lifetime_s == 600


def test_transport_mode_and_keepalive() -> None:
    text = HERE + KEY + POLICY + "crypto ipsec transform-set T esp-aes 256 esp-sha256-hmac\nmode transport\n"
    made = device(text + "crypto isakmp keepalive 10 3 periodic\n").connections[0]
    assert made.children[0].transport
    assert made.dpd_delay_s == 10


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (HERE + POLICY, "no ISAKMP policy fits"),
        (HERE + KEY, "no ISAKMP policy fits"),
        ((HERE + POLICY + KEY).replace("set peer 198.51.100.2", "description nobody"), "no peer or access-list"),
        ((HERE + POLICY + KEY).replace("match address 110", "match address 111"), "no peer or access-list"),
        ((HERE + POLICY + KEY).replace("set transform-set T", "set transform-set U"), "there is no transform set U"),
        ((HERE + POLICY + KEY).replace("crypto map M\n", "crypto map N\n"), "there is no crypto map N"),
        ((HERE + POLICY + KEY).replace("set peer 198.51.100.2", "set peer kisumu"), "named by its address"),
        (HERE + POLICY + KEY + "interface g0/0\nshutdown\n", "or is shut down"),
        ((HERE + POLICY + KEY).replace("permit ip", "deny ip"), "deny entry"),
        ((HERE + POLICY + KEY).replace("0.0.0.255 192", "0.0.255.0 192"), "no prefix"),
    ],
)
def test_a_map_that_cannot_work_is_left_out_and_said(text: str, note: str) -> None:
    assert device(text).connections == ()
    assert any(note in found for found in notes(text))


TUNNEL = """\
interface g0/0
 ip address 203.0.113.2 255.255.255.252
interface Tunnel0
 ip address 10.255.0.1 255.255.255.252
 ip mtu 1400
 tunnel source g0/0
 tunnel mode ipsec ipv4
 tunnel destination 198.51.100.2
 tunnel protection ipsec profile P
crypto ipsec transform-set T esp-aes 256 esp-sha256-hmac
crypto ipsec profile P
 set transform-set T
ip route 192.168.20.0 255.255.255.0 Tunnel0
"""


def test_a_tunnel_interface_protects_what_is_routed_into_it() -> None:
    made = device(TUNNEL + POLICY + KEY)
    (tunnel,) = made.tunnels
    assert (tunnel.name, tunnel.source, tunnel.enabled) == ("tu0", "gi0-0", True)
    assert [str(address) for address in tunnel.addresses] == ["10.255.0.1/30"]
    assert made.tunnel_routes == ((IPv4Network("192.168.20.0/24"), "tu0"),)
    (connection,) = made.connections
    assert (connection.name, connection.if_id, connection.interface) == ("kisii-kisumu", tunnel.if_id, "tu0")
    assert str(connection.local.address) == "203.0.113.2"
    (child,) = connection.children
    assert (child.start, child.local_selectors, child.remote_selectors) == (
        "start",
        (IPv4Network("0.0.0.0/0"),),
        (IPv4Network("0.0.0.0/0"),),
    )


def test_a_tunnel_interface_needs_no_guard_since_it_may_go_round_it() -> None:
    made = device(TUNNEL + POLICY + KEY)
    assert b"testbed_guard" not in render_guard(made)
    assert b"if_id_out = 1" in render_files(made, "kernel")["/etc/swanctl/swanctl.conf"].content


@pytest.mark.parametrize(
    ("gone", "put", "note"),
    [
        (" tunnel mode ipsec ipv4\n", "", "GRE, which it is without `tunnel mode ipsec ipv4`, is not built"),
        (" tunnel source g0/0\n", "", "its `tunnel source` is no interface"),
        ("source g0/0", "source 192.0.2.99", "its `tunnel source` is no interface"),
        (" tunnel destination 198.51.100.2\n", "", "no `tunnel destination`"),
        (" tunnel protection ipsec profile P\n", "", "no `tunnel protection`"),
        ("profile P\ncrypto", "profile Q\ncrypto", "there is no IPsec profile Q"),
        (" set transform-set T\n", "", "has no transform set"),
        ("255.255.255.0 Tunnel0", "255.255.255.0 g0/0", "only over a tunnel interface"),
        ("192.168.20.0 255", "192.168.20.1 255", "%Inconsistent address and mask"),
    ],
)
def test_a_tunnel_that_cannot_work_is_said(gone: str, put: str, note: str) -> None:
    text = TUNNEL.replace(gone, put)
    assert text != TUNNEL
    assert any(note in found for found in notes(text + POLICY + KEY))


def test_the_user_space_data_plane_has_no_tunnel_interfaces() -> None:
    connection = device(TUNNEL + POLICY + KEY).connections[0]
    told = cannot_carry(connection, "userspace")
    assert told is not None
    assert "tunnel interface" in told[0]
    assert cannot_carry(connection, "kernel") is None


def test_each_entry_of_a_list_is_a_child_with_its_protocol_and_port() -> None:
    text = (HERE + KEY + POLICY).replace(
        "access-list 110 permit ip 192.168.10.0 0.0.0.255 192.168.20.0 0.0.0.255",
        "access-list 110 permit tcp 192.168.10.0 0.0.0.255 host 192.168.20.10 eq www\n"
        "access-list 110 permit icmp 192.168.10.0 0.0.0.255 192.168.20.0 0.0.0.255",
    )
    children = device(text).connections[0].children
    assert [child.name for child in children] == ["kisii-kisumu-1", "kisii-kisumu-2"]
    assert [(child.local_ports, child.remote_ports) for child in children] == [
        ("[tcp]", "[tcp/80]"),
        ("[icmp]", "[icmp]"),
    ]
    conf = render_files(device(text), "kernel")["/etc/swanctl/swanctl.conf"].content.decode()
    assert 'remote_ts = "192.168.20.10/32[tcp/80]"' in conf
    guard = render_files(device(text), "kernel")["/etc/testbed/nftables.conf"].content.decode()
    assert (
        "ip saddr 192.168.10.0/24 ip daddr 192.168.20.10/32 meta l4proto tcp th dport 80 counter name clear_out"
        in guard
    )


def test_several_peers_and_entries() -> None:
    text = (
        HERE
        + KEY
        + POLICY
        + (
            "crypto map M 10\nset peer 198.51.100.9\nexit\ncrypto isakmp key k2 address 0.0.0.0 0.0.0.0\n"
            "access-list 120 permit ip 192.168.10.0 0.0.0.255 192.168.30.0 0.0.0.255\n"
            "crypto map M 20 ipsec-isakmp\nset peer 192.0.2.77\nset transform-set T\nmatch address 120\n"
        )
    )
    made = device(text)
    assert [item.name for item in made.connections] == ["kisii-kisumu", "M-10", "M-20"]
    assert [item.children[0].start for item in made.connections] == ["trap", "none", "trap"]
    assert [key.identities for key in made.keys] == [("198.51.100.2",), ("%any",)]


def test_a_dynamic_map_takes_any_peer() -> None:
    text = (HERE + POLICY).replace("crypto map M 10 ipsec-isakmp\n set peer 198.51.100.2\n", "crypto dynamic-map D 5\n")
    made = device(text + "crypto map M 99 ipsec-isakmp dynamic D\ncrypto isakmp key any address 0.0.0.0\n")
    (connection,) = made.connections
    assert connection.remote.address.is_unspecified
    assert connection.children[0].start == "none"
    conf = render_files(made, "kernel")["/etc/swanctl/swanctl.conf"].content.decode()
    assert 'remote_addrs = "%any"' in conf


def test_signatures_use_the_fqdn_and_the_trustpoint() -> None:
    made = device(HERE + TRUSTPOINT + POLICY.replace("pre-share", "rsa-sig"))
    (connection,) = made.connections
    assert connection.trustpoint == "T"
    assert connection.local.identity == "kisii.example.test"
    assert connection.remote.identity == "%any"


def test_an_isakmp_profile() -> None:
    text = (
        HERE
        + POLICY
        + (
            "crypto keyring K\npre-shared-key address 198.51.100.2 key ring\nexit\n"
            "crypto isakmp profile P\nkeyring K\nself-identity fqdn\nmatch identity address 198.51.100.2 255.255.255.255\n"
            "initiate mode aggressive\nkeepalive 20\nexit\nhostname R1\nip domain name example.test\n"
            "crypto map M 10\nset isakmp-profile P\n"
        )
    )
    (connection,) = device(text).connections
    assert connection.aggressive
    assert (connection.local.identity, connection.remote.identity) == ("R1.example.test", "198.51.100.2")
    assert connection.dpd_delay_s == 20


IKEV2 = """
crypto ikev2 keyring K
 peer OTHER
  address 198.51.100.2
  pre-shared-key key2
crypto ikev2 profile P
 match identity remote address 198.51.100.2 255.255.255.255
 authentication remote pre-share
 authentication local pre-share
 keyring local K
 lifetime 7200
 dpd 10 3 on-demand
crypto map M 10
 set ikev2-profile P
"""


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        ("", ("aes256-aes192-aes128-sha512-sha384-sha256-sha1-md5-modp1536-modp1024",)),
        ("encryption aes-cbc-256\nintegrity sha256\ngroup 14", ("aes256-sha256-modp2048",)),
        (
            "encryption aes-cbc-256 aes-cbc-128\nintegrity sha512 sha1\ngroup 19 14",
            ("aes256-aes128-sha512-sha1-ecp256-modp2048",),
        ),
        ("encryption aes-gcm-256\nprf sha384\ngroup 20", ("aes256gcm16-prfsha384-ecp384",)),
        (
            "encryption aes-gcm-128 aes-cbc-256\nintegrity sha256\nprf sha256\ngroup 14",
            ("aes256-sha256-prfsha256-modp2048", "aes128gcm16-prfsha256-modp2048"),
        ),
    ],
)
def test_ikev2_proposals(proposal: str, expected: tuple[str, ...]) -> None:
    text = HERE + IKEV2
    if proposal:
        text += f"crypto ikev2 proposal X\n{proposal}\nexit\ncrypto ikev2 policy Y\nproposal X\n"
    (connection,) = device(text).connections
    assert (connection.version, connection.proposals) == (2, expected)
    assert (connection.lifetime_s, connection.dpd_delay_s) == (7200, 10)


def test_an_ikev2_profile_and_its_keys() -> None:
    made = device(HERE + IKEV2)
    assert [(key.secret.reveal(), key.identities) for key in made.keys] == [(b"key2", ("198.51.100.2",))]
    assert made.connections[0].remote.identity == "198.51.100.2"
    apart = IKEV2.replace("pre-shared-key key2", "pre-shared-key local mine\n  pre-shared-key remote theirs")
    assert sorted((key.secret.reveal(), key.identities) for key in device(HERE + apart).keys) == [
        (b"mine", ("203.0.113.2",)),
        (b"theirs", ("198.51.100.2",)),
    ]
    assert "incomplete" in " ".join(notes(HERE + IKEV2.replace(" authentication local pre-share\n", "")))


def test_interfaces_routes_and_names() -> None:
    made = device(
        "hostname R1\ninterface g0/0\nip address 203.0.113.2 255.255.255.252\nmtu 1400\nip tcp adjust-mss 1360\n"
        "interface g0/1\nip address 10.0.0.1 255.255.255.0\nip address 10.0.1.1 255.255.255.0 secondary\nshutdown\n"
        "interface Loopback0\nip address 10.255.0.1 255.255.255.255\n"
        "ip route 0.0.0.0 0.0.0.0 203.0.113.1\nip route 10.9.0.0 255.255.0.0 GigabitEthernet0/0 203.0.113.1\n"
        "ip route 10.9.0.1 255.255.0.0 203.0.113.1\nipv6 route ::/0 2001:db8::1\n"
    )
    assert made.hostname == "R1"
    assert [(item.name, item.enabled, item.mtu, item.tcp_mss) for item in made.interfaces] == [
        ("gi0-0", True, 1400, 1360),
        ("gi0-1", False, 1500, None),
    ]
    assert [str(address) for address in made.interfaces[1].addresses] == ["10.0.0.1/24", "10.0.1.1/24"]
    assert [str(address) for address in made.loopbacks] == ["10.255.0.1/32"]
    assert [f"{route.destination} {route.gateway}" for route in made.routes] == [
        "0.0.0.0/0 203.0.113.1",
        "10.9.0.0/16 203.0.113.1",
        "::/0 2001:db8::1",
    ]


def test_ntp() -> None:
    made = device(
        "ntp authentication-key 20 md5 104D000A0618 7\nntp authentication-key 30 md5 other\nntp trusted-key 20\n"
        "ntp server 192.0.2.6 key 20 prefer\nntp server 192.0.2.7\nntp master\nntp authenticate\n"
    ).ntp
    assert made is not None
    assert [(server.node, server.key, server.prefer) for server in made.servers] == [
        ("ca", 20, True),
        (None, None, False),
    ]
    assert [(key.number, key.secret.reveal()) for key in made.keys] == [(20, b"cisco")]
    assert (made.master, made.authenticate) == (8, True)
    assert any("not trusted" in note for note in notes("ntp server 192.0.2.6 key 5\n"))
    assert any("address" in note for note in notes("ntp server pool.example.test\n"))


def test_a_trustpoint() -> None:
    (made,) = device(
        TRUSTPOINT
        + " subject-name CN=kisii, O=Example\n serial-number\n ip-address GigabitEthernet0/0\n revocation-check ocsp none\n"
        " rsakeypair K 2048\n auto-enroll 80 regenerate\n password 7 104D000A0618\n enrollment retry period 2\n"
        " fingerprint 00112233 44556677 8899AABB CCDDEEFF\n"
        "interface g0/0\nip address 203.0.113.2 255.255.255.252\n"
    ).trustpoints
    assert made.url == "http://192.0.2.6:80/cgi-bin/pkiclient.exe"
    assert (made.server, made.key_label, made.key_bits) == ("ca", "K", 2048)
    assert [kind for kind, _ in made.subject] == ["CN", "O", "serialNumber", "unstructuredName"]
    assert [str(address) for address in made.addresses] == ["203.0.113.2"]
    assert (made.revocation, made.revocation_optional) == (("ocsp",), True)
    assert (made.auto_enroll_percent, made.regenerate, made.retry_s) == (80, True, 120)
    assert made.fingerprint == "00112233445566778899AABBCCDDEEFF"
    assert made.password is not None
    assert made.password.reveal() == b"cisco"


def test_defaults_of_a_trustpoint_are_those_of_the_flavor() -> None:
    text = "hostname R1\nip domain name example.test\ncrypto pki trustpoint T\n enrollment url http://192.0.2.6/cgi-bin/x.exe\n"
    (made,) = device(text).trustpoints
    assert (made.fqdn, made.key_label, made.key_bits) == ("R1.example.test", "R1.example.test", 1024)
    assert made.url == "http://192.0.2.6/cgi-bin/x.exe"
    assert made.subject == (("unstructuredName", "R1.example.test"),)
    assert made.revocation == ("crl",)
    assert device(text, flavor="iosxe17").trustpoints[0].key_bits == 2048


def test_a_certificate_server() -> None:
    text = (
        "ip http server\ncrypto key generate rsa label S modulus 2048\ncrypto pki server S\ndatabase level complete\n"
        "issuer-name CN=ca, O=Example\ngrant auto\nhash sha512\nlifetime certificate 30 12\nlifetime ca-certificate 100\n"
        "lifetime crl 24\ncdp-url http://192.0.2.6/ca.crl\nno shutdown\n"
    )
    made = device(text).certificate_server
    assert made is not None
    assert (made.name, made.grant, made.hash, made.key_size) == ("S", "auto", "sha512", 2048)
    assert made.certificate_lifetime_s == 30 * 86400 + 12 * 3600
    assert (made.ca_lifetime_s, made.crl_lifetime_s) == (100 * 86400, 86400)
    assert device(text.replace("no shutdown", "shutdown")).certificate_server is None
    assert device(text.replace("ip http server\n", "")).certificate_server is None


def test_filters_and_nat() -> None:
    made = device(
        "access-list 101 permit tcp any host 192.168.10.10 eq 443\naccess-list 101 permit icmp any any echo\n"
        "access-list 101 deny ip 10.0.0.0 0.255.0.255 any log\naccess-list 1 permit 192.168.10.0 0.0.0.255\n"
        "access-list 120 deny ip 192.168.10.0 0.0.0.255 192.168.20.0 0.0.0.255\naccess-list 120 permit ip any any\n"
        "access-list 121 permit ip any 10.9.0.0 0.0.255.255\naccess-list 101 deny tcp any any syn\n"
        "access-list 101 permit icmp any any host-unreachable\n"
        "route-map N deny 5\nmatch ip address 121\nexit\nroute-map N permit 10\nmatch ip address 120\nexit\n"
        "ip nat inside source route-map N interface GigabitEthernet0/0 overload\n"
        "ip nat inside source static 192.168.10.5 203.0.113.9\n"
        "interface g0/0\nip address 203.0.113.2 255.255.255.252\nip access-group 101 in\nip nat outside\n"
        "interface g0/1\nip nat inside\n"
    )
    rules = render_files(made, "kernel")["/etc/testbed/nftables.conf"].content.decode()
    for line in (
        'iifname != "gi0-0" accept',
        'ip daddr 192.168.10.10 meta l4proto tcp th dport 443-443 counter accept comment "101 1"',
        'meta l4proto icmp icmp type 8 counter accept comment "101 2"',
        'meta l4proto tcp tcp flags & syn != 0 counter drop comment "101 4"',
        'meta l4proto icmp icmp type 3 icmp code 1 counter accept comment "101 5"',
        'ip saddr & 255.0.255.0 == 10.0.0.0 counter drop comment "101 3"',
        'counter drop comment "101 0"',
        'oifname "gi0-0" iifname { "gi0-1" } jump source_1',
        "chain source_1 {\n    jump source_1_1\n    jump source_1_2\n  }",
        'chain source_1_1 {\n    ip daddr & 255.255.0.0 == 10.9.0.0 counter accept comment "121 1"\n  }',
        'ip saddr & 255.255.255.0 == 192.168.10.0 ip daddr & 255.255.255.0 == 192.168.20.0 counter return comment "120 1"',
        'counter masquerade comment "120 2"',
        'iifname "gi0-0" ip daddr 203.0.113.9 dnat to 192.168.10.5',
    ):
        assert line in rules, line
