"""The public surface: what is promised is there, and nothing else is."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import testbed

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(testbed.__path__, "testbed.") if "templates" not in module.name
)


def test_the_surface() -> None:
    assert testbed.__all__ == [
        "Deadline",
        "EventStream",
        "Lab",
        "Node",
        "Proof",
        "TestbedError",
        "TopologyError",
        "Verdict",
        "load_topology",
        "prove",
    ]
    for name in testbed.__all__:
        assert getattr(testbed, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        testbed.nonsense  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", [name for name in MODULES if name != "testbed.pytest_plugin"])
def test_what_a_module_exports_exists(name: str) -> None:
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", []):
        assert hasattr(module, exported)


ORDER = [
    *("ios.reader", "topology", "device", "render", "plan", "runtime", "network", "daemons", "verify", "faults", "lab"),
    *("proof", "exchange", "matrix", "console", "guide", "cli"),
]


@pytest.mark.parametrize("room", ORDER)
def test_nothing_on_the_left_knows_what_stands_on_the_right(room: str) -> None:
    """Importing a room loads no room to the right of it."""
    right = ORDER[ORDER.index(room) + 1 :]
    code = f"import sys, testbed.{room}; print([r for r in {right!r} if 'testbed.' + r in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_certificate_authority_needs_nothing_else_of_the_testbed() -> None:
    """It is copied into a node's image without the rest."""
    code = (
        "import sys, testbed.pki.__main__; "
        "print(sorted(n for n in sys.modules if n.startswith('testbed.') and not n.startswith('testbed.pki')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_orchestrator_loads_no_cryptography() -> None:
    """It has no use for it, and it is large. (docker-py loads it where paramiko is installed, as for the tests.)"""
    code = (
        "import sys; sys.modules['paramiko'] = None; import testbed.cli, testbed.lab; "
        "print(any(name.startswith('cryptography') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_prerequisites_need_nothing_but_python() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(testbed.__path__[0])!r} + '/..'); import testbed.prerequisites; "
        "print(sorted(name for name in sys.modules if 'docker' in name or 'pydantic' in name))"
    )
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
