"""Faults on a live lab: on lines, to IKE's messages, daemons, nodes and clocks. Each ends with its context."""

from testbed.faults.flood import FloodReport, flood
from testbed.faults.inject import inject
from testbed.faults.parse import parse_fault

__all__ = ["FloodReport", "flood", "inject", "parse_fault"]
