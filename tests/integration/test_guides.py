"""The guides of the labs, played from bare routers as a user plays them; and what a guide does that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.guide import Player, read_guide, render_report
from testbed.lab import Lab
from tests.unit.topologies import ROOT

LABS = [
    ("safari-sacco", {}),
    ("safari-sacco", {"flavor": "iosxe17"}),
    ("moigetech-pki", {}),
    ("moigetech-pki", {"flavor": "iosxe17"}),
    ("ipsec-goals", {}),
]


@pytest.mark.parametrize(("name", "settings"), LABS, ids=lambda value: str(value).strip("{}"))
def test_a_guide_leads_where_it_says(name: str, settings: dict[str, str], lab_name: str, tmp_path: Path) -> None:
    folder = ROOT / "topologies" / name
    with Lab.from_folder(folder, name=lab_name, settings=settings, bare=True).up(verify=False) as lab:
        guide = read_guide(folder, lab.loaded.configurations, lab.plan.nodes)
        player = Player(lab, guide)
        held = player.play()
        player.close()
        page = render_report(guide, player.steps, lab.loaded, {"lab": lab_name})
        (tmp_path / "guide.html").write_text(page)
        failures = [step.failure for step in player.steps if step.failure]
        assert [(item.command.line, item.command.text, item.wrong, item.output) for item in failures] == []
        assert held
        assert len(player.steps) == len(guide.chapters)
        # The tunnel that the guide has built is one that the lab's own checks accept.
        attached = Lab.attach(lab_name)
        assert [verdict.claim for verdict in attached.verify() if not verdict.held] == []


GUIDE = """# A guide that is wrong

## It begins well

```ios kisii
enable
show privilege
expect: Current privilege level is 15
```

## And stops

```ios kisii
show clock
expect: no such words
show version
```

## Which is never reached

```sh pc-kisii
true
```
"""


def test_a_guide_stops_at_the_first_difference(lab_name: str, tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text(GUIDE)
    with Lab.from_folder(ROOT / "topologies" / "safari-sacco", name=lab_name, bare=True).up(verify=False) as lab:
        player = Player(lab, read_guide(tmp_path, lab.loaded.configurations, lab.plan.nodes))
        assert not player.play()
        player.close()
        assert [step.held for step in player.steps] == [True, False]
        failure = player.steps[1].failure
        assert failure is not None
        assert (failure.command.text, failure.command.line) == ("show clock", 14)
        assert failure.wrong == (("no such words", "no line has it"),)
        assert "UTC" in failure.output
