"""The command line: parsing of arguments and presentation, nothing else."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import typer

from testbed.cli import ca, clock, doctor, exchange, fault, guide, ios, ipsec, labs, matrix, nodes, output, prove, wire
from testbed.cli.common import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PREREQUISITE, EXIT_USAGE
from testbed.errors import PrerequisiteError, SettingError, TestbedError, TopologyError

__all__ = ["app", "main"]

app = typer.Typer(
    name="testbed",
    help="Labs of real IPsec daemons: bring them up, look inside, prove what they claim.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (labs, prove, exchange, matrix, fault, ios, guide, ipsec, ca, clock, nodes, wire, doctor):
    app.registered_commands += group.app.registered_commands
    app.registered_groups += group.app.registered_groups


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run a command; errors become one message on standard error and an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # also when the terminal has gone: nothing half-done stays
        signal.signal(number, _interrupt)
    try:
        app()
    except (TopologyError, SettingError) as failure:
        output.fail(str(failure))
        sys.exit(EXIT_USAGE)
    except PrerequisiteError as failure:
        output.fail(str(failure))
        sys.exit(EXIT_PREREQUISITE)
    except TestbedError as failure:
        output.fail(str(failure))
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        output.fail("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # Typer has turned the interrupt into this already
            output.fail("interrupted")
        raise
    except BrokenPipeError:
        sys.exit(EXIT_FAILED)
    except OSError as failure:
        output.fail(f"{failure.filename or 'input/output'}: {failure.strerror or failure}")
        sys.exit(EXIT_FAILED)
