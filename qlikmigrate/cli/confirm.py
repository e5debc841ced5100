"""Asking before what cannot be taken back. Nobody is asked who could not answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qlikmigrate.kernel.error import UsageError

if TYPE_CHECKING:
    from qlikmigrate.cli.session import Session


def confirm(session: Session, question: str) -> None:
    """Go on only with a yes, given by `--yes` or at the terminal.

    Raises:
        UsageError: the answer is no, or nobody can answer: no terminal, or `--json`.
    """
    if session.yes:
        return
    if session.output.json or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(f"this asks first: {question}", hint="--yes answers it", code="needs-yes")
    import click

    session.output.clear()
    if not click.confirm(question, default=False, err=True):
        raise UsageError("nothing was done", code="declined")
