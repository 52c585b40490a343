"""A router's configuration while it runs: what is typed takes effect, and nothing else changes."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
import scrapli
import scrapli.auth
import scrapli.transport
from netmiko.exceptions import NetmikoAuthenticationException

from testbed.deadline import Deadline
from testbed.lab import Lab
from testbed.lab.ssh import SshFolder
from testbed.testing import assert_unreachable
from tests.integration.ios_lab import configure, many_sessions, netmiko, ntc, ports, router, shown, typing

FOLDER = "topologies/safari-sacco"
LAB = pytest.mark.lab(FOLDER, scope="module")
PING = "ping 192.168.20.1 source GigabitEthernet0/1"
SECRET = "sacco"


def rate(text: str) -> int:
    found = re.search(r"Success rate is (\d+) percent", text)
    assert found, text
    return int(found[1])


@LAB
def test_the_first_ping_of_five_sets_the_tunnel_up_and_is_lost(lab: Lab) -> None:
    shown(lab, "kisii", "clear crypto session")
    assert "Session status: DOWN " in shown(lab, "kisii", "show crypto session")
    first = shown(
        lab, "kisii", f"{PING} timeout 10"
    )  # IKE may take longer than IOS's two seconds, if the machine is busy
    assert "\n.!!!!\n" in first
    assert rate(first) == 80
    assert rate(shown(lab, "kisii", PING)) == 100
    assert "Session status: UP-ACTIVE" in shown(lab, "kisumu", "show crypto session")


@LAB
def test_from_the_other_side_and_by_a_host(lab: Lab) -> None:
    shown(lab, "kisumu", "clear crypto session")
    result = lab.node("pc-kisumu").ping("pc-kisii", count=3, interval_s=2.0)
    assert result.received == 2
    assert lab.node("pc-kisumu").ping("pc-kisii", count=3).received == 3


@LAB
def test_a_ping_without_a_source_is_not_what_the_map_protects(lab: Lab) -> None:
    """It leaves with the outside address, as on IOS: hence the `source` of every article."""
    shown(lab, "kisii", PING)
    (before,) = lab.node("kisii").charon.sas()
    assert rate(shown(lab, "kisii", "ping 192.168.20.1 timeout 1 repeat 3")) == 0
    (after,) = lab.node("kisii").charon.sas()
    assert after.children[-1].packets_out == before.children[-1].packets_out
    assert rate(shown(lab, "kisii", "ping 203.0.113.1 repeat 2")) == 100


@LAB
def test_clear_ends_what_it_is_told_to_and_nothing_else(lab: Lab) -> None:
    shown(lab, "kisii", PING)
    (before,) = lab.node("kisii").charon.sas()
    assert "last as long as their SA" in shown(lab, "kisii", "clear crypto sa counters")
    shown(lab, "kisii", "clear crypto sa map NOSUCH")
    shown(lab, "kisii", "clear crypto sa peer 192.0.2.99")
    shown(lab, "kisii", "clear crypto session remote 192.0.2.99")
    shown(lab, "kisii", "clear crypto ikev2 sa")
    assert "no IKEv2 SA" in shown(lab, "kisii", "clear crypto ikev2 sa 7")
    (after,) = lab.node("kisii").charon.sas()
    assert (after.unique_id, after.children[-1].spi_in) == (before.unique_id, before.children[-1].spi_in)
    shown(lab, "kisii", "clear crypto sa map SACCO-MAP")
    (alone,) = lab.node("kisii").charon.sas()
    assert alone.unique_id == before.unique_id
    assert before.children[-1].spi_in not in {child.spi_in for child in alone.children if child.state == "INSTALLED"}
    shown(lab, "kisii", f"clear crypto isakmp {1000 + before.unique_id}")
    assert lab.node("kisii").charon.sas() == []


@LAB
def test_the_next_ping_after_the_key_was_mended_sets_the_tunnel_up(lab: Lab) -> None:
    """Libipsec itself would ask for no SA for ten seconds after the attempt that failed."""
    right = shown(lab, "kisii", "show running-config | include crypto isakmp key").strip()
    configure(lab, "kisii", "crypto isakmp key wrong address 198.51.100.2")
    shown(lab, "kisii", "clear crypto session")
    assert rate(shown(lab, "kisii", f"{PING} timeout 1 repeat 2")) == 0
    configure(lab, "kisii", right)
    assert "\n.!!!!\n" in shown(lab, "kisii", f"{PING} timeout 8")
    shown(lab, "kisii", "clear crypto session")
    assert "\n.!!!!\n" in shown(lab, "kisii", f"{PING} timeout 8")


@LAB
def test_how_far_an_exchange_has_come(lab: Lab) -> None:
    """A peer that says nothing is told from one that has another key."""
    with typing(lab, "kisii") as typist:
        for line in ("configure terminal", "crypto isakmp key nobody address 198.51.100.66", "crypto map SACCO-MAP 10"):
            typist.type(line)
        typist.type("no set peer 198.51.100.2")
        typist.type("set peer 198.51.100.66")
        typist.type("end")
        shown(lab, "kisii", f"{PING} timeout 1 repeat 1")
        assert re.search(r"198\.51\.100\.66 +203\.0\.113\.2 +MM_NO_STATE", typist.type("show crypto isakmp sa"))
        for line in (
            "configure terminal",
            "no crypto isakmp key nobody address 198.51.100.66",
            "crypto map SACCO-MAP 10",
        ):
            typist.type(line)
        typist.type("no set peer 198.51.100.66")
        typist.type("set peer 198.51.100.2")
        typist.type("end")
    shown(lab, "kisii", "clear crypto session")
    Deadline(40.0).until(lambda: rate(shown(lab, "kisii", PING)) >= 80, "the tunnel")


@LAB
def test_the_nearer_of_two_routes_and_interfaces_in_two_words(lab: Lab) -> None:
    told = configure(
        lab,
        "kisii",
        "interface Loopback 8",
        "ip address 10.8.8.8 255.255.255.255",
        "ip route 10.97.0.0 255.255.0.0 203.0.113.1 200 name backup",
        "ip route 10.97.0.0 255.255.0.0 192.168.10.10",
    )
    assert "Invalid" not in told
    assert "[1/0] via 192.168.10.10" in shown(lab, "kisii", "show ip route")
    assert "distance 1" in shown(lab, "kisii", "show ip route 10.97.1.1")
    configure(lab, "kisii", "no ip route 10.97.0.0 255.255.0.0 192.168.10.10")
    assert "10.97.0.0/16 [200/0] via 203.0.113.1" in shown(lab, "kisii", "show ip route")
    assert "10.8.8.8" in shown(lab, "kisii", "show ip interface brief Loopback 8")
    configure(lab, "kisii", "no ip route 10.97.0.0 255.255.0.0 203.0.113.1", "no interface Loopback 8")
    assert "10.97.0.0" not in lab.node("kisii").execute(["ip", "route"]).text


@LAB
def test_nat_hides_the_inside_but_not_what_a_route_map_denies(lab: Lab) -> None:
    """The provider has no way back to private addresses: who gets an answer was translated."""
    pc = lab.node("pc-kisii")
    assert not pc.ping("203.0.113.1", count=1, wait_s=0.5).answered
    lines = [
        "access-list 121 permit ip 192.168.10.0 0.0.0.255 host 198.51.100.1",
        "access-list 122 permit ip 192.168.10.0 0.0.0.255 any",
        "route-map NAT deny 10",
        "match ip address 121",
        "route-map NAT permit 20",
        "match ip address 122",
        "interface GigabitEthernet0/0",
        "ip nat outside",
        "interface GigabitEthernet0/1",
        "ip nat inside",
        "ip nat inside source route-map NAT interface GigabitEthernet0/0 overload",
    ]
    told = configure(lab, "kisii", *lines)
    assert "%" not in told
    assert pc.ping("203.0.113.1", count=2).received == 2
    assert not pc.ping("198.51.100.1", count=1, wait_s=0.5).answered, "the route-map's deny clause"
    assert "203.0.113.2" in shown(lab, "kisii", "show ip nat translations")
    assert re.search(r"permit ip 192.168.10.0 0.0.0.255 any \(\d+ match", shown(lab, "kisii", "show access-lists 122"))
    shown(lab, "kisii", "clear access-list counters 122")
    assert "match" not in shown(lab, "kisii", "show access-lists 122")
    configure(lab, "kisii", "interface GigabitEthernet0/1", "no ip nat inside")
    assert not pc.ping("203.0.113.1", count=1, wait_s=0.5).answered, "nothing is inside"
    undo = [
        "no ip nat inside source route-map NAT interface GigabitEthernet0/0 overload",
        "interface GigabitEthernet0/0",
        "no ip nat outside",
        "no route-map NAT permit 20",
        "no route-map NAT deny 10",
        "no access-list 121",
        "no access-list 122",
    ]
    configure(lab, "kisii", *undo)
    assert rate(shown(lab, "kisii", f"{PING} timeout 10")) >= 80


@LAB
def test_what_does_not_change_is_not_touched(lab: Lab) -> None:
    shown(lab, "kisii", PING)
    (before,) = lab.node("kisii").charon.sas()
    configure(lab, "kisii", "interface Loopback5", "ip address 10.5.5.5 255.255.255.255", "description five")
    configure(lab, "kisii", "no interface Loopback5", "ntp server 192.0.2.10", "no ntp server 192.0.2.10")
    (after,) = lab.node("kisii").charon.sas()
    assert (after.unique_id, after.initiator_spi) == (before.unique_id, before.initiator_spi)
    assert [child.spi_in for child in after.children] == [child.spi_in for child in before.children]


@LAB
def test_addresses_routes_and_shutdown(lab: Lab) -> None:
    node = lab.node("kisii")
    configure(
        lab,
        "kisii",
        "interface Loopback6",
        "ip address 10.6.6.6 255.255.255.255",
        "exit",
        "ip route 10.7.0.0 255.255.0.0 203.0.113.1",
    )
    assert "10.6.6.6/32" in node.execute(["ip", "-br", "address"]).text
    assert "10.7.0.0/16 via 203.0.113.1" in node.execute(["ip", "route"]).text
    assert "Loopback6" in shown(lab, "kisii", "show ip interface brief")
    configure(lab, "kisii", "no interface Loopback6", "no ip route 10.7.0.0 255.255.0.0 203.0.113.1")
    assert "10.6.6.6" not in node.execute(["ip", "-br", "address"]).text
    assert "10.7.0.0" not in node.execute(["ip", "route"]).text
    configure(lab, "kisii", "interface GigabitEthernet0/1", "shutdown")
    assert re.search(
        r"GigabitEthernet0/1 .* administratively down +down", shown(lab, "kisii", "show ip interface brief")
    )
    assert not lab.node("pc-kisii").ping("kisii:gi0-1", count=1, wait_s=0.3).answered
    configure(lab, "kisii", "interface GigabitEthernet0/1", "no shutdown")
    assert lab.node("pc-kisii").ping("192.168.10.1", count=10, until_answered=True).answered
    configure(lab, "kisii", "interface GigabitEthernet0/0", "shutdown", "no shutdown")
    assert "default via 203.0.113.1" in node.execute(["ip", "route"]).text


@LAB
def test_a_map_that_is_taken_away_and_put_back(lab: Lab) -> None:
    shown(lab, "kisii", PING)
    configure(lab, "kisii", "interface GigabitEthernet0/0", "no crypto map")
    assert lab.node("kisii").charon.connections() == {}
    assert lab.node("kisii").charon.sas() == []
    assert rate(shown(lab, "kisii", "ping 192.168.20.1 source GigabitEthernet0/1 timeout 1 repeat 2")) == 0
    told = configure(lab, "kisii", "interface GigabitEthernet0/0", "crypto map SACCO-MAP")
    assert "%" not in told
    assert "ISAKMP is ON" in shown(lab, "kisii", "show logging")
    assert rate(shown(lab, "kisii", f"{PING} timeout 10")) == 80


@LAB
def test_a_wrong_key_brings_no_tunnel_and_the_log_says_so(lab: Lab) -> None:
    configure(lab, "kisii", "crypto isakmp key wrong address 198.51.100.2")
    shown(lab, "kisii", "clear crypto session")
    assert rate(shown(lab, "kisii", "ping 192.168.20.1 source GigabitEthernet0/1 timeout 1")) == 0
    assert "%CRYPTO-4-IKMP_BAD_MESSAGE: IKE message from 203.0.113.2 failed its sanity check" in shown(
        lab, "kisumu", "show logging"
    )
    configure(lab, "kisii", "crypto isakmp key safari-sacco-lab-key address 198.51.100.2")
    shown(lab, "kisii", "clear crypto session")
    Deadline(30.0).until(lambda: rate(shown(lab, "kisii", PING)) >= 80, "the tunnel")


@LAB
def test_proposals_that_differ_bring_no_tunnel(lab: Lab) -> None:
    configure(lab, "kisumu", "crypto map SACCO-MAP 10", "set pfs group14")
    shown(lab, "kisii", "clear crypto session")
    assert rate(shown(lab, "kisii", "ping 192.168.20.1 source GigabitEthernet0/1 timeout 1 repeat 3")) == 0
    assert "Processing of Quick mode failed" in shown(lab, "kisii", "show logging")
    configure(lab, "kisumu", "crypto map SACCO-MAP 10", "no set pfs")
    shown(lab, "kisii", "clear crypto session")
    Deadline(30.0).until(lambda: rate(shown(lab, "kisii", PING)) >= 80, "the tunnel")


@LAB
def test_an_access_list_on_an_interface_drops_and_counts(lab: Lab) -> None:
    configure(
        lab,
        "kisii",
        "access-list 101 deny icmp host 192.168.10.10 any echo",
        "access-list 101 permit ip any any",
        "interface GigabitEthernet0/1",
        "ip access-group 101 in",
    )
    assert lab.node("pc-kisii").ping("192.168.10.1", count=3, wait_s=0.3).received == 0
    assert lab.node("fs-kisii").ping("192.168.10.1", count=2).received == 2
    text = shown(lab, "kisii", "show access-lists 101")
    assert "10 deny icmp host 192.168.10.10 any echo (3 matches)" in text
    assert re.search(r"20 permit ip any any \(\d+ match", text)
    shown(lab, "kisii", "clear access-list counters")
    assert "matches" not in shown(lab, "kisii", "show access-lists 101").splitlines()[1]
    configure(lab, "kisii", "interface GigabitEthernet0/1", "no ip access-group 101 in", "exit", "no access-list 101")
    assert lab.node("pc-kisii").ping("192.168.10.1", count=2).received == 2


@LAB
def test_nat_with_the_exemption_of_ipsec(lab: Lab) -> None:
    """The PCs reach the Internet by the router's address, and the other office by the tunnel."""
    assert_unreachable(lab.node("pc-kisii"), "outsider", control="kisii:GigabitEthernet0/1")
    configure(
        lab,
        "kisii",
        "access-list 120 deny ip 192.168.10.0 0.0.0.255 192.168.20.0 0.0.0.255",
        "access-list 120 permit ip 192.168.10.0 0.0.0.255 any",
        "ip nat inside source list 120 interface GigabitEthernet0/0 overload",
        "interface GigabitEthernet0/0",
        "ip nat outside",
        "interface GigabitEthernet0/1",
        "ip nat inside",
    )
    with lab.link("outside").capture() as capture:
        assert lab.node("pc-kisii").ping("192.0.2.10", count=2).received == 2
    assert any(bytes((203, 0, 113, 2)) in frame.data for frame in capture.frames)
    assert not any(bytes((192, 168, 10, 10)) in frame.data[:40] for frame in capture.frames)
    shown(lab, "kisii", PING)
    assert lab.node("pc-kisii").ping("pc-kisumu", count=3).received == 3
    configure(
        lab, "kisii", "no ip nat inside source list 120 interface GigabitEthernet0/0 overload", "no access-list 120"
    )
    assert_unreachable(lab.node("pc-kisii"), "outsider", control="kisii:GigabitEthernet0/1")


