"""How a node runs: the protocol, and its implementation on the Docker engine."""

from testbed.runtime.docker import DockerRuntime
from testbed.runtime.protocol import Completed, Identity, NodeState, Runtime

__all__ = ["Completed", "DockerRuntime", "Identity", "NodeState", "Runtime"]
