"""The command line's door: finds the command, runs it, and turns whatever happened into one exit code.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import importlib
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from qlikmigrate import __version__
from qlikmigrate.cli.ending import Failure, Invocation, speak_utf8
from qlikmigrate.cli.guide import Command, tell
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
    "scan": "scan",
    "diff": "diff",
    "log": "log",
    "verify": "verify",
    "mapping": "mapping",
    "plan": "plan",
    "apply": "apply",
    "restore": "restore",
    "clone": "clone",
    "activate": "activate",
    "cutover": "cutover",
    "status": "status",
    "rollback": "rollback",
    "reassign": "reassign",
    "callers": "callers",
    "drill": "drill",
    "prune": "prune",
    "repair": "repair",
    "repack": "repair",
    "export": "export",
    "import": "import_",
    "oem": "oem",
}

_QUOTED = re.compile(r"'([^']+)'")


class _Group(Command, click.Group):
    """Loads the module of a command when it is asked for."""

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


def _tell_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        tell(ctx, f"qlikmigrate {__version__}")
        ctx.exit()


@click.group(
    cls=_Group,
    no_args_is_help=False,
    context_settings={"max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Show the version."
)
def app() -> None:
    """Back up, migrate and clone Qlik Automate content.

    Start with `qlikmigrate demo`: it needs no account. Exit codes and files are described in the documentation.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Prints the error, if any, and the summary of `--json`."""
    words = list(arguments)
    speak_utf8(words)
    invocation = Invocation(tuple(words), tuple(COMMANDS))
    with _terminated_as_interrupted():
        try:
            failure = _carry_out(words, invocation)
        except KeyboardInterrupt:
            failure = Failure(130, "interrupted", "interrupted")
    return invocation.close(failure)


def _carry_out(words: list[str], invocation: Invocation) -> Failure | None:
    try:
        app.main(args=words, prog_name="qlikmigrate", standalone_mode=False, obj=invocation)
    except click.exceptions.Abort:
        return Failure(130, "interrupted", "interrupted")
    except click.ClickException as error:
        return _usage(error)
    except QlikmigrateError as error:
        return Failure(error.exit_code, error.code, error.message, error.hint)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return Failure(1, "no-access", f"{error.strerror or type(error).__name__}{where}")
    except Exception as error:
        return _bug(error, verbose=invocation.verbose)
    return None


def _usage(error: click.ClickException) -> Failure:
    """The failure that a wrong command line is, in our own manner of writing."""
    message = " ".join(_QUOTED.sub(r"`\1`", error.format_message()).split()).rstrip(".")
    message = (message[:1].lower() + message[1:]).replace(". (Did ", " (did ").replace(". Did ", "; did ")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return Failure(2, "usage", message)
    if context.parent is None and message == "missing command":
        return Failure(2, "usage", message, "", context.get_help())
    hint = f"{context.command_path} --help"
    if context.parent is None and isinstance(error, click.NoSuchOption):
        hint = "flags stand after the command: qlikmigrate COMMAND --help"
    return Failure(2, "usage", message, hint, context.get_usage())


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """A SIGTERM ends the program as Ctrl-C does, so that it leaves nothing half-written behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _bug(error: Exception, *, verbose: bool) -> Failure:
    if verbose:
        import traceback

        traceback.print_exception(error)
    return Failure(1, "bug", f"internal error: {type(error).__name__}", "--verbose shows where; please report it")
