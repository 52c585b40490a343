"""The pytest plugin: a `lab` fixture, its options, and evidence of what a failing test left behind.

    @pytest.mark.lab("topologies/safari-sacco", settings={"ike": 2}, scope="module")
    def test_the_tunnel(lab):
        assert_tunnel(lab.node("kisii"), lab.node("kisumu"), version=2)

Loaded in every pytest run of an environment that has the testbed, so everything heavy is imported when it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from testbed.lab import Lab
    from testbed.network.capture import Capture, Frame
    from testbed.proof import Proof

__all__ = ["lab", "prove"]

_SCOPES = ("function", "module", "session")
_CAPTURE_LIMIT = 64 * 1024 * 1024


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("testbed", "labs of real IPsec daemons")
    group.addoption("--lab-keep", action="store_true", help="leave labs up when the tests have ended")
    group.addoption("--lab-pause-on-fail", action="store_true", help="wait for a key after a failing test, lab up")
    group.addoption("--lab-capture", action="store_true", help="keep captures and logs of passing tests too")
    group.addoption("--lab-evidence", default="testbed-evidence", metavar="DIR", help="where evidence is written")
    parser.addini("lab", "the lab of tests that name none: a folder, relative to the root")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "lab(folder, *, settings=None, variants=(), dataplane=None, scope='function', verify=True): the lab of a test",
    )
    config.stash[_POOL] = _Pool(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    pool = config.stash.get(_POOL, None)
    if pool is not None:
        pool.close()


@dataclass(frozen=True)
class _Wish:
    """What a test asks of its lab; equal wishes of one scope share one lab."""

    folder: Path
    settings: tuple[tuple[str, str], ...]
    variants: tuple[str, ...]
    dataplane: str | None
    verify: bool
    scope: str
    owner: str

    def name(self, config: pytest.Config) -> str:
        """A name of its own for each checkout, worker and wish, and the same in the next run."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        key = f"{config.rootpath}|{worker}|{self}"
        readable = re.sub(r"[^a-z0-9]+", "-", self.folder.name.lower()).strip("-")[:20].strip("-")
        return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@dataclass
class _Pool:
    """The labs that are up for tests of this process."""

    config: pytest.Config
    labs: dict[_Wish, Lab] = field(default_factory=dict)

    def get(self, wish: _Wish) -> Lab:
        if wish not in self.labs:
            from testbed.lab import Lab  # noqa: PLC0415

            made = Lab.from_folder(
                wish.folder,
                name=wish.name(self.config),
                settings=dict(wish.settings),
                variants=wish.variants,
                dataplane=wish.dataplane,
            )
            made.up(verify=wish.verify)
            self.labs[wish] = made
        return self.labs[wish]

    def release(self, wish: _Wish) -> None:
        made = self.labs.pop(wish, None)
        if made is not None and not self.config.getoption("--lab-keep"):
            made.down()

    def close(self) -> None:
        for wish in list(self.labs):
            self.release(wish)


_POOL = pytest.StashKey[_Pool]()
_CAPTURES = pytest.StashKey[dict[str, list["Frame"]]]()


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Generator[Lab]:
    """The lab that the test's `lab` marker names, up and (unless `verify=False`) found to be as it should.

    With `scope="module"` or `"session"` all tests with the same marker share one lab; otherwise each has its own.
    Fails if an expectation of the topology does not hold.
    """
    wish = _wish(request)
    pool = request.config.stash[_POOL]
    made = pool.get(wish)
    if wish.scope == "function":
        request.addfinalizer(lambda: pool.release(wish))
    elif wish.scope == "module":
        module = request.node.getparent(pytest.Module)
        module.addfinalizer(lambda: pool.release(wish))
    broken = [verdict for verdict in made.verdicts if not verdict.held]
    if broken:
        lines = [f"{verdict.claim}: expected {verdict.expected}, seen {verdict.seen}" for verdict in broken]
        pytest.fail("the lab is not as its topology says:\n" + "\n".join(lines), pytrace=False)
    with _captured(made) as captures:
        request.node.stash[_CAPTURES] = captures
        yield made


