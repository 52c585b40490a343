"""Impairments by netem, on a kernel that has it: it does what is asked for, counts it, and leaves nothing."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyroute2
import pytest

import testbed
from tests.vm.image import build_image, find_qemu
from tests.vm.lab import PROBE
from tests.vm.machine import VirtualMachine

pytestmark = pytest.mark.vm

WIRING = """
for name in a b; do ip netns add $name; done
ip link add va netns a type veth peer name vb netns b
ip -netns a addr add 192.0.2.1/24 dev va
ip -netns b addr add 192.0.2.2/24 dev vb
for name in a b; do ip -netns $name link set v$name up; done
"""
SCRIPT = """
import re, subprocess, sys
from pathlib import Path
from testbed.network.kernel import kernel_features
from testbed.network.netem import netem

def ping(count):
    argv = ["ip", "netns", "exec", "a", "ping", "-c", str(count), "-i", "0.05", "-W", "1", "192.0.2.2"]
    text = subprocess.run(argv, capture_output=True, text=True).stdout
    return int(re.search(r"(\\d+) received", text)[1]), re.search(r"= ([0-9.]+)/", text)

assert kernel_features()["netem"][0]
space = Path("/run/netns/a")
ping(3)
with netem(space, "va", loss=100) as dropped:
    assert ping(4)[0] == 0
    assert dropped() >= 4, dropped()
with netem(space, "va", delay_ms=60, jitter_ms=5) as dropped:
    received, fastest = ping(5)
    assert received == 5
    assert float(fastest[1]) >= 54
    assert dropped() == 0
with netem(space, "va", duplicate=100):
    argv = ["ip", "netns", "exec", "a", "ping", "-c", "3", "-i", "0.05", "192.0.2.2"]
    assert "duplicates" in subprocess.run(argv, capture_output=True, text=True).stdout
with netem(space, "va", corrupt=100):
    assert ping(4)[0] < 4
received, fastest = ping(5)
assert received == 5 and float(fastest[1]) < 54
left = subprocess.run(["ip", "netns", "exec", "a", "tc", "qdisc", "show"], capture_output=True, text=True).stdout
assert "netem" not in left, left
print("done")
"""


def test_what_netem_does() -> None:
    with VirtualMachine(build_image(), find_qemu()) as machine:
        machine.unpack(_archive())
        machine.shell(WIRING)
        done = machine.run(["env", "PYTHONPATH=/lab/python", "python3", "-c", SCRIPT], timeout_s=300.0)
        assert b"done" in done.stdout, done


def _archive() -> bytes:
    """Of this package what is needed, and pyroute2, which is pure Python."""
    buffer = io.BytesIO()
    package = Path(testbed.__path__[0])
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in (*PROBE, "network/kernel", "network/netem"):
            archive.add(package / f"{name}.py", f"lab/python/testbed/{name}.py")
        archive.add(
            pyroute2.__path__[0],
            "lab/python/pyroute2",
            filter=lambda item: None if "__pycache__" in item.name else item,
        )
    return buffer.getvalue()
