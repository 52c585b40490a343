"""What a guard is made from, where only charon knows the connections."""

from __future__ import annotations

from testbed.lab.guard import loaded_selectors


def test_selectors_of_what_charon_lists() -> None:
    listed = {
        "office": {
            "version": "IKEv2",
            "children": {
                "net": {"local-ts": ["10.1.0.0/24"], "remote-ts": ["10.2.0.0/24[tcp/http]", "fd00::/64"]},
                "roadwarrior": {"local-ts": ["10.1.0.0/24"], "remote-ts": ["dynamic"]},
            },
        },
        "bare": {"version": "IKEv1"},
    }
    found = [(name, [*map(str, local)], [*map(str, remote)]) for name, local, remote in loaded_selectors(listed)]
    assert found == [("net", ["10.1.0.0/24"], ["10.2.0.0/24", "fd00::/64"])]