@LAB
def test_what_the_data_plane_cannot_do_is_said_and_the_rest_goes_on(lab: Lab) -> None:
    if lab.plan.dataplane == "kernel":
        pytest.skip("the kernel can")
    told = configure(lab, "kisii", "crypto ipsec transform-set SACCO esp-aes 256 esp-sha256-hmac", "mode transport")
    assert "% crypto map SACCO-MAP 10 cannot use transport mode on the user-space data plane" in told
    assert "mode transport" in shown(lab, "kisii", "show running-config")
    assert lab.node("kisii").charon.connections() == {}
    told = configure(lab, "kisii", "access-list 110 permit ip any any")
    assert "cannot" in told
    configure(lab, "kisii", "no access-list 110 permit ip any any")
    configure(lab, "kisii", "crypto ipsec transform-set SACCO esp-aes 256 esp-sha256-hmac", "mode tunnel")
    Deadline(30.0).until(lambda: rate(shown(lab, "kisii", PING)) >= 80, "the tunnel")


@LAB
def test_two_sessions_see_what_the_other_one_types(lab: Lab) -> None:
    with typing(lab, "kisii") as one, typing(lab, "kisii") as other:
        for session, number in ((one, 1), (other, 2)):
            session.type("configure terminal")
            session.type(f"interface Loopback2{number}")
        one.type("description by one")
        one.settle()
        other.type("description by other")
        other.settle()
        one.type("ip address 10.21.0.1 255.255.255.255")
        text = one.type("do show running-config | section Loopback2")
        assert "interface Loopback21\n description by one\n ip address 10.21.0.1" in text
        assert "interface Loopback22\n description by other" in text
    configure(lab, "kisii", "no interface Loopback21", "no interface Loopback22")


