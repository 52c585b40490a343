"""What can be typed: the exec commands, and those of configuration mode that are carried out and not kept."""

from testbed.console.commands import crypto, pki, probes, system
from testbed.console.session import Exec
from testbed.console.show import SHOW
from testbed.ios.grammar import Grammar

__all__ = ["ACTIONS", "EXEC", "USER_EXEC"]

_ALL = (*system.COMMANDS, *probes.COMMANDS, *crypto.COMMANDS, *pki.COMMANDS, *SHOW)
EXEC: Grammar[Exec] = Grammar((command.pattern, command) for command in _ALL)
USER_EXEC: Grammar[Exec] = Grammar((command.pattern, command) for command in _ALL if command.level == 1)
ACTIONS: Grammar[Exec] = Grammar((command.pattern, command) for command in pki.ACTIONS)
