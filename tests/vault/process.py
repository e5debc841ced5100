"""The command line in processes of its own, on a vault of a small living tenant, and what such a vault holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from attrs import define, field
from stage import Stage, document, text_block

from qlikmigrate.vault import Vault
from qlikmigrate.vault.name import GONE, MARKS, Mark, Tombstone
from qlikmigrate.vault.store import open_store
from qlikmigrate.vault.verification import verify_vault

_PATIENCE_S = 120.0
# So many snapshots stay when a prune goes by.
KEPT = 4


@define
class Night:
    """A tenant of a stage that is backed up into one vault. `location`: the vault."""

    stage: Stage
    location: str
    automations: int = 40
    ids: list[str] = field(factory=list)
    day: int = 0

    def begin(self, backups: int = 3) -> None:
        """The vault with its first snapshots."""
        for number in range(self.automations):
            given = document(f"automation {number:03}", text_block(1, self._text(number)))
            self.ids.append(self.stage.source.tenant.add_automation(given, self.stage.source.users["ben"]))
        for number in range(backups):
            done = self.stage.cli(*self.words("backup"), *(["--init"] if number == 0 else []))
            assert done.code == 0, done.error
            self.pass_day()

    def pass_day(self) -> None:
        """Somebody edits a tenth of the automations."""
        self.day += 1
        for number in range(self.day % 10, self.automations, 10):
            edited = document("", text_block(1, self._text(number)))["workspace"]
            self.stage.source.tenant.replace_workspace(self.ids[number], edited)

    def _text(self, number: int) -> str:
        return f"text {number} of day {self.day} " * 40

    def words(self, verb: str) -> list[str]:
        """The arguments of a command."""
        return {
            "backup": ["backup", "source", "--vault", self.location, "--full"],
            "prune": ["prune", self.location, "--keep-last", str(KEPT), "--yes"],
            "repack": ["repack", self.location],
            "repair": ["repair", self.location],
        }[verb]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A process of its own that runs a command."""
        config = ["--config", str(self.stage.config)]
        return subprocess.Popen(
            [sys.executable, "-m", "qlikmigrate", *words, "--json", *(config if words[0] != "verify" else [])],
            cwd=self.stage.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ,
        )  # fmt: skip

    def open(self) -> Vault:
        """The vault, as it is now."""
        return Vault.open(self.location)

    def whole(self) -> dict[str, str]:
        """The complete snapshots with the digests of all that they give back, oldest first."""
        vault = self.open()
        return {info.id: vault.snapshot(info).digest for info in vault.snapshots() if info.complete}

    def healthy(self) -> bool:
        """Whether every byte is as it was written."""
        return verify_vault(self.open()).ok

    def let_margin_pass(self) -> None:
        """What was marked and removed so far was so more than a margin ago."""
        store = open_store(self.location)
        long_ago = timedelta(days=8)
        for folder in (GONE, MARKS):
            for entry in store.entries(folder):
                old = Tombstone.parse(entry.name) if folder == GONE else Mark.parse(entry.name)
                assert old is not None
                aged = (
                    Tombstone(old.id, old.pack, old.at - long_ago)
                    if isinstance(old, Tombstone)
                    else Mark(old.pack, old.at - long_ago)
                )
                store.delete(entry.name)
                store.create(str(aged), b"")


def ended(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    """The summary of a process, once it has ended."""
    out, _ = process.communicate(timeout=_PATIENCE_S)
    summary = json.loads(out.splitlines()[-1])
    assert isinstance(summary, dict)
    assert summary["exit_code"] == process.returncode
    return summary


def lock_files(folder: Path) -> Iterator[str]:
    """The lock objects of a vault in a folder."""
    if (folder / "locks").is_dir():
        yield from sorted(path.name for path in (folder / "locks").iterdir() if not path.name.startswith("."))


def is_held(folder: Path) -> bool:
    """Whether somebody holds the vault's lock, or held it when he died."""
    names = list(lock_files(folder))
    newest = max((name for name in names if "." not in name), default="")
    return bool(newest) and f"{newest}.released" not in names
