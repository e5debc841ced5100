"""Asking before what cannot simply be done again. Without a terminal, and with `--json`, `--yes` has to say it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from qlikmigrate.kernel.error import UsageError

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session


def confirm(session: Session, question: str) -> None:
    """Ask, unless `--yes` was said.

    Raises:
        UsageError: the answer is no, or there is nobody to ask.
    """
    if session.yes:
        return
    if session.output.json or not sys.stdin.isatty():
        raise UsageError(f"`{session.command}` asks before it starts, and nobody can answer", hint="say --yes")
    session.output.clear()
    if not click.confirm(question, err=True):
        raise UsageError("nothing was done: the answer was no", code="declined")


def confirm_word(session: Session, question: str, word: str) -> None:
    """The same where a yes is too easily said: `word` has to be typed.

    Raises:
        UsageError: something else was typed, or there is nobody to ask.
    """
    if session.yes:
        return
    if session.output.json or not sys.stdin.isatty():
        raise UsageError(f"`{session.command}` asks before it starts, and nobody can answer", hint="say --yes")
    session.output.clear()
    if click.prompt(question, default="", show_default=False, err=True) != word:
        raise UsageError("nothing was done: that is not its name", code="declined")
