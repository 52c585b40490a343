"""Confidentiality: whoever sees everything on the path learns nothing of what crosses it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from testbed.deadline import Deadline
from testbed.network.packet import dissect
from testbed.proof.claims.traffic import ARRIVAL_S
from testbed.verify.wire import inspect_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from testbed.network.capture import Frame
    from testbed.proof.result import Findings
    from testbed.proof.scene import OnPath, Scene
    from testbed.proof.stream import Stream

__all__ = ["confidentiality", "entropy", "inner_headers"]

_DATAGRAMS = 100
_EVEN = 7.9  # bits of entropy per byte from which on bytes tell nothing; text has less than 5
_ESP_HEADER = 8  # SPI and sequence number are in clear: RFC 4303, section 2


def confidentiality(scene: Scene, path: OnPath, found: Findings) -> None:
    """Known data crosses in both directions while all of the path is captured."""
    mark = path.mark
    with scene.stream() as there, scene.stream(back=True) as back:
        streams = (there, back)
        for stream in streams:
            numbers = stream.deliver(_DATAGRAMS, Deadline(ARRIVAL_S))
            arrived = stream.delivered(numbers)
            way = f"from {stream.source} to {stream.destination}"
            found.expect(arrived == _DATAGRAMS, f"{arrived} of {_DATAGRAMS} known datagrams arrived {way}")
    frames = path.since(mark)
    known = [stream.payload(number) for stream in streams for number in range(stream.sent)]
    report = inspect_frames(frames, known)
    found.numbers |= {"frames": len(frames), "known_blocks": report.blocks, "blocks_seen": report.blocks_seen}
    found.expect(
        report.blocks_seen == 0,
        f"none of the {report.blocks} 16-byte blocks of the data is in any of the {len(frames)} frames",
        f"{report.blocks_seen} of {report.blocks} blocks of the data are on the path",
    )
    for end, peer in ((scene.near, scene.far), (scene.far, scene.near)):
        esp = sum(
            packet.kind == "esp" and packet.source == end.outer and packet.destination == peer.outer
            for packet in (dissect(frame.data) for frame in frames)
        )
        found.expect(
            esp >= _DATAGRAMS,
            f"{esp} ESP packets of {end.node} crossed the path",
            f"{esp} ESP packets of {end.node} crossed the path, expected at least {_DATAGRAMS}",
        )
    headers = inner_headers(frames, streams)
    found.numbers["inner_headers"] = headers
    found.expect(headers == 0, "no inner address is in any frame", f"{headers} frames name an inner address")
    _entropy(frames, found)
    _control(scene, path, found)


def inner_headers(frames: Iterable[Frame], streams: Sequence[Stream]) -> int:
    """Frames that name an inner address: in what is no ESP one of them anywhere, as an IP header, an ARP question or an
    ICMP message that quotes one has it; in ESP both beside each other, which ciphertext has not by chance.
    """
    alone = {address.packed for stream in streams for address in (stream.source, stream.destination)}
    pairs = {one + other for one in alone for other in alone if one != other}
    return sum(
        any(name in frame.data for name in (pairs if dissect(frame.data).kind == "esp" else alone)) for frame in frames
    )


def entropy(data: bytes) -> float:
    """Shannon's, in bits per byte."""
    counts = Counter(data)
    return -sum(count / len(data) * math.log2(count / len(data)) for count in counts.values()) if data else 0.0


def _entropy(frames: Iterable[Frame], found: Findings) -> None:
    packets = [(frame.data, dissect(frame.data)) for frame in frames]
    carried = b"".join(data[packet.offset + _ESP_HEADER :] for data, packet in packets if packet.kind == "esp")
    bits = entropy(carried)
    found.numbers["entropy_bits_per_byte"] = round(bits, 4)
    found.numbers["esp_bytes"] = len(carried)
    found.expect(
        bits >= _EVEN,
        f"{len(carried)} bytes of ESP have {bits:.3f} bits of entropy per byte",
        f"{len(carried)} bytes of ESP have {bits:.3f} bits of entropy per byte, expected at least {_EVEN}",
    )


def _control(scene: Scene, path: OnPath, found: Findings) -> None:
    """The same observer does see what no tunnel protects; else it would prove nothing to have seen nothing."""
    mark = path.mark
    with scene.clear_stream() as clear:
        numbers = clear.deliver(_DATAGRAMS // 5, Deadline(ARRIVAL_S))
        known = [clear.payload(number) for number in numbers]
    report = inspect_frames(path.since(mark), known)
    found.numbers["control_blocks_seen"] = report.blocks_seen
    text = f"{report.blocks_seen} of {report.blocks} blocks of like data without a tunnel are seen"
    found.expect(report.blocks_seen == report.blocks > 0, f"control: {text}", f"the control fails: {text}")
