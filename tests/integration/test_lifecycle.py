"""Up, down and everything that can happen in between."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import testbed
from testbed.deadline import Deadline
from testbed.errors import (
    DaemonError,
    ImageError,
    LabBusyError,
    LabErrors,
    LabNotRunningError,
    NetworkFailure,
    RuntimeFailure,
)
from testbed.events import Event, EventStream, StepFinished
from testbed.lab import Lab, running_labs, take_down
from testbed.lab.state import StateFolder
from testbed.network.links import Wiring
from testbed.network.packet import dissect
from testbed.render.escape import strongswan_secret
from testbed.runtime import DockerRuntime, NodeState
from testbed.testing import assert_reachable, assert_tunnel
from tests.integration.machine import Machine


def references(lab: Lab) -> dict[str, tuple[str, int]]:
    return {name: (state.reference, state.pid) for name, state in lab.states().items()}


def held(lab: Lab) -> bool:
    assert lab.verdicts
    return all(verdict.held for verdict in lab.verdicts)


def test_up_and_down_leave_the_machine_as_it_was(pair: Path, lab_name: str) -> None:
    before = Machine.now(lab_name)
    with Lab.from_folder(pair, name=lab_name).up() as lab:
        assert held(lab)
        assert set(references(lab)) == {"one", "two"}
        assert lab_name in running_labs(DockerRuntime())
    assert Machine.now(lab_name).difference(before) == {}
    assert take_down(lab_name, DockerRuntime(), EventStream()) is False


def test_up_again_keeps_what_stands(pair: Path, lab_name: str) -> None:
    lab = Lab.from_folder(pair, name=lab_name).up()
    before = references(lab)
    steps: list[Event] = []
    again = Lab.from_folder(pair, name=lab_name, events=EventStream([steps.append])).up()
    assert references(again) == before
    assert held(again)
    assert not [step for step in steps if isinstance(step, StepFinished) and step.phase in ("nodes", "daemons")]


def test_up_makes_anew_what_is_not_as_planned(pair: Path, lab_name: str) -> None:
    lab = Lab.from_folder(pair, name=lab_name).up()
    before = references(lab)
    changed = (pair / "topology.yaml").read_text().replace("10.1.0.1/32", "10.1.0.9/32")
    (pair / "topology.yaml").write_text(changed)
    again = Lab.from_folder(pair, name=lab_name).up()
    after = references(again)
    assert after["one"] != before["one"]
    assert held(again)
    assert_reachable(again.node("two"), "10.1.0.9", source="lo0")


def test_a_removed_node_and_its_link_go(pair: Path, lab_name: str) -> None:
    text = (pair / "topology.yaml").read_text()
    extra = text.replace("links:", 'links:\n  spur: {ends: ["one:spur", "three:eth0"]}', 1)
    (pair / "topology.yaml").write_text(extra.replace("nodes:", "nodes:\n  three: {role: host}", 1))
    lab = Lab.from_folder(pair, name=lab_name).up()
    assert_reachable(lab.node("three"), "one:spur")
    (pair / "topology.yaml").write_text(text)
    again = Lab.from_folder(pair, name=lab_name).up()
    assert set(references(again)) == {"one", "two"}
    assert "spur" not in again.node("one").execute(["ls", "/sys/class/net"]).text
    assert held(again)


def test_up_repairs_what_was_broken(pair: Path, lab_name: str) -> None:
    lab = Lab.from_folder(pair, name=lab_name).up()
    lab.node("one").execute(["ip", "link", "del", "wan"], check=True)
    lab.node("two").kill_daemon("charon")
    again = Lab.from_folder(pair, name=lab_name).up()
    assert held(again)
    assert references(again) == references(lab)


def test_a_removed_container_is_made_again(pair: Path, lab_name: str) -> None:
    lab = Lab.from_folder(pair, name=lab_name).up()
    lab.runtime.remove(lab.states()["two"])
    assert held(Lab.from_folder(pair, name=lab_name).up())


def test_two_labs_side_by_side_with_the_same_addresses(pair: Path, lab_name: str) -> None:
    with (
        Lab.from_folder(pair, name=f"{lab_name}-a").up() as first,
        Lab.from_folder(pair, name=f"{lab_name}-b", settings={"ike": 1}).up() as second,
    ):
        assert held(first)
        assert held(second)
        assert_tunnel(first.node("one"), first.node("two"), version=2)
        assert_tunnel(second.node("one"), second.node("two"), version=1)
        first.down()
        assert_reachable(second.node("one"), "10.2.0.1", source="lo0")


def test_a_daemon_crash_keeps_the_links_and_a_start_brings_it_back(pair: Path, lab_name: str) -> None:
    with Lab.from_folder(pair, name=lab_name).up() as lab:
        before = references(lab)
        links = lab.node("one").execute(["ip", "-o", "link"]).text
        lab.node("one").kill_daemon("charon")
        assert lab.node("one").daemons == {"charon": False}
        after = lab.node("one").execute(["ip", "-o", "link", "show", "dev", "wan"]).text
        assert after.split(" qdisc")[0].strip() in links
        assert_reachable(lab.node("one"), "two:wan")
        with pytest.raises(DaemonError, match="charon does not run"):
            lab.node("one").kill_daemon("charon")
        with pytest.raises(DaemonError, match="one of charon"):
            lab.node("one").kill_daemon("pluto")
        lab.start_daemons("one")
        assert references(lab) == before
        lab.node("one").charon.initiate(child="tunnel", deadline=Deadline(20.0))
        assert_reachable(lab.node("one"), "10.2.0.1", source="lo0")


def test_a_restarted_node_comes_back_whole(pair: Path, lab_name: str) -> None:
    with Lab.from_folder(pair, name=lab_name).up() as lab:
        lab.restart_node("two")
        assert_reachable(lab.node("one"), "two:wan")
        lab.node("two").charon.initiate(child="tunnel", deadline=Deadline(20.0))
        assert_reachable(lab.node("one"), "10.2.0.1", source="lo0")


def test_a_stopped_node_is_off_and_starts_again(pair: Path, lab_name: str) -> None:
    with Lab.from_folder(pair, name=lab_name).up() as lab:
        lab.stop_node("two")
        lab.stop_node("two")
        assert not lab.states()["two"].running
        with pytest.raises(LabNotRunningError, match="two: the node does not run"):
            lab.node("two")
        assert not lab.node("one").ping("203.0.113.2", count=1, wait_s=0.2).answered
        lab.start_node("two")
        lab.start_node("two")
        assert_reachable(lab.node("one"), "two:wan")


def test_a_node_on_a_lan_can_be_restarted(tmp_path: Path, lab_name: str) -> None:
    text = (
        "version: 1\nname: lan\nnodes: {r: {role: router}, a: {}, b: {}}\n"
        'links:\n  lan: {ends: ["r:lan", "a:eth0", "b:eth0"]}\n'
    )
    (tmp_path / "topology.yaml").write_text(text)
    with Lab.from_folder(tmp_path, name=lab_name).up() as lab:
        lab.restart_node("a")
        assert_reachable(lab.node("a"), "b")
        assert_reachable(lab.node("b"), "a")
        assert_reachable(lab.node("a"), "r:lan")


def test_a_tunnel_that_comes_up_on_traffic(pair: Path, lab_name: str) -> None:
    with Lab.from_folder(pair, name=lab_name, settings={"start": "on-traffic"}).up(verify=False) as lab:
        assert lab.node("one").charon.sas() == []
        result = lab.node("one").ping("10.2.0.1", count=3, interval_s=2.0, source="lo0")
        assert result.received == 2, "the first packet is lost while IKE negotiates, as on IOS"
        assert_tunnel(lab.node("one"), lab.node("two"))


def test_aggressive_mode_takes_three_packets(pair: Path, lab_name: str) -> None:
    settings: dict[str, str | int | bool] = {"ike": 1, "aggressive": True}
    with Lab.from_folder(pair, name=lab_name, settings=settings).up(verify=False) as lab:
        with lab.link("wire").capture() as wire:
            lab.node("one").charon.initiate(child="tunnel", deadline=Deadline(20.0))
            assert_reachable(lab.node("one"), "10.2.0.1", source="lo0")
        # Each message once: charon's threads may take up the third one after the first of quick mode, which is then
        # sent again, with the same octets from the UDP header on.
        messages = {frame.data[34:]: dissect(frame.data) for frame in wire.frames}
        ike = [packet.detail for packet in messages.values() if packet.kind == "ike"]
        assert ike == ["IKEv1 aggressive mode"] * 3 + ["IKEv1 quick mode"] * 3


def test_a_tunnel_that_comes_up_at_once(pair: Path, lab_name: str) -> None:
    with Lab.from_folder(pair, name=lab_name, settings={"start": "at-once"}).up(verify=False) as lab:
        assert_tunnel(lab.node("one"), lab.node("two"), timeout_s=20.0)


def test_a_lab_in_use_says_by_whom(pair: Path, lab_name: str) -> None:
    with StateFolder(lab_name).locked(), pytest.raises(LabBusyError, match=f"process {os.getpid()}"):
        Lab.from_folder(pair, name=lab_name).up()


def test_down_needs_no_topology(pair: Path, lab_name: str) -> None:
    before = Machine.now(lab_name)
    Lab.from_folder(pair, name=lab_name).up(verify=False)
    shutil.rmtree(pair)
    shutil.rmtree(StateFolder(lab_name).path)  # and no record either: labels are enough
    assert take_down(lab_name, DockerRuntime(), EventStream()) is True
    assert Machine.now(lab_name).difference(before) == {}


def test_a_failing_up_undoes_what_it_made(pair: Path, lab_name: str) -> None:
    before = Machine.now(lab_name)
    (pair / "hook.sh").write_text("#!/bin/sh\necho no good >&2\nexit 9\n")
    text = (
        (pair / "topology.yaml")
        .read_text()
        .replace("one: {role: router,", "one: {role: router, hooks: {after_start: hook.sh},")
    )
    (pair / "topology.yaml").write_text(text)
    with pytest.raises(DaemonError, match="exit code 9: no good"):
        Lab.from_folder(pair, name=lab_name).up()
    assert Machine.now(lab_name).difference(before) == {}


def test_a_failing_up_leaves_what_was_there_before(pair: Path, lab_name: str) -> None:
    lab = Lab.from_folder(pair, name=lab_name).up()
    kept = references(lab)
    text = (pair / "topology.yaml").read_text()
    (pair / "topology.yaml").write_text(text.replace("nodes:", "nodes:\n  three: {image: no/such-image}", 1))
    with pytest.raises(ImageError, match="there is no image no/such-image"):
        Lab.from_folder(pair, name=lab_name).up()
    assert references(lab) == kept


def test_raw_configuration_files_are_used(tmp_path: Path, lab_name: str) -> None:
    """A user's own swanctl.conf on one side, strongswan.conf and certificates beside it."""
    (tmp_path / "topology.yaml").write_text(
        """
version: 1
name: raw
nodes:
  one:
    role: router
    loopbacks: {lo0: [10.1.0.1/32]}
    files:
      /etc/swanctl/swanctl.conf: {source: one.conf}
      /etc/strongswan.conf: {source: strongswan.conf, mode: "0644"}
      /etc/swanctl/x509ca/ca.pem: {source: one.conf}
  two: {role: router, loopbacks: {lo0: [10.2.0.1/32]}, routes: [{to: default, via: one}]}
links:
  wire: {ends: ["one:wan", "two:wan"], prefixes: [203.0.113.0/30], zone: public}
ipsec:
  theirs:
    authentication: {secret: "0s is no prefix here"}
    peers:
      two: {interface: wan, protects: [10.2.0.0/24]}
      one: {interface: wan, protects: [10.1.0.0/24]}
""".replace("/etc/swanctl/x509ca/ca.pem: {source: one.conf}", "/etc/motd.d/note: {source: one.conf}")
    )
    (tmp_path / "strongswan.conf").write_text("charon {\n  retransmit_tries = 1\n}\n")
    (tmp_path / "one.conf").write_text(
        """
connections {
  mine {
    version = 2
    remote_addrs = 203.0.113.2
    proposals = aes256-sha256-modp2048
    local {
      auth = psk
      id = 203.0.113.1
    }
    remote {
      auth = psk
      id = 203.0.113.2
    }
    children {
      net {
        local_ts = 10.1.0.0/24
        remote_ts = 10.2.0.0/24
        esp_proposals = aes256-sha256
      }
    }
  }
}
secrets {
  ike-1 {
    secret = "0s is no prefix here"
  }
}
""".replace('"0s is no prefix here"', "0s" + base64.b64encode(b"0s is no prefix here").decode())
    )
    with Lab.from_folder(tmp_path, name=lab_name).up() as lab:
        one = lab.node("one")
        assert set(one.charon.connections()) == {"mine"}
        rules = one.execute(["nft", "list", "table", "inet", "testbed_guard"], check=True).text
        assert 'iifname "wan" meta ipsec missing ip saddr 10.2.0.0/24 ip daddr 10.1.0.0/24 counter name' in rules
        assert 'oifname "wan"' in rules
        assert_tunnel(one, lab.node("two"), version=2)
        assert_reachable(lab.node("two"), "10.1.0.1", source="lo0")


