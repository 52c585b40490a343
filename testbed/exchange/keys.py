"""The keys of SAs, for Wireshark: asked of charon for as long as a context lasts, and only if somebody wants them.

charon says them in a log of level 4, which is written to a file that root alone may read, and that is removed. What is
written beside a capture is a folder that Wireshark takes as its configuration: `WIRESHARK_CONFIG_DIR=x.keys wireshark
x.pcapng`. Sources: strongSwan `src/libcharon/sa/ikev2/keymat_v2.c`, `ikev1/keymat_v1.c`, `sa/child_sa.c`; Wireshark
`epan/dissectors/packet-isakmp.c` and `packet-ipsec.c`, the user access tables.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.errors import DaemonError
from testbed.runtime.files import read_file, replace_content

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.daemons.sa import ChildSa, IkeSa
    from testbed.proof import Scene

__all__ = ["KeyLog", "Keys", "read_keys"]

_SETTINGS, _FILE = "/etc/strongswan.conf", "keys"
_LOGGER = """  filelog {
    keys {
      path = /run/testbed/keys
      default = -1
      ike = 4
      chd = 4
      flush_line = yes
    }
"""
_DUMP = re.compile(r"\[(IKE|CHD)\] (?:<[^>]*> )?(.+?) => (\d+) bytes @ ")
_LINE = re.compile(r"\[(?:IKE|CHD)\] (?:<[^>]*> )? *\d+: ((?:[0-9A-F]{2} )+)")
_SPI = re.compile(r"SPI 0x([0-9a-f]{8}), src (\S+) dst (\S+)")
_IKE_ENCRYPTION = {
    "AES_CBC": "AES-CBC-{bits} [RFC3602]",
    "3DES_CBC": "3DES [RFC2451]",
    "AES_GCM_16": "AES-GCM-{bits} with 16 octet ICV [RFC5282]",
    "AES_CCM_16": "AES-CCM-{bits} with 16 octet ICV [RFC5282]",
}
_IKE_INTEGRITY = {
    "HMAC_MD5_96": "HMAC_MD5_96 [RFC2403]",
    "HMAC_SHA1_96": "HMAC_SHA1_96 [RFC2404]",
    "HMAC_SHA2_256_128": "HMAC_SHA2_256_128 [RFC4868]",
    "HMAC_SHA2_384_192": "HMAC_SHA2_384_192 [RFC4868]",
    "HMAC_SHA2_512_256": "HMAC_SHA2_512_256 [RFC4868]",
    "": "NONE [RFC4306]",
}
_ESP_ENCRYPTION = {
    "AES_CBC": "AES-CBC [RFC3602]",
    "AES_CTR": "AES-CTR [RFC3686]",
    "3DES_CBC": "TripleDES-CBC [RFC2451]",
    "NULL": "NULL",
    "AES_GCM_16": "AES-GCM with 16 octet ICV [RFC4106]",
    "AES_GCM_8": "AES-GCM with 8 octet ICV [RFC4106]",
    "CHACHA20_POLY1305": "ChaCha20 with Poly1305 [RFC7634]",
}
_ESP_INTEGRITY = {
    "HMAC_MD5_96": "HMAC-MD5-96 [RFC2403]",
    "HMAC_SHA1_96": "HMAC-SHA-1-96 [RFC2404]",
    "HMAC_SHA2_256_128": "HMAC-SHA-256-128 [RFC4868]",
    "HMAC_SHA2_384_192": "HMAC-SHA-384-192 [RFC4868]",
    "HMAC_SHA2_512_256": "HMAC-SHA-512-256 [RFC4868]",
    "": "NULL",
}


@dataclass
class Keys:
    """What a log said: a mapping for each IKE SA and each CHILD SA, in the order in which they were made.

    Of a CHILD SA `spi` and `ends` are those of each direction, outbound first.
    """

    ike: list[dict[str, bytes]] = field(default_factory=list)
    children: list[ChildKeys] = field(default_factory=list)


@dataclass
class ChildKeys:
    dumps: dict[str, bytes]
    outbound: tuple[str, str, str] = ("", "", "")
    inbound: tuple[str, str, str] = ("", "", "")


def read_keys(log: str) -> Keys:
    """The keys in a log of level 4. Of an IKE SA: `Sk_ei` and so on, or IKEv1's `encryption key Ka`."""
    found, name, child, direction = Keys(), "", None, ""
    values: dict[str, bytes] = {}
    for line in log.splitlines():
        dump, data, spi = _DUMP.search(line), _LINE.search(line), _SPI.search(line)
        if dump:
            name = dump[2].removesuffix(" secret")
            values[name] = b""
            if name in ("Sk_ei", "encryption key Ka"):
                found.ike.append(values)
            if name == "encryption initiator key":
                child = ChildKeys(values)
                found.children.append(child)
        elif data and name:
            values[name] += bytes.fromhex(data[1])
        elif "adding inbound ESP SA" in line or "adding outbound ESP SA" in line:
            direction = "inbound" if "inbound" in line else "outbound"
        elif spi and child is not None and direction:
            setattr(child, direction, (spi[1], spi[2], spi[3]))
            direction = ""
        if "state change: CREATED => CONNECTING" in line or "=> INSTALLED" in line:
            values = {}
    return found


class KeyLog:
    """Keys of what one router negotiates, while the context lasts; the router has to be the initiator of it all."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._directory = scene.live.state(scene.near.node).identity.directory
        self._sas: dict[int, IkeSa] = {}
        self._children: dict[str, ChildSa] = {}
        self._log = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> KeyLog:
        self._before = read_file(self._directory / "files" / _SETTINGS.lstrip("/"))
        self._stack.enter_context(self._scene.restored([self._scene.near]))
        try:
            self._run("sh", "-c", "umask 077; : > /run/testbed/keys")
            logged = self._before.replace(b"  filelog {\n", _LOGGER.encode(), 1)
            replace_content(self._directory, _SETTINGS, logged)
            self._run("swanctl", "--reload-settings")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.look()
        finally:
            self._stop()

    def _stop(self) -> None:
        """Whatever happened, no key is logged any more, and none is left in the node."""
        try:
            replace_content(self._directory, _SETTINGS, self._before)
            self._run("swanctl", "--reload-settings")
        finally:
            path = self._directory / "run" / _FILE
            self._log = read_file(path).decode(errors="replace")
            path.unlink(missing_ok=True)
            self._stack.close()

    def look(self) -> None:
        """Take note of the SAs that there are now: charon's log does not name what it makes the keys of."""
        for sa in self._scene.charon(self._scene.near).sas():
            self._sas[sa.unique_id] = sa
            self._children |= {child.spi_out: child for child in sa.children if child.spi_out}

    def _run(self, *argv: str) -> None:
        node = self._scene.near.node
        done = self._scene.live.execute(node, list(argv))
        if done.exit_code != 0:
            seen = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise DaemonError("charon's log of keys could not be set", node=node, seen=seen)

    def write(self, folder: Path) -> None:
        """Write the tables that Wireshark decrypts by, for root alone; to be called after the context."""
        keys = read_keys(self._log)
        sas = [self._sas[number] for number in sorted(self._sas)][-len(keys.ike) :] if keys.ike else []
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        second = [_ikev2(sa, one) for sa, one in zip(sas, keys.ike, strict=False) if sa.version == 2]
        first = [_ikev1(sa, one) for sa, one in zip(sas, keys.ike, strict=False) if sa.version == 1]
        esp = [row for child in keys.children for row in self._esp(child)]
        for name, rows in (("ikev2_decryption_table", second), ("ikev1_decryption_table", first), ("esp_sa", esp)):
            path = folder / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text("".join(f"{row}\n" for row in rows))
        preferences = folder / "preferences"
        preferences.write_text("esp.enable_encryption_decode: TRUE\nesp.enable_authentication_check: TRUE\n")

    def _esp(self, keys: ChildKeys) -> list[str]:
        child = self._children.get(keys.outbound[0])
        if child is None:
            return []
        rows = []
        for role, (spi, source, destination) in (("initiator", keys.outbound), ("responder", keys.inbound)):
            encryption = keys.dumps.get(f"encryption {role} key", b"").hex()
            integrity = keys.dumps.get(f"integrity {role} key", b"").hex()
            family = "IPv6" if ":" in source else "IPv4"
            fields = [
                *(family, source, destination, f"0x{spi}"),
                *(_ESP_ENCRYPTION.get(child.encryption or "", "NULL"), f"0x{encryption}" if encryption else ""),
                *(_ESP_INTEGRITY.get(child.integrity or "", "NULL"), f"0x{integrity}" if integrity else ""),
                "32-bit",
            ]
            rows.append(",".join(f'"{item}"' for item in fields))
        return rows


def _ikev2(sa: IkeSa, keys: dict[str, bytes]) -> str:
    encryption = _IKE_ENCRYPTION.get(sa.encryption or "", "NULL [RFC2410]").format(bits=sa.encryption_bits)
    integrity = _IKE_INTEGRITY.get(sa.integrity or "", "NONE [RFC4306]")
    hexes = {name: keys.get(f"Sk_{name}", b"").hex() for name in ("ei", "er", "ai", "ar")}
    fields = [sa.initiator_spi, sa.responder_spi, hexes["ei"], hexes["er"], f'"{encryption}"']
    return ",".join([*fields, hexes["ai"], hexes["ar"], f'"{integrity}"'])


def _ikev1(sa: IkeSa, keys: dict[str, bytes]) -> str:
    """The initiator's cookie, and the key that RFC 2409, appendix B, makes of SKEYID_e."""
    size = (sa.encryption_bits or 0) // 8 or 24
    return f"{sa.initiator_spi},{keys.get('encryption key Ka', b'')[:size].hex()}"
