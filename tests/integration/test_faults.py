"""What must happen when something goes wrong, by each version of IKE: a table of faults, and what is counted."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from testbed import Deadline, Lab
from testbed.daemons.connection import vici_connection
from testbed.errors import DeadlineExceeded, NegotiationError, SettingError
from testbed.faults import flood
from testbed.network.packet import dissect
from testbed.proof import Scene, find_scene
from testbed.verify.drops import total_drops
from testbed.verify.wire import inspect_frames
from tests.integration.commands import killed_when, run

TEXT = """
version: 1
name: faults
parameters:
  ike: {choices: [1, 2], default: 2}
nodes:
  internet: {role: router}
  r1: {role: router, routes: [{to: default, via: internet}], clock: {offset: 0s}}
  r2: {role: router, routes: [{to: default, via: internet}]}
  host-1: {role: host}
  host-2: {role: host}
links:
  wan-r1: {ends: ["r1:wan", "internet:r1"], prefixes: [203.0.113.0/30], zone: public}
  wan-r2: {ends: ["internet:r2", "r2:wan"], prefixes: [198.51.100.0/30], zone: public}
  lan-1: {ends: ["r1:lan", "host-1:eth0"], prefixes: [192.168.10.0/24]}
  lan-2: {ends: ["r2:lan", "host-2:eth0"], prefixes: [192.168.20.0/24]}
ipsec:
  r1-r2:
    version: ${ike}
    authentication: {method: psk, secret: a key for faults}
    dpd_delay: 1s
    peers:
      r1: {interface: wan, protects: [lan-1]}
      r2: {interface: wan, protects: [lan-2]}
faults:
  bad-line: {kind: line, link: wan-r1, loss: 15, delay_ms: 10, jitter_ms: 5, seed: 1}
"""
# One lost message of each place in the negotiation: the exchange, and the how manieth message of it. The last one of
# quick mode is another matter: see below.
MESSAGES = {
    1: [*(("main mode", number) for number in range(1, 7)), *(("quick mode", number) for number in range(1, 3))],
    2: [("IKE_SA_INIT", 1), ("IKE_SA_INIT", 2), ("IKE_AUTH", 1), ("IKE_AUTH", 2)],
}
NEGOTIATION_S = 40.0


@pytest.fixture(scope="module", params=[1, 2], ids=["ikev1", "ikev2"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "topology.yaml").write_text(TEXT)
    made = Lab.from_folder(folder, name=f"faults-{uuid.uuid4().hex[:8]}", settings={"ike": request.param})
    with made.up():
        yield made


@pytest.fixture
def scene(lab: Lab) -> Scene:
    """The tunnel up; whatever a test has done to it, the next one finds it up again."""
    found = find_scene(lab)
    found.bring_up()
    return found


def version(scene: Scene) -> int:
    return scene.near.connection.version


def negotiate(scene: Scene) -> None:
    scene.lab.initiate("r1-r2", timeout_s=NEGOTIATION_S)


def only_one_tunnel(scene: Scene) -> None:
    """One IKE SA and one CHILD SA at each end; quick mode's last message may still be on its way."""
    for end in (scene.near, scene.far):

        def settled(end: object = end) -> bool:
            sas = scene.charon(end).sas("r1-r2")  # type: ignore[arg-type]
            return [len([c for c in sa.children if c.state == "INSTALLED"]) for sa in sas] == [1]

        Deadline(12.0).until(settled, f"{end.node}: one IKE SA with one CHILD SA")


def in_the_end_one_tunnel(scene: Scene) -> None:
    """On a line that loses anything: IKEv1 may have lost quick mode's last message, which only DPD finds out."""
    ends = (scene.near, scene.far)

    def settled() -> bool:
        sas = [scene.charon(end).sas("r1-r2") for end in ends]
        if not any(sas):
            negotiate(scene)
        return [[len(sa.children) for sa in found] for found in sas] == [[1], [1]] and scene.is_up

    Deadline(60.0).until(settled, "one IKE SA with one CHILD SA at each end", every=0.2)


