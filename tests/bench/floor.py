"""The floor: the same containers with nothing of ours around them, by the engine's API and by compose."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import docker

from testbed.lab import Lab
from testbed.plan import NodePlan

WORKERS = 8  # as the testbed has


def bare_nodes(folder: Path) -> tuple[dict[str, NodePlan], dict[str, str]]:
    """The lab's node plans, and the image of each name in them."""
    lab = Lab.from_folder(folder)
    images = lab.runtime.prepare([node.image for node in lab.plan.nodes.values()], lambda _: None)
    return dict(lab.plan.nodes), dict(images)


class Floor:
    """Creates and starts the containers in parallel, then removes them, with docker-py and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._nodes, self._images = bare_nodes(folder)
        self._local = threading.local()

    def _api(self) -> docker.APIClient:
        if not hasattr(self._local, "api"):
            self._local.api = docker.APIClient(version="auto")
        api: docker.APIClient = self._local.api
        return api

    def run(self) -> tuple[float, float]:
        """Seconds until all run, and seconds until all are gone."""
        with ThreadPoolExecutor(WORKERS) as pool:
            begun = time.monotonic()
            made = list(pool.map(self._start, self._nodes.values()))
            up = time.monotonic() - begun
            begun = time.monotonic()
            list(pool.map(lambda name: self._api().remove_container(name, force=True), made))
            return up, time.monotonic() - begun

    def _start(self, node: NodePlan) -> str:
        api = self._api()
        host = api.create_host_config(
            network_mode="none",
            init=True,
            cap_drop=["ALL"],
            cap_add=list(node.capabilities),
            security_opt=["no-new-privileges:true"],
            devices=[f"{device}:{device}:rwm" for device in node.devices],
            sysctls=dict(node.sysctls),
        )
        made = api.create_container(self._images[node.image], command=["sleep", "infinity"], host_config=host)
        api.start(made["Id"])
        return str(made["Id"])


@dataclass
class Compose:
    """The same services by docker compose, without links: it has none of this kind."""

    command: list[str]
    file: Path

    @classmethod
    def of(cls, folder: Path) -> Compose | None:
        """None where compose is not installed."""
        for command in (["docker", "compose"], ["docker-compose"]):
            if (
                shutil.which(command[0])
                and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
            ):
                break
        else:
            return None
        nodes, images = bare_nodes(folder)
        services = {
            name: {
                "image": images[node.image],
                "command": ["sleep", "infinity"],
                "network_mode": "none",
                "init": True,
                "cap_drop": ["ALL"],
                "cap_add": list(node.capabilities),
                "security_opt": ["no-new-privileges:true"],
                "devices": [f"{device}:{device}" for device in node.devices],
                "sysctls": dict(node.sysctls),
            }
            for name, node in nodes.items()
        }
        place = Path(tempfile.mkdtemp(prefix="testbed-bench-")) / "compose.json"
        place.write_text(json.dumps({"version": "3.7", "services": services}))
        return cls([*command, "--project-name", "testbed-bench", "--file", str(place)], place)

    def run(self) -> tuple[float, float]:
        begun = time.monotonic()
        subprocess.run([*self.command, "up", "--detach"], capture_output=True, check=True, text=True)
        up = time.monotonic() - begun
        begun = time.monotonic()
        subprocess.run([*self.command, "down", "--timeout", "0"], capture_output=True, check=True, text=True)
        return up, time.monotonic() - begun