def test_a_broken_raw_file_is_one_clear_error(pair: Path, lab_name: str) -> None:
    before = Machine.now(lab_name)
    (pair / "bad.conf").write_text("connections {\n  x {\n    proposals = nonsense\n  }\n}\n")
    text = (pair / "topology.yaml").read_text()
    text = text.replace(
        "one: {role: router,", "one: {role: router, files: {/etc/swanctl/swanctl.conf: {source: bad.conf}},"
    )
    (pair / "topology.yaml").write_text(text)
    with pytest.raises(DaemonError, match="one: strongSwan does not take its configuration") as caught:
        Lab.from_folder(pair, name=lab_name).up()
    assert "nonsense" in str(caught.value) or "proposals" in str(caught.value)
    assert Machine.now(lab_name).difference(before) == {}


def test_a_charon_without_its_tun_device_is_not_ready(pair: Path, lab_name: str) -> None:
    """It answers VICI, and would never carry a packet."""
    plugins = "random nonce openssl pem pkcs1 x509 pubkey kdf kernel-netlink socket-default vici"
    (pair / "mine.conf").write_text(f"charon {{\n  load = {plugins}\n}}\n")
    text = (pair / "topology.yaml").read_text()
    files = "files: {/etc/strongswan.conf: {source: mine.conf}}"
    text = text.replace("name: pair", "name: pair\ndataplane: userspace")
    (pair / "topology.yaml").write_text(text.replace("one: {role: router,", f"one: {{role: router, {files},"))
    with pytest.raises(DaemonError, match="one: charon has no TUN device") as caught:
        Lab.from_folder(pair, name=lab_name).up()
    assert "keep kernel-libipsec" in str(caught.value)


