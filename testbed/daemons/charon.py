"""strongSwan's charon, driven through VICI.

Source of the commands and their fields: strongSwan `src/libcharon/plugins/vici/README.md`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vici
import vici.exception

from testbed.daemons.sa import IkeSa, plain
from testbed.errors import DaemonError, DeadlineExceeded, NegotiationError
from testbed.network.namespace import run_in_namespace
from testbed.runtime.files import is_full, read_log, read_sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from testbed.deadline import Deadline
    from testbed.runtime import NodeState

__all__ = ["Charon", "CharonEvent", "Version", "check_loaded", "check_serving", "vici_socket"]


@dataclass(frozen=True)
class Version:
    daemon: str
    version: str
    system: str
    release: str
    machine: str


@dataclass(frozen=True)
class CharonEvent:
    """An event as charon sent it: `ike-updown`, `child-updown`, `ike-rekey`, `child-rekey`, `log`, …"""

    name: str
    data: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The message of a `log` event."""
        return str(self.data.get("msg", ""))


def vici_socket(node: NodeState) -> Path:
    """The daemon's default socket, reached through the node's root. (/run, since /var/run is a link to it.)"""
    return Path(f"/proc/{node.pid}/root/run/charon.vici")


def check_loaded(node: NodeState, deadline: Deadline) -> None:
    """Raise DaemonError if charon could not load all of its swanctl.conf when it started."""
    directory = node.identity.directory
    try:
        status = deadline.until(lambda: read_sign(directory, "swanctl.status"), "the connections")
    except DeadlineExceeded as failure:
        raise DeadlineExceeded(
            f"swanctl has not loaded the connections after {deadline.seconds:g} s",
            node=node.name,
            seen="No space left on device" if is_full(directory) else read_log(directory, "swanctl.out", tail=4),
        ) from failure
    if status != "0":
        lines = read_log(directory, "swanctl.out").splitlines()
        told = [line.strip() for line in lines if "fail" in line or "error" in line] or lines[-4:]
        raise DaemonError(
            "strongSwan does not take its configuration",
            node=node.name,
            expected="every connection and secret of /etc/swanctl/swanctl.conf loaded",
            seen="; ".join(told) or "no word of swanctl",
            hint="mend the file, or what the topology says of the connection, and run `up` again",
        )


def check_serving(node: NodeState, *, needs_tun: bool, port: int | None = 500) -> None:
    """Raise DaemonError if charon answers and is useless all the same: without its TUN device, or its IKE socket.

    `port` is None where a user's own strongswan.conf may have chosen another.
    """
    interfaces = run_in_namespace(node.namespace, lambda: [name for _, name in socket.if_nameindex()])
    if needs_tun and not any(name.startswith("ipsec") for name in interfaces):
        raise DaemonError(
            "charon has no TUN device",
            node=node.name,
            expected="ipsec0, made by the plugin kernel-libipsec",
            seen=f"interfaces {', '.join(interfaces)}",
            hint="keep kernel-libipsec, before kernel-netlink, in charon.load of your strongswan.conf",
        )
    if port is not None and not _is_bound(node, port):
        raise DaemonError(
            "charon has no IKE socket",
            node=node.name,
            expected=f"UDP port {port} bound",
            seen=read_log(node.identity.directory, "charon.log", tail=4),
        )


def _is_bound(node: NodeState, port: int) -> bool:
    """Whether any UDP socket of a node's namespace has this port. Source: proc(5), /proc/net/udp."""
    tables = (Path(f"/proc/{node.pid}/net/{table}").read_text().splitlines()[1:] for table in ("udp", "udp6"))
    return any(line.split()[1].endswith(f":{port:04X}") for table in tables for line in table)