@LAB
def test_the_clock_is_set_by_hand(lab: Lab) -> None:
    assert shown(lab, "kisii", "clock set 12:30:00 1 May 2020") == ""
    assert shown(lab, "kisii", "show clock").startswith("*12:30:0")
    assert lab.node("kisii").clock.offset_s < -1e8
    lab.node("kisii").set_clock()


@LAB
def test_a_bare_question_and_a_bare_dialog(lab: Lab) -> None:
    with typing(lab, "kisii") as typist:
        text = typist.type("ping", ["", "192.168.10.10", "2", "", "1", "y", "", "g0/1", "", "y", "", "", "", ""])
        assert "Target IP address: " in text
        assert "Packet sent with the DF bit set" in text
        assert rate(text) == 100
        assert "% Unrecognized host or address" in typist.type("ping nowhere.example.test")
        assert "Success rate is 0 percent" in typist.type("ping 198.51.100.2 size 3000 df-bit repeat 1 timeout 1")
        assert "\nM\n" in typist.type("ping 198.51.100.2 size 3000 df-bit repeat 1 timeout 1")


@LAB
def test_netmiko_configures_and_saves(lab: Lab) -> None:
    with netmiko(lab, "kisii", SECRET) as connection:
        connection.enable()
        assert connection.find_prompt() == "SAFARI-SACCO-KISII-HQ#"
        connection.send_config_set(["interface Loopback31", "ip address 10.31.0.1 255.255.255.255"])
        rows = ntc("show ip interface brief", connection.send_command("show ip interface brief"))
        assert "10.31.0.1" in {row["ip_address"] for row in rows}
        connection.send_config_set(["no interface Loopback31"])
        assert "[OK]" in connection.save_config()
    with pytest.raises(NetmikoAuthenticationException):
        netmiko(lab, "kisii", "wrong")