def test_a_node_that_ends_at_once_says_why(pair: Path, lab_name: str) -> None:
    before = Machine.now(lab_name)
    (pair / "bad.nft").write_text("table inet nonsense { this is no rule }\n")
    text = (pair / "topology.yaml").read_text()
    files = "files: {/etc/testbed/nftables.conf: {source: bad.nft}}"
    (pair / "topology.yaml").write_text(text.replace("one: {role: router,", f"one: {{role: router, {files},"))
    with pytest.raises(RuntimeFailure, match=r"one: (the node's first process|the container) ended") as caught:
        Lab.from_folder(pair, name=lab_name).up()
    assert "syntax error" in str(caught.value)
    assert Machine.now(lab_name).difference(before) == {}


def test_a_node_that_vanishes_meanwhile_is_made_again(pair: Path, lab_name: str) -> None:
    """As after a `down` that was killed, whose order the engine still carries out."""
    runtime = DockerRuntime()
    Lab.from_folder(pair, name=lab_name).up(verify=False)

    def remove(event: Event) -> None:
        if isinstance(event, StepFinished) and event.phase == "links" and not removed:
            removed.append(next(state for state in runtime.nodes(lab_name) if state.name == "two"))
            runtime.remove(removed[0])

    removed: list[NodeState] = []
    lab = Lab.from_folder(pair, name=lab_name, events=EventStream([remove])).up()
    assert removed
    assert held(lab)


