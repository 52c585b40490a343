"""A virtual machine and the agent in it, by which commands are run there.

QEMU without KVM: /dev/kvm proves nothing about what it can do. One processor, since QEMU before 8.1 loses a race with a
kernel that patches its own code, and `norandmaps`, without which its translations cannot be used again.
The protocol is that of QEMU's guest agent: docs/interop/qemu-ga-ref.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.deadline import Deadline
from tests.vm.image import Image

COMMAND_LINE = (
    "console=ttyS0 panic=-1 quiet norandmaps cryptomgr.notests mitigations=off root=/dev/nvme0n1 rw init=/lab/init"
)
BOOT_TIMEOUT_S = 120.0
_PIECE = 256 * 1024


class MachineError(Exception):
    """The machine did not come up, died, or a command in it failed."""


@dataclass(frozen=True)
class Done:
    exit_code: int
    stdout: bytes
    stderr: bytes


class VirtualMachine:
    """`with VirtualMachine(image, qemu) as machine: machine.check([...])`; QEMU never outlives the block."""

    def __init__(self, image: Image, qemu: Sequence[str]) -> None:
        self._image = image
        self._qemu = list(qemu)
        self._ids = itertools.count(1)
        self._buffer = b""

    def __enter__(self) -> VirtualMachine:
        self._folder = Path(tempfile.mkdtemp(prefix="vm-"))
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            process.wait()
        for end in (self._listener, getattr(self, "_channel", None)):
            if end is not None:
                end.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        deadline = Deadline(BOOT_TIMEOUT_S)
        self._listener.bind(str(self._folder / "agent.sock"))
        self._listener.listen(1)
        with (self._folder / "qemu.log").open("wb") as log:
            # The kernel kills QEMU when whoever started it ends, however that ends.
            argv = ["/usr/bin/setpriv", "--pdeathsig", "KILL", *self._qemu, *self._options()]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._listener.settimeout(deadline.within(20.0).remaining)
        try:
            self._channel, _ = self._listener.accept()
            self._synchronise(deadline)
        except OSError as failure:
            raise self._failure(f"did not come up: {failure}") from failure

    def _options(self) -> list[str]:
        folder = self._folder
        return [
            *("-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max", "-smp", "1", "-m", "512"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(self._image.kernel), "-append", COMMAND_LINE, "-serial", f"file:{folder}/serial.log"),
            *("-drive", f"file={self._image.disk},if=none,id=root,format=raw,snapshot=on"),
            *("-device", "nvme,drive=root,serial=root"),
            *("-chardev", f"socket,id=agent,path={folder}/agent.sock", "-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        ]

    def _failure(self, what: str) -> MachineError:
        texts = []
        for name in ("qemu.log", "serial.log"):
            path = self._folder / name
            lines = path.read_text(errors="replace").splitlines()[-25:] if path.exists() else []
            texts.append(f"--- {name}\n" + "\n".join(lines))
        return MachineError(f"the virtual machine {what}\n" + "\n".join(texts))

    def _synchronise(self, deadline: Deadline) -> None:
        """Wait for the agent, and drop whatever was said before on this channel."""
        number = next(self._ids)
        request = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        self._channel.sendall(b"\xff" + json.dumps(request).encode() + b"\n")
        while True:
            _, marker, answer = self._line(deadline).rpartition(b"\xff")
            if marker and json.loads(answer).get("return") == number:
                return

    def request(self, command: str, deadline: Deadline, **arguments: object) -> Any:
        number = next(self._ids)
        message = {"execute": command, "arguments": arguments, "id": number}
        try:
            self._channel.settimeout(deadline.remaining or 0.001)
            self._channel.sendall(json.dumps(message).encode() + b"\n")
            while (answer := json.loads(self._line(deadline))).get("id") != number:
                pass  # to a request that was given up on
        except OSError as failure:
            raise self._failure(f"died, or is stuck, during {command}: {failure}") from failure
        if "error" in answer:
            raise MachineError(f"{command}: {answer['error'].get('desc')}")
        return answer["return"]

    def _line(self, deadline: Deadline) -> bytes:
        while b"\n" not in self._buffer:
            self._channel.settimeout(deadline.remaining or 0.001)
            data = self._channel.recv(1 << 18)
            if not data:
                raise ConnectionError("the agent's channel was closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> Done:
        """Run a command to its end, which is when its output is closed: daemons must redirect theirs."""
        deadline = Deadline(timeout_s)
        pid = self._spawn(argv, stdin, deadline, capture=True)

        def ended() -> dict[str, Any] | None:
            status: dict[str, Any] = self.request("guest-exec-status", deadline, pid=pid)
            return status if status["exited"] else None

        status = deadline.until(ended, f"`{' '.join(argv)}` in the virtual machine", every=0.002)
        code = status["exitcode"] if "exitcode" in status else -int(status["signal"])
        data = (base64.b64decode(status.get(key, "")) for key in ("out-data", "err-data"))
        return Done(code, *data)

    def check(self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> str:
        """The output of a command that must succeed."""
        done = self.run(argv, stdin, timeout_s)
        if done.exit_code != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise MachineError(f"`{' '.join(argv)}` ended with {done.exit_code}:\n{said}")
        return done.stdout.decode(errors="replace")

    def shell(self, script: str, *arguments: str, timeout_s: float = 60.0) -> str:
        """The output of a shell script that must succeed; arguments are $1, $2, …"""
        return self.check(["/bin/sh", "-euc", script, "sh", *arguments], timeout_s=timeout_s)

    def spawn(self, argv: Sequence[str]) -> int:
        """Start a process in the background; returns its number in the machine."""
        return self._spawn(argv, b"", Deadline(10.0), capture=False)

    def _spawn(self, argv: Sequence[str], stdin: bytes, deadline: Deadline, *, capture: bool) -> int:
        arguments: dict[str, object] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": capture}
        if stdin:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        return int(self.request("guest-exec", deadline, **arguments)["pid"])

    def unpack(self, archive: bytes) -> None:
        """Unpack a tar archive at the root of the machine."""
        self.check(["tar", "--extract", "--directory=/"], stdin=archive)

    def read(self, path: str) -> bytes:
        """The content of a file."""
        deadline = Deadline(60.0)
        handle = self.request("guest-file-open", deadline, path=path, mode="r")
        data = b""
        while True:
            piece = self.request("guest-file-read", deadline, handle=handle, count=_PIECE)
            data += base64.b64decode(piece["buf-b64"])
            if piece["eof"]:
                self.request("guest-file-close", deadline, handle=handle)
                return data
