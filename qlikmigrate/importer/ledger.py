"""What became what, and what we last wrote there: one portable file for each pair of tenants.

A lost ledger costs no doubles: what it knew is found again by natural keys and adopted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs
from attrs import evolve, field, frozen

from qlikmigrate.importer.comparison import Face
from qlikmigrate.importer.line_log import LineLog, read_lines
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.file import private_folder
from qlikmigrate.model.kind import Kind

_FORMAT = "qlikmigrate-ledger"


def default_ledger(source_tenant: str, target_tenant: str) -> Path:
    """Where the ledger of a pair of tenant ids lies unless told otherwise."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in f"{source_tenant}--{target_tenant}")
    return Path(platformdirs.user_state_dir("qlikmigrate")) / "ledgers" / f"{safe}.jsonl"


@frozen(kw_only=True)
class Entry:
    """One object that we wrote or adopted. `face`: what we last wrote; None: adopted without a write.

    `run`: which run said so; empty where none did. `before`: what was known before that run.
    """

    kind: Kind
    source_id: str
    target_id: str
    face: Face | None = None
    run: str = ""
    before: Entry | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Ledger:
    """A read ledger, by kind and lower-case source id; the last line for an object counts."""

    entries: Mapping[tuple[Kind, str], Entry] = field(factory=dict)

    def get(self, kind: Kind, source_id: str) -> Entry | None:
        """The entry of one source object."""
        return self.entries.get((kind, source_id.lower()))

    def pairs(self) -> dict[tuple[Kind, str], str]:
        """(kind, lower-case source id) → target id."""
        return {key: entry.target_id for key, entry in self.entries.items()}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())


def read_ledger(path: Path, *, source_tenant: str, target_tenant: str) -> Ledger:
    """The ledger at `path`; empty when there is none.

    Raises:
        CorruptError: it is damaged, of a newer format, or of other tenants.
    """
    lines, _ = read_lines(path)
    if not lines:
        return Ledger()
    head = lines[0]
    if head.get("format") != _FORMAT:
        raise CorruptError(f"no ledger: {path}")
    if head.get("format_version") != 1:
        raise CorruptError(f"the ledger {path} has format version {head.get('format_version')}; this program reads 1")
    if (head.get("source_tenant"), head.get("target_tenant")) != (source_tenant, target_tenant):
        raise CorruptError(f"the ledger {path} belongs to another pair of tenants", hint="name another with --ledger")
    entries: dict[tuple[Kind, str], Entry] = {}
    for line in lines[1:]:
        try:
            entry = _entry(line)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise CorruptError(f"the ledger {path} is damaged") from None
        key = (entry.kind, entry.source_id.lower())
        last = entries.get(key)
        if line.get("forgotten"):
            entries.pop(key, None)
        elif line.get("reverted") and last is not None and last.before is not None:
            entries[key] = last.before
        else:
            entries[key] = evolve(entry, before=last.before if last and last.run == entry.run else last)
    return Ledger(entries=entries)


def _entry(line: Mapping[str, Any]) -> Entry:
    face = line.get("face")
    return Entry(
        kind=Kind(line["kind"]),
        source_id=str(line["source_id"]),
        target_id=str(line["target_id"]),
        face=Face.from_json(face) if face else None,
        run=str(line.get("run") or ""),
    )


class LedgerWriter:
    """Appends to a ledger; every entry is on the disk when `record` returns."""

    def __init__(self, path: Path, *, source_tenant: str, target_tenant: str) -> None:
        private_folder(path.parent)
        fresh = not read_lines(path)[0]
        self._log = LineLog(path)
        if fresh:
            self._log.append(
                {
                    "format": _FORMAT,
                    "format_version": 1,
                    "source_tenant": source_tenant,
                    "target_tenant": target_tenant,
                }
            )

    def record(self, entry: Entry) -> None:
        """Remember one object."""
        self._log.append(self._line(entry))

    def forget(self, entry: Entry) -> None:
        """Nothing is known of this source object any more."""
        self._log.append(self._line(entry) | {"forgotten": True})

    def revert(self, entry: Entry) -> None:
        """What was known before the run that said `entry` holds again; where nothing was, it is forgotten."""
        if entry.before is None:
            self.forget(entry)
        else:
            self._log.append(self._line(entry.before) | {"reverted": True})

    @staticmethod
    def _line(entry: Entry) -> dict[str, Any]:
        line: dict[str, Any] = {
            "kind": entry.kind.value,
            "source_id": entry.source_id,
            "target_id": entry.target_id,
            "face": entry.face.as_json() if entry.face else None,
        }
        return line | {"run": entry.run} if entry.run else line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
