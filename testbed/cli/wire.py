"""Commands that show a lab: what crosses its links, and how it is wired."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from testbed.cli import output
from testbed.cli.common import LabArgument, RunningLabArgument, SetOption, find_folder, running_lab, settings_from
from testbed.graph import to_svg, to_text
from testbed.network.packet import dissect
from testbed.network.pcapng import PcapngWriter
from testbed.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.lab import Lab
    from testbed.network.capture import Frame

app = typer.Typer()


@app.command()
def capture(
    lab: RunningLabArgument,
    where: Annotated[str, typer.Argument(metavar="LINK|NODE:INTERFACE", help="What to listen to.")],
    write: Annotated[str | None, typer.Option("--write", "-w", help="A pcapng file; - for standard output.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-c", min=1, help="Stop after so many frames.")] = None,
    duration: Annotated[float | None, typer.Option("--duration", min=0.1, help="Stop after so many seconds.")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", help="Bring the tunnel up anew, and write the keys of its SAs to this folder for Wireshark."
        ),
    ] = None,
) -> None:
    """Show or write what crosses a link or an interface, until interrupted. `… -w - | wireshark -k -i -` is live.

    With --keys KEYS, `WIRESHARK_CONFIG_DIR=KEYS wireshark FILE` decrypts what was captured.
    """
    made = running_lab(lab)
    done = threading.Event()
    with _opened(write) as file:
        taker = _Taker(_write_to(file, where) if file else _show, count, done)
        node, _, interface = where.partition(":")
        taken = made.node(node).capture(interface, taker) if interface else made.link(where).capture(taker)
        with contextlib.suppress(KeyboardInterrupt), _keys_to(keys, made), taken:
            if file is not None:
                file.flush()  # the header: whoever reads it knows that the capture has begun
            if keys is not None:
                _bring_up_anew(made)
            done.wait(duration)
    if write not in (None, "-"):
        output.console.print(f"{taker.taken} frames in {write}")


@contextlib.contextmanager
def _opened(write: str | None) -> Iterator[BinaryIO | None]:
    if write is None:
        yield None
    elif write == "-":
        yield sys.stdout.buffer
    else:
        with Path(write).open("wb") as file:
            yield file


@contextlib.contextmanager
def _keys_to(folder: Path | None, lab: Lab) -> Iterator[None]:
    if folder is None:
        yield
        return
    from testbed.exchange.keys import KeyLog  # noqa: PLC0415
    from testbed.proof import find_scene  # noqa: PLC0415

    with KeyLog(find_scene(lab)) as log:
        yield
    log.write(folder)


def _bring_up_anew(lab: Lab) -> None:
    from testbed.proof import find_scene  # noqa: PLC0415

    scene = find_scene(lab)
    scene.take_down()
    scene.bring_up()


class _Taker:
    """Hands on at most `count` frames."""

    def __init__(self, take: Callable[[Frame], None], count: int | None, done: threading.Event) -> None:
        self._take = take
        self._count = count
        self._done = done
        self.taken = 0

    def __call__(self, frame: Frame) -> None:
        if self._done.is_set():
            return
        try:
            self._take(frame)
        except BrokenPipeError:  # whoever read it is gone
            self._done.set()
            return
        self.taken += 1
        if self.taken == self._count:
            self._done.set()


def _show(frame: Frame) -> None:
    seconds, nanoseconds = divmod(frame.time_ns, 1_000_000_000)
    sys.stdout.write(f"{seconds % 86400:05d}.{nanoseconds // 1000:06d}  {dissect(frame.data)}\n")
    sys.stdout.flush()


def _write_to(file: BinaryIO, where: str) -> Callable[[Frame], None]:
    writer = PcapngWriter(file)
    interface = writer.add_interface(where)

    def take(frame: Frame) -> None:
        writer.write(frame, interface)
        writer.flush()

    return take


@app.command()
def graph(
    lab: LabArgument,
    settings: SetOption = [],  # noqa: B006
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write a drawing to this file; - for standard output.")
    ] = None,
) -> None:
    """Draw a topology: as text, or as SVG with --svg."""
    loaded = load_topology(find_folder(lab), settings=settings_from(settings), with_secrets=False)
    if svg is None:
        typer.echo(to_text(loaded), nl=False)
    elif str(svg) == "-":
        typer.echo(to_svg(loaded), nl=False)
    else:
        svg.write_text(to_svg(loaded))
        output.console.print(f"written: {svg}")
