"""A lab's nodes as network namespaces of a virtual machine, from the same plan and with the same rendered files."""

from __future__ import annotations

import io
import itertools
import struct
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import testbed
from testbed.deadline import Deadline
from testbed.network.capture import Frame
from testbed.plan import Plan
from testbed.runtime.images import sources
from tests.vm.machine import VirtualMachine

# What the probe of the kernel is made of; it needs no other package.
PROBE = ("__init__", "errors", "network/__init__", "network/namespace", "network/esp")

# The first process of a node with files: its own /etc files and its own /run, then what the image's `node` does.
GATEWAY = """
cd "/lab/$1"
find etc usr -type f | while read -r file; do
    mkdir -p "/$(dirname "$file")"
    [ -e "/$file" ] || touch "/$file"
    mount --bind "$file" "/$file"
done
mkdir -p /var/log/testbed log
mount --bind log /var/log/testbed
mount -t tmpfs -o mode=0755 run /run
mkdir -p /run/testbed
nft -f /etc/testbed/nftables.conf
exec /usr/sbin/charon-systemd > log/charon.out 2>&1 < /dev/null
"""


class VmLab:
    """The chosen nodes of a plan, with the links between them."""

    def __init__(self, machine: VirtualMachine, plan: Plan, nodes: list[str]) -> None:
        self.machine = machine
        self.plan = plan
        self.nodes = nodes
        self.gateways = [name for name in nodes if any(d.name == "charon" for d in plan.nodes[name].daemons)]
        self._pids: dict[str, int] = {}

    def up(self) -> None:
        self.machine.unpack(self._archive())
        batch = "\n".join([*self._namespaces(), *self._links()])
        self.machine.check(["ip", "-batch", "-"], stdin=batch.encode())
        self.machine.check(["ip", "-netns", "fabric", "-batch", "-"], stdin="\n".join(self._bridges()).encode())
        for node in self.nodes:
            self.machine.check(["ip", "-netns", node, "-batch", "-"], stdin="\n".join(self._addresses(node)).encode())
            for key, value in self.plan.nodes[node].sysctls.items():
                if "unprivileged" not in key:
                    self.machine.check(["ip", "netns", "exec", node, "sysctl", "-qw", f"{key}={value}"])
        for node in self.nodes:
            if "/etc/testbed/nftables.conf" in self.plan.nodes[node].files and node not in self.gateways:
                self.execute(node, "nft", "-f", f"/lab/{node}/etc/testbed/nftables.conf")
        for node in self.gateways:
            self.start_charon(node)

    def start_charon(self, node: str) -> None:
        """Start a gateway's daemon in a mount namespace of its own and wait until its connections are loaded."""
        argv = ["ip", "netns", "exec", node, "/bin/sh", "-euc", GATEWAY, "sh", node]
        pid = self._pids[node] = self.machine.spawn(argv)
        sign = f"/proc/{pid}/root/run/testbed/swanctl.status"

        def status() -> bytes:
            return self.machine.run(["cat", sign]).stdout.strip()

        loaded = Deadline(60.0).until(status, f"{node}: charon has not loaded its connections")
        assert loaded == b"0", self.machine.read(f"/lab/{node}/log/swanctl.out").decode()

    def inside(self, node: str, *argv: str) -> str:
        """Run a command in a gateway's namespaces, with its own /run: for swanctl."""
        return self.machine.check(["nsenter", "-t", str(self._pids[node]), "-m", "-n", *argv], timeout_s=90.0)

    def execute(self, node: str, *argv: str) -> str:
        return self.machine.check(["ip", "netns", "exec", node, *argv])

    def ping(self, source: str, destination: str, count: int = 3) -> int:
        """How many of the echo requests are answered."""
        argv = ["ip", "netns", "exec", source, "ping", "-c", str(count), "-i", "0.2", "-W", "2", destination]
        text = self.machine.run(argv).stdout.decode()
        return int(text.split(" received")[0].rsplit(" ", 1)[-1])

    def guard(self, node: str, counter: str) -> int:
        text = self.execute(node, "nft", "list", "counter", "inet", "testbed_guard", counter)
        return int(text.split("packets ")[1].split()[0])

    def xfrm_errors(self, node: str) -> dict[str, int]:
        """The counters of /proc/net/xfrm_stat that are not zero."""
        lines = self.execute(node, "cat", "/proc/net/xfrm_stat").splitlines()
        return {name: int(value) for name, value in map(str.split, lines) if int(value)}

    def esp_packets(self, node: str) -> list[int]:
        """The packets that each ESP state of the kernel has carried."""
        lines = self.execute(node, "ip", "-s", "xfrm", "state").splitlines()
        return [
            int(following.split("(bytes), ")[1].split("(packets)")[0])
            for line, following in itertools.pairwise(lines)
            if "lifetime current" in line
        ]

    def capture(self, node: str, interface: str) -> Capture:
        return Capture(self, node, interface)

    def _archive(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for node in self.nodes:
                files = {path: (f.content, f.mode) for path, f in self.plan.nodes[node].files.items()}
                if node in self.gateways:
                    files["/usr/lib/testbed/load-connections"] = (
                        (sources() / "bin" / "load-connections").read_bytes(),
                        0o755,
                    )
                for path, (content, mode) in files.items():
                    _add(archive, f"lab/{node}{path}", content, mode)
            package = Path(testbed.__path__[0])
            for name in PROBE:
                _add(archive, f"lab/python/testbed/{name}.py", (package / f"{name}.py").read_bytes(), 0o644)
        return buffer.getvalue()

    def _namespaces(self) -> Iterator[str]:
        for node in (*self.nodes, "fabric"):
            yield f"netns add {node}"

    def _links(self) -> Iterator[str]:
        for link in self.plan.links.values():
            ends = [end for end in link.ends if end.node in self.nodes]
            if link.kind == "point-to-point" and len(ends) == 2:
                one, other = ends
                yield (
                    f"link add {one.interface} netns {one.node} mtu {link.mtu} address {one.mac} type veth "
                    f"peer name {other.interface} netns {other.node} mtu {link.mtu} address {other.mac}"
                )
            elif link.kind == "lan" and ends:
                yield f"link add {link.bridge} netns fabric type bridge"
                for end in ends:
                    yield (
                        f"link add {end.interface} netns {end.node} mtu {link.mtu} address {end.mac} type veth "
                        f"peer name {end.port} netns fabric mtu {link.mtu}"
                    )

    def _bridges(self) -> Iterator[str]:
        for link in self.plan.links.values():
            if link.kind == "lan" and self._wired(link.name):
                yield f"link set {link.bridge} up"
                for end in link.ends:
                    if end.node in self.nodes:
                        yield f"link set {end.port} master {link.bridge} up"

    def _addresses(self, node: str) -> Iterator[str]:
        yield "link set lo up"
        for link, end in self.plan.attachments_of(node):
            if self._wired(link.name):
                for address in end.addresses:
                    yield f"addr add {address} dev {end.interface}{' nodad' if address.version == 6 else ''}"
                yield f"link set {end.interface} up"
        for tunnel in self.plan.nodes[node].tunnels:
            yield f"link add {tunnel.name} type xfrm dev {tunnel.source} if_id {tunnel.if_id}"
            for address in tunnel.addresses:
                yield f"addr add {address} dev {tunnel.name}"
            yield f"link set {tunnel.name} up"
        for prefix, gateway, metric in self.plan.nodes[node].routes:
            yield f"route add {prefix} via {gateway}{f' metric {metric}' if metric else ''}"
        for prefix, name in self.plan.nodes[node].tunnel_routes:
            yield f"route add {prefix} dev {name}"

    def _wired(self, name: str) -> bool:
        link = self.plan.links[name]
        ends = [end for end in link.ends if end.node in self.nodes]
        return len(ends) == 2 if link.kind == "point-to-point" else bool(ends)


class Capture:
    """tcpdump on an interface; `frames` are there after the block."""

    def __init__(self, lab: VmLab, node: str, interface: str) -> None:
        self._lab = lab
        self._node = node
        self._interface = interface
        self._path = f"/tmp/{uuid.uuid4().hex}"
        self.frames: list[Frame] = []

    def __enter__(self) -> Capture:
        script = 'exec tcpdump --immediate-mode -i "$1" -U -w "$2.pcap" > "$2.out" 2>&1'
        argv = ["ip", "netns", "exec", self._node, "/bin/sh", "-c", script, "sh", self._interface, self._path]
        self._pid = self._lab.machine.spawn(argv)

        def listening() -> bool:
            return b"listening on" in self._lab.machine.run(["cat", f"{self._path}.out"]).stdout

        Deadline(20.0).until(listening, "tcpdump")
        return self

    def __exit__(self, *_: object) -> None:
        machine, pid = self._lab.machine, str(self._pid)
        machine.run(["kill", "-INT", pid])
        Deadline(20.0).until(lambda: machine.run(["kill", "-0", pid]).exit_code != 0, "the end of tcpdump")
        self.frames = read_pcap(machine.read(f"{self._path}.pcap"))


def read_pcap(data: bytes) -> list[Frame]:
    """The frames of a capture file with microseconds, as tcpdump writes it."""
    assert struct.unpack_from("=I", data)[0] == 0xA1B2C3D4
    frames, offset = [], 24
    while offset < len(data):
        seconds, microseconds, kept, _ = struct.unpack_from("=IIII", data, offset)
        frames.append(Frame(seconds * 10**9 + microseconds * 1000, data[offset + 16 : offset + 16 + kept]))
        offset += 16 + kept
    return frames


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))