class Charon:
    """One node's daemon. Each call opens a session of its own, so a `Charon` may be used by several threads."""

    def __init__(self, node: str, path: Path) -> None:
        self.node = node
        self._path = path

    @contextlib.contextmanager
    def _session(self, timeout_s: float | None = 30.0) -> Iterator[vici.Session]:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(self._path))
            yield vici.Session(connection)
        except (OSError, vici.exception.SessionException) as failure:
            raise DaemonError(
                "charon does not answer on VICI",
                node=self.node,
                seen=str(failure) or type(failure).__name__,
                hint=f"`testbed logs LAB {self.node}` shows its log, `testbed node restart` starts it anew",
            ) from failure
        except vici.exception.CommandException as failure:
            reason = str(failure).removeprefix("Command failed: ")
            raise DaemonError("charon refused the command", node=self.node, seen=reason) from failure
        finally:
            connection.close()

    def version(self) -> Version:
        with self._session() as session:
            data = plain(session.version())
        return Version(data["daemon"], data["version"], data["sysname"], data["release"], data["machine"])

    def connections(self) -> dict[str, dict[str, Any]]:
        """The connections loaded, by name, as VICI lists them."""
        with self._session() as session:
            return {name: data for item in session.list_conns() for name, data in plain(item).items()}

    def load_connections(self, connections: Mapping[str, Mapping[str, Any]]) -> None:
        """Load or replace connections; the mappings are those of swanctl.conf."""
        with self._session() as session:
            session.load_conn(_mutable(connections))

    def unload_connection(self, name: str) -> None:
        with self._session() as session:
            session.unload_conn({"name": name})

    def load_shared(self, identifier: str, secret: bytes, owners: Iterable[str], kind: str = "IKE") -> None:
        """Load or replace a shared secret for these identities."""
        with self._session() as session:
            session.load_shared({"id": identifier, "type": kind, "data": secret, "owners": list(owners)})

    def unload_shared(self, identifier: str) -> None:
        with self._session() as session:
            session.unload_shared({"id": identifier})

    def shared_identifiers(self) -> list[str]:
        """The identifiers of the shared secrets loaded; charon never gives the secrets themselves."""
        with self._session() as session:
            return list(plain(session.get_shared()).get("keys", []))

    def load_certificate(self, data: bytes, *, authority: bool = False) -> None:
        """Load an X.509 certificate, DER or PEM; as a trust anchor if `authority`."""
        with self._session() as session:
            session.load_cert({"type": "X509", "flag": "CA" if authority else "NONE", "data": data})

    def load_key(self, data: bytes, kind: str = "any") -> str:
        """Load a private key, DER or PEM; returns its identifier (the SHA-1 of the public key, hex)."""
        with self._session() as session:
            return str(plain(session.load_key({"type": kind, "data": data})).get("id", ""))

    def certificates(self) -> list[dict[str, Any]]:
        """The certificates in memory; `data` is DER."""
        with self._session() as session:
            return [
                {key: value if key == "data" else plain(value) for key, value in item.items()}
                for item in session.list_certs()
            ]

    def crls(self) -> list[bytes]:
        """The revocation lists in memory, DER."""
        with self._session() as session:
            return [bytes(item["data"]) for item in session.list_certs({"type": "X509_CRL"}) if "data" in item]

    def clear_credentials(self) -> None:
        """Forget all certificates, keys and secrets that were loaded."""
        with self._session() as session:
            session.clear_creds()

    def flush_certificates(self) -> None:
        """Forget the certificates and revocation lists that it has received. What is loaded stays."""
        with self._session() as session:
            session.flush_certs()

    def algorithms(self) -> dict[str, dict[str, str]]:
        """Class of algorithm to algorithm to the plugin that implements it."""
        with self._session() as session:
            return dict(plain(session.get_algorithms()))

    def counters(self) -> dict[str, int]:
        """IKE messages sent and received by kind, over all connections."""
        with self._session() as session:
            found = plain(session.get_counters({"all": "no"})).get("counters", {})
        return {name: int(value) for name, value in next(iter(found.values()), {}).items()}

    def sas(self, name: str | None = None) -> list[IkeSa]:
        """The IKE SAs, or those of one connection."""
        filters = {} if name is None else {"ike": name}
        with self._session() as session:
            return [IkeSa.read(key, plain(data)) for item in session.list_sas(filters) for key, data in item.items()]

    def initiate(self, *, child: str | None = None, ike: str | None = None, deadline: Deadline) -> None:
        """Negotiate a CHILD SA (and its IKE SA), or an IKE SA alone, and return when it is established.

        Raises NegotiationError with what charon logged of it; what was half made is then gone. Keep blocking calls
        to one daemon below five at a time: they take charon's worker threads (measured: eight stall it).
        """
        request = {key: value for key, value in (("child", child), ("ike", ike)) if value is not None}
        timeout_ms = max(1, int(deadline.remaining * 1000))
        before = {sa.unique_id for sa in self.sas()}
        try:
            self._negotiate("initiate", {**request, "timeout": str(timeout_ms), "loglevel": "1"}, deadline)
        except NegotiationError:
            self._forget_half_open(before)
            raise

    def _forget_half_open(self, before: set[int]) -> None:
        """End IKE SAs that came up since and are not established: charon would join the next attempt to them."""
        with self._session() as session:
            for sa in self.sas():
                if sa.unique_id not in before and not sa.established:
                    request = {"ike-id": str(sa.unique_id), "force": "yes", "timeout": "1000", "loglevel": "-1"}
                    with contextlib.suppress(vici.exception.CommandException):
                        list(session.terminate(request))

    def terminate(
        self, *, ike: str | None = None, ike_id: int | None = None, child: str | None = None, deadline: Deadline
    ) -> int:
        """Delete the SAs of a connection, one of them by its number, or all if none is named; how many there were.

        A peer that does not answer keeps no IKE SA alive: it is destroyed when the deadline has passed.
        """
        if child is not None:
            return self._terminate({"child": child}, deadline)
        if ike_id is not None:
            with contextlib.suppress(NegotiationError):  # the peer said nothing
                self._terminate({"ike-id": str(ike_id), "force": "yes"}, deadline)
            return 1
        names = [ike] if ike is not None else list(dict.fromkeys(sa.name for sa in self.sas()))
        ended = 0
        for name in names:
            before = len(self.sas(name))
            try:
                ended += self._terminate({"ike": name, "force": "yes"}, deadline)
            except NegotiationError:
                left = len(self.sas(name))
                if left:
                    raise
                ended += before  # the peer said nothing, and they are gone all the same
        return ended

    def _terminate(self, request: Mapping[str, str], deadline: Deadline) -> int:
        timeout_ms = str(max(1, int(deadline.remaining * 1000)))
        try:
            return self._negotiate("terminate", {**request, "timeout": timeout_ms, "loglevel": "-1"}, deadline)
        except NegotiationError as failure:
            if "no matching" not in str(failure):
                raise
            return 0

    def install(self, child: str, ike: str) -> None:
        """Let traffic that a CHILD SA is for set it up, as `start_action = trap` does. Twice is no error."""
        self._trap("install", child, ike)

    def uninstall(self, child: str, ike: str) -> None:
        """Let it no longer. What is not installed is no error."""
        self._trap("uninstall", child, ike)

    def _trap(self, command: str, child: str, ike: str) -> None:
        with self._session() as session, contextlib.suppress(vici.exception.CommandException):
            getattr(session, command)({"child": child, "ike": ike})

    def rekey(self, *, child: str | None = None, ike: str | None = None) -> int:
        """Begin to rekey SAs and return how many; `child-rekey` and `ike-rekey` events tell the end."""
        request = {key: value for key, value in (("child", child), ("ike", ike)) if value is not None}
        with self._session() as session:
            return int(plain(session.rekey(request)).get("matches", 0))

    def _negotiate(self, command: str, request: Mapping[str, str], deadline: Deadline) -> int:
        lines: list[str] = []
        with self._session(deadline.remaining + 5.0) as session:
            try:
                messages = getattr(session, command)(dict(request))
                lines.extend(str(plain(message).get("msg", "")) for message in messages)
            except vici.exception.CommandException as failure:
                reason = str(failure).removeprefix("Command failed: ")
                what = request.get("child") or request.get("ike") or "all"
                raise NegotiationError(
                    f"cannot {command} '{what}'",
                    node=self.node,
                    seen="; ".join([*lines[-8:], reason]),
                    hint=f"`testbed logs LAB {self.node}` shows charon's whole log",
                ) from failure
        return 1

    @contextlib.contextmanager
    def listen(self, *names: str) -> Iterator[Listener]:
        """Events by name from the moment the context is entered, kept in order until they are read."""
        listener = Listener(self._path, names, self.node)
        listener.start()
        try:
            yield listener
        finally:
            listener.stop()


