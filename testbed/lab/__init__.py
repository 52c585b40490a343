"""The lifecycle of a lab: up, down, repair; ownership by labels; one lock per lab."""

from testbed.lab.lab import Lab, running_labs, take_down
from testbed.lab.node import Link, Node

__all__ = ["Lab", "Link", "Node", "running_labs", "take_down"]
