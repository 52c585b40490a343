"""Reading guides, and what is expected in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.guide import Guide, GuideError, parse_expectation, read_guide, render_report
from testbed.guide.player import Outcome, Step
from testbed.topology import load_topology
from tests.unit.topologies import ROOT, SAFARI

PING = """Sending 5, 100-byte ICMP Echos to 10.0.0.1
.!!!!
Success rate is 80 percent (4/5), round-trip min/avg/max = 1/2/4 ms
"""


@pytest.mark.parametrize(
    "words",
    [
        "Success rate is 80 percent",
        "Success   rate is {rate} percent",
        "Success rate is {rate} percent where rate == 80",
        "Success rate is {rate} percent where rate >= 80 and rate < 81",
        "Success rate is {_} percent ({got}/{sent}), where got != 5 and sent == 5",
        "min/avg/max = {low}/{mean}/{high} ms where mean > 1",
        ".!!!!",
    ],
)
def test_it_holds(words: str) -> None:
    assert parse_expectation(f": {words}").check(PING, {}) is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("Success rate is 100 percent", "no line has it"),
        ("Success rate is {rate} percent where rate == 100", "rate is 80"),
        ("Success rate is {rate} percent where other == 1", "other has no value"),
        ("Success rate is {rate} percent where rate == high", "rate is 80"),
    ],
)
def test_it_does_not_hold(words: str, why: str) -> None:
    assert parse_expectation(f": {words}").check(PING, {}) == why


def test_not() -> None:
    assert parse_expectation(" not: MM_NO_STATE").check(PING, {}) is None
    assert parse_expectation(" not: 80 percent").check(PING, {}) is not None


def test_names_in_capitals_are_remembered_and_have_to_agree() -> None:
    known: dict[str, str] = {}
    assert parse_expectation(": spi: {SPI}").check("spi: 0x12(18)\nspi: 0x13(19)", known) is None
    assert known == {"SPI": "0x12(18)"}
    assert parse_expectation(": spi: {SPI}").check("spi: 0x13(19)\n spi: 0x12(18)", known) is None
    assert parse_expectation(": spi: {SPI}").check("spi: 0x13(19)", known) == "no line has it"
    assert parse_expectation(": rate {rate}").check("rate 1", known) is None
    assert known == {"SPI": "0x12(18)"}


@pytest.mark.parametrize("text", ["", " words", ":", ": {a} where a", ": {a} where a ~ 3", " maybe: x"])
def test_no_expectation(text: str) -> None:
    with pytest.raises(ValueError, match=r"expectation|condition"):
        parse_expectation(text)


TEXT = """# Title

Some *prose* and <b>no</b> HTML.

## First

```ios r1
show clock
expect: {time} UTC
within: 5s
configure terminal

crypto pki authenticate T
answer: yes
answer:
```

```text
not played
```

```sh pc
true
```

## Second

Only words.
"""


def read(tmp_path: Path, text: str) -> Guide:
    (tmp_path / "guide.md").write_text(text)
    return read_guide(tmp_path, ["r1"], ["r1", "pc"])


def test_reading(tmp_path: Path) -> None:
    guide = read(tmp_path, TEXT)
    assert guide.title == "Title"
    assert [chapter.title for chapter in guide.chapters] == ["", "First", "Second"]
    assert [chapter.runs for chapter in guide.chapters] == [False, True, False]
    first, prose, shell = guide.chapters[1].blocks
    assert [(command.text, command.line) for command in first.commands] == [
        ("show clock", 8),
        ("configure terminal", 11),
        ("crypto pki authenticate T", 13),
    ]
    assert first.commands[0].within_s == 5.0
    assert first.commands[2].answers == ("yes", "")
    assert prose.kind == "prose"
    assert "not played" in prose.html
    assert (shell.kind, shell.node) == ("sh", "pc")
    assert "&lt;b&gt;" in guide.chapters[0].blocks[0].html


def test_a_block_for_the_testbed_itself(tmp_path: Path) -> None:
    guide = read(tmp_path, "```testbed\nprove LAB\nexpect: {n} of {m} claims are proven. where n == m\n```\n")
    block = guide.chapters[0].blocks[0]
    assert (block.kind, block.node) == ("testbed", "")
    assert [(command.text, len(command.expectations)) for command in block.commands] == [("prove LAB", 1)]
    page = render_report(guide, [Step(guide.chapters[0])], load_topology(SAFARI), {})
    assert "the machine itself" in page


@pytest.mark.parametrize("info", ["testbed r1", "testbed sh r1", "ios", "sh", "Testbed"])
def test_other_blocks_are_prose(tmp_path: Path, info: str) -> None:
    assert not read(tmp_path, f"```{info}\nshow clock\n```\n").chapters[0].runs


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```ios nobody\nshow clock\n```\n", ":1: there is no router 'nobody'"),
        ("```ios pc\nshow clock\n```\n", ":1: there is no router 'pc'"),
        ("```sh nobody\ntrue\n```\n", ":1: there is no node 'nobody'"),
        ("```ios r1\nexpect: x\n```\n", ":2: `expect: x` belongs to no command"),
        ("```ios r1\nshow clock\nexpect: {a} where a\n```\n", ":3: 'a' is no condition"),
        ("```ios r1\nshow clock\nwithin: soon\n```\n", ":3: `within: soon` is no time"),
        ('```testbed\nfault LAB line --run "sas\n```\n', ':2: `fault LAB line --run "sas`: no closing quotation'),
    ],
)
def test_what_is_wrong_with_a_guide(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(GuideError) as failure:
        read(tmp_path, text)
    assert told in str(failure.value)


def test_a_guide_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GuideError, match="cannot read"):
        read_guide(tmp_path, [], [])


@pytest.mark.parametrize("lab", ["safari-sacco", "moigetech-pki", "ipsec-goals"])
def test_the_guides_of_the_labs_can_be_read(lab: str) -> None:
    loaded = load_topology(ROOT / "topologies" / lab)
    guide = read_guide(loaded.folder, loaded.configurations, loaded.topology.nodes)
    commands = [command for chapter in guide.chapters for block in chapter.blocks for command in block.commands]
    assert sum(len(command.expectations) for command in commands) > 25
    for router in loaded.configurations:
        assert any(block.node == router for chapter in guide.chapters for block in chapter.blocks)


def test_the_page_escapes_and_says_where_it_stopped(tmp_path: Path) -> None:
    guide = read(tmp_path, TEXT.replace("show clock", "show <clock>"))
    chapter = guide.chapters[1]
    command = chapter.blocks[0].commands[0]
    outcome = Outcome(command, "R1>", "<script>alert(1)</script>\n", (("{time} UTC", "no line has it"),), 0.1)
    steps = [Step(guide.chapters[0]), Step(chapter, {0: [outcome]}, 0.2)]
    page = render_report(guide, steps, load_topology(SAFARI), {"lab": "<x>"})
    assert "<script>" not in page
    assert "show &lt;clock&gt;" in page
    assert "✗ the guide stopped at a difference" in page
    assert "no line has it" in page
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")
