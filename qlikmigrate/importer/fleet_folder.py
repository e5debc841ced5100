"""The folder of a clone to many: what it is of, its snapshot, a run folder for each target, and how each stands.

It holds no cell of the table: a row may have secrets in it. The table is known again by its hash.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import cattrs
import orjson
from attrs import frozen
from cattrs.preconf.orjson import make_converter

from qlikmigrate.archive.writer import PARTIAL_PREFIX, PARTIAL_SUFFIX
from qlikmigrate.importer.fleet import Ending
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.error import CorruptError, UsageError
from qlikmigrate.kernel.file import is_left_over, private_folder, write_atomic

T = TypeVar("T")

_FORMAT = "qlikmigrate-clone"
_GRID_FORMAT = "qlikmigrate-grid"
_CONVERTER = make_converter(forbid_extra_keys=True)
_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@frozen(kw_only=True)
class Berth:
    """One target's place. `folder`: of its run, below `targets`."""

    name: str
    folder: str


@frozen(kw_only=True)
class Cloning:
    """What a clone to many is of. `digest`: of the snapshot; `table_digest`, `mapping_hash`: of what must stay so."""

    source: str
    archive: str
    digest: str
    table: str
    table_digest: str
    mapping_hash: str = ""
    targets: tuple[Berth, ...] = ()
    created_at: str = ""
    format: str = _FORMAT
    format_version: int = 1


@frozen
class FleetFolder:
    """The files of one clone to many."""

    path: Path

    @property
    def started(self) -> bool:
        """Whether a clone was begun here."""
        return self._cloning_path.exists()

    @property
    def snapshot_path(self) -> Path:
        """Where the snapshot of the source lies, if the source is a tenant."""
        return self.path / "source.qma"

    @property
    def _cloning_path(self) -> Path:
        return self.path / "clone.json"

    @property
    def grid_path(self) -> Path:
        """How each target stands."""
        return self.path / "grid.json"

    def prepare(self) -> None:
        """Make the folder, without what a process left that was killed before it began. Its lock must be held.

        Raises:
            UsageError: there is something else in it.
        """
        private_folder(self.path)
        if self.started:
            return
        for one in self.path.iterdir():
            half_written = one.name.startswith(PARTIAL_PREFIX) and one.name.endswith(PARTIAL_SUFFIX)
            if one != self.snapshot_path and not half_written and not is_left_over(one.name, self._cloning_path):
                raise UsageError(f"the folder is not empty: {self.path}", hint="name another with --run")
        for one in self.path.iterdir():
            one.unlink()

    def begin(self, cloning: Cloning) -> None:
        """Say what is being cloned: from now on this folder is of that."""
        write_atomic(self._cloning_path, orjson.dumps(_CONVERTER.unstructure(cloning), option=_OPTIONS))

    def cloning(self) -> Cloning:
        """What is being cloned here.

        Raises:
            CorruptError: the file is damaged, or of a newer format.
        """
        return _read(self._cloning_path, Cloning, _FORMAT)

    def run(self, berth: Berth) -> RunFolder:
        """The run folder of one target."""
        return RunFolder(self.path / "targets" / berth.folder)

    def save(self, endings: dict[str, Ending]) -> None:
        """Say how each target stands."""
        value = {"format": _GRID_FORMAT, "format_version": 1, "targets": _CONVERTER.unstructure(endings)}
        write_atomic(self.grid_path, orjson.dumps(value, option=_OPTIONS))

    def endings(self) -> dict[str, Ending]:
        """How each target stood when that was last said.

        Raises:
            CorruptError: the file is damaged, or of a newer format.
        """
        return _read(self.grid_path, _Grid, _GRID_FORMAT).targets if self.grid_path.exists() else {}


@frozen(kw_only=True)
class _Grid:
    format: str
    format_version: int
    targets: dict[str, Ending]


def _read(path: Path, kind: type[T], form: str) -> T:
    try:
        value: Any = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        raise CorruptError(f"{path} is damaged") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(value, dict) or value.get("format") != form:
        raise CorruptError(f"{path} is damaged")
    if value.get("format_version") != 1:
        raise CorruptError(f"{path} has format version {value.get('format_version')}; this program reads 1")
    try:
        return _CONVERTER.structure(value, kind)
    except cattrs.BaseValidationError:
        raise CorruptError(f"{path} is damaged") from None


def berths(names: list[str]) -> tuple[Berth, ...]:
    """A place for each target, told apart where the file system would not."""
    taken: set[str] = set()
    found = []
    for name in names:
        safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".") or "target"
        folder, number = safe, 2
        while folder.lower() in taken:
            folder, number = f"{safe}-{number}", number + 1
        taken.add(folder.lower())
        found.append(Berth(name=name, folder=folder))
    return tuple(found)


def cloning_of(run: Path) -> tuple[Cloning, int] | None:
    """The clone to many that the run in folder `run` is a part of, and which of its targets it is; None: of none."""
    folder = FleetFolder(run.absolute().parent.parent)
    if run.absolute().parent.name != "targets" or not folder.started:
        return None
    cloning = folder.cloning()
    found = [number for number, one in enumerate(cloning.targets) if one.folder == run.absolute().name]
    return (cloning, found[0]) if found else None
