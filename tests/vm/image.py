"""The machine's parts: QEMU itself, and a disk with Debian 13 and its kernel. Both are made once and cached.

The disk is made by mmdebstrap and mkfs.ext4 and kept under a digest of all that goes into it. It is never written to:
each machine discards its changes, so any number may share it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.runtime.images import SUITE, sources

SIZE_MIB = 1200
# The cloud kernel has NVMe and ext4 built in, so it boots without an initrd.
PACKAGES = (
    *("linux-image-cloud-amd64", "qemu-guest-agent", "busybox-static", "kmod", "mount", "procps", "python3"),
    *("iproute2", "iputils-ping", "tcpdump"),
)
LEFT_OUT = (
    *("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*"),
    "/usr/lib/modules/*/kernel/drivers/gpu/*",
)
INIT = Path(__file__).with_name("init")


@dataclass(frozen=True)
class Image:
    directory: Path

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.ext4"


def cache() -> Path:
    """TESTBED_CACHE, else where the user's caches are."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "testbed"
    return Path(os.environ.get("TESTBED_CACHE", default))


def packages() -> tuple[str, ...]:
    """The machine's own packages and those of the router image, so that the same daemons run in it."""
    listed = (sources() / "packages" / "router").read_text().splitlines()
    return (*PACKAGES, *(line for line in listed if line and not line.startswith("#")))


def build_image() -> Image:
    """The disk and the kernel, made if they are not in the cache; takes about a minute then."""
    facts = repr((packages(), LEFT_OUT, SUITE, SIZE_MIB, INIT.read_text()))
    target = cache() / f"vm-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    with _only_one():
        if not target.is_dir():
            work = Path(tempfile.mkdtemp(prefix="build-", dir=cache()))
            try:
                _build_into(work)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return Image(target)


def find_qemu() -> list[str]:
    """The command that starts QEMU: TESTBED_QEMU, the one installed, or one unpacked from Debian's packages.

    Unpacked into the cache and not installed, so that nothing of the machine is changed: QEMU's packages conflict
    with other versions of themselves.
    """
    named = os.environ.get("TESTBED_QEMU") or shutil.which("qemu-system-x86_64")
    if named:
        return [named]
    root = cache() / "qemu"
    with _only_one():
        if not root.is_dir():
            work = Path(tempfile.mkdtemp(prefix="build-", dir=cache()))
            try:
                _unpack_qemu(work)
                work.rename(root)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    library = ":".join(f"{root}{path}/x86_64-linux-gnu" for path in ("/usr/lib", "/lib"))
    program = f"{root}/usr/bin/qemu-system-x86_64"
    data = ("-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios")
    return ["/usr/bin/env", f"LD_LIBRARY_PATH={library}", program, *data]


def _unpack_qemu(work: Path) -> None:
    _run(["apt-get", "-qq", "update"])
    plan = _run(["apt-get", "install", "--simulate", "--no-install-recommends", "qemu-system-x86"])
    names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    with tempfile.TemporaryDirectory(dir=work.parent) as downloads:
        Path(downloads).chmod(0o755)  # apt's own user writes there
        _run(["apt-get", "-qq", "download", *names], cwd=Path(downloads))
        for archive in sorted(Path(downloads).glob("*.deb")):
            _run(["dpkg", "--extract", str(archive), str(work)])


def _build_into(work: Path) -> None:
    root = work / "root"
    if shutil.which("mmdebstrap") is None:
        _run(["apt-get", "-qq", "update"])
        _run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", "mmdebstrap"])
    _run(
        [
            *("mmdebstrap", "--variant=apt", "--format=directory", "--quiet"),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            "--aptopt=APT::Install-Recommends false",
            f"--include={','.join(packages())}",
            f"--customize-hook=cp \"$1\"/boot/vmlinuz-* '{work}/vmlinuz'",
            '--customize-hook=rm -rf "$1"/boot/*; mkdir -p "$1/lab"',
            f'--customize-hook=cp \'{INIT}\' "$1/lab/init"; chmod 755 "$1/lab/init"',
            *(SUITE, str(root)),
        ]
    )
    make = ("mkfs.ext4", "-q", "-F", "-d", str(root), "-O", "^has_journal", "-E", "lazy_itable_init=0", "-m", "0")
    _run([*make, str(work / "disk.ext4"), f"{SIZE_MIB}M"])
    shutil.rmtree(root)


@contextmanager
def _only_one() -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(argv)} failed with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout
