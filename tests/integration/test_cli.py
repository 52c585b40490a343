"""The command line on a live lab: what scripts rely on."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.deadline import Deadline
from testbed.events import EventStream
from testbed.lab import Lab, take_down
from testbed.runtime import DockerRuntime
from tests.integration.commands import MAIN, run
from tests.unit.topologies import ROOT


@pytest.fixture(scope="module")
def cli_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a lab of two routers that is up."""
    from tests.integration.conftest import PAIR

    folder = tmp_path_factory.mktemp("cli")
    (folder / "topology.yaml").write_text(PAIR)
    name = f"cli-{os.getpid()}"
    Lab.from_folder(folder, name=name).up()
    yield name
    take_down(name, DockerRuntime(), EventStream())


@pytest.mark.parametrize("code", [0, 1, 7, 126, 255])
def test_exec_returns_the_commands_own_code(cli_lab: str, code: int) -> None:
    done = run("exec", cli_lab, "one", "sh", "-c", f"echo out; echo err >&2; exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "err\n")


def test_exec_passes_input_and_options(cli_lab: str) -> None:
    assert run("exec", cli_lab, "one", "--", "cat", "-n", stdin=b"line\n").stdout.split() == ["1", "line"]
    assert run("exec", cli_lab, "one", "head", "-c", "3", stdin=b"abcdef").stdout == "abc"


def test_exec_in_a_node_that_is_not_there(cli_lab: str) -> None:
    done = run("exec", cli_lab, "three", "true")
    assert done.returncode == 1
    assert "three: there is no such node" in done.stderr
    assert "one of one, two" in done.stderr


def test_status(cli_lab: str) -> None:
    done = run("status", cli_lab, "--json")
    assert done.returncode == 0
    data = json.loads(done.stdout)
    assert data["whole"] is True
    assert data["nodes"]["one"] == {"state": "running", "daemons": {"charon": True}, "sas": 1}
    assert "running" in run("status", cli_lab).stdout


def test_sas_initiate_and_terminate(cli_lab: str) -> None:
    assert run("initiate", cli_lab).stdout.strip() in ("tunnel: is up already", "tunnel: up, initiated by one")
    data = json.loads(run("sas", cli_lab, "--json").stdout)
    assert {sa["state"] for sas in data.values() for sa in sas} == {"ESTABLISHED"}
    assert data["one"][0]["children"][0]["spi_in"] == data["two"][0]["children"][0]["spi_out"]
    assert "aes256-sha256" in run("sas", cli_lab).stdout
    assert run("terminate", cli_lab).stdout == "tunnel: terminated\n"
    assert run("terminate", cli_lab).stdout == "tunnel: was not up\n"
    nothing = run("sas", cli_lab, "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (1, {"one": [], "two": []})
    assert run("initiate", cli_lab, "tunnel").returncode == 0
    assert run("initiate", cli_lab, "nonsense").returncode == 2
    assert run("sas", cli_lab, "nonsense").returncode == 2


def test_ping(cli_lab: str) -> None:
    done = run("ping", cli_lab, "one", "two:wan", "-c", "2", "--json")
    data = json.loads(done.stdout)
    assert (done.returncode, data["sent"], data["received"]) == (0, 2, 2)
    assert run("ping", cli_lab, "one", "198.18.0.1", "-c", "1").returncode == 1
    assert run("ping", cli_lab, "one", "elsewhere").returncode == 2
    assert run("ping", cli_lab, "one", "two:wan", "--source", "nonsense").returncode == 2


def test_logs(cli_lab: str) -> None:
    assert "IKE_SA tunnel" in run("logs", cli_lab, "one").stdout
    assert len(run("logs", cli_lab, "one", "charon", "-n", "3").stdout.splitlines()) <= 6
    done = run("logs", cli_lab, "one", "../../salt")
    assert done.returncode == 2
    assert "has no daemon" in done.stderr


def test_inspect_and_list(cli_lab: str) -> None:
    plan = json.loads(run("inspect", cli_lab, "--json").stdout)
    assert plan["nodes"]["one"]["state"] == "running"
    assert plan["nodes"]["one"]["pid"] > 1
    assert "pair-key" not in json.dumps(plan)
    assert json.loads(run("list", "--json").stdout)[cli_lab]["up"] is True
    assert "safari-sacco" in run("list").stdout


def test_verify_again(cli_lab: str) -> None:
    done = run("verify", cli_lab, "--json")
    data = json.loads(done.stdout)
    assert done.returncode == 0
    assert data["held"] is True
    assert len(data["verdicts"]) == 3


def test_capture_to_a_pipe_and_to_a_file(cli_lab: str, tmp_path: Path) -> None:
    argv = [*MAIN, "capture", cli_lab, "wire", "-w", "-", "--count", "4"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as capture:
        assert capture.stdout is not None
        assert struct.unpack("=I", capture.stdout.read(4))[0] == 0x0A0D0D0A
        run("ping", cli_lab, "one", "two:wan", "-c", "5")
        rest = capture.communicate(timeout=60)[0]
        assert capture.wait(30) == 0
    assert len(rest) > 20
    file = tmp_path / "x.pcapng"
    done = run("capture", cli_lab, "one:wan", "-w", str(file), "--duration", "0.2")
    assert done.returncode == 0
    assert file.stat().st_size >= 24
    assert run("capture", cli_lab, "one:wan", "-w", "/nonexistent/x").returncode == 1
    assert run("capture", cli_lab, "nonsense", "--duration", "0.1").returncode == 2


def test_node_commands(cli_lab: str) -> None:
    assert run("node", "kill-daemon", cli_lab, "one").returncode == 0
    assert json.loads(run("status", cli_lab, "--json").stdout)["nodes"]["one"]["daemons"] == {"charon": False}
    assert run("status", cli_lab).returncode == 1
    assert run("node", "start", cli_lab, "one").returncode == 0
    assert run("node", "stop", cli_lab, "two").returncode == 0
    assert json.loads(run("status", cli_lab, "--json").stdout)["nodes"]["two"]["state"] == "stopped"
    assert run("node", "start", cli_lab, "two").returncode == 0
    assert run("node", "restart", cli_lab, "one").returncode == 0
    assert run("status", cli_lab).returncode == 0
    assert run("node", "kill-daemon", cli_lab, "one", "--signal", "NONSENSE").returncode == 2
    assert run("initiate", cli_lab).returncode == 0


def test_a_shell_is_a_terminal(cli_lab: str) -> None:
    leader, follower = pty.openpty()
    argv = [*MAIN, "shell", cli_lab, "one", "--program", "/bin/sh"]
    with subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower, close_fds=True) as shell:
        os.close(follower)
        os.write(leader, b"tty; hostname; exit 3\n")
        seen = b""

        def read() -> bool:
            nonlocal seen
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    seen += os.read(leader, 4096)
                except OSError:
                    return True
            return shell.poll() is not None

        Deadline(30.0).until(read, "the shell to end")
        assert shell.wait(10) == 3
        with contextlib.suppress(OSError):  # EIO: nobody writes any more, and all is read
            while select.select([leader], [], [], 0)[0]:
                seen += os.read(leader, 4096)
    os.close(leader)
    assert b"/dev/pts/" in seen
    assert b"one" in seen


def test_up_as_json_is_one_document_and_down_twice(tmp_path: Path, lab_name: str) -> None:
    from tests.integration.conftest import PAIR

    (tmp_path / "topology.yaml").write_text(PAIR)
    done = run("up", str(tmp_path), "--name", lab_name, "--json", "--set", "ike=1")
    data = json.loads(done.stdout)
    assert done.returncode == 0
    assert data["held"] is True
    assert data["lab"] == lab_name
    assert json.loads(run("down", lab_name, "--json").stdout) == {"lab": lab_name, "removed": True}
    again = run("down", lab_name)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout


def test_up_fails_when_an_expectation_does_not_hold(tmp_path: Path, lab_name: str) -> None:
    from tests.integration.conftest import PAIR

    text = PAIR + '  - {expect: reachable, from: "one:lo0", to: "two:lo0", tunnel: down}\n'
    (tmp_path / "topology.yaml").write_text(text)
    done = run("up", str(tmp_path), "--name", lab_name)
    assert done.returncode == 1
    assert "1 of 4 checks failed" in done.stdout
    assert "✗" in done.stdout


def test_a_lab_is_found_by_its_folder_too(tmp_path: Path, lab_name: str) -> None:
    from tests.integration.conftest import PAIR

    (tmp_path / "topology.yaml").write_text(PAIR.replace("name: pair", f"name: {lab_name}"))
    assert run("up", str(tmp_path), "--no-verify").returncode == 0
    assert run("status", str(tmp_path)).returncode == 0
    assert run("down", str(tmp_path)).returncode == 0
    assert run("status", lab_name).returncode in (1, 2)


def test_doctor_finds_this_machine_fit() -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0
    findings = {finding["name"]: finding["verdict"] for finding in json.loads(done.stdout)}
    assert findings["root"] == findings["Docker engine"] == findings["data plane"] == findings["veth"] == "ok"


def test_without_an_engine_there_is_one_message_with_the_fix() -> None:
    done = run("up", "safari-sacco", DOCKER_HOST="unix:///nonexistent.sock")
    assert done.returncode == 3
    assert "Docker engine: unix:///nonexistent.sock" in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert run("doctor", DOCKER_HOST="unix:///nonexistent.sock").returncode == 3


def test_without_root_there_is_one_message_with_the_fix() -> None:
    argv = ["/usr/bin/setpriv", "--reuid=65534", "--clear-groups", *MAIN]
    for command in (["up", "topologies/safari-sacco"], ["doctor"]):
        done = subprocess.run([*argv, *command], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 3, done.stderr
        assert "root" in done.stderr + done.stdout
        assert "sudo" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_make_says_it_before_anything_is_downloaded() -> None:
    done = subprocess.run(
        ["/usr/bin/make", "lab-up", "VENV=/nonexistent/venv"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": "unix:///nonexistent.sock"},
    )
    assert done.returncode != 0
    assert "this machine cannot run a lab yet" in done.stderr
    assert "setting up" not in done.stdout
