"""Key confinement: no key is where somebody who may not have it could read it."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.runtime.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from testbed.proof.result import Findings
    from testbed.proof.scene import OnPath, Scene
    from testbed.runtime import NodeState

__all__ = ["key_confinement"]

_PACKAGES = ("etc/ssl/certs", "var/lib/dpkg", "var/lib/apt", "var/cache")  # of the distribution, in every image
_LARGEST = 64 * 1024 * 1024
_FOLDERS = ("dev/shm", "etc", "home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr/local", "var")
_IMAGE = ("usr",)  # of the image: only what was changed since the node was made
_SMALLEST_RSA = 300  # bytes of DER
_TOLD = 10  # places that are named
_SHORTEST = 6  # of a pre-shared key: what is shorter stands everywhere by chance
_PEM = re.compile(rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_SECRET = re.compile(rb'^\s*secret = "?0s([A-Za-z0-9+/=]+)', re.MULTILINE)
_SESSION = re.compile(r"(?:enc|auth-trunc|aead) \S+ 0x([0-9a-f]+)")
# What charon would write at level 4 of `ike` and `chd`: `Sk_ei secret => 32 bytes @ …`.
_DUMPED = re.compile(rb"(?:secret|key|SKEYSEED|Sk_\w+|SKEYID\w*) => \d+ bytes @")


@dataclass(frozen=True)
class _Needle:
    """A key, and how it would be recognised."""

    what: str
    forms: tuple[bytes, ...]

    @classmethod
    def of(cls, what: str, key: bytes) -> _Needle:
        """Octets as they are, in hexadecimal, and in Base64, wherever in a longer text of it they begin."""
        shifted = (base64.b64encode(bytes(shift) + key)[4 if shift else 0 :] for shift in range(3))
        return cls(what, (key, binascii.hexlify(key), *(text.rstrip(b"=")[:-4] for text in shifted)))

    def within(self, text: _Text) -> bool:
        return any(form in data for form in self.forms for data in text.readings)


class _Text:
    """What a place holds, as it may be read: as it is, without what breaks lines, and hexadecimal without colons."""

    def __init__(self, data: bytes) -> None:
        whole = b"".join(data.split())
        self.readings = (data, whole, whole.replace(b":", b"").lower())


def key_confinement(scene: Scene, _path: OnPath, found: Findings) -> None:
    """Private keys and pre-shared keys of IKE, and the kernel's session keys, are looked for in every other place.

    charon's own data plane gives its session keys to nobody: what is looked for there are dumps of them.
    """
    scene.bring_up()
    needles = [needle for state in scene.live.states.values() if state.running for needle in _needles(scene, state)]
    for kind in ("private", "pre-shared", "session"):
        found.numbers[f"{kind}_keys"] = sum(needle.what.startswith(kind) for needle in needles)
    found.expect(bool(needles), f"{len(needles)} keys are looked for", "there is no key to look for")
    clean: set[int] = set()  # what nodes of one image have alike is looked through once
    for where, places in _places(scene).items():
        seen, looked = [], 0
        for name, data in places:
            looked += 1
            if hash(data) in clean:
                continue
            text = _Text(data)
            told = [f"{needle.what} in {name}" for needle in needles if needle.within(text)]
            dumped = len(_DUMPED.findall(data))
            told += [f"{dumped} dumps of session keys in {name}"] if dumped else []
            seen += told
            clean |= set() if told else {hash(data)}
        found.numbers[f"looked_{where.replace(' ', '_')}"] = looked
        found.expect(not seen, f"none in {looked} {where}", "; ".join(seen[:_TOLD]))
    _control(scene, needles, found)


def _needles(scene: Scene, state: NodeState) -> Iterator[_Needle]:
    directory = state.identity.directory
    for path in sorted((directory / "nvram-private").glob("*.pem")):
        for kind, body in _PEM.findall(read_file(path)):
            text = b"".join(body.split())
            begin, end = _secret_part(kind, len(base64.b64decode(text)))
            yield _Needle.of(f"private key {path.stem} of {state.name}", base64.b64decode(text)[begin:end])
    for text in _SECRET.findall(read_file(directory / "files/etc/swanctl/swanctl.conf")):
        key = base64.b64decode(text)
        if len(key) >= _SHORTEST:
            yield _Needle(f"pre-shared key of {state.name}", (key, text.rstrip(b"="), binascii.hexlify(key)))
    if scene.live.plan.dataplane == "kernel" and scene.live.devices[state.name].runs_ike:
        for text in _SESSION.findall(scene.live.execute(state.name, ["ip", "xfrm", "state"]).text):
            yield _Needle.of(f"session key of {state.name}", bytes.fromhex(text))


def _secret_part(kind: bytes, size: int) -> tuple[int, int]:
    """Octets of a key's DER, from and to multiples of three, in which nothing is public.

    Of RSA the last quarter: exponents and coefficient (RFC 8017). Of an elliptic key what follows the head of its own
    structure (RFC 5915), or of PKCS #8 around it (RFC 5958).
    """
    if size < _SMALLEST_RSA:
        return (9, 36) if kind.startswith(b"EC") else (36, 66)
    begin = size * 3 // 4 // 3 * 3
    return begin, begin + 36


def _places(scene: Scene) -> dict[str, list[tuple[str, bytes]]]:
    """Everything that somebody may read who may not have a key, by what it is."""
    found: dict[str, list[tuple[str, bytes]]] = {
        "environments": [],
        "argument lists": [],
        "logs": [],
        "world-readable files": [],
        "descriptions of containers": [],
    }
    for name, state in scene.live.states.items():
        if not state.running:
            continue
        for pid, process in _processes(state):
            found["environments"].append((f"the environment of {name}, process {pid}", _read(process / "environ")))
            found["argument lists"].append((f"the arguments of {name}, process {pid}", _read(process / "cmdline")))
        found["logs"] += [(f"{path.name} of {name}", data) for path, data in _logs(state)]
        found["logs"].append((f"the output of {name}", scene.live.runtime.output(state)))
        described = scene.live.runtime.describe(state)
        readable = _readable(state, json.loads(described))
        found["world-readable files"] += [(f"{path} of {name}", data) for path, data in readable]
        found["descriptions of containers"].append((f"`inspect` of {name}", described.encode()))
    plan = repr(scene.live.plan.to_dict()).encode()
    found["descriptions of containers"].append(("`testbed inspect`", plan))
    return found


def _processes(state: NodeState) -> Iterator[tuple[str, Path]]:
    """Of the node's own PID namespace."""
    own = Path(f"/proc/{state.pid}/ns/pid").readlink()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "ns/pid").readlink() == own:
                    yield process.name, process
            except OSError:  # it has ended
                continue


