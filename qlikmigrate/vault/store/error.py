"""What can go wrong in a store, each with its exit code.

QlikmigrateError
├── ObjectMissingError (1)   no object of that name: for the caller to handle
├── ObjectExistsError (1)    the name is taken: for the caller to handle
├── ObjectNameError (13)     no object can have that name
└── ImmutableError (6)       the store lets nothing be deleted

Everything else is an error of `kernel.error`: a disk or server that fails (1), credentials that a server refuses (20),
a location that cannot be (2), a bucket that does not exist (10). None holds what a server said but its short code.
"""

from __future__ import annotations

from qlikmigrate.kernel.error import CorruptError, FailedError, RefusedError


class ObjectMissingError(FailedError):
    """An object of the vault is missing."""

    default_code = "object-missing"


class ObjectExistsError(FailedError):
    """An object of that name stands in the vault, and nothing in there is ever replaced."""

    default_code = "object-exists"


class ObjectNameError(CorruptError):
    """No object of a vault can have that name: whatever asked for it is damaged."""

    default_code = "object-name"


class ImmutableError(RefusedError):
    """The store lets nothing be deleted."""

    default_code = "store-immutable"
