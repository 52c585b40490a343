"""From a router's configuration to a device. Pure; what cannot work is left out, and noted with its line."""

from testbed.device.ios.context import Context, Note
from testbed.device.ios.device import compile_device

__all__ = ["Context", "Note", "compile_device"]