def _logs(state: NodeState) -> Iterator[tuple[Path, bytes]]:
    for path in sorted((state.identity.directory / "log").rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, _read(path)


def _readable(state: NodeState, described: Mapping[str, Any]) -> Iterator[tuple[Path, bytes]]:
    """Files that any user of the node may read, below folders that any user may enter.

    What the image has in /usr is the same for everybody, and large: of that, what the node has changed, which an engine
    on an overlay keeps in a folder of its own.
    """
    root = Path(f"/proc/{state.pid}/root")
    yield from _below(root, _FOLDERS)
    upper = Path((described.get("GraphDriver", {}).get("Data") or {}).get("UpperDir") or "/nonexistent")
    made = datetime.fromisoformat(described["Created"])
    yield from _below(upper if upper.is_dir() else root, _IMAGE, int(made.timestamp()) * 10**9)


def _below(root: Path, folders: Iterable[str], since_ns: int = 0) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for directory, names, files in os.walk(root / folder):
            here = Path(directory)
            below = str(here.relative_to(root))
            names[:] = [
                name for name in names if f"{below}/{name}" not in _PACKAGES and _others(here / name, stat.S_IXOTH)
            ]
            for path in (here / name for name in files):
                if _others(path, stat.S_IROTH) and _is_small_file(path, since_ns):
                    yield Path("/") / path.relative_to(root), _read(path)


def _others(path: Path, bit: int) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return bool(facts.st_mode & bit) and not stat.S_ISLNK(facts.st_mode)


def _is_small_file(path: Path, since_ns: int) -> bool:
    try:
        facts = path.lstat()
    except OSError:  # it has gone
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size <= _LARGEST and facts.st_ctime_ns >= since_ns


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a process that has ended, a file that has gone
        return b""


def _control(scene: Scene, needles: list[_Needle], found: Findings) -> None:
    """The same search finds every key where it belongs, in files that root alone may read."""
    own: list[bytes] = []
    for state in scene.live.states.values():
        directory = state.identity.directory
        own += [_read(path) for path in (directory / "nvram-private").glob("*.pem")]
        own.append(_read(directory / "files/etc/swanctl/swanctl.conf"))
    wanted = [needle for needle in needles if not needle.what.startswith("session")]
    texts = [_Text(data) for data in own]
    seen = sum(any(needle.within(text) for text in texts) for needle in wanted)
    text = f"{seen} of {len(wanted)} are found where they belong"
    found.expect(seen == len(wanted), f"control: {text}", f"the control fails: {text}")
