"""What the console shows, read by other people's parsers and compared with what the daemons say."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from testbed.daemons.sa import IkeSa
from testbed.lab import Lab
from tests.integration.ios_lab import configure, muninn, ntc, router, shown, typing, undisturbed

FOLDER = "topologies/moigetech-pki"
LAB = pytest.mark.lab(FOLDER, scope="module")
PING = "ping 192.168.20.1 source GigabitEthernet0/1"


def the_sa(lab: Lab, node: str = "kisii") -> IkeSa:
    (sa,) = [item for item in lab.node(node).charon.sas() if item.established]
    return sa


@LAB
def test_ping_and_traceroute(lab: Lab) -> None:
    shown(lab, "kisii", PING)
    (row,) = ntc("ping", shown(lab, "kisii", PING))
    assert (row["success_pct"], row["success_qty"], row["sent_qty"]) == ("100", "5", "5")
    assert (row["destination"], row["source"]) == ("192.168.20.1", "192.168.10.1")
    assert row["response_stream"] == ["!!!!!"]
    (lost,) = ntc("ping", shown(lab, "kisii", "ping 192.0.2.77 repeat 2 timeout 1"))
    assert (lost["success_pct"], lost["response_stream"]) == ("0", [".."])
    hops = ntc("traceroute", shown(lab, "kisii", "traceroute 198.51.100.2"))
    assert [hop["ip_address"] for hop in hops] == ["203.0.113.1", "198.51.100.2"]


@LAB
def test_version_and_clock(lab: Lab) -> None:
    text = shown(lab, "kisii", "show version")
    (row,) = ntc("show version", text)
    assert row["hostname"] == "MOIGETECH-KISII-EDGE-ROUTER"
    assert row["version"] == "15.9(3)M"
    assert lab.node("kisii").charon.version().version in text
    assert muninn("show version", text)["interfaces"]["gigabit_ethernet"] == 2
    hour, printed = undisturbed(lambda: router(lab, "kisii").now().hour, lambda: shown(lab, "kisii", "show clock"))
    (clock,) = ntc("show clock", printed)
    assert clock["timezone"] == "EAT"
    assert int(clock["time"][:2]) == (hour + 3) % 24


@LAB
def test_interfaces_routes_and_lists(lab: Lab) -> None:
    facts = router(lab, "kisii").interfaces()
    rows = {
        row["interface"]: row for row in ntc("show ip interface brief", shown(lab, "kisii", "show ip interface brief"))
    }
    assert rows.keys() == {"Loopback0", "GigabitEthernet0/0", "GigabitEthernet0/1"}
    assert rows["GigabitEthernet0/0"]["ip_address"] == str(ip_interface(facts["gi0-0"].addresses[0]).ip)
    assert {row["status"] for row in rows.values()} == {"up"}
    brief = muninn("show ip interface brief", shown(lab, "kisii", "show ip interface brief"), "iosxe")["interfaces"]
    assert brief["Loopback0"]["ip_address"] == "10.255.1.1"
    routes = {
        (row["protocol"], f"{row['network']}/{row['prefix_length']}"): row
        for row in ntc("show ip route", shown(lab, "kisii", "show ip route"))
    }
    assert routes["S", "0.0.0.0/0"]["nexthop_ip"] == "203.0.113.1"
    assert routes["C", "192.168.10.0/24"]["nexthop_if"] == "GigabitEthernet0/1"
    assert ("C", "10.255.1.1/32") in routes
    assert len(muninn("show ip route", shown(lab, "kisii", "show ip route"))["routes"]) == len(routes)
    by_name = {row["interface"]: row for row in ntc("show interfaces", shown(lab, "kisii", "show interfaces"))}
    assert by_name["GigabitEthernet0/0"]["mac_address"].replace(".", "") == facts["gi0-0"].mac.replace(":", "")
    assert int(by_name["GigabitEthernet0/0"]["input_packets"]) >= facts["gi0-0"].counters["rx_packets"]
    (entry,) = ntc("show access-lists", shown(lab, "kisii", "show access-lists"))
    assert (entry["name"], entry["sn"], entry["protocol"]) == ("VPN-TRAFFIC", "10", "ip")
    child = the_sa(lab).children[-1]
    assert int(entry["matches"]) == child.packets_in + child.packets_out


@LAB
def test_time(lab: Lab) -> None:
    chronyd = lab.node("kisii").chronyd
    chronyd.command(
        "minpoll", "192.0.2.6", "6"
    )  # a young chronyd asks four times a second, and learns from each answer
    frequency_ppm, text = undisturbed(
        lambda: chronyd.tracking().frequency_ppm, lambda: shown(lab, "kisii", "show ntp status")
    )
    assert f"Clock is synchronized, stratum {chronyd.tracking().stratum}, reference is 192.0.2.6" in text
    assert float(text.split("drift is ")[1].split(" ")[0]) * -1e6 == pytest.approx(frequency_ppm, abs=0.0011)
    (peer,) = muninn("show ntp associations", shown(lab, "kisii", "show ntp associations")).values()
    (source,) = lab.node("kisii").chronyd.sources()
    assert (peer["address"], peer["stratum"], peer["tally"]) == (source.address, source.stratum, "sys.peer")
    assert peer["ref_clock"] == "192.0.2.2"
    assert abs(peer["offset_ms"]) < 50.0  # one sample, on a machine that may be busy: what the lab itself promises
    assert "our_master, sane, valid, stratum 2" in shown(lab, "kisii", "show ntp associations detail")
    assert shown(lab, "kisii", "show ntp config") == " ntp server 192.0.2.6 key 20\n"


@LAB
def test_isakmp(lab: Lab) -> None:
    sa = the_sa(lab)
    table = muninn("show crypto isakmp sa", shown(lab, "kisii", "show crypto isakmp sa"), "iosxe")["ipv4_sa"]
    (row,) = table.values()
    ends = (sa.remote_address, sa.local_address) if sa.initiator else (sa.local_address, sa.remote_address)
    assert (row["dst"], row["src"]) == ends
    assert (row["state"], row["status"], row["conn_id"]) == ("QM_IDLE", "ACTIVE", 1000 + sa.unique_id)
    policy = muninn("show crypto isakmp policy", shown(lab, "kisii", "show crypto isakmp policy"), "iosxe")["policies"][
        "10"
    ]
    assert policy["diffie_hellman_group"] == 14
    assert "256 bit keys" in policy["encryption_algorithm"]
    assert policy["authentication_method"] == "Rivest-Shamir-Adleman Signature"
    detail = shown(lab, "kisii", "show crypto isakmp sa detail")
    assert f"{1000 + sa.unique_id}  203.0.113.2     198.51.100.2           ACTIVE aes  sha256 rsig 14 23:" in detail
    assert "Phase1 id: kisumu.moigetech.test" in shown(lab, "kisii", "show crypto isakmp peers")


@LAB
def test_ipsec(lab: Lab) -> None:
    shown(lab, "kisii", PING)
    begun = the_sa(lab).children[-1].expires_in_s or 0
    rows = ntc("show crypto ipsec sa detail", shown(lab, "kisii", "show crypto ipsec sa detail"))
    child = the_sa(lab).children[-1]
    spis = {row["sa_orientation"]: int(row["sa_spi_hex"], 16) for row in rows if row["sa_type"] == "esp"}
    assert spis == {"inbound": int(child.spi_in or "", 16), "outbound": int(child.spi_out or "", 16)}
    row = rows[0]
    assert (row["local_ident_addr"], row["local_ident_mask"]) == ("192.168.10.0", "255.255.255.0")
    assert (row["remote_ident_addr"], row["current_peer"]) == ("192.168.20.0", "198.51.100.2")
    assert (int(row["pkts_encrypt"]), int(row["pkts_decrypt"])) == (child.packets_out, child.packets_in)
    assert row["sa_transform"] == "esp-256-aes esp-sha256-hmac"
    assert (child.expires_in_s or 0) <= int(row["sa_lifetime_sec"]) <= begun
    assert row["crypto_map_tag"] == "MOIGETECH-MAP"
    (session,) = ntc("show crypto session detail", shown(lab, "kisii", "show crypto session detail"))
    assert (session["session_status"], session["phase1_id"]) == ("UP-ACTIVE", "kisumu.moigetech.test")
    assert (session["local_ip"], session["remote_ip"]) == ("203.0.113.2", "198.51.100.2")
    engine = shown(lab, "kisii", "show crypto engine connections active")
    assert f" {1000 + the_sa(lab).unique_id}  IKE     SHA256+AES256" in engine
    assert "IPsec   AES256+SHA256" in engine
    text = shown(lab, "kisii", "show crypto map")
    for line in (
        "Peer = 198.51.100.2",
        "MOIGETECH:  { esp-256-aes esp-sha256-hmac  } ,",
        "\n                GigabitEthernet0/0",
    ):
        assert line in text
    assert "Transform set MOIGETECH: { esp-256-aes esp-sha256-hmac  }" in shown(
        lab, "kisii", "show crypto ipsec transform-set"
    )
    assert "4608000 kilobytes/3600 seconds" in shown(lab, "kisii", "show crypto ipsec security-association")
    profiles = muninn("show crypto ipsec profile", shown(lab, "kisii", "show crypto ipsec profile"), "iosxe")[
        "profiles"
    ]
    assert profiles["default"]["security_association_lifetime_seconds"] == 3600


@LAB
def test_certificates(lab: Lab) -> None:
    (enrolment,) = lab.node("kisii").enrolments.values()
    own, ca = enrolment.certificate, enrolment.ca_certificate
    assert own is not None
    assert ca is not None
    text = shown(lab, "kisii", "show crypto pki certificates")
    rows = {row["certificate_type"]: row for row in ntc("show crypto pki certificates", text)}
    assert int(rows["Certificate"]["serial_number"], 16) == own.serial
    assert rows["Certificate"]["subject_cn"] == "kisii.moigetech.test"
    assert rows["Certificate"]["subject_hostname"] == "kisii.moigetech.test"
    assert rows["CA Certificate"]["subject_cn"] == "MOIGETECH_CA_SERVER.moigetech.test"
    found = muninn("show crypto pki certificates", text)["trustpoints"]["MOIGETECH"]
    assert found["Certificate"]["serial_number"] == f"{own.serial:02X}"
    hour = (own.not_before.hour + 3) % 24
    assert found["Certificate"]["validity_date"]["start_date"].startswith(f"{hour:02d}:{own.not_before:%M:%S} EAT")
    verbose = shown(lab, "kisii", "show crypto pki certificates verbose")
    for certificate in (own, ca):
        for digest in ("md5", "sha1"):
            printed = certificate.fingerprint(digest)
            assert " ".join(printed[at : at + 8] for at in range(0, len(printed), 8)) in verbose
    status = muninn(
        "show crypto pki trustpoint status", shown(lab, "kisii", "show crypto pki trustpoints status"), "iosxe"
    )["trustpoints"]["MOIGETECH"]
    assert status["certificates"]["issuing_ca"]["fingerprint_md5"].replace(" ", "") == ca.fingerprint("md5")
    points = muninn("show crypto pki trustpoints", shown(lab, "kisii", "show crypto pki trustpoints"), "iosxe")[
        "trustpoints"
    ]
    assert points["MOIGETECH"]["serial_number"] == f"{ca.serial:02X}"
    keys = muninn("show crypto key mypubkey rsa", shown(lab, "kisii", "show crypto key mypubkey rsa"))["keys"]
    data = bytes.fromhex("".join(keys["kisii-key"]["key_data"].split()))
    assert data == own.spki
    crls = shown(lab, "kisii", "show crypto pki crls")
    assert "CRL DER is " in crls
    assert "http://192.0.2.6/MOIGETECH-CA.crl" in crls


@LAB
def test_the_certificate_server(lab: Lab) -> None:
    authority = lab.node("ca").certificate_authority
    info = authority.info()
    text = shown(lab, "ca", "show crypto pki server")
    printed = info["authority"]["fingerprints"]["md5"]
    assert "Status: enabled" in text
    assert " ".join(printed[at : at + 8] for at in range(0, 32, 8)) in text
    assert "Granting mode is: auto" in text
    assert f"Last certificate issued serial number (hex): {info['last_serial']:X}" in text
    listed = shown(lab, "ca", "show crypto pki server MOIGETECH-CA certificates").splitlines()[1:]
    assert {int(line.split()[0], 16) for line in listed} == {
        row["serial"] for row in authority.certificates() if row["purpose"] != "tls"
    }
    serial = next(row["serial"] for row in authority.certificates() if "kisumu" in row["subject"])
    assert "revoked" in shown(lab, "ca", f"crypto pki server MOIGETECH-CA revoke {serial:X}")
    try:
        shown(lab, "ca", "crypto pki server MOIGETECH-CA crl")
        crl = shown(lab, "ca", "show crypto pki server MOIGETECH-CA crl")
        assert "Number of CRL entries: 1" in crl
        assert f"Serial Number (hex): {serial:02X}" in crl
    finally:
        authority.unrevoke(serial)
    assert "does not exist" in shown(lab, "ca", "crypto pki server NOBODY grant all")


@pytest.mark.lab(FOLDER, settings={"ike": 2, "flavor": "iosxe17"})
def test_ikev2_in_the_other_flavor(lab: Lab) -> None:
    (sa,) = [item for item in lab.node("kisii").charon.sas() if item.established]
    assert sa.version == 2
    text = shown(lab, "kisii", "show crypto ikev2 sa detailed")
    assert "203.0.113.2/500       198.51.100.2/500      none/none            READY" in text
    assert "Encr: AES-CBC, keysize: 256, PRF: SHA256, Hash: SHA256, DH Grp:14, Auth sign: RSA, Auth verify: RSA" in text
    own = sa.initiator_spi if sa.initiator else sa.responder_spi
    assert f"Local spi: {own.upper()}" in text
    assert "Remote id: kisumu.moigetech.test" in text
    session = shown(lab, "kisii", "show crypto ikev2 session")
    child = sa.children[0]
    assert f"ESP spi in/out: 0x{int(child.spi_in or '', 16):X}/0x{int(child.spi_out or '', 16):X}" in session
    assert "192.168.10.0/0 - 192.168.10.255/65535" in session
    proposal = shown(lab, "kisii", "show crypto ikev2 proposal")
    assert "DH_GROUP_2048_MODP/Group 14" in proposal
    assert "IKEv2 proposal: default\n     Encryption : AES-CBC-256" in proposal
    assert "Proposal    : MOIGETECH" in shown(lab, "kisii", "show crypto ikev2 policy")
    assert "Access-List SS dynamic: False" in shown(lab, "kisii", "show crypto map")
    assert shown(lab, "kisii", "show version").startswith("Cisco IOS XE Software")
    assert shown(lab, "kisii", "show crypto isakmp sa").count("QM_IDLE") == 0


@LAB
def test_the_log_and_what_debug_lets_through(lab: Lab) -> None:
    configure(lab, "kisii", "interface Loopback0", "description seen")
    with typing(lab, "kisii") as typist:
        assert typist.type("debug crypto isakmp") == "Crypto ISAKMP debugging is on\n"
        typist.type("clear crypto isakmp")
        typist.type(PING)
        text = typist.type("show logging")
        assert typist.type("undebug all") == "All possible debugging has been turned off\n"
        quiet = typist.type("show logging")
    rows = ntc("show logging", text)
    assert any(row["mnemonic"] == "CONFIG_I" for row in rows)
    assert "ISAKMP: initiating Main Mode IKE_SA kisii-kisumu" in text
    assert "ISAKMP:" not in quiet