def test_hooks_run_in_the_node(pair: Path, lab_name: str) -> None:
    (pair / "start.sh").write_text("#!/bin/sh\nhostname > /tmp/started\nip -o link show wan >> /tmp/started\n")
    (pair / "stop.sh").write_text("#!/bin/sh\necho stopped > /var/log/testbed/stopped\n")
    text = (pair / "topology.yaml").read_text()
    hooks = "hooks: {after_start: start.sh, before_stop: stop.sh}"
    (pair / "topology.yaml").write_text(text.replace("one: {role: router,", f"one: {{role: router, {hooks},"))
    lab = Lab.from_folder(pair, name=lab_name).up()
    lines = lab.node("one").execute(["cat", "/tmp/started"], check=True).text.splitlines()
    assert lines[0] == "one"
    assert "wan" in lines[1]
    log = StateFolder(lab_name).node("one") / "log" / "stopped"
    assert not log.exists()
    lab._before_stop(["one"])
    assert log.read_text() == "stopped\n"
    lab.down()


SECRETS = [
    'with "quotes" and {braces}',
    "# not a comment",
    "two\nlines",
    "clé secrète ü",
    "0xdeadbeef",
    "0sAAAA",
    " lead",
]


CREDENTIALS = """
secrets {
  ike-tunnel {
    id-1 = 203.0.113.1
    id-2 = 203.0.113.2
    secret = %s
  }
}
"""


