"""Help and version: on stdout for people, on stderr where stdout holds JSON lines."""

from __future__ import annotations

import click

from qlikmigrate.cli.ending import Invocation


def tell(ctx: click.Context, text: str) -> None:
    """Show a text that was asked for."""
    invocation = ctx.find_root().obj
    click.echo(text, err=isinstance(invocation, Invocation) and invocation.as_json)


def _show(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        tell(ctx, ctx.get_help())
        ctx.exit()


class Guided(click.Command):
    """Whatever has that help, command or group."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """The same wherever it stands: click would keep those of the first context that it was looked at in."""
        return ["-h", "--help"]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """click's own `--help`, which knows nothing of `--json`, made to tell where it belongs."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show
        return option


class Command(Guided):
    """A command with that help."""
