"""From a router's configuration to a device. Pure; what cannot work is left out, and noted with its line."""

from testbed.ios.compiler.context import Context, Note
from testbed.ios.compiler.device import compile_device

__all__ = ["Context", "Note", "compile_device"]