@LAB
def test_scrapli_configures(lab: Lab) -> None:
    options = scrapli.auth.Options(
        username="admin", password=SECRET, lookups=[scrapli.auth.LookupKeyValue("enable", SECRET)]
    )
    with scrapli.Cli(
        "127.0.0.1",
        port=ports(lab)["kisumu"],
        definition_file_or_name="cisco_iosxe",
        auth_options=options,
        transport_options=scrapli.transport.Ssh2Options(),
    ) as client:
        assert client.get_prompt().result == "SAFARI-SACCO-KISUMU#"
        client.send_inputs(
            ["interface Loopback41", "ip address 10.41.0.1 255.255.255.255"], requested_mode="configuration"
        )
        assert "10.41.0.1" in client.send_input("show ip interface brief").result
        client.send_inputs(["no interface Loopback41"], requested_mode="configuration")


@LAB
def test_openssh_with_what_ssh_config_prints(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "config"
    testbed = [sys.executable, "-c", "from testbed.cli import main; main()"]
    done = subprocess.run([*testbed, "ssh-config", lab.name], capture_output=True, text=True, check=True)
    config.write_text(done.stdout)
    done = subprocess.run(
        ["/usr/bin/ssh", "-F", config, "kisumu", "show clock"], capture_output=True, text=True, check=True
    )
    assert re.match(r"\*?\d\d:\d\d:\d\d\.\d{3} UTC ", done.stdout)


@LAB
def test_a_thousand_lines_pasted_at_once(lab: Lab) -> None:
    """Nothing is lost, and the daemons are told once."""
    lines = [f"access-list 150 permit tcp host 10.{n // 250}.{n % 250}.1 any eq {n + 1}" for n in range(1000)]
    with netmiko(lab, "kisii", SECRET, fast_cli=True, global_cmd_verify=False) as connection:
        connection.enable()
        connection.write_channel("configure terminal\n")
        connection.read_until_pattern(r"\(config\)#")
        connection.write_channel("".join(f"{line}\n" for line in lines) + "end\nshow clock\n")
        connection.read_until_pattern(r"20\d\d\n", read_timeout=300)
    running = shown(lab, "kisii", "show running-config | include access-list 150")
    assert running.splitlines() == lines
    configure(lab, "kisii", "no access-list 150")
    assert shown(lab, "kisii", "show running-config | include access-list 150") == ""


@LAB
def test_two_hundred_sessions_at_once(lab: Lab) -> None:
    port, key = ports(lab)["kisii"], SshFolder(lab.folder).client_key()
    answers = asyncio.run(many_sessions(port, key, 200, "show ip route"))
    assert len(answers) == 200
    assert all("S*    0.0.0.0/0 [1/0] via 203.0.113.1" in answer for answer in answers)


@LAB
def test_who_may_not_log_in(lab: Lab) -> None:
    with typing(lab, "kisii", level=1) as typist:
        assert "% Invalid input" in typist.type("configure terminal")
        assert "% Invalid input" in typist.type("show running-config")
        assert typist.type("enable", ["wrong", "worse", "worst"]).endswith("% Bad secrets\n\n")
        typist.type("enable", [SECRET])
        assert typist.prompt == "SAFARI-SACCO-KISII-HQ#"
        assert "sacco" in typist.type("show running-config | include secret")


@pytest.mark.lab(FOLDER)
def test_what_was_saved_survives_a_reload_and_the_rest_does_not(lab: Lab) -> None:
    configure(lab, "kisii", "interface Loopback1", "ip address 10.1.1.1 255.255.255.255")
    assert "[OK]" in shown(lab, "kisii", "write memory")
    configure(lab, "kisii", "interface Loopback2", "ip address 10.2.2.2 255.255.255.255")
    with typing(lab, "kisii") as typist:
        assert "System configuration has been modified" in typist.type("reload", ["no", ""])
    addresses = lab.node("kisii").execute(["ip", "-br", "address"]).text
    assert "10.1.1.1" in addresses
    assert "10.2.2.2" not in addresses
    assert "Loopback2" not in shown(lab, "kisii", "show running-config")
    Deadline(30.0).until(lambda: rate(shown(lab, "kisii", PING)) >= 80, "the tunnel")
    with typing(lab, "kisii") as typist:
        assert "Erase of nvram: complete" in typist.type("write erase", [""])
        typist.type("reload", ["no", ""])
    assert shown(lab, "kisii", "show startup-config") == "startup-config is not present\n"
    assert "hostname" not in shown(lab, "kisii", "show running-config")
    assert router(lab, "kisii").configuration.hostname == "Router"
    assert lab.node("kisii").charon.connections() == {}


@pytest.mark.lab(FOLDER)
def test_up_again_keeps_what_was_typed_and_down_leaves_nothing(lab: Lab) -> None:
    configure(lab, "kisii", "interface Loopback1", "ip address 10.1.1.1 255.255.255.255")
    before = {name: state.reference for name, state in lab.states().items()}
    again = Lab.from_folder(FOLDER, name=lab.name).up()
    assert {name: state.reference for name, state in again.states().items()} == before
    assert [verdict.claim for verdict in again.verdicts if not verdict.held] == []
    assert "10.1.1.1" in lab.node("kisii").execute(["ip", "-br", "address"]).text
    folder = SshFolder(lab.folder)
    ports(lab)
    assert folder.running()
    assert lab.down()
    Deadline(10.0).until(lambda: not folder.running(), "the SSH server ends")
    assert not folder.path.exists()


@pytest.mark.lab(FOLDER, variants=["article-era"], settings={"flavor": "iosxe17"})
def test_what_routers_of_the_time_negotiated(lab: Lab) -> None:
    assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
    assert "3DES+MD5" in shown(lab, "kisii", "show crypto engine connections active")
    assert "esp-3des esp-md5-hmac" in shown(lab, "kisii", "show crypto ipsec sa")
    assert "Three key triple DES" in shown(lab, "kisii", "show crypto isakmp policy")
