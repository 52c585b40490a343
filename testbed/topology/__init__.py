"""What a lab is: its folder read, checked and completed. Pure: nothing here touches a container or the network."""

from testbed.topology.addressing import Addressing, split_end, through_interface
from testbed.topology.load import FILE_NAME, LoadedTopology, load_text, load_topology
from testbed.topology.models import Topology
from testbed.topology.schema import json_schema
from testbed.topology.secrets import SecretValue

__all__ = [
    "FILE_NAME",
    "Addressing",
    "LoadedTopology",
    "SecretValue",
    "Topology",
    "json_schema",
    "load_text",
    "load_topology",
    "split_end",
    "through_interface",
]