@pytest.fixture
def prove(lab: Lab) -> Callable[..., list[Proof]]:
    """A function that tries claims on the test's lab, and fails the test with what speaks against one.

        def test_the_goals(prove):
            prove("confidentiality", "integrity", "anti-replay")

    See `testbed.prove` for its other arguments. A claim that cannot be tried in this lab fails, too.
    """

    def attempt(*claims: str, **options: Any) -> list[Proof]:
        from testbed.proof import prove as try_claims  # noqa: PLC0415

        proofs = try_claims(lab, claims, **options)
        broken = [str(proof) for proof in proofs if not proof.proven]
        if broken:
            pytest.fail("\n".join(broken), pytrace=False)
        return proofs

    return attempt


def _wish(request: pytest.FixtureRequest) -> _Wish:
    marker = request.node.get_closest_marker("lab")
    arguments = dict(marker.kwargs) if marker else {}
    folder = marker.args[0] if marker and marker.args else request.config.getini("lab")
    if not folder:
        pytest.fail("the test names no lab: add @pytest.mark.lab('FOLDER'), or 'lab' to the ini file", pytrace=False)
    scope = arguments.pop("scope", "function")
    if scope not in _SCOPES:
        pytest.fail(f"a lab's scope is one of {', '.join(_SCOPES)}, not {scope!r}", pytrace=False)
    settings = tuple(sorted((key, _text(value)) for key, value in (arguments.pop("settings", None) or {}).items()))
    wish = _Wish(
        folder=request.config.rootpath / folder,
        settings=settings,
        variants=tuple(arguments.pop("variants", ())),
        dataplane=arguments.pop("dataplane", None),
        verify=arguments.pop("verify", True),
        scope=scope,
        owner={"function": request.node.nodeid, "module": request.node.nodeid.split("::")[0]}.get(scope, ""),
    )
    if arguments:
        pytest.fail(f"the lab marker does not know {', '.join(arguments)}", pytrace=False)
    return wish


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextlib.contextmanager
def _captured(made: Lab) -> Iterator[dict[str, list[Frame]]]:
    """Frames of every link while a test runs, the first 64 MiB of each. Stopped links are simply not captured."""
    from testbed.errors import TestbedError  # noqa: PLC0415

    kept: dict[str, list[Frame]] = {}
    running: list[Capture] = []
    for name in made.plan.links:
        frames: list[Frame] = []
        with contextlib.suppress(TestbedError):
            running.append(made.link(name).capture(_Keeper(frames)).start())
            kept[name] = frames
    try:
        yield kept
    finally:
        for capture in running:
            with contextlib.suppress(TestbedError):
                capture.stop()


class _Keeper:
    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames
        self._left = _CAPTURE_LIMIT

    def __call__(self, frame: Frame) -> None:
        self._left -= len(frame.data)
        if self._left > 0:
            self._frames.append(frame)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    made = getattr(item, "funcargs", {}).get("lab")
    captures = item.stash.get(_CAPTURES, None)
    if made is None or captures is None or call.when != "call":
        return report
    if report.failed or item.config.getoption("--lab-capture"):
        _attach_evidence(item, report, made, captures)
    if report.failed and item.config.getoption("--lab-pause-on-fail"):
        _pause(item.config, made)
    return report


def _attach_evidence(item: pytest.Item, report: pytest.TestReport, made: Lab, captures: dict[str, Any]) -> None:
    from testbed.lab.evidence import write_evidence  # noqa: PLC0415

    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", item.nodeid)[-120:]
    folder = item.config.rootpath / item.config.getoption("--lab-evidence") / name
    try:
        files = write_evidence(made, folder, captures)
    except Exception as failure:  # noqa: BLE001 - the test's own failure is what matters
        report.sections.append(("lab evidence", f"could not be written: {failure}"))
        return
    listing = "\n".join(str(path.relative_to(folder)) for path in files)
    report.sections.append(("lab evidence", f"in {folder}\n{listing}"))
    for path in files:
        if path.name == "charon.log":
            tail = "\n".join(path.read_text().splitlines()[-15:])
            report.sections.append((f"charon of {path.parent.name}", tail))


def _pause(config: pytest.Config, made: Lab) -> None:
    manager = config.pluginmanager.getplugin("capturemanager")
    if os.environ.get("PYTEST_XDIST_WORKER") or manager is None:
        return  # a worker has no terminal to ask
    manager.suspend(in_=True)
    try:
        with contextlib.suppress(EOFError):
            input(f"\nlab {made.name} is up: `testbed shell {made.name} NODE`. Enter goes on. ")
    finally:
        manager.resume()
