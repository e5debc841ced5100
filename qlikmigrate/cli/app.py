"""The command line's door: finds the command, runs it, and turns whatever happened into one exit code.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from qlikmigrate import __version__
from qlikmigrate.kernel.error import QlikmigrateError

# Command → module that holds it, in the order in which help shows them.
COMMANDS = {
    "demo": "demo",
    "sandbox": "sandbox",
    "doctor": "doctor",
    "backup": "backup",
    "list": "look",
    "show": "look",
    "cat": "look",
    "verify": "verify",
    "mapping": "mapping",
    "plan": "plan",
    "apply": "apply",
    "restore": "apply",
    "clone": "clone",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"qlikmigrate.cli.{COMMANDS[name]}")
        command = getattr(module, f"{name}_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and args[0] not in COMMANDS:
                import difflib

                near = difflib.get_close_matches(args[0], COMMANDS, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                raise click.UsageError(f"no such command: `{args[0]}`{hint}", ctx) from None
            raise error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="qlikmigrate", message="%(prog)s %(version)s")
def app() -> None:
    """Back up, migrate and clone Qlik Automate content.

    Start with `qlikmigrate demo`: it needs no account. Exit codes and files are described in the documentation.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Prints the error, if any, and the summary of `--json`."""
    from qlikmigrate.cli.session import Failure, close_summary

    arguments = list(arguments)
    try:
        app.main(args=arguments, prog_name="qlikmigrate", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.Abort:
        return close_summary(arguments, Failure(130, "interrupted", "interrupted"))
    except click.ClickException as error:
        usage = error.ctx.get_usage() if isinstance(error, click.UsageError) and error.ctx else ""
        hint = "" if not isinstance(error, click.UsageError) or not error.ctx else f"{error.ctx.command_path} --help"
        return close_summary(arguments, Failure(2, "usage", _one_line(error.format_message()), hint, usage))
    except QlikmigrateError as error:
        return close_summary(arguments, Failure(error.exit_code, error.code, error.message, error.hint))
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return close_summary(arguments, _bug(error))
    return close_summary(arguments, None)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _bug(error: Exception) -> Any:
    from qlikmigrate.cli.session import Failure, is_verbose

    if is_verbose():
        import traceback

        traceback.print_exception(error)
    return Failure(1, "bug", f"internal error: {type(error).__name__}", "--verbose shows where; please report it")
