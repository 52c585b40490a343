"""Where the base image comes from, and when anything is built at all. The engine is a stand-in: no registry is here."""

from __future__ import annotations

from pathlib import Path

import docker.errors
import pytest

from testbed.errors import ImageError
from testbed.runtime import images
from testbed.runtime.images import REGISTRY_BASE, ROLES, ImageStore, sources


class Engine:
    """What the store asks of docker-py, with a registry that has, or has not, the base image."""

    def __init__(self, *, present: set[str] = frozenset(), registry: bool = False) -> None:  # type: ignore[assignment]
        self.present = set(present)
        self.registry = registry
        self.calls: list[str] = []

    def inspect_image(self, tag: str) -> dict[str, str]:
        if tag not in self.present:
            raise docker.errors.ImageNotFound("no such image")
        return {}

    def pull(self, tag: str) -> None:
        self.calls.append(f"pull {tag}")
        if not self.registry:
            raise docker.errors.APIError("lookup of the registry: no such host")
        self.present.add(tag)

    def import_image_from_file(self, _: str, repository: str, tag: str) -> None:
        self.calls.append(f"import {repository}")
        self.present.add(f"{repository}:{tag}")

    def build(self, *, tag: str, target: str, buildargs: dict[str, str], **_: object) -> list[dict[str, str]]:
        self.calls.append(f"build {target} on {buildargs['BASE'].split('-')[0]}")
        self.present.add(tag)
        return [{"stream": "Step 1"}]


@pytest.fixture(autouse=True)
def no_bootstrap(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands that would be run on this machine, instead of running them."""
    run: list[tuple[str, ...]] = []
    monkeypatch.setattr(images, "_run", lambda argv, _: run.append(tuple(argv)))
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/mmdebstrap")
    return run


def prepared(engine: Engine) -> list[str]:
    told: list[str] = []
    ImageStore(engine).prepare(ROLES, told.append)  # type: ignore[arg-type]
    return told


def test_the_base_comes_from_the_registry_if_it_answers(no_bootstrap: list[tuple[str, ...]]) -> None:
    engine = Engine(registry=True)
    prepared(engine)
    assert engine.calls == [f"pull {REGISTRY_BASE}", *(f"build {role} on debian:trixie" for role in ROLES)]
    assert no_bootstrap == []


def test_it_is_bootstrapped_otherwise(no_bootstrap: list[tuple[str, ...]]) -> None:
    engine = Engine()
    told = prepared(engine)
    assert engine.calls == [
        f"pull {REGISTRY_BASE}",
        "import testbed/debian",
        *(f"build {role} on testbed/debian:trixie" for role in ROLES),
    ]
    assert no_bootstrap[0][0] == "mmdebstrap"
    assert any("no such host" in text for text in told)


def test_the_second_time_nothing_is_built() -> None:
    engine = Engine(registry=True)
    prepared(engine)
    engine.calls.clear()
    assert prepared(engine) == []
    assert engine.calls == []


def test_only_what_is_missing_is_built() -> None:
    engine = Engine(present={REGISTRY_BASE})
    engine.present.add(ImageStore(engine).tag("router"))  # type: ignore[arg-type]
    prepared(engine)
    assert engine.calls == [f"build {role} on debian:trixie" for role in ("host", "fileserver", "ca")]


def test_a_named_base_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ImageStore(Engine()).tag("router")  # type: ignore[arg-type]
    monkeypatch.setenv("TESTBED_BASE_IMAGE", "mine:1")
    engine = Engine()
    assert ImageStore(engine).tag("router") != before  # type: ignore[arg-type]
    prepared(engine)
    assert engine.calls == [f"build {role} on mine:1" for role in ROLES]


def test_a_failing_build_shows_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(present={REGISTRY_BASE})
    monkeypatch.setattr(engine, "build", lambda **_: [{"stream": "Step 4\nE: no such package"}, {"error": "code 100"}])
    with pytest.raises(ImageError, match="E: no such package; code 100"):
        prepared(engine)


def test_the_tag_changes_with_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.undo()
    copy = tmp_path / "images"
    shutil.copytree(sources(), copy)
    monkeypatch.setattr(images, "sources", lambda: copy)
    store = ImageStore(Engine())  # type: ignore[arg-type]
    tags = {store.tag("router")}
    for path in sorted(copy.rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"\n")
            tags.add(store.tag("router"))
    (copy / "bin" / "node").chmod(0o644)
    tags.add(store.tag("router"))
    assert len(tags) == 2 + sum(path.is_file() for path in copy.rglob("*"))
