"""The daemon: `python -m testbed.pki SETTINGS.json`."""

from __future__ import annotations

import logging
import signal
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.pki.admin import Admin, AdminSocket, notify_ready
from testbed.pki.http import Listener
from testbed.pki.iosfiles import DatabaseFiles
from testbed.pki.server import CertificateServer
from testbed.pki.settings import load_settings

if TYPE_CHECKING:
    from testbed.pki.authority import Authority

log = logging.getLogger("ca")
_TICK_S, _REST_S = 0.1, 1.0


class Daemon:
    """Everything that runs in a CA's process. Usable without a process of its own, too."""

    def __init__(self, server: CertificateServer) -> None:
        self.server = server
        settings = server.settings
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if settings.key_size < 2048 or settings.hash == "sha1":
            # The CA's own certificate goes along, and OpenSSL thinks no better of it than it deserves.
            self._context.set_ciphers("DEFAULT:@SECLEVEL=0")
        self._files = DatabaseFiles(server)
        self._shown: Authority | None = None
        self.admin = AdminSocket(Admin(server), Path(settings.admin_socket))
        self.http = Listener(server, settings.http) if settings.http else None
        self.https = Listener(server, settings.https, self._context) if settings.https else None
        self._ended = threading.Event()
        self._resting_until = self._next_round = 0.0
        self._keeper = threading.Thread(target=self._keep, name="housekeeping", daemon=True)

    def start(self) -> None:
        if not self.server.settings.waits_for_clock:
            self._tend()  # at once, so that it serves when it says that it is ready
        for part in (self.http, self.https, self.admin):
            if part is not None:
                part.start()
        self._keeper.start()

    def stop(self) -> None:
        self._ended.set()
        self._keeper.join()
        for part in (self.http, self.https, self.admin):
            if part is not None:
                part.stop()
        self.server.store.close()

    def wait(self) -> None:
        self._ended.wait()

    def end(self) -> None:
        self._ended.set()

    def _keep(self) -> None:
        # In real time: the wall clock is what is being watched.
        while not self._ended.wait(_TICK_S):
            self._tend()

    def _tend(self) -> None:
        if time.monotonic() < self._resting_until:
            return
        for part in (self.server.prepare, self._keep_house, self._serve_tls, self._export):
            try:
                part()
            except Exception:
                log.exception("housekeeping")
                self._resting_until = time.monotonic() + _REST_S

    def _keep_house(self) -> None:
        """Ten times a second until it serves, since others wait for that; then once a second."""
        now = time.monotonic()
        if not self.server.enabled or now >= self._next_round:
            self._next_round = now + 1.0
            self.server.housekeeping()

    def _serve_tls(self) -> None:
        if self.server.enabled and self.server.current is not self._shown:
            self._show(self.server.current)

    def _export(self) -> None:
        """What cannot be written now, for want of room perhaps, is tried again."""
        if self.server.enabled and self.server.changed.is_set():
            self.server.changed.clear()
            try:
                self._files.update()
            except BaseException:
                self.server.changed.set()
                raise

    def _show(self, authority: Authority) -> None:
        """Let HTTPS serve with the certificate of this authority, and ask clients for one of any authority."""
        with tempfile.NamedTemporaryFile(dir=self.server.settings.directory, suffix=".pem") as chain:
            chain.write(ssl.DER_cert_to_PEM_cert(authority.tls.certificate.der).encode())
            chain.flush()
            key = Path(self.server.settings.directory) / f"tls-{authority.number}.key"
            self._context.load_cert_chain(chain.name, key)
        for known in self.server.authorities:
            self._context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(known.certificate.der))
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._shown = authority


def main(arguments: list[str]) -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True
    )
    try:
        (path,) = arguments
        daemon = Daemon(CertificateServer(load_settings(Path(path))))
    except (ValueError, OSError) as failure:
        log.error("%s", failure)  # noqa: TRY400 - it tells all there is
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.end())
    daemon.start()
    notify_ready()
    daemon.wait()
    daemon.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
