"""The one door through which commands open an archive: what a name means, with which keys, and whether it will do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.kernel.error import PartialError

if TYPE_CHECKING:
    from qlikmigrate.archive import Opener
    from qlikmigrate.cli.session import Session
    from qlikmigrate.model.snapshot import Snapshot

ARCHIVE_SUFFIX = ".qma"


def names_archive(name: str) -> bool:
    """Whether `name` means an archive where it might mean a tenant as well: a file of that name wins."""
    return Path(name).exists() or name.endswith(ARCHIVE_SUFFIX) or "/" in name


def _find(session: Session, name: str) -> AbstractContextManager[Snapshot]:
    """The snapshot that `name` means, opened. This decides what a name means: today always a file."""
    from qlikmigrate.archive import open_archive

    return open_archive(name, opener_for(session, name))


def opener_for(session: Session, name: str) -> Opener | None:
    """The keys for a sealed archive; a plain one is opened without a look at any, so that no keyring is asked."""
    from qlikmigrate.archive import is_sealed

    return session.opener() if is_sealed(name) else None


@contextmanager
def open_snapshot(session: Session, name: str | Path, *, allow_incomplete: bool = True) -> Iterator[Snapshot]:
    """The snapshot that the command line, or a plan, calls `name`.

    Raises:
        NotFoundError: there is none.
        WrongKeyError: it is encrypted, and no key that was given opens it.
        CorruptError: it is damaged, or no archive.
        PartialError: it is incomplete, and nobody said that this will do.
    """
    with _find(session, str(name)) as snapshot:
        if not (allow_incomplete or snapshot.manifest.complete):
            raise PartialError(
                f"the snapshot in {name} is incomplete", hint="--allow-incomplete uses it as it is", code="incomplete"
            )
        yield snapshot
