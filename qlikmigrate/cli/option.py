"""Flags that commands share, each declared once."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from qlikmigrate.cli.ending import Invocation
from qlikmigrate.cli.guide import Command as GuidedCommand
from qlikmigrate.cli.output import Output
from qlikmigrate.cli.session import Session

Command = Callable[..., Any]

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%?")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A flag's time, `90s`, `30m` or `2h`, in seconds."""
    if value is None:
        return None
    match = _BUDGET.fullmatch(value)
    if not match:
        raise click.BadParameter("write 90s, 30m or 2h", ctx, parameter)
    return float(match[1]) * _SECONDS[match[2]]


def percent(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A flag's part of a hundred, `5%` or `5`."""
    if value is None:
        return None
    match = _PERCENT.fullmatch(value)
    if not match or float(match[1]) > 100:
        raise click.BadParameter("write 0% to 100%", ctx, parameter)
    return float(match[1])


_COMMON = (
    click.option("--config", metavar="FILE", help="The tenants file."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout."),
    click.option("--quiet", is_flag=True, help="Only errors."),
    click.option("--verbose", is_flag=True, help="Every step."),
    click.option("--no-progress", is_flag=True, help="No progress bars."),
    click.option("--yes", is_flag=True, help="Answer questions with yes."),
    click.option("--time-budget", callback=seconds, metavar="90s|30m|2h", help="Stop, resumable, after this long."),
    click.option(
        "--on-error",
        type=click.Choice(["continue", "abort"]),
        default="continue",
        show_default=True,
        help="After an object that failed: go on, or start nothing new.",
    ),
)


def command(name: str, summary: str) -> Callable[[Command], click.Command]:
    """A command whose function takes a `Session` first; the common flags are added."""

    def wrap(function: Command) -> click.Command:
        @functools.wraps(function)
        def inner(
            *,
            config: str | None,
            as_json: bool,
            quiet: bool,
            verbose: bool,
            no_progress: bool,
            yes: bool,
            time_budget: float | None,
            on_error: str,
            **rest: Any,
        ) -> None:
            bars = not no_progress and (as_json or (sys.stderr.isatty() and not quiet and not verbose))
            session = Session(
                command=name,
                output=Output(json=as_json, quiet=quiet, verbose=verbose, bars=bars),
                config=config,
                yes=yes,
                time_budget_s=time_budget,
                on_error=on_error,
            )
            invocation = click.get_current_context().find_root().obj
            assert isinstance(invocation, Invocation)
            invocation.session = session
            function(session, **rest)

        made: Command = inner
        for option in reversed(_COMMON):
            made = option(made)
        return click.command(name, cls=GuidedCommand, short_help=summary)(made)

    return wrap


def selectors(function: Command) -> Command:
    """`--include`, `--exclude`, `--with-calls`."""
    for option in reversed(
        (
            click.option(
                "--include",
                multiple=True,
                metavar="KEY=VALUE",
                help="Only these: name, id, owner, space, mode, state, uses, account. @FILE: one value a line.",
            ),
            click.option("--exclude", multiple=True, metavar="KEY=VALUE", help="Not these; wins over --include."),
            click.option("--with-calls", is_flag=True, help="Also the automations that the selected ones call."),
        )
    ):
        function = option(function)
    return function


def supplying(function: Command) -> Command:
    """`--workspaces`, `--schedules`: what people hand in beside an OEM account, because no call gives it."""
    for option in reversed(
        (
            click.option(
                "--workspaces",
                metavar="DIR",
                help="Of OEM: workspaces saved by hand: GUID.json, NAME.json, TEMPLATE_GUID.json.",
            ),
            click.option("--schedules", metavar="FILE", help="Of OEM: schedules and states, as CSV or JSON."),
        )
    ):
        function = option(function)
    return function


def planning(*, on_conflict: str) -> Callable[[Command], Command]:
    """What `plan`, `restore` and `clone` share."""

    def wrap(function: Command) -> Command:
        choice = click.Choice
        for option in reversed(
            (
                click.option("--mapping", "mapping_path", metavar="FILE", help="The id mapping to use."),
                click.option("--ids", "ids_path", metavar="CSV", help="An id list: kind,source_id,target_id."),
                click.option(
                    "--owner",
                    type=choice(["auto", "impersonate", "transfer", "importer"]),
                    default="auto",
                    show_default=True,
                    help="How automations come to their owners.",
                ),
                click.option(
                    "--default-owner",
                    "--fallback-owner",
                    "fallback_owner",
                    metavar="WHO",
                    help="Owner in place of those without a counterpart; of all that comes from an OEM account.",
                ),
                click.option(
                    "--default-space",
                    metavar="SPACE",
                    help="Space, by id or name, in place of those without a counterpart; of all from an OEM account.",
                ),
                click.option(
                    "--connections",
                    type=choice(["match", "create", "skip"]),
                    default="match",
                    show_default=True,
                    help="Bind to the target's matching connections; create the others; or leave unbound.",
                ),
                click.option("--secrets", "secrets_path", metavar="FILE", help="Values for connections to create."),
                click.option("--settings", is_flag=True, help="Raise the limit of concurrent runs to the source's."),
                click.option("--create-spaces", is_flag=True, help="Create spaces that the target lacks."),
                click.option(
                    "--start",
                    type=choice(["held", "as-source"]),
                    default="held",
                    show_default=True,
                    help="Keep what could fire off, or switch it on at the end as it was at the source.",
                ),
                click.option(
                    "--on-conflict",
                    type=choice(["fail", "skip", "update", "new"]),
                    default=on_conflict,
                    show_default=True,
                    help="What to do where the target was edited as well.",
                ),
                click.option(
                    "--sync",
                    multiple=True,
                    type=choice(["state", "owner", "space", "maxConcurrentRuns"]),
                    metavar="FIELD",
                    help="An update brings this over, too: state, owner, space or maxConcurrentRuns.",
                ),
                click.option("--allow", multiple=True, metavar="CODE", help="Waive one kind of preflight error."),
                click.option("--same-tenant", type=choice(["recover", "copy"]), help="Restore into the source tenant."),
                click.option(
                    "--repoint-callers",
                    is_flag=True,
                    help="With recover: lead callers of what is recreated to its new id.",
                ),
                click.option("--match-items", is_flag=True, help="Match apps and other items by type, name and space."),
                click.option("--ledger", metavar="FILE", help="The ledger of this pair of tenants."),
                click.option("--create-account", is_flag=True, help="OEM: make the account if there is none."),
                click.option("--account-name", metavar="NAME", help="OEM: of a new account; else the source's name."),
            )
        ):
            function = option(function)
        return function

    return wrap


passphrase = click.option(
    "--passphrase", metavar="SOURCE", help="Where a passphrase is: env:NAME, keyring:SERVICE/USER or file:PATH."
)


def opening(function: Command) -> Command:
    """`--identity`, `--passphrase`, `--tenant`: where keys are and whose snapshots are meant; the session keeps it."""

    @functools.wraps(function)
    def inner(
        session: Session, *, identity: tuple[str, ...], passphrase: str | None, of_tenant: str, **rest: Any
    ) -> None:
        from qlikmigrate.config.key_source import identity_sources, parse_passphrase

        session.identities = tuple(identity_sources(identity, session.environ))
        session.passphrase = parse_passphrase(passphrase, where="--passphrase") if passphrase is not None else None
        session.tenant = of_tenant
        function(session, **rest)

    made: Command = inner
    for option in reversed(
        (
            click.option(
                "--identity",
                multiple=True,
                metavar="SOURCE",
                help="Where a key of an encrypted archive is: a file, env:NAME or keyring:SERVICE/USER.",
            ),
            passphrase,
            click.option(
                "--tenant",
                "of_tenant",
                default="",
                metavar="NAME",
                help="Whose snapshots are meant in a vault of several tenants: its name, id or host.",
            ),
        )
    ):
        made = option(made)
    return made


def recipients(function: Command) -> Command:
    """`--recipient`: for whom an archive is encrypted."""
    return click.option(
        "--recipient",
        "recipients",
        multiple=True,
        metavar="KEY|@FILE",
        help="Encrypt for this public key, or for those of a file.",
    )(function)


def running(function: Command) -> Command:
    """`--run`, `--resume`, `--dry-run`."""
    for option in reversed(
        (
            click.option("--run", "run_path", metavar="DIR", help="The run folder; else qlikmigrate-runs/UTC-TARGET."),
            click.option("--resume", is_flag=True, help="Go on with the run in --run."),
            click.option("--dry-run", is_flag=True, help="Say what would be done; send nothing but GETs."),
        )
    ):
        function = option(function)
    return function


def read_lines(path: str) -> list[str]:
    """The lines of a selector's `@FILE`.

    Raises:
        UsageError: it cannot be read.
    """
    return read_text(path, "selector file").splitlines()


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """A text file that a flag names.

    Raises:
        UsageError: it cannot be read or is no UTF-8.
    """
    from qlikmigrate.kernel.error import UsageError

    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the {what} {path} is no UTF-8 text") from None
