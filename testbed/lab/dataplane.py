"""Which data plane a lab gets: what its topology asks for, as far as this machine can."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import PrerequisiteError
from testbed.network.esp import kernel_has_esp

if TYPE_CHECKING:
    from testbed.plan import DataPlane

__all__ = ["choose_dataplane"]

TUN = Path("/dev/net/tun")


def choose_dataplane(wanted: str) -> DataPlane:
    """`kernel` or `userspace`; `auto` is the kernel if it makes ESP states. Raises PrerequisiteError."""
    if wanted in ("kernel", "auto"):
        able, answer = kernel_has_esp()
        if able:
            return "kernel"
        if wanted == "kernel":
            raise PrerequisiteError(
                "this kernel cannot be the data plane",
                expected="a kernel with ESP (CONFIG_INET_ESP, CONFIG_XFRM_USER)",
                seen=answer,
                hint="use `--dataplane userspace`, or `auto`",
            )
    if not TUN.exists():
        raise PrerequisiteError(
            "the user-space data plane needs a TUN device",
            expected=str(TUN),
            seen="no such file",
            hint="modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200",
        )
    return "userspace"
