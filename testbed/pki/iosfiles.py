"""The files that an IOS certificate server keeps, written as an export: SQLite is the truth.

NAME.ser    the last serial number
NAME.crl    the revocation list, DER
N.cnm       level `names` and `complete`: whose certificate N is, and until when
N.cer       level `complete`: certificate N, DER
NAME.p12    or NAME.pem: the CA's key and certificate, encrypted, written once
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from testbed.pki.authority import write_private
from testbed.pki.names import ios_name
from testbed.pki.x509 import read_certificate

if TYPE_CHECKING:
    from testbed.pki.server import CertificateServer
    from testbed.pki.store import IssuedCertificate

__all__ = ["DatabaseFiles"]


class DatabaseFiles:
    """Brings the files up to what the store holds. Called by one thread."""

    def __init__(self, server: CertificateServer) -> None:
        self._server = server
        settings = server.settings
        self._folder = Path(settings.database_directory or settings.directory)
        self._written: set[int] = set()  # not the highest: two may be committed in the other order

    def update(self) -> None:
        """Write what has changed since the last time. Raises OSError if there is no room for it."""
        server = self._server
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._archive()
        last = server.store.last_serial()
        name = server.settings.name
        write_private(self._folder / f"{name}.ser", f"db_version = 1\nlast_serial = {last:#x}\n".encode(), 0o644)
        for authority in server.authorities:
            write_private(self._folder / authority.crl_name, server.crl(authority), 0o644)
        if server.settings.database_level != "minimum":
            for serial in server.store.serials():
                issued = server.store.certificate(serial) if serial not in self._written else None
                if issued is not None:
                    self._certificate(issued)

    def _certificate(self, issued: IssuedCertificate) -> None:
        subject = ios_name(read_certificate(issued.der).subject_name)
        until = issued.not_after.strftime("%H:%M:%S UTC %b %d %Y")
        text = f"subjectname_str = {subject}\nexpiration = {until}\n"
        write_private(self._folder / f"{issued.serial}.cnm", text.encode(), 0o644)
        if self._server.settings.database_level == "complete":
            write_private(self._folder / f"{issued.serial}.cer", issued.der, 0o644)
        self._written.add(issued.serial)

    def _archive(self) -> None:
        settings = self._server.settings
        if settings.archive_format is None:
            return
        suffix = "p12" if settings.archive_format == "pkcs12" else "pem"
        path = self._folder / f"{settings.name}.{suffix}"
        if not path.exists():
            write_private(path, self._archived(settings.archive_password or ""))

    def _archived(self, password: str) -> bytes:
        authority = self._server.authorities[0]
        protection = serialization.BestAvailableEncryption(password.encode())
        certificate = x509.load_der_x509_certificate(authority.certificate.der)
        if self._server.settings.archive_format == "pkcs12":
            name = self._server.settings.name.encode()
            return pkcs12.serialize_key_and_certificates(name, authority.key, certificate, None, protection)
        form = serialization.PrivateFormat.PKCS8
        key = authority.key.private_bytes(serialization.Encoding.PEM, form, protection)
        return key + certificate.public_bytes(serialization.Encoding.PEM)
