"""Can this kernel do ESP? Asked by trying, in a namespace that ends with the question."""

from __future__ import annotations

import errno
import os
import socket
import struct

from testbed.errors import NetworkFailure
from testbed.network.namespace import run_in_new_namespace

__all__ = ["kernel_has_esp"]

_NETLINK_XFRM = 6
_NLMSG_ERROR = 2
_NEW_STATE = 0x10  # XFRM_MSG_NEWSA
_FLAGS = 0x1 | 0x4 | 0x200 | 0x400  # request, acknowledge, exclusive, create
_ENCRYPTION, _AUTHENTICATION = 2, 20  # XFRMA_ALG_CRYPT, XFRMA_ALG_AUTH_TRUNC
_UNLIMITED = 2**64 - 1


def kernel_has_esp() -> tuple[bool, str]:
    """Whether the kernel makes an ESP state with AES-CBC and HMAC-SHA-256, and what it answered.

    Needs root. The kernel may load modules to answer; nothing else of it remains.
    """
    try:
        code = run_in_new_namespace(_ask)
    except (OSError, NetworkFailure) as failure:
        reason = getattr(failure, "seen", None) or getattr(failure, "strerror", None) or str(failure)
        return False, f"no answer from NETLINK_XFRM: {reason}"
    if code == 0:
        return True, "the kernel makes ESP states"
    return False, f"the kernel makes no ESP state: {errno.errorcode.get(code, code)} ({os.strerror(code)})"


def _ask() -> int:
    """The errno with which the kernel answers, 0 for success."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM) as link:
        link.settimeout(10.0)
        link.sendto(_request(), (0, 0))
        answer = link.recv(4096)
    kind: int = struct.unpack_from("=IH", answer)[1]
    if kind != _NLMSG_ERROR:
        raise OSError(errno.EBADMSG, f"netlink message {kind} instead of an acknowledgement")
    code: int = struct.unpack_from("=i", answer, 16)[0]
    return -code


def _request() -> bytes:
    """XFRM_MSG_NEWSA with a struct xfrm_usersa_info of 224 bytes. Source: include/uapi/linux/xfrm.h."""
    source = socket.inet_aton("192.0.2.1") + bytes(12)
    destination = socket.inet_aton("192.0.2.2") + bytes(12)
    info = (
        bytes(40)
        + struct.pack("=H14x", socket.AF_INET)  # selector: anything
        + destination
        + struct.pack("!IB3x", 0x1000, socket.IPPROTO_ESP)
        + source
        + struct.pack("=4Q", *[_UNLIMITED] * 4)
        + bytes(32)  # no time limits
        + bytes(32 + 12)  # current lifetime, statistics
        + struct.pack("=IIHBBB7x", 0, 1, socket.AF_INET, 1, 32, 0)  # tunnel mode, window of 32
    )
    encryption = struct.pack("=64sI", b"cbc(aes)", 128) + bytes(16)
    authentication = struct.pack("=64sII", b"hmac(sha256)", 256, 128) + bytes(32)
    body = info + _attribute(_ENCRYPTION, encryption) + _attribute(_AUTHENTICATION, authentication)
    return struct.pack("=IHHII", 16 + len(body), _NEW_STATE, _FLAGS, 1, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)
