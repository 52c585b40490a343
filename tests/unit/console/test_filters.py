from __future__ import annotations

import pytest

from testbed.console.filters import FilterError, split_filter

TEXT = """hostname R1
!
interface GigabitEthernet0/0
 ip address 10.0.0.1 255.0.0.0
!
interface Loopback0
 ip address 10.1.0.1 255.255.255.255
end
"""


def filtered(line: str) -> list[str]:
    command, keep = split_filter(line)
    assert command == "show run"
    assert keep is not None
    return keep(TEXT).splitlines()


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("show run | include ip address", [" ip address 10.0.0.1 255.0.0.0", " ip address 10.1.0.1 255.255.255.255"]),
        ("show run | inc ^host", ["hostname R1"]),
        ("show run | i R[0-9]$", ["hostname R1"]),
        ("show run|exclude address|!", ["hostname R1", "interface GigabitEthernet0/0", "interface Loopback0", "end"]),
        ("show run | begin Loop", ["interface Loopback0", " ip address 10.1.0.1 255.255.255.255", "end"]),
        ("show run | section Loopback", ["interface Loopback0", " ip address 10.1.0.1 255.255.255.255"]),
        ("show run | sec 10.0.0", ["interface GigabitEthernet0/0", " ip address 10.0.0.1 255.0.0.0"]),
        ("show run | section exclude interface", ["hostname R1", "end"]),
        ("show run | count interface", ["Number of lines which match regexp = 2"]),
    ],
)
def test_what_is_kept(line: str, kept: list[str]) -> None:
    assert [text for text in filtered(line) if text] == kept


@pytest.mark.parametrize(
    ("line", "told", "column"),
    [
        ("show run |", "Invalid", 10),
        ("show run | foo x", "Invalid", 11),
        ("show run | include", "Incomplete", 18),
        ("show run | include (", "Invalid", 19),
    ],
)
def test_what_is_no_filter(line: str, told: str, column: int) -> None:
    with pytest.raises(FilterError, match=told) as failure:
        split_filter(line)
    assert failure.value.column == column


def test_no_filter() -> None:
    assert split_filter("show run") == ("show run", None)
