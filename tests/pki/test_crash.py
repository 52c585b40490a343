"""Power cuts. No serial number is used twice, and no certificate that anybody holds is forgotten."""

from __future__ import annotations

import contextlib
import http.client
import random
import sqlite3
import threading
import time
from pathlib import Path

from testbed.pki.x509 import Certificate
from tests.pki.client import Client, make_key
from tests.pki.service import SCEP, Service

KILLS, CLIENTS = 24, 4


class Load:
    """Clients that enrol one after the other until they are told to stop, and keep what they got."""

    def __init__(self, service: Service, ca: Certificate) -> None:
        self._service = service
        self._clients = [Client(ca, key=make_key(number), name=f"client-{number}") for number in range(CLIENTS)]
        self.delivered: dict[str, Certificate] = {}
        self.unanswered: dict[str, tuple[Client, bytes]] = {}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n, c)) for n, c in enumerate(self._clients)]
        self._count = [0] * CLIENTS

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, client: Client) -> None:
        while not self._ended.is_set():
            self._count[number] += 1
            transaction = f"{number}-{self._count[number]}"
            self.unanswered[transaction] = client, client.enrolment(transaction)
            self.send(transaction)

    def send(self, transaction: str) -> bool:
        """Whether there was an answer; what was in it is kept."""
        client, message = self.unanswered[transaction]
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = self._service.send("POST", f"{SCEP}?operation=PKIOperation", message)
            if status == 200:
                answer = client.read(body)
                assert answer.status == "0"
                self.delivered[transaction] = answer.certificates[0]
                del self.unanswered[transaction]
                return True
        return False


def test_a_certificate_server_that_is_killed_again_and_again(tmp_path: Path) -> None:
    moments = random.Random(20261124)
    with Service(tmp_path / "service") as service:
        ca = service.ca_certificate()
        with Load(service, ca) as load:
            for _ in range(KILLS):
                before = len(load.delivered)
                service.until(lambda before=before: len(load.delivered) > before, "an enrolment")
                time.sleep(moments.uniform(0.0, 0.1))  # the moment of a power cut is no event to wait for
                service.kill()
                service.start()
        assert service.ca_certificate().der == ca.der
        # What had no answer is sent again, and has one.
        for transaction in list(load.unanswered):
            assert load.send(transaction)
        assert load.unanswered == {}
        known = {item["serial"]: item["sha256"] for item in service.admin("certificates", purpose="client")}
    delivered = list(load.delivered.values())
    assert len(delivered) > KILLS
    assert len({certificate.serial for certificate in delivered}) == len(delivered)
    for certificate in delivered:
        assert known[certificate.serial] == certificate.fingerprint("sha256")
    with contextlib.closing(sqlite3.connect(service.folder / "ca" / "ca.db")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def test_the_key_is_on_the_disk_before_the_certificate(tmp_path: Path) -> None:
    """Killed while it is being set up for the first time, at many moments, it can always be started again."""
    moments = random.Random(4711)
    for number in range(5):
        service = Service(tmp_path / f"service-{number}", key_size=1024)
        service.begin()
        time.sleep(moments.uniform(0.05, 0.6))
        service.kill()
        with service:
            assert service.ca_certificate().serial > 0
