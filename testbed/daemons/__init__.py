"""Clients of what runs in the nodes: charon through VICI, and the readiness of any daemon through sd_notify."""
