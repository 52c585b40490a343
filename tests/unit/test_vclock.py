"""The page that is a node's clock, as it is made and read on this machine. The node's side is tested on live nodes."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from testbed.device import ClockConfig
from testbed.runtime.vclock import create_clock, read_clock

YEAR_NS = 31_557_600 * 10**9


def made(path: Path, config: ClockConfig) -> Path:
    create_clock(path / "clock", config)
    return path / "clock"


@pytest.mark.parametrize("offset_ns", [0, -3 * YEAR_NS, 90 * 10**9, 10 * YEAR_NS])
def test_an_offset_from_this_machine(tmp_path: Path, offset_ns: int) -> None:
    reading = read_clock(made(tmp_path, ClockConfig(offset_ns=offset_ns)))
    assert reading is not None
    assert abs(reading.offset_s - offset_ns / 1e9) < 0.01
    assert reading.synchronised is False
    assert reading.steps == 0


def test_a_moment(tmp_path: Path) -> None:
    reading = read_clock(made(tmp_path, ClockConfig(at_ns=730_944_000 * 10**9)))
    assert reading is not None
    assert 0 <= reading.time_ns - 730_944_000 * 10**9 < 10**9


def test_an_oscillator_that_is_fast(tmp_path: Path) -> None:
    path = made(tmp_path, ClockConfig(drift_ppm=5000.0))
    page = bytearray(path.read_bytes())
    m0, v0 = struct.unpack_from("<qq", page, 16)
    struct.pack_into("<qq", page, 16, m0 - 100 * 10**9, v0 - 100 * 10**9)  # as if it had run for 100 s
    path.write_bytes(page)
    reading = read_clock(path)
    assert reading is not None
    assert reading.oscillator_ppm == 5000.0
    assert abs(reading.offset_s - 0.5) < 0.01


@pytest.mark.parametrize(("tau", "expected_s"), [(0.0, 0.0005), (1.0, 0.632)])
def test_a_slew_is_linear_or_exponential(tmp_path: Path, tau: float, expected_s: float) -> None:
    path = made(tmp_path, ClockConfig())
    page = bytearray(path.read_bytes())
    m0, v0 = struct.unpack_from("<qq", page, 16)
    struct.pack_into("<qqddd", page, 16, m0 - 10**9, v0 - 10**9, 0.0, 1e9, tau)
    path.write_bytes(page)
    reading = read_clock(path)
    assert reading is not None
    assert abs(reading.offset_s - expected_s) < 0.01


@pytest.mark.parametrize("content", [b"", b"short", bytes(4096), b"VCLK" + b"\xff" * 4092])
def test_what_is_no_clock(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clock").write_bytes(content)
    assert read_clock(tmp_path / "clock") is None


def test_no_link_is_followed(tmp_path: Path) -> None:
    target = made(tmp_path, ClockConfig())
    (tmp_path / "link").symlink_to(target)
    assert read_clock(tmp_path / "link") is None
    assert read_clock(tmp_path / "nothing") is None


def test_a_clock_runs(tmp_path: Path) -> None:
    path = made(tmp_path, ClockConfig(offset_ns=-3 * YEAR_NS))
    first, begun = read_clock(path), time.monotonic_ns()
    while time.monotonic_ns() - begun < 2_000_000:
        pass
    second = read_clock(path)
    assert first is not None
    assert second is not None
    assert second.time_ns - first.time_ns >= 2_000_000
