"""Routers of kind ios for the tests: sessions, SSH clients, and other people's parsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncssh
from muninn import Muninn
from netmiko import ConnectHandler
from ntc_templates.parse import parse_output

from testbed.console import LiveRouter
from testbed.console.runner import Typist, run_command
from testbed.deadline import Deadline
from testbed.lab import Lab
from testbed.lab.ssh import SshFolder

Fact = TypeVar("Fact")
Result = TypeVar("Result")

SECRETS = {"moigetech-pki": "moigetech", "safari-sacco": "sacco"}


def router(lab: Lab, node: str) -> LiveRouter:
    return LiveRouter(Lab.attach(lab.name), node)


def shown(lab: Lab, node: str, command: str) -> str:
    """What a command prints."""
    return run_command(router(lab, node), command)


def undisturbed(read: Callable[[], Fact], act: Callable[[], Result]) -> tuple[Fact, Result]:
    """A live fact and what came meanwhile, when it was the same before and after: only then may they be compared."""

    def both() -> tuple[Fact, Result] | None:
        before, result = read(), act()
        return (before, result) if read() == before else None

    return Deadline(20.0).until(both, "a fact that stays the same")


@contextmanager
def typing(lab: Lab, node: str, *, level: int = 15) -> Iterator[Typist]:
    """A session, with all privileges unless told."""
    typist = Typist(router(lab, node), level=level)
    try:
        yield typist
    finally:
        typist.close()


def configure(lab: Lab, node: str, *lines: str) -> str:
    """Type lines in configuration mode, and let them take effect. What was printed."""
    with typing(lab, node) as typist:
        told = typist.type("configure terminal")
        told += "".join(typist.type(line) for line in lines)
        return told + typist.type("end")


def ntc(command: str, text: str) -> list[dict[str, Any]]:
    """What ntc-templates reads."""
    found = parse_output(platform="cisco_ios", command=command, data=text)
    assert isinstance(found, list)
    return [dict(row) for row in found]


MUNINN = Muninn()


def muninn(command: str, text: str, system: str = "ios") -> dict[str, Any]:
    """What muninn-parsers reads."""
    return dict(MUNINN.parse(system, command, text))


def ports(lab: Lab) -> dict[str, int]:
    """The SSH ports of the lab's routers."""
    return SshFolder(lab.folder).await_ports(Deadline(20.0))


def netmiko(lab: Lab, node: str, secret: str, **more: Any) -> Any:
    """A netmiko connection by password."""
    return ConnectHandler(
        device_type="cisco_ios",
        host="127.0.0.1",
        port=ports(lab)[node],
        username="admin",
        password=secret,
        secret=secret,
        **more,
    )


async def many_sessions(port: int, key: bytes, count: int, command: str) -> list[str]:
    """So many interactive sessions at once, each on a connection of its own: all are open before any is used."""
    opened = await asyncio.gather(*(_open(port, key) for _ in range(count)))
    try:
        return await asyncio.gather(*(_ask(process, command) for _, process in opened))
    finally:
        for connection, _ in opened:
            connection.close()
        await asyncio.gather(*(connection.wait_closed() for connection, _ in opened))


async def _open(port: int, key: bytes) -> tuple[asyncssh.SSHClientConnection, asyncssh.SSHClientProcess[str]]:
    connection = await asyncssh.connect(
        "127.0.0.1",
        port,
        username="admin",
        client_keys=[asyncssh.import_private_key(key)],
        known_hosts=None,
        login_timeout=120,
    )
    process: asyncssh.SSHClientProcess[str] = await connection.create_process(term_type="vt100")
    await process.stdout.readuntil("#")
    return connection, process


async def _ask(process: asyncssh.SSHClientProcess[str], command: str) -> str:
    process.stdin.write(f"{command}\r")
    echoed = str(await process.stdout.readuntil("\n"))
    return echoed + str(await process.stdout.readuntil("#"))