def datagrams_pass(scene: Scene, count: int = 20) -> None:
    with scene.stream() as there, scene.stream(back=True) as back:
        for stream in (there, back):
            assert stream.await_arrival(stream.deliver(count, Deadline(5.0)), Deadline(5.0))


def test_every_single_message_may_be_lost(scene: Scene) -> None:
    """The sender says it again, and there is one tunnel and not two."""
    for exchange, number in MESSAGES[version(scene)]:
        scene.take_down()
        fault = scene.lab.fault("ike", link="wan-r1", action="drop", exchange=exchange, message=number)
        with fault as counts:
            negotiate(scene)
            only_one_tunnel(scene)
        assert counts["picked"] == 1, (exchange, number)
        datagrams_pass(scene, 2)


def test_the_last_message_of_quick_mode_is_never_said_again(scene: Scene) -> None:
    """The initiator has its SA and takes no notice of what is repeated; the responder gives up. DPD clears it up."""
    if version(scene) == 2:
        return  # every request of IKEv2 has its answer
    scene.take_down()
    with scene.lab.fault("ike", link="wan-r1", action="drop", exchange="quick mode", message=3) as counts:
        negotiate(scene)
        Deadline(40.0).until(lambda: not any(scene.charon(e).sas("r1-r2") for e in (scene.near, scene.far)), "no SA")
    assert counts["picked"] == 1
    negotiate(scene)
    only_one_tunnel(scene)


def test_a_tunnel_is_up_when_both_ends_have_it(scene: Scene) -> None:
    """The last message of the negotiation comes late: who has initiated it knows nothing of that."""
    exchange, last = ("quick mode", 3) if version(scene) == 1 else ("IKE_AUTH", 2)
    scene.take_down()
    late = scene.lab.fault("ike", link="wan-r1", action="delay", exchange=exchange, message=last, delay_ms=400)
    with late as counts:
        negotiate(scene)
        assert scene.is_up
    assert counts["picked"] == 1
    datagrams_pass(scene)


@pytest.mark.parametrize("action", ["duplicate", "replay", "reorder"])
def test_messages_that_come_twice_or_late_make_one_tunnel(scene: Scene, action: str) -> None:
    scene.take_down()
    with scene.lab.fault("ike", link="wan-r1", action=action, count=4) as counts:
        negotiate(scene)
        only_one_tunnel(scene)
    assert counts["picked"] >= 4 if action != "reorder" else counts["picked"] >= 1
    datagrams_pass(scene)


def test_a_changed_message_is_not_believed(scene: Scene) -> None:
    """Its sender says it again, unchanged."""
    scene.take_down()
    exchange = "quick mode" if version(scene) == 1 else "IKE_AUTH"
    with scene.lab.fault("ike", link="wan-r1", action="mangle", exchange=exchange, message=1) as counts:
        negotiate(scene)
        only_one_tunnel(scene)
    assert counts["picked"] == 1
    datagrams_pass(scene)


def test_a_bad_line_that_the_topology_names(scene: Scene) -> None:
    scene.take_down()
    with scene.lab.fault("bad-line") as counts:
        negotiate(scene)
        with scene.stream() as stream:
            stream.send(100)
            Deadline(5.0).until(lambda: counts["lost"] > 0, "a loss")
    in_the_end_one_tunnel(scene)
    datagrams_pass(scene)


def test_a_line_that_repeats_and_reorders_delivers_each_datagram_once(scene: Scene) -> None:
    with (
        scene.lab.fault("line", link="wan-r1", duplicate=40, reorder=20, seed=5, by="forwarder") as counts,
        scene.stream() as stream,
    ):
        numbers = stream.deliver(200, Deadline(20.0))
        stream.await_arrival(numbers, Deadline(5.0))
        assert counts["duplicated"] > 40
        assert counts["reordered"] > 20
        assert dict(stream.arrived) == dict.fromkeys(numbers, 1)
        assert stream.changed == 0


