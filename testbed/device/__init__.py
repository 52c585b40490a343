"""The vendor-neutral configuration of one node, and how a topology becomes one for each of its nodes. Pure."""

from testbed.device.build import build_devices, router_context
from testbed.device.model import (
    ChildConfig,
    ConnectionConfig,
    Device,
    FilterEntry,
    IkeEnd,
    InterfaceConfig,
    PreSharedKey,
    RawFile,
    ShareContent,
    StaticRoute,
    TunnelInterface,
)
from testbed.device.services import (
    CertificateServerConfig,
    ClockConfig,
    NtpConfig,
    NtpServerConfig,
    TrustpointConfig,
)

__all__ = [
    "CertificateServerConfig",
    "ChildConfig",
    "ClockConfig",
    "ConnectionConfig",
    "Device",
    "FilterEntry",
    "IkeEnd",
    "InterfaceConfig",
    "NtpConfig",
    "NtpServerConfig",
    "PreSharedKey",
    "RawFile",
    "ShareContent",
    "StaticRoute",
    "TrustpointConfig",
    "TunnelInterface",
    "build_devices",
    "router_context",
]
