"""The lifecycle of a lab: up, down, repair; ownership by labels; one lock per lab."""

from testbed.lab.lab import Lab, running_labs, take_down
from testbed.lab.node import Node

__all__ = ["Lab", "Node", "running_labs", "take_down"]