@pytest.mark.parametrize("ike", [1, 2])
def test_any_secret_works(pair: Path, lab_name: str, ike: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is rendered on one side and given byte for byte over VICI on the other."""
    monkeypatch.setenv("LAB_PSK", SECRETS[0])
    settings: dict[str, str | int | bool] = {"ike": ike, "psk": "env:LAB_PSK"}
    with Lab.from_folder(pair, name=lab_name, settings=settings).up(verify=False) as lab:
        one, two = lab.node("one"), lab.node("two")
        one.charon.initiate(child="tunnel", deadline=Deadline(20.0))
        for secret in SECRETS[1:]:
            one.charon.terminate(deadline=Deadline(5.0))
            body = CREDENTIALS % strongswan_secret(secret.encode())
            one.execute(["sh", "-c", "cat > /tmp/s.conf"], stdin=body.encode(), check=True)
            one.execute(["swanctl", "--load-creds", "--clear", "--noprompt", "--file", "/tmp/s.conf"], check=True)
            two.charon.load_shared("ike-tunnel", secret.encode(), ["203.0.113.1", "203.0.113.2"])
            one.charon.initiate(child="tunnel", deadline=Deadline(20.0))
            assert_tunnel(one, two)


def test_a_secret_is_nowhere_but_in_its_file(pair: Path, lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hush-5e4f-never-to-be-seen"
    monkeypatch.setenv("LAB_PSK", secret)
    events: list[Event] = []
    lab = Lab.from_folder(
        pair, name=lab_name, settings={"psk": "env:LAB_PSK"}, events=EventStream([events.append])
    ).up()
    api = DockerRuntime().api
    shown = [repr(events), repr(lab.plan), repr(lab.loaded), str(lab.plan.to_dict()), repr(lab.devices)]
    for state in lab.states().values():
        shown.append(str(api.inspect_container(state.reference)))
        shown.append(api.logs(state.reference).decode(errors="replace"))
        shown.append(str(api.top(state.reference)))
        shown.append(lab.node(state.name).log())
        shown.append(lab.node(state.name).execute(["env"]).text)
    shown.append(subprocess.run(["/bin/ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout)
    encoded = base64.b64encode(secret.encode()).decode()
    for text in shown:
        assert secret not in text
        assert encoded not in text
    folder = StateFolder(lab_name).path
    files = {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}
    holders = [path for path, text in files.items() if secret in text or encoded in text]
    assert {path.name for path in holders} == {"swanctl.conf"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [*holders, folder])
    lab.down()


def test_containers_have_the_least_privilege(pair: Path, lab_name: str) -> None:
    with Lab.from_folder(pair, name=lab_name).up(verify=False) as lab:
        for state in lab.states().values():
            host = DockerRuntime().api.inspect_container(state.reference)["HostConfig"]
            assert host["Privileged"] is False
            assert host["CapDrop"] == ["ALL"]
            assert {capability.removeprefix("CAP_") for capability in host["CapAdd"]} == {
                "NET_ADMIN",
                "NET_BIND_SERVICE",
                "NET_RAW",
            }
            assert host["NetworkMode"] == "none"
            assert "no-new-privileges:true" in host["SecurityOpt"]
        status = lab.node("one").execute(["grep", "CapEff", "/proc/self/status"]).text.split()[1]
        assert int(status, 16) == (1 << 12) | (1 << 10) | (1 << 13)  # capabilities(7): NET_ADMIN, BIND_SERVICE, RAW


@pytest.fixture
def small_state(tmp_path: Path) -> Iterator[Path]:
    """A state folder on a file system with room for next to nothing."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=300", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["/bin/umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave: int = 0) -> None:
    """Write until nothing more goes in, then give back so many pages."""
    with contextlib.suppress(OSError), (place / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    with (place / "ballast").open("r+b") as ballast:
        ballast.truncate((place / "ballast").stat().st_size - 4096 * leave)


@pytest.mark.parametrize("pages", [0, 4, 8, 12])
def test_a_full_disk_leaves_nothing(
    pair: Path, lab_name: str, small_state: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is left, up to what a lab needs: it fails where the disk is full, and says so."""
    monkeypatch.setenv("TESTBED_STATE", str(small_state / "state"))
    monkeypatch.setattr("testbed.lab.converge.DAEMON_TIMEOUT_S", 5.0)
    before = Machine.now(lab_name)
    fill(small_state, leave=pages)
    with pytest.raises((RuntimeFailure, LabErrors)) as caught:
        Lab.from_folder(pair, name=lab_name).up()
    assert "No space left" in str(caught.value)
    assert Machine.now(lab_name).difference(before) == {}


def test_a_container_that_a_killed_client_left_is_replaced(pair: Path, lab_name: str) -> None:
    """The engine finishes it after the next `up` has looked for what stands."""
    lab = Lab.from_folder(pair, name=lab_name).up(verify=False)
    state, runtime = lab.states()["one"], DockerRuntime()
    plan = lab.plan.nodes["one"]
    image = runtime.prepare([plan.image], lambda _: None)[plan.image]
    again = runtime.create(plan, state.identity, image)
    assert again.running
    assert again.reference != state.reference
    assert [item.reference for item in runtime.nodes(lab_name) if item.name == "one"] == [again.reference]


def test_a_container_of_somebody_else_is_left_alone(pair: Path, lab_name: str) -> None:
    lab = Lab.from_folder(pair, name=lab_name)
    api = DockerRuntime().api
    image = DockerRuntime().prepare(["router"], lambda _: None)["router"]
    foreign = api.create_container(image, command=["true"], name=f"testbed.{lab_name}.one")["Id"]
    try:
        with pytest.raises(RuntimeFailure, match="already in use"):
            lab.up(verify=False)
        assert api.inspect_container(foreign)["Id"] == foreign
    finally:
        api.remove_container(foreign, force=True)


def test_down_works_on_a_full_disk(
    pair: Path, lab_name: str, small_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTBED_STATE", str(small_state / "state"))
    before = Machine.now(lab_name)
    Lab.from_folder(pair, name=lab_name).up(verify=False)
    fill(small_state)
    assert take_down(lab_name, DockerRuntime(), EventStream()) is True
    assert Machine.now(lab_name).difference(before) == {}


def test_the_second_up_builds_nothing(pair: Path, lab_name: str) -> None:
    Lab.from_folder(pair, name=lab_name).up(verify=False)
    steps: list[Event] = []
    Lab.from_folder(pair, name=lab_name, events=EventStream([steps.append])).up(verify=False)
    assert not [step for step in steps if step.phase == "images"]


def test_a_link_that_cannot_be_made_undoes_the_lab(pair: Path, lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Machine.now(lab_name)

    def refuse(*_: object) -> None:
        raise NetworkFailure("cannot make link 'wire'", seen="refused for this test")

    monkeypatch.setattr(Wiring, "_create", refuse)
    with pytest.raises(NetworkFailure):
        Lab.from_folder(pair, name=lab_name).up()
    assert Machine.now(lab_name).difference(before) == {}


def test_the_example_of_the_package_runs(lab_name: str) -> None:
    """The ten lines of the documentation, as they stand there."""
    example = "\n".join(line[4:] for line in (testbed.__doc__ or "").splitlines() if line.startswith("    "))
    folder = 'from_folder("topologies/safari-sacco"'
    assert folder in example
    script = example.replace(folder, f'{folder}, name="{lab_name}"')
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "NO" not in done.stdout
    assert done.stdout.count("ok ") == 20
    assert "ChildSa" in done.stdout
    assert "dev ipsec0" in done.stdout or "192.168.20.0/24" not in done.stdout
