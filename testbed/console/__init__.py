"""A router's console: what is typed goes to the live daemons, and what they say is read as IOS shows it."""

from testbed.console.router import LiveRouter
from testbed.console.session import Session
from testbed.console.terminal import Channel, Script, Terminal

__all__ = ["Channel", "LiveRouter", "Script", "Session", "Terminal"]