def test_a_line_that_corrupts_delivers_nothing_changed(scene: Scene) -> None:
    before = total_drops(scene.live, "r2")
    with scene.stream() as stream:
        with scene.lab.fault("line", link="wan-r1", corrupt=30, direction="forward", seed=3, by="forwarder") as counts:
            for _ in range(200):
                stream.await_arrival(stream.send(), Deadline(0.02))
            Deadline(5.0).until(lambda: 200 - stream.delivered(range(200)) <= counts["corrupted"], "the last ones")
        lost = 200 - stream.delivered(range(200))
        assert counts["corrupted"] > 30
        assert 0 < lost <= counts["corrupted"]
        assert stream.changed == 0
        dropped = total_drops(scene.live, "r2").since(before)
        assert 0 < dropped.forged + dropped.replayed <= lost, "the rest had a wrong IP header, and did not come so far"
    datagrams_pass(scene)


def test_a_partition_is_noticed_and_nothing_leaves_in_clear(scene: Scene) -> None:
    """DPD after 1 s, and four tries in some 8 s more; then there is no SA, and traffic waits until there is one."""
    pairs = [(one, two) for one in scene.near.selectors for two in scene.far.selectors]
    with scene.on_path() as path, scene.stream() as stream:
        with scene.lab.fault("partition", links=["wan-r1"]) as counts:
            begun = time.monotonic()
            Deadline(25.0).until(lambda: stream.send() and not scene.charon(scene.near).sas("r1-r2"), "no SA")
            noticed = time.monotonic() - begun
            assert stream.delivered(range(stream.sent)) == 0
            assert counts["lost"] > 0
        assert 4.0 < noticed < 20.0
        lost = stream.sent
        report = inspect_frames(path.frames, [], pairs)
        assert report.protected == ()
        Deadline(25.0).until(lambda: not scene.charon(scene.far).sas("r1-r2"), "no SA at the other end")
        negotiate(scene)
        only_one_tunnel(scene)  # the responder of IKEv1 is ready only when quick mode's third message has come
        assert stream.await_arrival(stream.deliver(10, Deadline(5.0)), Deadline(5.0))
        assert stream.delivered(range(lost)) == 0, "what was sent meanwhile is lost, not kept"
    only_one_tunnel(scene)


def test_behind_a_nat_box_esp_goes_in_udp(scene: Scene) -> None:
    """The responder takes any address here; it sees that of the box."""
    config = scene.far.connection
    anywhere = replace(config, remote=replace(config.remote, address=ip_address(0)))
    scene.take_down()
    try:
        scene.charon(scene.far).load_connections({config.name: vici_connection(anywhere)})
        with scene.lab.fault("nat", node="internet", link="wan-r2"):
            with scene.lab.link("wan-r2").capture() as seen:
                negotiate(scene)
                datagrams_pass(scene)
            sa = scene.sas(scene.far)[0]
            assert (sa.remote_address, sa.local_port) == ("198.51.100.1", 4500)
            assert all(child.encapsulated for child in sa.children)
            kinds = [dissect(frame.data) for frame in seen.frames]
            esp = [packet for packet in kinds if packet.kind == "esp"]
            assert len(esp) == 40
            assert all("in UDP" in packet.detail for packet in esp)
            scene.take_down()
    finally:
        scene.live.execute("r2", ["/usr/lib/testbed/load-connections"])
    scene.bring_up()
    assert scene.sas(scene.far)[0].remote_address == "203.0.113.1"


def test_packets_that_are_too_long_are_dropped_and_their_sender_is_told(scene: Scene) -> None:
    node, big = scene.lab.node("r1"), ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1200", "198.51.100.2"]
    with scene.lab.fault("line", link="wan-r1", mtu=1000, icmp=False) as counts:
        assert node.ping("r2:wan", size=800).received == 3
        node.execute(big)
        assert counts["too long"] == 1
        assert "mtu 1000" not in node.execute(["ip", "route", "get", "198.51.100.2"]).text
    with scene.lab.fault("line", link="wan-r1", mtu=1000) as counts:
        node.execute(big)
        assert counts["too long"] == 1
        assert "mtu 1000" in node.execute(["ip", "route", "get", "198.51.100.2"]).text