class _Announced(list[str]):
    """Names that tell when they have all been iterated over.

    `vici.Session.listen` registers its events one by one in a loop over their names, and says nothing when it is
    done; the end of that loop is the moment from which no event is missed.
    """

    def __init__(self, names: Iterable[str], done: threading.Event) -> None:
        super().__init__(names)
        self._done = done

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        self._done.set()


class Listener:
    """Events of one daemon, gathered by a thread. Made by `Charon.listen`."""

    def __init__(self, path: Path, names: Iterable[str], node: str) -> None:
        self._registered = threading.Event()
        self._names = _Announced(names, self._registered)
        self._node = node
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._events: list[CharonEvent] = []
        self._arrived = threading.Condition()
        self._ended: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"vici-{node}", daemon=True)

    def start(self) -> None:
        try:
            self._socket.connect(str(self._path))
        except OSError as failure:
            self._socket.close()
            raise DaemonError("charon does not answer on VICI", node=self._node, seen=str(failure)) from failure
        self._thread.start()
        self._registered.wait()
        if self._ended is not None:
            raise DaemonError("charon takes no listener", node=self._node, seen=self._ended)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def wait_for(self, wanted: str, deadline: Deadline, **fields: str) -> CharonEvent:
        """The next event of that name whose data has these fields; those before it are dropped."""
        with self._arrived:
            while True:
                while self._events:
                    event = self._events.pop(0)
                    if event.name == wanted and all(event.data.get(key) == value for key, value in fields.items()):
                        return event
                deadline.check(f"{self._node}: no event '{wanted}'")
                if self._ended is not None:
                    raise DaemonError(
                        f"charon ended while '{wanted}' was waited for", node=self._node, seen=self._ended
                    )
                self._arrived.wait(deadline.remaining)

    def drain(self) -> list[CharonEvent]:
        """All events that have come so far."""
        with self._arrived:
            events, self._events = self._events, []
        return events

    def _run(self) -> None:
        try:
            for name, data in vici.Session(self._socket).listen(self._names):
                with self._arrived:
                    self._events.append(CharonEvent(name.decode(), plain(data)))
                    self._arrived.notify_all()
        except (OSError, vici.exception.EventUnknownException) as failure:
            with self._arrived:
                self._ended = str(failure)
                self._arrived.notify_all()
            self._registered.set()


def _mutable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mutable(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
