"""Safari Sacco's gateways on Debian's own kernel ESP: the same plan, the same rendered files, XFRM counters checked.

Not part of `make test`: it boots a virtual machine. `make test-vm` runs it.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.deadline import Deadline
from testbed.device import build_devices
from testbed.network.packet import dissect
from testbed.plan import build_plan
from testbed.topology import load_topology
from testbed.verify.wire import inspect_frames
from tests.integration.test_safari_sacco import clear_text
from tests.unit.topologies import NATIVE, SAFARI
from tests.vm.image import build_image, find_qemu
from tests.vm.lab import VmLab
from tests.vm.machine import VirtualMachine

pytestmark = pytest.mark.vm

NODES = ["internet", "kisii", "kisumu", "pc-kisii", "pc-kisumu"]
PC_KISII, PC_KISUMU = "192.168.10.10", "192.168.20.10"
CONNECTION = "kisii-kisumu"
VARIANTS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "ikev1": ({}, ()),
    "ikev2": ({"ike": "2"}, ()),
    "article-era": ({}, ("article-era",)),
}

# Sends a frame that is given in Base64, on an interface, so many times.
SEND = """
import base64, socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
    raw.bind((sys.argv[1], 0))
    for _ in range(int(sys.argv[3])):
        raw.send(base64.b64decode(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[VirtualMachine]:
    image, qemu = build_image(), find_qemu()
    with VirtualMachine(image, qemu) as made:
        yield made


@pytest.fixture(params=VARIANTS)
def lab(request: pytest.FixtureRequest) -> Iterator[VmLab]:
    """The lab without its tunnel, in a machine of its own."""
    settings, variants = VARIANTS[request.param]
    loaded = load_topology(NATIVE, settings=settings, variants=variants)
    plan = build_plan(loaded, build_devices(loaded), "kernel")
    with VirtualMachine(build_image(), find_qemu()) as machine:
        made = VmLab(machine, plan, NODES)
        made.up()
        yield made


def send(lab: VmLab, frame: bytes, times: int) -> None:
    """Put a frame on the provider's side of Kisumu's line."""
    lab.execute("internet", "python3", "-c", SEND, "kisumu", base64.b64encode(frame).decode(), str(times))


def wait_for_errors(lab: VmLab, node: str, expected: dict[str, int]) -> None:
    ends = time.monotonic() + 10.0
    while lab.xfrm_errors(node) != expected and time.monotonic() < ends:
        pass
    assert lab.xfrm_errors(node) == expected


def test_the_kernel_says_that_it_has_esp(machine: VirtualMachine) -> None:
    loaded = load_topology(NATIVE)
    lab = VmLab(machine, build_plan(loaded, build_devices(loaded), "kernel"), ["pc-kisii"])
    machine.unpack(lab._archive())
    script = (
        "import sys; sys.path.insert(0, '/lab/python'); from testbed.network.esp import *; print(*kernel_has_esp())"
    )
    assert machine.check(["python3", "-c", script]).startswith("True the kernel makes ESP states")


def test_the_lab_on_kernel_esp(lab: VmLab) -> None:
    without_the_tunnel(lab)
    with_the_tunnel(lab)
    forged_clear_text(lab)
    replayed_esp(lab)
    after_a_rekeying(lab)
    with_charon_dead(lab)


def without_the_tunnel(lab: VmLab) -> None:
    """Nothing passes and nothing leaves in clear; each packet is counted by the guard that stops it."""
    assert lab.ping("kisii", "198.51.100.2") == 3
    with lab.capture("internet", "kisii") as wire:
        assert lab.ping("pc-kisii", PC_KISUMU) == 0
    assert inspect_frames(wire.frames, []).private == ()
    assert lab.guard("kisii", "clear_out") == 3
    assert lab.esp_packets("kisii") == []


def with_the_tunnel(lab: VmLab) -> None:
    """Traffic passes through states of the kernel, exactly counted, and the provider sees IKE and ESP alone."""
    with lab.capture("internet", "kisii") as wire:
        lab.inside("kisii", "swanctl", "--initiate", "--child", CONNECTION, "--timeout", "60")
        assert lab.ping("pc-kisii", PC_KISUMU, count=5) == 5
        assert lab.ping("pc-kisumu", PC_KISII, count=5) == 5
    for gateway in ("kisii", "kisumu"):
        assert lab.esp_packets(gateway) == [10, 10], "five requests and five replies each way"
        assert lab.xfrm_errors(gateway) == {}
        assert "dev ipsec0" not in lab.execute(gateway, "ip", "route", "show", "table", "all")
    report = inspect_frames(wire.frames, [])
    assert report.kinds["esp"] == 20
    assert report.kinds["ike"] >= 4
    assert set(report.kinds) <= {"ike", "esp", "arp", "nd"}
    assert report.private == ()


def forged_clear_text(lab: VmLab) -> None:
    before = lab.guard("kisumu", "clear_in")
    mac = next(end.mac for end in lab.plan.links["wan-kisumu"].ends if end.node == "kisumu")
    frame = bytes.fromhex(mac.replace(":", "")) + bytes(6) + b"\x08\x00" + clear_text("192.168.10.77", PC_KISUMU)
    send(lab, frame, 4)
    assert lab.ping("pc-kisii", PC_KISUMU, count=1) == 1
    assert lab.guard("kisumu", "clear_in") == before + 4


def replayed_esp(lab: VmLab) -> None:
    """Five copies of a packet that was taken in already: five errors of the sequence number, and nothing else."""
    with lab.capture("internet", "kisumu") as wire:
        assert lab.ping("pc-kisii", PC_KISUMU, count=1) == 1
    esp = [f.data for f in wire.frames if (p := dissect(f.data)).kind == "esp" and str(p.source) == "203.0.113.2"]
    assert len(esp) == 1
    carried = lab.esp_packets("kisumu")
    send(lab, esp[0], 5)
    wait_for_errors(lab, "kisumu", {"XfrmInStateSeqError": 5})
    assert lab.esp_packets("kisumu") == carried
    assert lab.ping("pc-kisii", PC_KISUMU) == 3


def after_a_rekeying(lab: VmLab) -> None:
    before = lab.execute("kisii", "ip", "xfrm", "state")
    lab.inside("kisii", "swanctl", "--rekey", "--child", CONNECTION)
    ends = time.monotonic() + 30.0
    while lab.execute("kisii", "ip", "xfrm", "state") == before and time.monotonic() < ends:
        pass
    assert lab.execute("kisii", "ip", "xfrm", "state") != before
    assert lab.ping("pc-kisii", PC_KISUMU) == 3


def with_charon_dead(lab: VmLab) -> None:
    """The kernel goes on encrypting; when its states and policies are gone, the guard stops what would be in clear."""
    lab.machine.check(["kill", "-9", str(lab._pids["kisii"])])
    assert lab.ping("pc-kisii", PC_KISUMU) == 3
    for part in ("state", "policy"):
        lab.execute("kisii", "ip", "xfrm", part, "flush")
    before = lab.guard("kisii", "clear_out")
    with lab.capture("internet", "kisii") as wire:
        assert lab.ping("pc-kisii", PC_KISUMU) == 0
    assert inspect_frames(wire.frames, []).private == ()
    assert lab.guard("kisii", "clear_out") == before + 3


@pytest.mark.parametrize("ike", ["1", "2"])
def test_interesting_traffic_brings_up_the_tunnel_of_a_crypto_map(ike: str) -> None:
    """As on IOS, and as on the other data plane: the first packet is lost, and those after it pass."""
    loaded = load_topology(SAFARI, settings={"ike": ike})
    plan = build_plan(loaded, build_devices(loaded), "kernel")
    with VirtualMachine(build_image(), find_qemu()) as machine:
        lab = VmLab(machine, plan, NODES)
        lab.up()
        assert lab.esp_packets("kisii") == []
        with lab.capture("internet", "kisii") as wire:
            assert lab.ping("pc-kisii", PC_KISUMU, count=1) == 0
            assert lab.ping("pc-kisii", PC_KISUMU, count=4) == 4
        assert inspect_frames(wire.frames, []).private == ()
        assert lab.ping("pc-kisumu", PC_KISII, count=3) == 3
        assert "kisii-kisumu" in lab.inside("kisii", "swanctl", "--list-sas")


def with_tunnel_interfaces(folder: Path) -> Path:
    """Safari Sacco with a tunnel interface and a route on each router in place of the crypto map."""
    shutil.copytree(SAFARI, folder)
    for name, inner, peer, behind in (
        ("kisii", "10.255.0.1", "198.51.100.2", "192.168.20.0"),
        ("kisumu", "10.255.0.2", "203.0.113.2", "192.168.10.0"),
    ):
        path = folder / f"{name}-ikev2.ios"
        kept = [line for line in path.read_text().splitlines() if "SACCO-MAP" not in line and "access-list" not in line]
        start = next(n for n, line in enumerate(kept) if line == " description the other office")
        kept = [*kept[:start], *kept[start + 5 :]]  # what stood in the map
        path.write_text(
            "\n".join(kept).replace("\nend", "")
            + "\ncrypto ipsec profile VTI\n set transform-set SACCO\n set ikev2-profile SACCO\n"
            + f"interface Tunnel0\n ip address {inner} 255.255.255.252\n tunnel source GigabitEthernet0/0\n"
            + f" tunnel mode ipsec ipv4\n tunnel destination {peer}\n tunnel protection ipsec profile VTI\n"
            + f"ip route {behind} 255.255.255.0 Tunnel0\nend\n"
        )
    return folder


def test_what_is_routed_into_a_tunnel_interface_is_protected(tmp_path: Path) -> None:
    loaded = load_topology(with_tunnel_interfaces(tmp_path / "safari-vti"), settings={"ike": "2"})
    plan = build_plan(loaded, build_devices(loaded), "kernel")
    with VirtualMachine(build_image(), find_qemu()) as machine:
        lab = VmLab(machine, plan, NODES)
        lab.up()
        # No traffic sets it up, the interface does.
        Deadline(30.0).until(lambda: "INSTALLED" in lab.inside("kisii", "swanctl", "--list-sas"), "the tunnel")
        with lab.capture("internet", "kisii") as wire:
            assert lab.ping("pc-kisii", PC_KISUMU, count=5) == 5
            assert lab.ping("pc-kisumu", PC_KISII, count=5) == 5
            assert lab.ping("pc-kisii", "10.255.0.2", count=1) == 1
        report = inspect_frames(wire.frames, [])
        assert report.kinds["esp"] == 22
        assert report.private == ()
        for gateway in ("kisii", "kisumu"):
            routes = lab.execute(gateway, "ip", "route", "show", "table", "all")
            assert "table 220" not in routes, "charon sets no route into the tunnel"
        # As on IOS: a route over an interface that is down is none, and what it carried follows the default route.
        lab.execute("kisii", "ip", "link", "set", "tu0", "down")
        with lab.capture("internet", "kisii") as wire:
            assert lab.ping("pc-kisii", PC_KISUMU) == 0
        assert inspect_frames(wire.frames, []).private != ()
