"""A session at a router: modes, prompts, commands, what is typed in configuration mode."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.console.filters import FilterError, filter_help, split_filter
from testbed.console.syslog import Follower, Syslog
from testbed.console.terminal import Closed, Interrupted
from testbed.errors import TestbedError
from testbed.ios.configuration import Statement
from testbed.ios.grammar import Failure, Grammar, split_words
from testbed.ios.passwords import is_password
from testbed.ios.reader import Editor, marker
from testbed.ios.syntax import grammar_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from testbed.console.router import LiveRouter
    from testbed.console.terminal import Terminal
    from testbed.ios.configuration import Section
    from testbed.ios.grammar import Match
    from testbed.ios.reader import Finding

__all__ = ["Exec", "Session"]

_PROMPT = 20  # characters of the host name in a configuration prompt
_TRIES = 3


@dataclass(frozen=True, eq=False)
class Exec:
    """A command that is carried out. `level` is the privilege that it needs."""

    pattern: str
    run: Callable[[Session, Match[Exec]], Iterable[str] | None]
    level: int = 15
    paged: bool = True


class Session:
    """One person, or program, at one router."""

    def __init__(
        self, router: LiveRouter, terminal: Terminal, *, user: str = "console", level: int = 1, vty: int | None = None
    ) -> None:
        from testbed.console.commands import ACTIONS, EXEC, USER_EXEC  # noqa: PLC0415 - they need this class

        self.router = router
        self.terminal = terminal
        self.user = user
        self.level = level
        self.line = "console" if vty is None else f"vty{vty}"
        self.syslog = Syslog(router)
        self._privileged: Grammar[Exec] = EXEC
        self._unprivileged: Grammar[Exec] = USER_EXEC
        self._actions: Grammar[Exec] = ACTIONS
        self.editor: Editor | None = None
        self._dirty = False
        self._mark: tuple[int, int] | None = None  # of the running configuration that the editor began with
        self._pending: list[tuple[list[str], str]] = []  # typed since, each with the modes that it was typed in
        self._changed = False
        self._sink: list[str] | None = None
        self._follower = Follower(router, terminal.interject)
        if vty is None:
            self._follower.start()

    # -- the loop

    def run(self) -> None:
        """Until it is left, or the other side goes."""
        try:
            while True:
                self._settle()
                try:
                    line = self.terminal.read_line(
                        self.prompt, complete=self.complete, help_for=self.help_for, remember=True
                    )
                except Interrupted as interrupt:
                    if interrupt.zap or self.editor is None:
                        self.leave_configuration()
                    continue
                if not self.enter(line):
                    return
        except Closed:
            return
        finally:
            self.close()

    def close(self) -> None:
        """End it; what was typed and not applied yet is applied."""
        self._follower.stop()
        if self.editor is not None:
            self.leave_configuration()

    def follow(self, *, on: bool) -> None:
        """Let messages come by themselves, or no longer: `terminal monitor`."""
        (self._follower.start if on else self._follower.stop)()

    @property
    def _exec(self) -> Grammar[Exec]:
        return self._privileged if self.level == 15 else self._unprivileged

    @property
    def prompt(self) -> str:
        name = self.router.configuration.hostname if self.editor is None else self.editor.configuration.hostname
        if self.editor is not None:
            return f"{name[:_PROMPT]}({self.editor.prompt})#"
        return f"{name}{'#' if self.level == 15 else '>'}"

    def enter(self, line: str) -> bool:
        """Carry out one line in the mode that there is. False when the session is left."""
        if len(line) > 4096:
            self.out("% Line too long\n")
            return True
        try:
            if self.editor is not None:
                self._configure(line)
                return True
            return self._command(line)
        except Interrupted:
            return True
        except TestbedError as failure:
            self.out(_words(failure))
            return True
        except (Closed, KeyboardInterrupt):
            raise
        except Exception as failure:  # noqa: BLE001 - a defect must not end a session with what was typed in it
            self.out(f"% Internal error: {type(failure).__name__}: {failure}\n")
            traceback.print_exc()
            return True

    # -- out and in

    def out(self, text: str) -> None:
        if self._sink is not None:
            self._sink.append(text)
        else:
            self.terminal.write(text)

    def ask(self, prompt: str, *, echo: bool = True) -> str:
        """An answer to a question; never to what is being piped."""
        return self.terminal.read_line(prompt, echo=echo).strip()

    def confirm(self, prompt: str) -> bool:
        """Yes or no, asked until it is one of them."""
        while True:
            answer = self.ask(prompt).lower()
            if answer and "yes".startswith(answer):
                return True
            if answer and "no".startswith(answer):
                return False
            self.out("% Please answer 'yes' or 'no'.\n")

    # -- commands

    def _command(self, line: str) -> bool:
        text = line.strip()
        if not text or text.startswith("!"):
            return True
        words = split_words(text)
        if (
            len(words) == 1
            and len(text) > 1
            and any(name.startswith(text.lower()) for name in ("exit", "logout", "quit"))
        ):
            return False
        self.router.refresh()
        self.carry_out(line, self._exec)
        return True

    def carry_out(self, line: str, grammar: Grammar[Exec], indent: int | None = None) -> None:
        """One command; its failure is told as IOS does, with the `^` below the word."""
        try:
            command, keep = split_filter(line)
        except FilterError as failure:
            self._point(failure.column, str(failure), indent)
            return
        found = grammar.match(command)
        if isinstance(found, Failure):
            self._fail(command, found, indent)
            return
        self._run(found, keep)

    def _run(self, match: Match[Exec], keep: Callable[[str], str] | None) -> None:
        self._sink = [] if keep is not None else None
        try:
            lines = match.command.run(self, match)
            text = "".join(f"{line}\n" for line in lines) if lines is not None else ""
            if keep is not None and self._sink is not None:
                text = keep("".join(self._sink) + text)
        finally:
            self._sink = None
        if text:
            (self.terminal.page if match.command.paged else self.terminal.write)(text)

    def _fail(self, line: str, failure: Failure, indent: int | None = None) -> None:
        if failure.kind == "ambiguous":
            self.out(f'{marker(failure)}  "{line.strip()}"\n')
        elif failure.kind == "incomplete":
            self.out(f"{marker(failure)}\n\n" if indent is None else f"{marker(failure)}\n")
        else:
            self._point(failure.column, marker(failure), indent)

    def _point(self, column: int, told: str, indent: int | None = None) -> None:
        at = len(self.prompt) + column if indent is None else indent + column
        self.out(f"{' ' * at}^\n{told}\n\n")

    def enable(self) -> None:
        """Raise the privilege, for whoever knows the password, if there is one."""
        configuration = self.router.configuration
        secret = configuration.one("enable secret") or configuration.one("enable password")
        if secret is None and self.line != "console":
            self.out("% Error in authentication.\n\n" if self.level < 15 else "")
            return
        for _ in range(_TRIES):
            if secret is None or self.level == 15:
                self.level = 15
                return
            if is_password(secret.get("type"), secret.get("secret"), self.ask("Password: ", echo=False)):
                self.level = 15
                return
        self.out("% Bad secrets\n\n")

    # -- configuration

    def begin_configuration(self) -> None:
        self.editor = Editor(self.router.editable())
        self._mark = self.router.store.mark()

    def leave_configuration(self) -> None:
        if self.editor is None:
            return
        self.apply()
        self.editor = None
        if self._changed:
            self._changed = False
            where = "" if self.line == "console" else f" on {self.line} (127.0.0.1)"
            self.syslog.write("SYS-5-CONFIG_I", f"Configured from console by {self.user}{where}")

    def _settle(self) -> None:
        """Before a person is waited for, what was typed takes effect. What is pasted does so at its end."""
        if self._dirty and not self.terminal.busy():
            self.apply()

    def apply(self) -> None:
        """Give the daemons what was typed."""
        if self.editor is None or not self._dirty:
            return
        self._dirty = False
        if self._mark != self.router.store.mark():
            self._say_again()
        self._pending.clear()
        try:
            self.router.configure(self.editor.configuration)
        except TestbedError as failure:
            self.out(_words(failure))
        self._mark = self.router.store.mark()

    def _say_again(self) -> None:
        """Another session has changed the configuration meanwhile: what was typed here is said to that one."""
        if self.editor is None:
            return
        where = self._modes()
        fresh = Editor(self.router.editable())
        for modes, line in self._pending:
            del fresh.stack[1:]
            for opener in modes:
                fresh.feed(opener)
            fresh.feed(line)
        del fresh.stack[1:]
        for opener in where:
            fresh.feed(opener)
        self.editor.configuration, self.editor.stack = fresh.configuration, fresh.stack

    def _modes(self) -> list[str]:
        """The statements that lead to the mode that there is."""
        stack = self.editor.stack[1:] if self.editor is not None else []
        return [section.text for _, section in stack if isinstance(section, Statement)]

    def _configure(self, line: str) -> None:
        editor = self.editor
        if editor is None:
            return
        words = line.split()
        if words and words[0].lower() == "do" and editor.mode != "config-pubkey":
            self.apply()
            rest = line.lstrip()[2:]
            self.carry_out(rest.lstrip(), self._exec, len(self.prompt) + len(line) - len(rest.lstrip()))
            return
        if self._action(line):
            return
        self._follow_others()
        if self._enables_server(line) or self._keeps_trustpoint(line) or self._removes_server(line):
            return
        modes = self._modes()
        finding = editor.feed(line)
        if finding.fate == "left":
            if finding.told == "end":
                self.leave_configuration()
            return
        self._tell(finding)
        if finding.fate in ("compiled", "kept") and (finding.statement is not None or finding.told == "taken back"):
            self._changed = self._dirty = True
            self._pending.append((modes, line))

    def _action(self, line: str) -> bool:
        """Commands that are typed in configuration mode and are none: they make keys and fetch certificates."""
        editor = self.editor
        found = self._actions.match(line)
        if editor is None or isinstance(found, Failure) or editor.mode == "config-pubkey":
            return False
        del editor.stack[1:]
        self.apply()
        self._run(found, None)
        return True

    def _enables_server(self, line: str) -> bool:
        """Whether the line is `no shutdown` of a certificate server, which asks for a passphrase the first time."""
        from testbed.console.commands.pki import enable_server, server_enabled  # noqa: PLC0415 - they need this class

        editor = self.editor
        if editor is None or editor.mode != "cs-server":
            return False
        words = line.split()
        if len(words) != 2 or words[0].lower() != "no" or not "shutdown".startswith(words[1].lower()):
            return False
        section = editor.stack[-1][1]
        if isinstance(section, Statement) and section.says("shutdown"):
            self.apply()
            if enable_server(self, section.get("server"), section):
                self._pending.append((self._modes(), line))
                editor.feed(line)
                self._changed = self._dirty = True
                self.apply()
                server_enabled(self)
        return True

    def _keeps_trustpoint(self, line: str) -> bool:
        """Whether the line would remove a trustpoint that has certificates, and it was said not to."""
        from testbed.console.commands.pki import remove_trustpoint  # noqa: PLC0415 - it needs this class

        name = self._taken_back(line, "crypto pki trustpoint", "trustpoint")
        return name is not None and not remove_trustpoint(self, name)

    def _removes_server(self, line: str) -> bool:
        """Whether the line is `no crypto pki server NAME`, which is asked about, and deletes what the server has."""
        from testbed.console.commands.pki import forget_server, remove_server  # noqa: PLC0415 - they need this class

        name = self._taken_back(line, "crypto pki server", "server")
        if self.editor is None or name is None:
            return False
        known = {item.get("server") for item in self.editor.configuration.all("crypto pki server")}
        if name in known and remove_server(self, name):
            self._pending.append((self._modes(), line))
            self.editor.feed(line)
            self._changed = self._dirty = True
            self.apply()
            forget_server(self)
        return name in known

    def _taken_back(self, line: str, command: str, argument: str) -> str | None:
        """What a line takes back, if it is `no`, this command and a name; what was typed before is applied then."""
        words = line.split()
        if self.editor is None or len(words) != 5 or words[0].lower() != "no":
            return None
        found = grammar_of("config").match(" ".join(words[1:]))
        if isinstance(found, Failure) or found.command.name != command:
            return None
        self.apply()
        return str(found.get(argument))

    def _follow_others(self) -> None:
        """Take what other sessions have configured, unless something of this one waits to be applied."""
        editor = self.editor
        if editor is None or self._dirty or self._mark == self.router.store.mark():
            return
        fresh, self._mark = self.router.editable(), self.router.store.mark()
        stack: list[tuple[str, Section]] = [("config", fresh)]
        for mode, section in editor.stack[1:]:
            statement = stack[-1][1].find(section)
            if statement is None:
                break
            stack.append((mode, statement))
        else:
            editor.configuration, editor.stack = fresh, stack

    def _tell(self, finding: Finding) -> None:
        if not finding.refused:
            self._remark(finding)
            return
        if finding.column is None:
            self.out(f"{finding.told}\n")
        elif finding.told.startswith(("% Incomplete", "% Ambiguous")):
            self.out(f"{finding.told}\n\n")
        else:
            told = finding.told.partition(" (")[0]
            self._point(finding.column, told)

    def _remark(self, finding: Finding) -> None:
        """What IOS says of some statements that it takes."""
        statement = finding.statement
        if statement is None:
            return
        if self.editor is not None and self.editor.mode == "cs-server":
            self._remark_server(statement)
        if statement.command.name == "crypto map" and statement.command.enters and not statement.children:
            self.out("% NOTE: This new crypto map will remain disabled until a peer\n")
            self.out("        and a valid access list have been configured.\n")
        on_interface = self.editor is not None and self.editor.mode == "config-if"
        if statement.command.name == "crypto map" and not statement.command.enters and on_interface:
            self.syslog.write("CRYPTO-6-ISAKMP_ON_OFF", "ISAKMP is ON")

    def _remark_server(self, statement: Statement) -> None:
        """Of a certificate server that runs."""
        if self.router.device.certificate_server is None:
            return
        if statement.text == "shutdown":
            self.out("Certificate server 'shut' event has been queued for processing.\n")
            self.syslog.write("PKI-6-CS_DISABLED", "Certificate server now disabled.")
        elif statement.text == "grant auto":
            self.syslog.write("PKI-6-CS_GRANT_AUTO", "All enrollment requests will be automatically granted.")

    # -- help

    def _grammars(self) -> list[Grammar[object]]:
        if self.editor is None:
            return [self._exec]  # type: ignore[list-item]
        return [*(grammar_of(mode) for mode, _ in reversed(self.editor.stack[-1:])), self._actions]  # type: ignore[list-item]

    def complete(self, line: str) -> str | None:
        """A line with its last word in full, if only one keyword begins so."""
        if not line or line.endswith(" "):
            return None
        offered: set[str] = set()
        for text, grammar in self._help_lines(line):
            found = grammar.candidates(text)
            if not isinstance(found, Failure):
                offered |= {word for word, _ in found[0]}
        if len(offered) != 1:
            return None
        begun = split_words(line)[-1]
        return line[: begun.column] + offered.pop() + " "

    def _help_lines(self, line: str) -> list[tuple[str, Grammar[object]]]:
        """The line without `no` and `do` before it, and the grammars that it may be of."""
        stripped = line.lstrip()
        first, separator, rest = stripped.partition(" ")
        if self.editor is not None and separator and first.lower() in ("no", "default"):
            return [(rest, grammar) for grammar in self._grammars()]
        if self.editor is not None and separator and first.lower() == "do":
            return [(rest, self._exec)]  # type: ignore[list-item]
        return [(stripped, grammar) for grammar in self._grammars()]

    def help_for(self, line: str) -> str:
        """What IOS prints for `?` after a line."""
        filters = filter_help(line) if self.editor is None else ""
        if filters:
            return filters
        offered: dict[str, str] = {}
        ends, failures = False, []
        for text, grammar in self._help_lines(line):
            found = grammar.candidates(text)
            if isinstance(found, Failure):
                failures.append(found)
                continue
            offered |= dict(found[0])
            ends = ends or found[1]
        if not offered and not ends:
            return "% Unrecognized command\n"
        if line and not line.endswith(" "):
            return "  ".join(offered) + "\n\n" if offered else "% Unrecognized command\n"
        width = max((len(word) for word in offered), default=4) + 2
        lines = [f"  {word:<{width}}{text}".rstrip() for word, text in offered.items()]
        return "\n".join([*lines, *(["  <cr>"] if ends else [])]) + "\n\n"


def _words(failure: TestbedError) -> str:
    """An error of a daemon, in the manner of the console: what, and why."""
    seen = f": {failure.seen}" if failure.seen else ""
    return f"% {failure.what}{seen}\n"
