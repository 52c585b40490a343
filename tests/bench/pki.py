"""The lab with certificates by phase, and how many enrolments a second a certificate server manages."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from testbed.events import Event, EventStream, StepFinished
from testbed.lab import Lab
from testbed.pki.x509 import read_certificate
from tests.bench.floor import Floor
from tests.pki.client import Client, make_key
from tests.pki.service import SCEP, Service

FOLDER = Path("topologies/moigetech-pki")
PHASES = ("nodes", "links", "daemons", "time", "key pair", "trustpoint", "CA", "enrol")
ENROL_S = 4.0
CLIENTS = (1, 4, 16)


class PkiRun:
    """The lab from nothing to traffic through a tunnel with certificates, and then down."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._chronyds: list[float] = []  # when each was started

    def measure(self) -> dict[str, float]:
        lab = Lab.from_folder(FOLDER, name=f"bench-{uuid.uuid4().hex[:8]}", events=EventStream([self._note]))
        begun = time.monotonic()
        lab.up(verify=False)
        lab.initiate("kisii-kisumu")
        tunnel = time.monotonic()
        assert lab.node("pc-kisii").ping("pc-kisumu", count=50, interval_s=0.02, until_answered=True).answered
        traffic = time.monotonic()
        assert all(abs(lab.node(name).clock.offset_s) < 0.05 for name in ("ca", "kisii", "kisumu"))
        found = {"pki up to traffic": traffic - begun}
        last = begun
        for phase in PHASES:
            found[f"pki phase {phase}"] = self._ends[phase] - last
            last = self._ends[phase]
        found |= {"pki phase tunnel": tunnel - last, "pki phase traffic": traffic - tunnel}
        found["ntp from the first"] = self._ends["time"] - min(self._chronyds)
        found["ntp from the last"] = self._ends["time"] - max(self._chronyds)
        lab.down()
        return found

    def _note(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self._ends[event.phase] = time.monotonic()
            if "chronyd" in event.text:
                self._chronyds.append(time.monotonic() - event.duration_s)


def pki_floor() -> dict[str, float]:
    """The same containers by the engine alone."""
    up, down = Floor(FOLDER).run()
    return {"pki floor up": up, "pki floor down": down}


def signatures_per_second() -> float:
    """What OpenSSL does on one processor, RSA with 2048 bits."""
    command = [shutil.which("openssl") or "openssl", "speed", "-seconds", "2", "rsa2048"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+([0-9.]+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    return float(found[1])


def enrolments_per_second(clients: int) -> float:
    """Whole enrolments by so many clients at once, each over a connection of its own; all on this machine.

    The clients make and sign each request, and decrypt and verify each answer; their keys are made before.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Service(Path(folder) / "service") as service:
        ca = service.ca_certificate()
        (Path(folder) / "ca.der").write_bytes(ca.der)
        processes = min(clients, 2)
        shares = [clients // processes + (number < clients % processes) for number in range(processes)]
        argv = [sys.executable, "-m", "tests.bench.pki", str(service.port), f"{folder}/ca.der"]
        running = [
            subprocess.Popen([*argv, str(share), str(number)], stdout=subprocess.PIPE, text=True)
            for number, share in enumerate(shares)
        ]
        rates = [float(process.communicate()[0]) for process in running]
        count = len(service.admin("certificates", purpose="client"))
    assert count >= sum(rates) * ENROL_S * 0.99
    return sum(rates)


def enrol_steadily(port: int, ca: Path, clients: int, name: str) -> float:
    """Enrolments a second of this process's clients."""
    certificate = read_certificate(ca.read_bytes())
    made = [Client(certificate, key=make_key(number), name=f"c{name}-{number}") for number in range(clients)]
    counts = [0] * clients
    barrier, ended = threading.Barrier(clients + 1), threading.Event()

    def run(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        barrier.wait()
        while not ended.is_set():
            message = made[number].enrolment(f"{name}-{number}-{counts[number]}")
            connection.request("POST", f"{SCEP}?operation=PKIOperation", message)
            assert made[number].read(connection.getresponse().read()).status == "0"
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    barrier.wait()
    begun = time.monotonic()
    time.sleep(ENROL_S)
    ended.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


if __name__ == "__main__":
    print(enrol_steadily(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
