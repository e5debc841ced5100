"""Every error a user can meet, with the exit code that belongs to it.

QlikmigrateError
├── FailedError (1)           unreachable host, TLS, answers that are no JSON, 5xx after retries
├── UsageError (2)            unknown tenant, unset secret, ambiguous name, not enough `access`
├── PartialError (3)          finished, but some objects failed or the snapshot is incomplete
├── MismatchError (5)         read-back differs
├── RefusedError (6)          preflight refused, nothing written
├── StaleError (7)            the target changed since the plan, nothing written
├── NotFoundError (10)        no such archive
├── LockedError (11)          another run holds the lock
├── WrongKeyError (12)        the key does not open it, or there is none
├── CorruptError (13)         damaged, not an archive, or a newer format
├── AuthError (20)            401, or 403 on a list
├── BudgetSpentError (21)     time budget spent, resumable
└── InterruptedRunError (130) stopped by a signal, state saved

The message is one line without a full stop; `hint` says what to do next. Neither ever holds a secret.
"""

from __future__ import annotations

from typing import ClassVar

# When several apply, the first of these wins.
EXIT_ORDER = (130, 21, 20, 10, 11, 12, 13, 7, 6, 2, 1, 3, 5, 4, 0)


def first_exit_code(codes: list[int]) -> int:
    """The one exit code a command ends with when `codes` all apply; 0 when there are none."""
    return min(codes, key=EXIT_ORDER.index, default=0)


class QlikmigrateError(Exception):
    """Base of all errors that a user can meet. `code` is a stable word, `hint` the next step or empty."""

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code


class FailedError(QlikmigrateError):
    """The work could not be done: unreachable host, TLS, broken answers, server errors after retries."""


class UsageError(QlikmigrateError):
    """The command or the tenants file asks for something that cannot be."""

    exit_code = 2
    default_code = "usage"


class PartialError(QlikmigrateError):
    """The command finished, but something is missing from its result."""

    exit_code = 3
    default_code = "partial"


class MismatchError(QlikmigrateError):
    """What was read back differs from what was meant; `diff`: a difference was found."""

    exit_code = 5
    default_code = "mismatch"


class RefusedError(QlikmigrateError):
    """Preflight found errors; nothing was written."""

    exit_code = 6
    default_code = "refused"


class StaleError(QlikmigrateError):
    """The target changed since the plan was made; nothing was written."""

    exit_code = 7
    default_code = "stale-plan"


class NotFoundError(QlikmigrateError):
    """No such archive."""

    exit_code = 10
    default_code = "no-archive"


class LockedError(QlikmigrateError):
    """Another run holds the lock."""

    exit_code = 11
    default_code = "locked"


class WrongKeyError(QlikmigrateError):
    """The key given does not open it, or none was given."""

    exit_code = 12
    default_code = "wrong-key"


class CorruptError(QlikmigrateError):
    """Damaged, not an archive, or of a newer format."""

    exit_code = 13
    default_code = "corrupt"


class AuthError(QlikmigrateError):
    """The tenant refused the identity (401), or its right to a list (403)."""

    exit_code = 20
    default_code = "not-authorized"


class BudgetSpentError(QlikmigrateError):
    """The time budget is spent; what was done is saved and the run can be resumed."""

    exit_code = 21
    default_code = "time-budget-spent"


class InterruptedRunError(QlikmigrateError):
    """A signal stopped the run; what was done is saved."""

    exit_code = 130
    default_code = "interrupted"
