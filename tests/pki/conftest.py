"""Certificate servers for the tests, in folders of their own, with a clock that a test can turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from testbed.pki.scep import Scep
from testbed.pki.server import CertificateServer
from testbed.pki.settings import Settings
from tests.pki.client import Answer, Client, make_key


class Ca:
    """A certificate server without a process of its own, its SCEP side, and the time it takes for now."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)
        told = {"grant": "auto", "key_size": 1024, **settings}
        subject = (("CN", "ca.lab.test"), ("O", "MOIGETECH"), ("C", "KE"))
        names = ("192.0.2.6", "ca.lab.test")
        self.settings = replace(Settings("CA", subject, names, str(folder)), **told)
        self.server = CertificateServer(self.settings, now=lambda: self.moment)
        assert self.server.enable()
        self.scep = Scep(self.server)

    def turn(self, **delta: float) -> None:
        self.moment += timedelta(**delta)

    def client(self, number: int = 0, **fields: Any) -> Client:
        return Client(self.server.current.scep.certificate, key=make_key(number), **fields)

    def ask(self, client: Client, message: bytes) -> Answer:
        return client.read(self.scep.operate(message, "192.0.2.99"))


@pytest.fixture
def make_ca(tmp_path: Path) -> Iterator[Callable[..., Ca]]:
    made: list[Ca] = []

    def make(**settings: Any) -> Ca:
        made.append(Ca(tmp_path / f"ca-{len(made)}", **settings))
        return made[-1]

    yield make
    for ca in made:
        ca.server.store.close()


@pytest.fixture
def ca(make_ca: Callable[..., Ca]) -> Ca:
    return make_ca()
