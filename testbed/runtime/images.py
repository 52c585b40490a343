"""The node images: built from `images/`, found again by their content, so a second run builds nothing."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import docker.errors

from testbed.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Report = Callable[[str], None]

__all__ = ["ROLES", "ImageStore", "sources"]

ROLES = ("router", "host", "fileserver", "ca")
BUILT = (*ROLES, "clients")  # what a node's `image` may name as well
SUITE = "trixie"
REGISTRY_BASE = f"debian:{SUITE}-slim"
# debian:*-slim leaves out the same, so both bases give the same node.
_BOOTSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    "--quiet",
    "--aptopt=APT::Install-Recommends false",
    "--aptopt=Acquire::Languages none",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    SUITE,
)


def sources() -> Path:
    """The folder `images/`: of the checkout, or the copy in an installed package."""
    checkout = Path(__file__).resolve().parents[2] / "images"
    return checkout if checkout.is_dir() else Path(str(resources.files("testbed") / "_images"))


def _context(role: str) -> Iterator[tuple[str, Path]]:
    """Every file that a role's image is built from, with its name in the build context."""
    folder = sources()
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        yield str(path.relative_to(folder)), path
    if role == "ca":
        for path in sorted(Path(str(resources.files("testbed") / "pki")).glob("*.py")):
            yield f"pki/{path.name}", path


def _archive(role: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in _context(role):
            archive.add(path, name)
    buffer.seek(0)
    return buffer


class ImageStore:
    """Finds and builds images. Two processes never build at the same time."""

    def __init__(self, api: docker.APIClient) -> None:
        self._api = api

    def prepare(self, names: Sequence[str], report: Report) -> dict[str, str]:
        """What to run for each role or image name. Raises ImageError."""
        wanted = {name: self.tag(name) if name in BUILT else name for name in dict.fromkeys(names)}
        missing = [name for name, tag in wanted.items() if not self.exists(tag)]
        own = [name for name in missing if name not in BUILT]
        if own:
            raise ImageError(
                f"there is no image {own[0]}",
                expected="an image that this Docker engine already has",
                hint=f"docker pull {own[0]}, or build it",
            )
        if missing:
            with _build_lock():
                for name in (role for role in BUILT if role in missing):
                    if not self.exists(wanted[name]):
                        self._build(name, wanted[name], report)
        return wanted

    def tag(self, role: str) -> str:
        """The name of a role's image: it changes with any file that the image is built from."""
        digest = hashlib.sha256()
        for name, path in _context(role):
            digest.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0".encode() + path.read_bytes())
        digest.update(os.environ.get("TESTBED_BASE_IMAGE", SUITE).encode())
        return f"testbed/{role}:{digest.hexdigest()[:12]}"

    def exists(self, tag: str) -> bool:
        """Whether the engine has an image of that name."""
        try:
            self._api.inspect_image(tag)
        except docker.errors.ImageNotFound:
            return False
        except docker.errors.APIError as failure:
            raise ImageError(f"cannot look for image {tag}", seen=str(failure.explanation)) from failure
        return True

    def _build(self, role: str, tag: str, report: Report) -> None:
        base = self._base(report)
        report(f"building image {tag}")
        lines: list[str] = []
        try:
            for entry in self._api.build(
                fileobj=_archive(role),
                custom_context=True,
                encoding=None,
                target=role,
                tag=tag,
                buildargs={"BASE": base},
                rm=True,
                forcerm=True,
                decode=True,
            ):
                lines += str(entry.get("stream", "")).splitlines()
                if "error" in entry:
                    raise ImageError(f"cannot build {tag}", seen="; ".join([*lines[-8:], str(entry["error"])]))
        except docker.errors.APIError as failure:
            raise ImageError(f"cannot build {tag}", seen=str(failure.explanation)) from failure

    def _base(self, report: Report) -> str:
        """Debian 13 by whatever way there is: named by the user, already here, from a registry, bootstrapped."""
        named = os.environ.get("TESTBED_BASE_IMAGE")
        if named:
            return named
        own = f"testbed/debian:{SUITE}-{hashlib.sha256(repr(_BOOTSTRAP).encode()).hexdigest()[:8]}"
        for tag in (REGISTRY_BASE, own):
            if self.exists(tag):
                return tag
        report(f"pulling {REGISTRY_BASE}")
        try:
            self._api.pull(REGISTRY_BASE)
        except (docker.errors.APIError, OSError) as failure:
            report(f"no registry gives {REGISTRY_BASE} ({_first_line(failure)}); bootstrapping it from packages")
        else:
            return REGISTRY_BASE
        self._bootstrap(own, report)
        return own

    def _bootstrap(self, tag: str, report: Report) -> None:
        if shutil.which("mmdebstrap") is None:
            report("installing the Debian package mmdebstrap on this machine")
            environment = {"DEBIAN_FRONTEND": "noninteractive"}
            _run(("apt-get", "-qq", "update"), environment)
            _run(("apt-get", "-qq", "install", "-y", "--no-install-recommends", "mmdebstrap"), environment)
        report(f"bootstrapping Debian {SUITE}; this takes about half a minute, once")
        with tempfile.TemporaryDirectory(prefix="testbed-", dir="/var/tmp") as folder:
            archive = Path(folder) / "base.tar"
            _run((*_BOOTSTRAP, str(archive)), {})
            repository, _, version = tag.partition(":")
            self._api.import_image_from_file(str(archive), repository=repository, tag=version)


def _run(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        raise ImageError(
            f"{argv[0]} is not installed",
            expected="a registry that has the base image, or a Debian machine to bootstrap it",
            hint="set TESTBED_BASE_IMAGE to a Debian 13 image that this engine has",
        ) from None
    if done.returncode != 0:
        seen = "; ".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise ImageError(f"{argv[0]} failed with exit code {done.returncode}", seen=seen)


def _first_line(failure: Exception) -> str:
    text = str(getattr(failure, "explanation", None) or failure)
    return text.splitlines()[0][:120] if text else type(failure).__name__


@contextlib.contextmanager
def _build_lock() -> Iterator[None]:
    with Path("/run/lock/testbed-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
