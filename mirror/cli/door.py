"""The last door before the user: errors → lines on standard error and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from mirror.cli.exit_codes import exit_code
from mirror.errors import ConfigError, MirrorError, StoreUnavailable

_INTERNAL: Final = 70
_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Door:
    """Of one program.

    Attributes:
        program: its name.
        debug: a variable of the environment that shows tracebacks.
        interrupted: what is said after Ctrl-C.
    """

    program: str
    debug: str
    interrupted: str = "stopped; nothing is lost: run it again to go on"

    def run(self, commands: click.Command, arguments: Sequence[str]) -> int:
        """Run the command line; returns the exit code, and shows no traceback to anybody."""
        try:
            result = commands.main(list(arguments), prog_name=self.program, standalone_mode=False)
        except click.ClickException as error:
            error.show()
            return exit_code(ConfigError([error.message]))
        except (KeyboardInterrupt, click.Abort):
            click.echo(self.interrupted, err=True)
            return _INTERRUPTED
        except MirrorError as error:
            self._show(error)
            return exit_code(error)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:  # noqa: BLE001 - see above
            return self._unexpected(error)
        return result if isinstance(result, int) else 0

    def _unexpected(self, error: Exception) -> int:
        if os.environ.get(self.debug):
            raise error
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            # it may happen anywhere, even where a module is imported
            advice = "raise the limit (ulimit -n, LimitNOFILE=)"
            self._show(StoreUnavailable(f"{error.strerror}; {advice}"))
            return exit_code(StoreUnavailable())
        click.echo(
            f"{self.program}: internal error: {type(error).__name__}: {error}\n"
            f"This is a mistake of ours. Please report it with what {self.debug}=1 shows.",
            err=True,
        )
        return _INTERNAL

    def _show(self, error: MirrorError) -> None:
        """One line per problem on standard error."""
        for line in str(error).splitlines():
            click.echo(f"{self.program}: {line}", err=True)
