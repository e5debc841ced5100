"""Archives that are sealed as a whole: told from plain ones, and opened into a file that has no name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from attrs import frozen

from qlikmigrate.archive.age import MAGIC, Opener
from qlikmigrate.kernel.error import CorruptError, FailedError


@frozen
class Unsealed:
    """The plain container behind a sealed file. `damage`: why it is no more than the beginning of it, if it is."""

    descriptor: int
    damage: CorruptError | None = None


def is_sealed(path: str | os.PathLike[str]) -> bool:
    """Whether there is a sealed file at `path`. What cannot be read is left to whoever opens it."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def begins_sealed(descriptor: int) -> bool:
    """The same of an opened file."""
    return os.pread(descriptor, len(MAGIC), 0) == MAGIC


def unseal(descriptor: int, path: Path, opener: Opener | None) -> Unsealed:
    """Open a sealed file; its descriptor stays the caller's.

    What was plain is in a file without a name: whatever happens, nothing of it is found later.

    Raises:
        WrongKeyError: no key opens it.
        CorruptError: nothing of it can be opened.
        FailedError: there is no room for it.
    """
    what = f"`{path}`"
    try:
        with os.fdopen(os.dup(descriptor), "rb") as source, tempfile.TemporaryFile() as target:
            source.seek(0)
            damage = None
            try:
                (opener or Opener()).open_stream(source, target, what=what)
            except CorruptError as error:
                if not target.tell():
                    raise
                damage = error
            target.flush()
            return Unsealed(os.dup(target.fileno()), damage)
    except OSError as error:
        raise FailedError(
            f"cannot open {what} in {tempfile.gettempdir()}: {error.strerror}",
            hint="TMPDIR names a folder with room for the plain archive",
            code="cannot-read",
        ) from None
