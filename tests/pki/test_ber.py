"""BER in, DER out; and nothing that a message claims costs more than its length allows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.pki import ber, der
from testbed.pki.ber import BerError


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("3003020105", "3003020105"),
        ("3080020105" + "0000", "3003020105"),  # indefinite length
        ("30810302" + "0105", "3003020105"),  # a length that is not minimal
        ("24800402aabb0401cc0000", "0403aabbcc"),  # a string in pieces
        ("2c060c01610c0162", "0c026162"),
        ("30030201050d0a", "3003020105"),  # line ends after the message
    ],
)
def test_der_of_ber(data: str, expected: str) -> None:
    assert ber.parse(bytes.fromhex(data)).der().hex() == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x05\x02\x01",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x88" + b"\x7f" + b"\xff" * 7,
        b"\x30\x89" + b"\x00" * 9,
        b"\x04\x80aa\x00\x00",
        b"\x30\x80\x02\x01\x05",
        b"\x1f\x81\x01\x00",
        b"\x24\x03\x02\x01\x05",
        b"\x23\x04\x03\x02\x00\x01",
        b"\x30\x03\x02\x01\x05junk",
        b"\x30\x80" * 10_000,
        b"\x30\x82\xea\x60" + b"\x05\x00" * 30_000,
        (b"\x30\x80" * 31 + b"\x05\x00" * 30_000),
        bytes(range(256)) * 10,
    ],
    ids=range(16),
)
def test_what_is_no_ber_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(BerError):
        ber.parse(data)  # a bomb would take minutes


@given(st.binary(max_size=300))
def test_any_octets_parse_or_are_refused(data: bytes) -> None:
    try:
        element = ber.parse(data)
    except BerError:
        return
    assert ber.parse(element.der()).der() == element.der()


@given(st.integers(min_value=-(1 << 200), max_value=1 << 200))
def test_integers(value: int) -> None:
    assert ber.parse(der.integer(value)).integer() == value


@given(st.lists(st.integers(min_value=0, max_value=1 << 60), min_size=1, max_size=8), st.integers(0, 2))
def test_object_identifiers(arcs: list[int], first: int) -> None:
    arcs[0] %= 40
    dotted = ".".join(map(str, (first, *arcs)))
    assert ber.parse(der.oid(dotted)).oid() == dotted


@pytest.mark.parametrize("data", [b"\x06\x00", b"\x06\x01\x80", b"\x06\x14" + b"\xff" * 19 + b"\x7f", b"\x02\x01\x05"])
def test_what_is_no_object_identifier(data: bytes) -> None:
    with pytest.raises(BerError):
        ber.parse(data).oid()


def test_named_bits_have_no_trailing_zeros() -> None:
    assert der.named_bits(0, 2).hex() == "030205a0"
    assert der.named_bits(0, 5, 6).hex() == "03020186"
    assert der.named_bits(8).hex() == "0303070080"


def test_times_change_their_type_in_2050() -> None:
    assert der.time(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)) == b"\x17\x0d491231235959Z"
    assert der.time(datetime(2050, 1, 1, tzinfo=UTC)) == b"\x18\x0f20500101000000Z"
    assert der.time(datetime(1949, 1, 1, tzinfo=UTC)) == b"\x18\x0f19490101000000Z"


def test_a_part_that_is_missing() -> None:
    with pytest.raises(BerError, match="has no part 3"):
        ber.parse(b"\x30\x03\x02\x01\x05")[3]
    with pytest.raises(BerError, match="has no parts"):
        ber.parse(b"\x02\x01\x05")[0]
