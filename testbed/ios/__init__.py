"""Cisco IOS: configuration text and console, compiled to and answered by real Linux daemons."""
