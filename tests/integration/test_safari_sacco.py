"""The lab of the README, on live daemons: everything its topology expects, and what must not be possible beside it."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

import pytest

from testbed.deadline import Deadline
from testbed.lab import Lab
from testbed.network.capture import Frame
from testbed.network.namespace import run_in_namespace
from testbed.network.packet import dissect
from testbed.testing import assert_encrypted, assert_reachable, assert_tunnel, assert_unreachable

FOLDER = "topologies/safari-sacco"
DEFAULT = pytest.mark.lab(FOLDER, scope="module")


@DEFAULT
def test_everything_expected_was_checked_and_holds(lab: Lab) -> None:
    assert len(lab.verdicts) == 20
    assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
    phases = {verdict.phase for verdict in lab.verdicts}
    assert phases == {"tunnel down", "tunnel up"}


@DEFAULT
def test_the_tunnel_is_what_was_configured(lab: Lab) -> None:
    kisii, kisumu = lab.node("kisii"), lab.node("kisumu")
    assert_tunnel(kisii, kisumu, version=1, ike="aes256-sha256-modp2048", esp="aes256-sha256")
    with pytest.raises(AssertionError, match="expected 3des-md5"):
        assert_tunnel(kisii, kisumu, esp="3des-md5", timeout_s=0.1)


@DEFAULT
def test_esp_is_a_protocol_of_its_own(lab: Lab) -> None:
    with lab.link("wan-kisii").capture() as capture:
        assert_reachable(lab.node("pc-kisii"), "pc-kisumu")
    esp = [packet for packet in map(dissect, (frame.data for frame in capture.frames)) if packet.kind == "esp"]
    assert esp
    assert all("UDP" not in packet.detail for packet in esp)
    assert {str(packet.source) for packet in esp} == {"203.0.113.2", "198.51.100.2"}


def exchanges(frames: list[Frame]) -> list[str]:
    """What each IKE packet belongs to, in the order on the wire."""
    return [packet.detail for packet in map(dissect, (frame.data for frame in frames)) if packet.kind == "ike"]


@DEFAULT
def test_it_is_main_mode_with_six_packets_and_quick_mode_with_three(lab: Lab) -> None:
    charon = lab.node("kisii").charon
    charon.terminate(ike="kisii-kisumu", deadline=Deadline(10.0))
    with lab.link("wan-kisii").capture() as wire:
        charon.initiate(child="kisii-kisumu", deadline=Deadline(20.0))
        assert_reachable(lab.node("pc-kisii"), "pc-kisumu")
    # Each message once, and none that ends the tunnel before: what is slow is said again, octet by octet.
    messages = {frame.data[34:]: frame for frame in wire.frames}
    told = [exchange for exchange in exchanges([*messages.values()]) if exchange != "IKEv1 informational"]
    assert told == ["IKEv1 main mode"] * 6 + ["IKEv1 quick mode"] * 3


@DEFAULT
def test_known_data_is_seen_in_the_lan_and_not_at_the_provider(lab: Lab) -> None:
    data = bytes(index & 0xFF for index in range(1000))  # what `Node.ping` sends
    with assert_encrypted(lab.link("wan-kisumu"), data=data):
        lab.node("pc-kisumu").ping("pc-kisii", size=1000, count=1)
    with (
        pytest.raises(AssertionError, match="blocks of the data crossed it in clear"),
        assert_encrypted(lab.link("lan-kisumu"), data=data),
    ):
        lab.node("pc-kisumu").ping("pc-kisii", size=1000, count=1)


@DEFAULT
def test_large_packets_pass(lab: Lab) -> None:
    result = lab.node("pc-kisii").ping("pc-kisumu", size=4000, count=3)
    assert result.received == 3


@DEFAULT
def test_the_outsider_reaches_nobody_inside(lab: Lab) -> None:
    for target in (
        "pc-kisii",
        "fs-kisii",
        "pc-kisumu",
        "fs-kisumu",
        "kisii:GigabitEthernet0/1",
        "kisumu:GigabitEthernet0/1",
    ):
        assert_unreachable(lab.node("outsider"), target, control="kisii:GigabitEthernet0/0")


@pytest.mark.lab("topologies/native-psk")
def test_ipv6_is_routed_between_public_addresses(lab: Lab) -> None:
    """The lab in native YAML, whose lines to the provider have both families."""
    assert [verdict.claim for verdict in lab.verdicts if not verdict.held] == []
    addresses = [address for address in lab.node("kisumu").addresses if address.version == 6]
    assert_reachable(lab.node("outsider"), str(addresses[0]))


@DEFAULT
def test_the_provider_counts_what_it_drops(lab: Lab) -> None:
    def dropped() -> int:
        text = lab.node("internet").execute(["nft", "list", "counter", "inet", "testbed_private", "dropped"]).text
        return int(text.split("packets ")[1].split()[0])

    before = dropped()
    lab.node("outsider").ping("pc-kisii", count=3, interval_s=0.0, wait_s=0.3)
    assert dropped() == before + 3


def guard(lab: Lab, node: str, counter: str) -> int:
    text = lab.node(node).execute(["nft", "list", "counter", "inet", "testbed_guard", counter]).text
    return int(text.split("packets ")[1].split()[0])


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def clear_text(source: str, destination: str) -> bytes:
    """An ICMP echo request that nobody encrypted, whole in every checksum."""
    echo = struct.pack("!BBHHH", 8, 0, 0, 0x4242, 1) + b"clear text that must not pass"[:28]
    echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(echo), 1, 0, 64, 1, 0) + ends
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + echo


def inject(lab: Lab, packet: bytes, times: int) -> None:
    """Put a packet on the provider's side of Kisumu's line, addressed to Kisumu's router."""
    import socket

    live = lab.live()
    mac = next(end.mac for end in lab.plan.links["wan-kisumu"].ends if end.node == "kisumu")

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("kisumu", 0))
            for _ in range(times):
                raw.send(bytes.fromhex(mac.replace(":", "")) + bytes(6) + b"\x08\x00" + packet)

    run_in_namespace(live.state("internet").namespace, send)


