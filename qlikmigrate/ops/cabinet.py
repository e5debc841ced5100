"""Where evidence is kept and found again. Beside an archive: `ARCHIVE.drill-UTC.json`, readable by its owner only.

Of a snapshot of a vault: in the vault.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from attrs import frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.file import write_atomic
from qlikmigrate.ops.evidence import Evidence, dump, load, markdown
from qlikmigrate.vault import Vault


class Cabinet(Protocol):
    """Keeps the evidence of the drills of a snapshot, and of others of its kind."""

    def check(self) -> None:
        """Ask before the work whether there will be a place for what comes of it.

        Raises:
            UsageError: there is none.
        """

    def earlier(self) -> Sequence[Evidence]:
        """All evidence that lies there, the oldest first."""

    def file(self, evidence: Evidence, moment: datetime) -> str:
        """Keep it; where it is now."""


@frozen
class FileCabinet:
    """The folder of an archive. `wanted`: the file that was asked for, else a name of our own beside `archive`."""

    archive: Path
    wanted: Path | None = None

    def check(self) -> None:
        folder = (self.wanted or self.archive).parent
        if not folder.is_dir():
            raise UsageError(f"no such folder: {folder}", hint="make it first")
        if not os.access(folder, os.W_OK):
            raise UsageError(
                f"cannot write evidence to the folder {folder}", hint="--evidence FILE names another place"
            )
        if self.wanted is None:
            return
        if self.wanted.suffix == ".md":
            raise UsageError(
                f"{self.wanted} is a name for people's form", hint="name it FILE.json: FILE.md comes along"
            )
        for path in (self.wanted, self.wanted.with_suffix(".md")):
            if path.exists():
                raise UsageError(f"{path} exists", hint="name another file: evidence is never replaced")

    def earlier(self) -> list[Evidence]:
        return evidence_in((self.wanted or self.archive).parent)

    def file(self, evidence: Evidence, moment: datetime) -> str:
        path = self.wanted or _free_path(self.archive, moment)
        write_atomic(path.with_suffix(".md"), markdown(evidence).encode())
        write_atomic(path, dump(evidence))
        return str(path)


@frozen
class VaultCabinet:
    """A vault, which keeps the evidence of its snapshots. `snapshot_id`: of the one that is drilled."""

    vault: Vault
    snapshot_id: str

    def check(self) -> None:
        self.vault.check_drills()

    def earlier(self) -> list[Evidence]:
        return [one for _, raw in self.vault.drills() if (one := load(raw)) is not None]

    def file(self, evidence: Evidence, moment: datetime) -> str:
        name = self.vault.file_drill(self.snapshot_id, dump(evidence), moment)
        return f"{self.vault.store.location.rstrip('/')}/{name}"


def _free_path(archive: Path, moment: datetime) -> Path:
    stem = f"{archive.name}.drill-{moment:%Y%m%dT%H%M%SZ}"
    path, number = archive.with_name(f"{stem}.json"), 2
    while path.exists():
        path, number = archive.with_name(f"{stem}-{number}.json"), number + 1
    return path


def evidence_in(folder: Path) -> list[Evidence]:
    """The evidence that lies in a folder under names of our own, the oldest first; what is none is passed over."""
    found = []
    for path in folder.glob("*.drill-*.json"):
        try:
            evidence = load(path.read_bytes())
        except OSError:
            continue
        if evidence is not None:
            found.append(evidence)
    return sorted(found, key=lambda one: one.started_at)


def last_drill(found: Sequence[Evidence], digest: str) -> Evidence | None:
    """The newest evidence of what a snapshot with that digest holds: of an archive as it is now, whatever its name."""
    return next((one for one in reversed(found) if one.archive.digest == digest), None)
