"""Nodes as containers of the local Docker engine.

No capability but those planned, no privilege to gain, no network of Docker's: a node is born with a loopback and its
files, and gets its links from `testbed.network`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import docker.utils
import docker.utils.socket
import requests.exceptions

from testbed.deadline import Deadline
from testbed.errors import PrerequisiteError, RuntimeFailure
from testbed.runtime.files import place_files, place_volumes, prepare_boot
from testbed.runtime.images import ImageStore
from testbed.runtime.protocol import Completed, Identity, NodeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from testbed.plan import NodePlan

__all__ = ["DockerRuntime"]

LAB, NODE, RUN, DIGEST, DIRECTORY = (
    "testbed.lab",
    "testbed.node",
    "testbed.run",
    "testbed.digest",
    "testbed.directory",
)
_ROOT = "/run/testbed"  # in the node: what the testbed and its daemons tell each other
_LEFT_OVER_S = 10.0
_LAST_WORDS_S = 2
_LOGS = "/var/log/testbed"


class DockerRuntime:
    """The `Runtime` of the Docker engine that the environment names (DOCKER_HOST, or the local socket)."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._idle: list[docker.APIClient] = []
        self._version = "auto"  # asked of the engine once, and then known to the clients of all threads

    @property
    def api(self) -> docker.APIClient:
        """The calling thread's own client: docker-py's are not safe to share. When the thread ends, another gets it."""
        lease: _Lease | None = getattr(self._local, "lease", None)
        if lease is None:
            lease = self._local.lease = _Lease(self._idle, self._connect)
        return lease.client

    def _connect(self) -> docker.APIClient:
        try:
            client = docker.APIClient(**docker.utils.kwargs_from_env(), version=self._version, timeout=120)
        except docker.errors.DockerException as failure:
            raise PrerequisiteError(
                "the Docker engine does not answer",
                seen=_reason(failure),
                hint="`testbed doctor` says what is missing",
            ) from failure
        self._version = str(client.api_version)
        return client

    def prepare(self, images: Sequence[str], report: Callable[[str], None]) -> dict[str, str]:
        return ImageStore(self.api).prepare(images, report)

    def nodes(self, lab: str | None = None) -> list[NodeState]:
        label = LAB if lab is None else f"{LAB}={lab}"
        with _translated("cannot list the containers"):
            found = self.api.containers(all=True, filters={"label": label})
            states = [self._inspect(item["Id"]) for item in found]
        return sorted((state for state in states if state), key=lambda state: (state.identity.lab, state.name))

    def create(self, plan: NodePlan, identity: Identity, image: str) -> NodeState:
        binds: dict[str, Mapping[str, str]] = dict(place_files(identity.directory, plan.files, plan.folders))
        binds[str(identity.directory / "run")] = {"bind": _ROOT, "mode": "rw"}
        binds[str(identity.directory / "log")] = {"bind": _LOGS, "mode": "rw"}
        binds |= place_volumes(identity.directory, plan.volumes)
        host = self.api.create_host_config(
            network_mode="none",
            init=True,
            cap_drop=["ALL"],
            cap_add=list(plan.capabilities),
            security_opt=["no-new-privileges:true"],
            devices=[f"{device}:{device}:rwm" for device in plan.devices],
            sysctls=dict(plan.sysctls),
            extra_hosts=dict(plan.hosts),
            binds=binds,
        )
        with _translated("cannot create the container", plan.name):
            reference = self._created(
                identity,
                image=image,
                command=["/usr/lib/testbed/node"],
                name=_container_name(identity),
                hostname=plan.hostname,
                labels=_labels(identity),
                host_config=host,
            )
        return self._start(reference, identity, plan)

    def _created(self, identity: Identity, **options: Any) -> str:
        """The new container's ID. What has its name already is removed, if it is of the same node.

        The engine finishes what a client has asked for, even if that was killed meanwhile: such a container comes when
        whoever now has the lab's lock has looked already, and is nobody's.
        """

        def attempt() -> str | None:
            try:
                return str(self.api.create_container(**options)["Id"])
            except docker.errors.APIError as failure:
                if failure.status_code != 409 or not self._is_left_over(identity):
                    raise
            with contextlib.suppress(docker.errors.NotFound):  # still being made, or gone
                self.api.remove_container(options["name"], force=True, v=True)
            return None

        return Deadline(_LEFT_OVER_S).until(attempt, f"the name of the container of {identity.node} to be free")

    def _is_left_over(self, identity: Identity) -> bool:
        """Whether what has a node's name is that node's; also if nothing is known of it yet."""
        try:
            labels = self.api.inspect_container(_container_name(identity))["Config"]["Labels"] or {}
        except docker.errors.NotFound:
            return True
        return (labels.get(LAB), labels.get(NODE)) == (identity.lab, identity.node)

    def start(self, node: NodeState, plan: NodePlan) -> NodeState:
        return self._start(node.reference, node.identity, plan)

    def _start(self, reference: str, identity: Identity, plan: NodePlan) -> NodeState:
        prepare_boot(identity.directory, plan.clock)
        with _translated("cannot start the container", identity.node):
            self.api.start(reference)
            state = self._inspect(reference)
        if state is None or not state.running:
            raise RuntimeFailure("the container ended at once", node=identity.node, seen=self._last_words(reference))
        return state

    def stop(self, node: NodeState, deadline: Deadline) -> None:
        with _translated("cannot stop the container", node.name):
            self.api.stop(node.reference, timeout=max(1, int(deadline.remaining)))

    def remove(self, node: NodeState) -> None:
        with (
            _translated("cannot remove the container", node.name),
            contextlib.suppress(docker.errors.NotFound),
        ):
            try:
                self.api.remove_container(node.reference, force=True, v=True)
            except docker.errors.APIError as failure:
                if failure.status_code != 409 or "already in progress" not in str(failure):
                    raise
                self.api.wait(node.reference, condition="removed")

    def execute(
        self,
        node: NodeState,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        with _translated(f"cannot run {argv[0]}", node.name):
            created = self._exec(node, argv, environment or {}, attach_stdin=stdin is not None)
            if stdin is None:
                stdout, stderr = self.api.exec_start(created, demux=True)
            else:
                stdout, stderr = _converse(self.api.exec_start(created, socket=True), stdin)
            code = self.api.exec_inspect(created)["ExitCode"]
        return Completed(int(code if code is not None else -1), stdout or b"", stderr or b"")

    def last_words(self, node: NodeState) -> str:
        return self._last_words(node.reference)

    def output(self, node: NodeState) -> bytes:
        with _translated("cannot read the container's output", node.name):
            return bytes(self.api.logs(node.reference))

    def describe(self, node: NodeState) -> str:
        with _translated("the engine does not describe the node", node.name):
            return json.dumps(self.api.inspect_container(node.reference))

    def interactive(self, node: NodeState, argv: Sequence[str]) -> list[str]:
        return ["docker", "exec", "--interactive", "--tty", node.reference, *argv]

    def _exec(
        self,
        node: NodeState,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        attach_stdin: bool = False,
    ) -> str:
        created = self.api.exec_create(
            node.reference,
            list(argv),
            environment=dict(environment),
            stdin=attach_stdin,
            stdout=True,
            stderr=True,
        )
        return str(created["Id"])

    def _inspect(self, reference: str) -> NodeState | None:
        try:
            found = self.api.inspect_container(reference)
        except docker.errors.NotFound:
            return None  # removed between two calls
        labels = found["Config"]["Labels"]
        identity = Identity(
            labels.get(LAB, ""),
            labels.get(NODE, ""),
            labels.get(RUN, ""),
            labels.get(DIGEST, ""),
            Path(labels.get(DIRECTORY, "/nonexistent")),
        )
        # One that is being removed may still run, and has no future.
        running = bool(found["State"]["Running"]) and found["State"].get("Status") not in ("removing", "dead")
        return NodeState(identity, found["Id"], "running" if running else "stopped", int(found["State"]["Pid"]))

    def _last_words(self, reference: str) -> str:
        with contextlib.suppress(requests.RequestException):  # the log is complete when the engine says that it ended
            self.api.wait(reference, timeout=_LAST_WORDS_S, condition="not-running")
        with contextlib.suppress(docker.errors.APIError):
            text = self.api.logs(reference, tail=5).decode(errors="replace").strip()
            return text.replace("\n", "; ") or "nothing in its log"
        return "no log"


class _Lease:
    """A client for as long as a thread lives: it goes back to the idle ones with the thread's own storage."""

    def __init__(self, idle: list[docker.APIClient], connect: Callable[[], docker.APIClient]) -> None:
        self._idle = idle
        try:
            self.client = idle.pop()
        except IndexError:
            self.client = connect()

    def __del__(self) -> None:
        if hasattr(self, "client"):
            self._idle.append(self.client)


def _container_name(identity: Identity) -> str:
    # Neither part can hold a dot, so two labs never want the same name.
    return f"testbed.{identity.lab}.{identity.node}"


def _labels(identity: Identity) -> dict[str, str]:
    return {
        LAB: identity.lab,
        NODE: identity.node,
        RUN: identity.run,
        DIGEST: identity.digest,
        DIRECTORY: str(identity.directory),
    }


def _converse(stream: Any, stdin: bytes) -> tuple[bytes, bytes]:
    """Feed a command and collect what it says; the frames are those of the engine's attach protocol."""
    raw = getattr(stream, "_sock", stream)
    sender = threading.Thread(target=lambda: (raw.sendall(stdin), raw.shutdown(socket.SHUT_WR)))
    sender.start()
    output: dict[int, bytes] = {1: b"", 2: b""}
    for number, chunk in docker.utils.socket.frames_iter(stream, tty=False):
        output[number] += chunk
    sender.join()
    response = getattr(stream, "_response", None)  # docker-py hangs it there so that it lives as long as the socket
    if response is not None:
        response.close()
    stream.close()
    return output[1], output[2]


@contextlib.contextmanager
def _translated(what: str, node: str | None = None) -> Iterator[None]:
    try:
        yield
    except (docker.errors.APIError, requests.exceptions.RequestException) as failure:
        raise RuntimeFailure(what, node=node, seen=_reason(failure)) from failure


def _reason(failure: Exception) -> str:
    return str(getattr(failure, "explanation", None) or failure)