def test_a_slow_line_with_a_short_queue(scene: Scene) -> None:
    """100 kbit/s are 12.5 kB in a second; the queue has 0.2 s of it, and drops what is more."""
    with scene.lab.fault("line", link="wan-r1", rate_kbit=100, direction="forward") as counts, scene.stream() as stream:
        numbers = stream.send(40)
        stream.await_arrival(numbers, Deadline(3.0))
        arrived = stream.delivered(numbers)
        assert arrived + counts["queue full"] >= 40  # DPD and ARP take their turn
        assert counts["queue full"] <= 40
        assert 3 <= arrived <= 20, "without the limit all 40 would arrive, in two seconds"


def told(scene: Scene, node: str, *argv: str) -> str:
    done = scene.lab.node(node).execute(list(argv))
    return done.text + done.stderr.decode()


def is_cut(scene: Scene) -> bool:
    return not scene.lab.node("r1").ping("198.51.100.2", count=1, wait_s=0.3).answered


# A fault as it is typed, and how one sees that it is there.
TYPED: dict[str, Callable[[Scene], bool]] = {
    "line link=wan-r1 loss=100": is_cut,
    "partition links=wan-r1,wan-r2": is_cut,
    "down link=wan-r1": is_cut,
    "nat node=internet link=wan-r2": lambda scene: "testbed_fault" in told(scene, "internet", "nft", "list", "tables"),
    "dns node=r1": lambda scene: "r2" not in told(scene, "r1", "cat", "/etc/hosts"),
    "daemon node=r2 action=freeze": lambda scene: "T (stopped)" in told(scene, "r2", "sh", "-c", STATES),
    "daemon node=r2": lambda scene: not scene.lab.node("r2").daemons["charon"],
    "node node=host-2": lambda scene: not scene.lab.node("r2").ping("host-2", count=1, wait_s=0.3).answered,
    "clock node=r1 seconds=-7200": lambda scene: scene.lab.node("r1").clock.offset_s < -7000,
}
STATES = "cat /proc/[0-9]*/status | grep '^State'"


def _not(holds: Callable[[], bool]) -> bool:
    return not holds()


def test_nothing_is_left_by_a_process_that_is_killed(scene: Scene) -> None:
    for typed, there in TYPED.items():
        holds = functools.partial(there, scene)
        assert not holds(), typed
        killed_when(holds, scene.lab, "fault", *typed.split())
        Deadline(30.0).until(functools.partial(_not, holds), f"{typed}: another process to end it", every=0.1)
    scene = find_scene(scene.lab)  # a node is another process now
    scene.take_down()
    scene.bring_up()
    datagrams_pass(scene)


def test_a_line_that_is_down_comes_back_with_its_routes(scene: Scene) -> None:
    with scene.lab.fault("down", link="wan-r1"):
        assert not scene.lab.node("r1").ping("198.51.100.2", count=1, wait_s=0.3).answered
    assert scene.lab.node("r1").ping("198.51.100.2", until_answered=True, count=20).answered
    Deadline(10.0).until(lambda: scene.lab.node("r2").ping("203.0.113.1", count=1).answered, "the way back")
    scene.take_down()
    scene.bring_up()
    datagrams_pass(scene)


def test_a_frozen_daemon_thaws(scene: Scene) -> None:
    """Who is asked while frozen says nothing; where charon does the encryption, nothing passes either."""
    with scene.lab.fault("daemon", node="r2", action="freeze"), scene.stream() as stream:
        passes = stream.await_arrival(stream.send(5), Deadline(0.3))
        assert passes == (scene.live.plan.dataplane == "kernel")
        scene.charon(scene.near).rekey(child="r1-r2")
        with pytest.raises(DeadlineExceeded):
            Deadline(0.5).until(lambda: len(scene.sas(scene.near)[0].children) > 1, "an answer")
    scene.take_down()
    scene.bring_up()
    datagrams_pass(scene)


