from __future__ import annotations

import pytest

from testbed.ios.names import is_ios_name, parse_interface
from testbed.ios.passwords import decoded, is_password


@pytest.mark.parametrize(
    ("text", "full", "linux"),
    [
        ("GigabitEthernet0/0", "GigabitEthernet0/0", "gi0-0"),
        ("g0/1", "GigabitEthernet0/1", "gi0-1"),
        ("Gi 0/0/1", "GigabitEthernet0/0/1", "gi0-0-1"),
        ("fa0/0.10", "FastEthernet0/0.10", "fa0-0.10"),
        ("e0/0", "Ethernet0/0", "et0-0"),
        ("lo0", "Loopback0", "lo0"),
        ("Tunnel12", "Tunnel12", "tu12"),
        ("te1/1", "TenGigabitEthernet1/1", "te1-1"),
    ],
)
def test_interfaces(text: str, full: str, linux: str) -> None:
    name = parse_interface(text)
    assert (name, name.linux) == (full, linux)


@pytest.mark.parametrize("text", ["", "0/0", "wan", "x0/0", "GigabitEthernet", "gi0/0/0/0/0", "gi99999/9999/9999"])
def test_what_is_no_interface(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no interface|too long"):
        parse_interface(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("GigabitEthernet0/0", True),
        ("g0/0", True),
        ("Loopback0", True),
        ("eth0", False),
        ("lo0", False),
        ("wan", False),
    ],
)
def test_names_of_native_topologies_stay_as_they_are(text: str, is_one: bool) -> None:
    assert is_ios_name(text) is is_one


def test_type_seven() -> None:
    assert decoded("104D000A0618") == "cisco"
    assert decoded("0822455D0A16") == "cisco"
    for text in ("", "10", "xx4D", "104D000A061", "99FF"):
        assert decoded(text) is None


@pytest.mark.parametrize(
    ("kind", "stored", "typed", "right"),
    [
        (None, "a", "a", True),
        ("0", "a", "a", True),
        (None, "a", "b", False),
        ("7", "104D000A0618", "cisco", True),
        ("7", "104D000A0618", "104D000A0618", False),
        ("5", "$1$abc", "$1$abc", False),
        ("9", "$9$abc", "$9$abc", False),
        (None, "", "", False),
        ("7", "nonsense", "", False),
    ],
)
def test_passwords(kind: str | None, stored: str, typed: str, right: bool) -> None:
    assert is_password(kind, stored, typed) is right
