"""Topologies and all that is made of them: the plan and every rendered file, as golden texts.

`pytest tests/golden --golden-update` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.device import build_devices
from testbed.plan import build_plan
from testbed.topology import load_topology

if TYPE_CHECKING:
    from testbed.plan import DataPlane, Plan

FOLDER = Path(__file__).parent / "plans"
SAFARI = Path(__file__).parents[2] / "topologies" / "safari-sacco"
ENVIRONMENT = {"LAB_PSK": 'a "quoted" #{key}\n', "LAB_CHALLENGE": 'it\'s-"quoted"'}
NATIVE = SAFARI.with_name("native-psk")
MOIGETECH = SAFARI.with_name("moigetech-pki")


def made(source: Path, dataplane: DataPlane, settings: dict[str, str], variants: tuple[str, ...]) -> Plan:
    loaded = load_topology(source, settings=settings, variants=variants, environ=ENVIRONMENT)
    return build_plan(loaded, build_devices(loaded), dataplane)


def text_of(plan: Plan) -> str:
    """The plan, then each rendered text file of each node once."""
    facts = plan.to_dict()
    parts = [json.dumps(facts, indent=2)]
    for name, node in plan.nodes.items():
        for path, file in node.files.items():
            if not path.startswith("/srv/"):
                parts.append(f"===== {name}:{path} {file.mode:04o}\n{file.content.decode()}")
    return "\n".join(parts)


CASES: dict[str, tuple[Path, DataPlane, dict[str, str], tuple[str, ...]]] = {
    "native-psk": (NATIVE, "userspace", {}, ()),
    "native-psk-ikev2-kernel": (NATIVE, "kernel", {"ike": "2"}, ()),
    "native-psk-article-era": (NATIVE, "userspace", {}, ("article-era",)),
    "safari-sacco": (SAFARI, "userspace", {}, ()),
    "safari-sacco-ikev2-kernel": (SAFARI, "kernel", {"ike": "2", "flavor": "iosxe17"}, ()),
    "safari-sacco-article-era": (SAFARI, "userspace", {}, ("article-era",)),
    "moigetech-pki": (MOIGETECH, "userspace", {}, ()),
    "moigetech-pki-ikev2-kernel": (MOIGETECH, "kernel", {"ike": "2", "clock": "10y", "grant": "none"}, ()),
    "everything": (FOLDER / "everything.yaml", "userspace", {}, ()),
    "services": (FOLDER / "services.yaml", "userspace", {}, ()),
    "hub-ipv6": (FOLDER / "hub-ipv6.yaml", "kernel", {}, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str, request: pytest.FixtureRequest) -> None:
    text = text_of(made(*CASES[name]))
    expected = FOLDER / f"{name}.txt"
    if request.config.getoption("--golden-update"):
        expected.write_text(text)
    assert text == expected.read_text()