def test_a_killed_daemon_and_a_stopped_node_come_back(scene: Scene) -> None:
    with scene.lab.fault("daemon", node="r2"):
        scene.charon(scene.near).terminate(ike="r1-r2", deadline=Deadline(1.0))
        with pytest.raises(NegotiationError):
            scene.charon(scene.near).initiate(child="r1-r2", deadline=Deadline(2.0))
        assert not scene.lab.node("r2").daemons["charon"]
    assert scene.lab.node("r2").daemons["charon"]
    with scene.lab.fault("node", node="host-2"):
        assert not scene.lab.states()["host-2"].running
    assert scene.lab.states()["host-2"].running
    again = find_scene(scene.lab)
    again.take_down()
    again.bring_up()
    datagrams_pass(again)


def test_a_clock_jumps_and_back(scene: Scene) -> None:
    node = scene.lab.node("r1")
    with scene.lab.fault("clock", node="r1", seconds=86400):
        assert 86390 < node.clock.offset_s < 86410
    assert abs(node.clock.offset_s) < 5


def test_names_are_gone_and_come_back(scene: Scene) -> None:
    ask = ["getent", "hosts", "r2"]
    node = scene.lab.node("r1")
    before = node.execute(ask, check=True).text
    with scene.lab.fault("dns", node="r1"):
        assert node.execute(ask).exit_code != 0
        assert node.execute(["getent", "hosts", "localhost"]).exit_code == 0
    assert node.execute(ask, check=True).text == before


def test_a_flood_of_first_messages_is_answered_with_cookies(scene: Scene) -> None:
    if version(scene) == 1:
        with pytest.raises(SettingError, match="no IKEv2 connection"):
            flood(scene.lab, "wan-r1", "r1")
        return
    report = flood(scene.lab, "wan-r1", "r1", count=60)
    assert report.silent == 0
    assert 0 < report.accepted < 20
    assert report.cookies == 60 - report.accepted
    with scene.lab.fault("flood", link="wan-r1", node="r1", count=20) as counts:
        assert counts["accepted"] + counts["cookies"] == 20
        assert counts["cookies"] > 0
    # Whoever returns the cookie is served: the true peer, in the middle of it.
    scene.take_down()
    scene.charon(scene.far).initiate(child="r1-r2", deadline=Deadline(NEGOTIATION_S))
    datagrams_pass(scene)


def test_several_may_stand_on_one_path(scene: Scene) -> None:
    with (
        scene.lab.fault("line", link="wan-r1", delay_ms=20) as one,
        scene.lab.fault("line", link="wan-r1", duplicate=100, by="forwarder") as other,
        scene.stream() as stream,
    ):
        begun = time.monotonic()
        assert stream.await_arrival(stream.send(3), Deadline(5.0))
        assert time.monotonic() - begun >= 0.02
        assert other["duplicated"] >= 3
        assert one["lost"] == 0
    datagrams_pass(scene)


def test_the_command(scene: Scene, tmp_path: Path) -> None:
    name, done = scene.lab.name, tmp_path / "done"
    ran = run("fault", name, "line", "link=wan-r1", "loss=100", "--run", f"touch {done}")
    assert ran.returncode == 0, ran.stderr
    assert done.exists()
    assert "line is over" in ran.stdout
    for arguments, word in (
        (["lien", "link=wan-r1"], "did you mean 'line'"),
        (["line", "link=nowhere"], "there is no link 'nowhere'"),
        (["line", "link=wan-r1", "loss=120"], "loss"),
        (["line", "link=wan-r1", "lost=1"], "lost"),
        (["line", "loss"], "is no setting"),
    ):
        wrong = run("fault", name, *arguments, "--for", "0.1")
        assert wrong.returncode == 2, arguments
        assert word in wrong.stderr, arguments
    datagrams_pass(scene)
