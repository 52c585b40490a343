"""What people type and paste, and what a statement says that must not be lost on its way to the daemons."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from testbed.console.filters import filter_help
from testbed.device import Device
from testbed.ios.configuration import Configuration
from testbed.ios.passwords import is_password
from testbed.ios.reader import read_configuration
from testbed.ios.syntax import grammar_of
from testbed.render import render_files
from tests.unit.ios.test_compile import HERE, KEY, POLICY, device, notes

IKEV2 = """
crypto ikev2 proposal P
 encryption aes-cbc-256
 integrity sha256
 group 14
crypto ikev2 policy P
 proposal P
crypto ikev2 profile V
 match identity remote address 198.51.100.2 255.255.255.255
 authentication remote pre-share
 authentication local pre-share
 keyring local K
crypto map M 10 ipsec-isakmp
 set ikev2-profile V
"""
RINGS = """
crypto ikev2 keyring K
 peer far
  address 198.51.100.2
  pre-shared-key right
crypto ikev2 keyring OTHER
 peer far
  address 198.51.100.2
  pre-shared-key wrong
"""


def fate(line: str) -> str:
    (finding,) = read_configuration(line).findings
    return finding.fate


def shown(text: str) -> Configuration:
    return read_configuration(text).configuration


def rendered(made: Device, path: str) -> str:
    return render_files(made, "kernel")[path].content.decode()


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("interface GigabitEthernet 0/1", "GigabitEthernet0/1"),
        ("interface gi 0/1.20", "GigabitEthernet0/1.20"),
        ("interface Loopback 7", "Loopback7"),
        ("interface g0/1", "GigabitEthernet0/1"),
        ("interface lo0", "Loopback0"),
    ],
)
def test_an_interface_may_be_written_in_two_words(typed: str, full: str) -> None:
    assert shown(typed).text().splitlines()[1] == f"interface {full}"


def test_types_of_interfaces_are_completed_and_ambiguous_ones_refused() -> None:
    grammar = grammar_of("config")
    assert grammar.candidates("interface gig") == ([("gigabitethernet", "")], False)
    assert fate("interface t 0") == "refused"
    assert shown("ip route 10.0.0.0 255.0.0.0 Tunnel 0").one("ip route interface") is not None


@pytest.mark.parametrize(
    "line",
    [
        "crypto isakmp polcy 10",
        "crypto ipsec transfrm-set X esp-aes",
        "crypto pki trustpont X",
        "crypto ikev2 blah",
        "crypto key expert rsa X",
        "ntp serve 1.1.1.1 x",
        "crypto key export rsa kisii-key pem terminal 3des cisco123",
        "crypto pki export T pem terminal",
    ],
)
def test_what_is_no_statement_is_refused_and_never_kept(line: str) -> None:
    reading = read_configuration(line)
    assert [finding.fate for finding in reading.findings] == ["refused"]
    assert "cisco123" not in reading.configuration.text()


@pytest.mark.parametrize(
    "line",
    ["mmi polling-interval 60", "no mmi auto-configure", "cdp run", "no lldp run", "ipv6 ioam timestamp", "call-home"],
)
def test_what_stands_in_every_routers_configuration_is_kept(line: str) -> None:
    assert fate(line) == "kept"


def test_a_peer_cannot_be_told_by_a_certificate_map_and_that_is_said() -> None:
    reading = read_configuration("crypto isakmp profile P\n match certificate MAP\n")
    assert "certificate map" in reading.refused[0].told


def test_a_key_for_anybody_needs_no_mask() -> None:
    made = device(HERE + POLICY + "crypto isakmp key secret address 0.0.0.0\n")
    assert len(made.connections) == 1
    assert [key.identities for key in made.keys] == [("%any",)]


def test_a_map_may_have_another_local_address() -> None:
    text = "interface Loopback 0\n ip address 10.255.1.1 255.255.255.255\ncrypto map M local-address Loopback 0\n"
    (connection,) = device(HERE + POLICY + KEY + text).connections
    assert connection.local.address == IPv4Address("10.255.1.1")


def test_without_isakmp_there_is_no_tunnel() -> None:
    assert device(HERE + POLICY + KEY + "no crypto isakmp enable\n").connections == ()
    assert any("no crypto isakmp enable" in note for note in notes(HERE + POLICY + KEY + "no crypto isakmp enable\n"))


def test_keys_are_those_of_the_profiles_keyring() -> None:
    made = device(HERE + IKEV2 + RINGS)
    assert [key.secret.reveal() for key in made.keys] == [b"right"]


def test_keys_may_stand_in_the_profile() -> None:
    text = IKEV2.replace("remote pre-share", "remote pre-share key theirs").replace(
        "local pre-share", "local pre-share key ours"
    )
    made = device(HERE + text.replace(" keyring local K\n", ""))
    assert {key.secret.reveal(): key.identities for key in made.keys} == {
        b"theirs": ("198.51.100.2",),
        b"ours": ("203.0.113.2",),
    }


def test_a_policy_is_for_its_local_address_and_a_second_identity_is_said_not_to_count() -> None:
    other = (
        "crypto ikev2 proposal Q\n encryption 3des\n integrity md5\n group 2\n"
        "crypto ikev2 policy Q\n match address local 10.0.0.250\n proposal Q\n"
    )
    (connection,) = device(HERE + IKEV2 + RINGS + other).connections
    assert connection.proposals == ("aes256-sha256-modp2048",)
    second = "crypto ikev2 profile V\n match identity remote fqdn second.example.test\n"
    assert any("the first one counts" in note for note in notes(HERE + IKEV2 + RINGS + second))


def test_defaults_of_all_sas_and_days_of_one() -> None:
    general = (
        "crypto ipsec security-association replay window-size 512\ncrypto ipsec security-association idle-time 600\n"
    )
    own = "crypto map M 10 ipsec-isakmp\n set security-association lifetime days 2\n"
    (child,) = device(HERE + POLICY + KEY + general + own).connections[0].children
    assert (child.replay_window, child.inactivity_s, child.lifetime_s) == (512, 600, 172800)


def test_a_keepalive_says_when_a_peer_is_dead() -> None:
    made = device(HERE + POLICY + KEY + "crypto isakmp keepalive 10 3 periodic\n")
    assert (made.connections[0].dpd_delay_s, made.connections[0].dpd_timeout_s) == (10, 25)


def test_routes_have_distances_and_names() -> None:
    made = device(
        HERE + "ip route 10.97.0.0 255.255.0.0 203.0.113.1 200 name backup permanent\n"
        "ip route 10.97.0.0 255.255.0.0 192.168.10.2\n"
    )
    assert [(str(route.gateway), route.metric) for route in made.routes] == [("203.0.113.1", 200), ("192.168.10.2", 0)]


def test_ntp_is_asked_as_the_configuration_says() -> None:
    made = device(
        HERE + "interface Loopback0\n ip address 10.255.1.1 255.255.255.255\nntp source Loopback0\n"
        "ntp server 192.0.2.6 version 3 minpoll 4 maxpoll 8\nntp server 192.0.2.7 minpoll 7\n"
    )
    files = render_files(made, "kernel")
    assert "bindacqaddress 10.255.1.1\n" in files["/etc/chrony/chrony.conf"].content.decode()
    (sources,) = [file.content.decode() for path, file in files.items() if path.endswith(".sources")]
    assert "server 192.0.2.6 iburst minpoll 4 maxpoll 8 version 3\n" in sources
    assert "server 192.0.2.7 iburst minpoll 7\n" in sources


def test_a_loopback_that_is_shut_down_has_no_address() -> None:
    made = device(HERE + "interface Loopback0\n ip address 10.255.1.1 255.255.255.255\n shutdown\n")
    assert made.loopbacks == ()


def test_nat_needs_an_inside() -> None:
    text = "access-list 1 permit any\nip nat inside source list 1 interface GigabitEthernet0/0 overload\n"
    assert device(HERE + text).source_nat == ()
    assert any("ip nat inside" in note for note in notes(HERE + text))


def test_remarks_stay_with_what_they_are_about_and_sections_in_their_order() -> None:
    text = (
        "access-list 100 remark first\naccess-list 100 permit tcp any any\naccess-list 100 remark second\n"
        "access-list 100 permit udp any any\nip access-list extended N\n remark one\n permit ip any any\n remark two\n"
        " permit udp any any\nlogin on-success log\nline vty 0 4\n login local\n"
        "crypto map M 65535 ipsec-isakmp dynamic D\ncrypto map M 5 ipsec-isakmp\n"
    )
    lines = [line for line in shown(text).lines() if line != "!"]
    assert [line for line in lines if line.startswith("access-list 100")] == text.splitlines()[:4]
    at = lines.index("ip access-list extended N")
    assert lines[at + 1 : at + 5] == [" remark one", " permit ip any any", " remark two", " permit udp any any"]
    assert lines.index("login on-success log") < lines.index("line vty 0 4")
    assert lines.index("crypto map M 5 ipsec-isakmp") < lines.index("crypto map M 65535 ipsec-isakmp dynamic D")
    assert shown("\n".join(lines)).text() == shown(text).text()


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("5", "$1$28772684$iEwNOgGugqO9.bIz5sk8k/"),
        ("8", "$8$TnGX/fE4KGHOVU$pEhnEvxrvaynpi8j4f.EMHr6M.FzU8xnZnBr/tJdFWk"),
        ("9", "$9$2MJBozw/9R3UsU$2lFhcKvpghcyw8deP25GOfyZaagyUOGBymkryvOdfo6"),
    ],
)
def test_hashed_secrets_let_in_whoever_knows_them(kind: str, stored: str) -> None:
    assert is_password(kind, stored, "hashcat")
    assert not is_password(kind, stored, "hashcat ")
    assert not is_password(kind, stored[:-1], "hashcat")
    assert not is_password(kind, "$x$", "hashcat")


def test_filters_have_help() -> None:
    assert "  include  Include lines that match\n" in filter_help("show run | ")
    assert filter_help("show run | sec") == "  section  Filter a section of output\n"
    assert filter_help("show run | include ") == "  LINE  Regular Expression\n"
    assert filter_help("show run") == ""
