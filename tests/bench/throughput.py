"""Data through a tunnel on each data plane, beside a path of as many veth pairs without one, in the same run."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from pathlib import Path

from testbed import Lab, prove
from testbed.deadline import Deadline
from testbed.matrix import Axes, cells, run_matrix
from testbed.network.esp import kernel_has_esp
from testbed.network.namespace import run_in_namespace

FOLDER = Path(__file__).parent / "labs" / "throughput"
GOALS = Path("topologies/ipsec-goals")
SECONDS, TUNNELS, PORT = 1.5, 50, 5001
_CHUNK = bytes(256 * 1024)


def planes() -> list[str]:
    """The data planes of this machine."""
    return ["userspace", *(["kernel"] if kernel_has_esp()[0] else [])]


def plane_figures(plane: str, rounds: int) -> dict[str, list[float]]:
    """Megabits per second without and with ESP, round after round, and tunnels per second."""
    found: dict[str, list[float]] = {f"raw {plane}": [], f"esp {plane}": []}
    name = f"bench-{uuid.uuid4().hex[:8]}"
    with Lab.from_folder(FOLDER, name=name, dataplane=plane).up(verify=False) as lab:
        lab.initiate("r1-r2")
        spaces = {name: state.namespace for name, state in lab.states().items()}
        for _ in range(rounds):
            found[f"raw {plane}"].append(megabits(spaces["raw-1"], spaces["raw-2"], "192.168.21.10"))
            found[f"esp {plane}"].append(megabits(spaces["host-1"], spaces["host-2"], "192.168.20.10"))
        found[f"rate {plane}"] = [_tunnels_per_second(lab) for _ in range(rounds)]
    return found


def megabits(sender: Path, receiver: Path, address: str) -> float:
    """What arrives of one TCP connection, in megabits per second, from its first byte on."""
    listener = run_in_namespace(receiver, lambda: socket.create_server((address, PORT)))
    arrived: list[tuple[float, int]] = []

    def receive() -> None:
        connection, _ = listener.accept()
        buffer = bytearray(1024 * 1024)
        with connection:
            while count := connection.recv_into(buffer):
                arrived.append((time.monotonic(), count))

    thread = threading.Thread(target=receive)
    with listener, contextlib.ExitStack() as stack:
        thread.start()
        connection = run_in_namespace(sender, lambda: socket.create_connection((address, PORT), 10.0))
        stack.enter_context(connection)
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            connection.sendall(_CHUNK)
        connection.shutdown(socket.SHUT_WR)
        thread.join(30.0)
    first, last = arrived[0][0], arrived[-1][0]
    return sum(count for _, count in arrived[1:]) * 8 / (last - first) / 1e6


def _tunnels_per_second(lab: Lab) -> float:
    charon = lab.node("r1").charon
    child = lab.plan.tunnels[0].children[0]
    begun = time.monotonic()
    for _ in range(TUNNELS):
        charon.terminate(ike="r1-r2", deadline=Deadline(10.0))
        charon.initiate(child=child, deadline=Deadline(30.0))
    return TUNNELS / (time.monotonic() - begun)


def proof_figures(rounds: int) -> dict[str, list[float]]:
    """Cells per second of a matrix with RSA-2048 and group 14, and seconds for all claims on one tunnel."""
    found: dict[str, list[float]] = {"cells": [], "proof": []}
    axes = Axes(versions=("ikev1-main", "ikev2"), authentications=("rsa-sig",), pfs=(True, False))
    with Lab.from_folder(GOALS, name=f"bench-{uuid.uuid4().hex[:8]}").up(verify=False) as lab:
        for _ in range(rounds):
            wanted = list(cells(axes)) * 5
            begun = time.monotonic()
            assert all(outcome.status == "passed" for outcome in run_matrix(lab, wanted))
            found["cells"].append(len(wanted) / (time.monotonic() - begun))
            begun = time.monotonic()
            assert all(proof.proven for proof in prove(lab))
            found["proof"].append(time.monotonic() - begun)
    return found
