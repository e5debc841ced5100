"""The folder of a plain export: what is in it that no export wrote is never touched.

A marker lists the export's own files. Before the first new one it is written with all that may come, so that after a
kill at any moment the next export knows its own again and puts them right.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from qlikmigrate.kernel.error import CorruptError, FailedError, UsageError
from qlikmigrate.kernel.file import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder
from qlikmigrate.model.snapshot import Snapshot
from qlikmigrate.report.plain import FOLDERS, FORMAT, FORMAT_VERSION, INDEX, ITEMS, README, SINGLE, Plain, PlainFile
from qlikmigrate.report.plain_name import folded

MARKER = ".qlikmigrate-plain"
_PARTIAL = ".qlikmigrate-partial"
_HEAD = re.compile(rf"{FORMAT} (\d+)\.\d+: the files that the next export replaces or removes")
# Whoever can write the marker could otherwise let an export remove anything.
_ON_TOP = "|".join(map(re.escape, (README, INDEX, ITEMS, *SINGLE.values())))
_BELOW = rf"(?:{'|'.join(FOLDERS.values())})/[^/\\:\x00-\x1f.][^/\\:\x00-\x1f]*\.json"
_OURS = re.compile(rf"(?:{_ON_TOP}|{_BELOW})")


@frozen(kw_only=True)
class PlainResult:
    """Files of an export: `written` anew or changed, `unchanged`, and `removed` because their object is gone."""

    written: int
    unchanged: int
    removed: int


def write_plain(snapshot: Snapshot, folder: Path) -> PlainResult:
    """Write a snapshot as plain files into `folder`: a new or empty one, or one that an earlier export made.

    Names that begin with a dot, such as `.git`, leave a folder empty.

    Raises:
        UsageError: the folder holds something else, or a file of somebody else is in the way.
        CorruptError: the marker or a document is damaged, or a newer version made the export.
        FailedError: the disk is full, or does not allow it.
    """
    plain = Plain(snapshot)
    try:
        return _Folder(folder).write(plain)
    except PermissionError as error:
        raise UsageError(f"cannot write `{error.filename or folder}`: {error.strerror}") from None
    except OSError as error:
        raise FailedError(f"cannot write `{error.filename or folder}`: {error.strerror}", code="cannot-write") from None


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, plain: Plain) -> PlainResult:
        before = self._open()
        (self._path / _PARTIAL).unlink(missing_ok=True)
        wanted = plain.paths
        self._check_free(wanted, before)
        removed = self._remove(before - wanted)
        written = unchanged = 0
        made: set[str] = set()
        try:
            for file in plain:
                if made <= before and file.path not in before:
                    self._mark(before | wanted)
                made.add(file.path)
                if self._put(file):
                    written += 1
                else:
                    unchanged += 1
        finally:
            (self._path / _PARTIAL).unlink(missing_ok=True)
        # Of `wanted` alone: where case does not count, an older spelling would be the new file.
        removed += self._remove(wanted - made)
        for name in FOLDERS.values():
            with contextlib.suppress(OSError):
                (self._path / name).rmdir()
        self._mark(made)
        return PlainResult(written=written, unchanged=unchanged, removed=removed)

    def _open(self) -> frozenset[str]:
        """The files of the export that is there; none in a new folder."""
        path = self._path
        try:
            path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        except FileNotFoundError:
            raise UsageError(f"no such folder: {path.parent}", hint="make it first") from None
        except FileExistsError:
            raise UsageError(f"`{path}` is no folder", hint="name a folder") from None
        try:
            text = (path / MARKER).read_text(encoding="utf-8")
        except FileNotFoundError:
            if any(not one.name.startswith(".") for one in path.iterdir()):
                raise UsageError(
                    f"`{path}` is neither empty nor an earlier plain export",
                    hint="name a new folder; it may lie in this one",
                    code="folder-not-empty",
                ) from None
            return frozenset()
        except UnicodeDecodeError:
            text = ""
        head, *lines = text.splitlines() or [""]
        match = _HEAD.fullmatch(head)
        if match and int(match[1]) > int(FORMAT_VERSION.partition(".")[0]):
            raise CorruptError(f"a newer version made the plain export in `{path}`", code="newer-format")
        if not match or not all(map(_OURS.fullmatch, lines)):
            raise CorruptError(
                f"`{path / MARKER}` is damaged",
                hint="bring it back from git, or remove it with the export's files and export anew",
            )
        return frozenset(lines)

    def _check_free(self, wanted: Iterable[str], before: frozenset[str]) -> None:
        for name in FOLDERS.values():
            place = self._path / name
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise UsageError(f"`{place}` is in the way: it is no folder of the export", code="folder-not-empty")
        # Where case does not count, a name that was spelled otherwise before is there already, and the export's own.
        own = set(map(folded, before))
        for path in sorted(wanted):
            if folded(path) not in own and os.path.lexists(self._path / path):
                raise UsageError(
                    f"`{self._path / path}` is in the way: no export wrote it",
                    hint="move it elsewhere",
                    code="folder-not-empty",
                )

    def _mark(self, paths: Iterable[str]) -> None:
        head = f"{FORMAT} {FORMAT_VERSION}: the files that the next export replaces or removes"
        data = "".join(f"{text}\n" for text in (head, *sorted(paths))).encode()
        if self._content(MARKER) != data:
            self._swap(self._path / MARKER, data, durable=True)

    def _remove(self, paths: Iterable[str]) -> int:
        gone = 0
        for path in sorted(paths):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (self._path / path).unlink()
                gone += 1
        return gone

    def _put(self, file: PlainFile) -> bool:
        """Whether the file had to be written."""
        path = self._path / file.path
        if self._content(file.path) == file.data:
            if path.stat().st_mode & 0o077:
                path.chmod(PRIVATE_FILE)
            return False
        if path.parent != self._path:
            path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        self._swap(path, file.data)
        return True

    def _swap(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        """Put `data` at `path` at once, by way of the one name that the next export clears away after a kill.

        Only the marker is `durable`: what a loss of power takes of the rest, the next export finds and writes again.
        """
        partial = self._path / _PARTIAL
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        partial.replace(path)
        if durable:
            sync_folder(path.parent)

    def _content(self, path: str) -> bytes | None:
        """What stands there; None where no file does."""
        place = self._path / path
        if place.is_symlink():
            return None
        try:
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