@DEFAULT
def test_forged_clear_text_does_not_enter(lab: Lab) -> None:
    before = guard(lab, "kisumu", "clear_in")
    with lab.link("lan-kisumu").capture() as inside:
        inject(lab, clear_text("192.168.10.77", "192.168.20.10"), 5)
        assert_reachable(lab.node("pc-kisii"), "pc-kisumu")  # the true peer's traffic is untouched
    assert guard(lab, "kisumu", "clear_in") == before + 5
    forged = [frame for frame in inside.frames if b"clear text that must" in frame.data]
    assert forged == []


@DEFAULT
def test_the_injection_would_be_seen_if_it_were_let_in(lab: Lab) -> None:
    """The control: the same injection from an address that no tunnel protects does arrive."""
    with lab.link("lan-kisumu").capture() as inside:
        inject(lab, clear_text("203.0.113.99", "192.168.20.10"), 5)
        assert_reachable(lab.node("pc-kisii"), "pc-kisumu")
    assert sum(b"clear text that must" in frame.data for frame in inside.frames) >= 5


@pytest.fixture
def tunnel_again(lab: Lab) -> Iterator[None]:
    """For tests that take the tunnel down: it is up again afterwards."""
    yield
    lab.start_daemons("kisii")
    charon = lab.node("kisii").charon
    if not any(sa.established for sa in charon.sas()):
        charon.initiate(child="kisii-kisumu", deadline=Deadline(20.0))


@DEFAULT
@pytest.mark.usefixtures("tunnel_again")
def test_nothing_leaves_in_clear_while_charon_is_dead(lab: Lab) -> None:
    before = guard(lab, "kisii", "clear_out")
    with lab.link("wan-kisii").capture() as wire:
        lab.node("kisii").kill_daemon("charon")
        result = lab.node("pc-kisii").ping("pc-kisumu", count=5, interval_s=0.05, wait_s=0.5)
    assert result.received == 0
    assert [packet for packet in map(dissect, (frame.data for frame in wire.frames)) if "192.168" in str(packet)] == []
    assert guard(lab, "kisii", "clear_out") == before + 5


@DEFAULT
def test_the_share_cannot_be_written(lab: Lab) -> None:
    script = "echo x > /tmp/x; smbclient --no-pass //192.168.20.11/ledgers -c 'put /tmp/x y'"
    done = lab.node("pc-kisii").execute(["sh", "-c", script])
    assert done.exit_code != 0
    assert b"ACCESS_DENIED" in done.stdout + done.stderr


@pytest.mark.lab(FOLDER, settings={"ike": 2})
def test_the_same_lab_with_ikev2(lab: Lab) -> None:
    assert_tunnel(lab.node("kisii"), lab.node("kisumu"), version=2, ike="aes256-sha256-modp2048", esp="aes256-sha256")


@pytest.mark.lab(FOLDER, variants=["article-era"])
def test_the_algorithms_of_the_article(lab: Lab) -> None:
    assert_tunnel(lab.node("kisii"), lab.node("kisumu"), version=1, ike="3des-md5-modp1024", esp="3des-md5")
