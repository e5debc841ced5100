"""Help and version: on stdout for people, on stderr where stdout holds JSON lines."""

from __future__ import annotations

import click

from qlikmigrate.cli.ending import Invocation


def tell(ctx: click.Context, text: str) -> None:
    """Show a text that was asked for."""
    invocation = ctx.find_root().obj
    click.echo(text, err=isinstance(invocation, Invocation) and invocation.as_json)


def help_option(option: click.Option | None) -> click.Option | None:
    """click's own `--help`, which knows nothing of `--json`, made to tell where it belongs."""
    if option is not None:
        option.callback = _show
    return option


def _show(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        tell(ctx, ctx.get_help())
        ctx.exit()


class Command(click.Command):
    """A command with that help."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Its `--help`."""
        return help_option(super().get_help_option(ctx))
