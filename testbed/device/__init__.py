"""The vendor-neutral configuration of one node, and how a topology becomes one for each of its nodes. Pure."""

from testbed.device.build import build_devices
from testbed.device.model import (
    ChildConfig,
    ConnectionConfig,
    Device,
    IkeEnd,
    InterfaceConfig,
    PreSharedKey,
    RawFile,
    ShareContent,
    StaticRoute,
)

__all__ = [
    "ChildConfig",
    "ConnectionConfig",
    "Device",
    "IkeEnd",
    "InterfaceConfig",
    "PreSharedKey",
    "RawFile",
    "ShareContent",
    "StaticRoute",
    "build_devices",
]
