"""Our side of the comparison: a vault, fed as an incremental backup feeds it, in this process."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from attrs import frozen
from bench_history import Day
from bench_peers import KEPT, manifest, seconds, size_of

from qlikmigrate.archive.age import KeyFile, Opener, PublicKey, Sealer
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.document import Part, received
from qlikmigrate.model.earlier import Reading
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Capture
from qlikmigrate.vault import Vault
from qlikmigrate.vault.prune import MARGIN, plan_prune, prune
from qlikmigrate.vault.repack import repack
from qlikmigrate.vault.retention import Policy
from qlikmigrate.vault.sealing import Opening, Sealing

# What is removed is marked, then deleted and the rest written anew, then what that replaced is deleted.
_PRUNES = 3


@frozen
class Key:
    """Who may write a sealed vault, and who may read it."""

    recipient: str
    sealing: Sealing
    opening: Opening

    @classmethod
    def made(cls) -> Key:
        """A new one."""
        made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
        recipient = next(line.split()[-1] for line in made.splitlines() if line.startswith("# public key"))
        sealer = Sealer([PublicKey(text=recipient, where="bench")])
        return cls(recipient, sealer, Opener([KeyFile(content=Secret(made), where="bench")]))


class Ours:
    """A vault, plain or sealed. A sealed one is written by a host that has no identity."""

    def __init__(self, place: Path, key: Key | None = None) -> None:
        self.name = "vault, sealed" if key else "vault"
        self._key = key
        self._place = place
        self._folder = place / ("sealed" if key else "plain")
        self._clock = ManualClock()
        Vault.create(self._folder, sealing=key.sealing if key else None, clock=self._clock)
        self._vault: Vault | None = None
        self.vault_s: list[float] = []
        self.snapshot_s: list[float] = []

    def _open(self, folder: Path, clock: ManualClock, *, reads: bool) -> Vault:
        key = self._key
        return Vault.open(
            folder, sealing=key.sealing if key else None, opening=key.opening if key and reads else None, clock=clock
        )

    def back_up(self, number: int, day: Day, folder: Path) -> float:
        """One backup into the vault, opened for it."""
        self._clock = ManualClock(day.at)
        return seconds(lambda: self._write(day))

    def _write(self, day: Day) -> None:
        head = manifest()
        with self._open(self._folder, self._clock, reads=False).writer(spool_folder=self._place) as writer:
            writer.begin(head.tenant, head.identity)
            for key, document in day.documents.items():
                kind, ident, part = key
                if part is Part.DETAIL and key not in day.read:
                    writer.reuse(kind, ident)
                    continue
                writer.add(document)
                if part is Part.DETAIL:
                    read_at = document.read_at or day.at
                    writer.remember(kind, ident, Reading(row_hash=b"", read_at=read_at, settled=True))
            writer.finish(head, Capture(started_at=day.at, finished_at=day.at))

    def settle(self) -> float:
        """Write everything anew, and let go of what that replaces."""
        vault = self._open(self._folder, self._clock, reads=True)

        def work() -> None:
            with vault.lock() as lock:
                repack(vault, lock)

        taken_s = seconds(work)
        # What was replaced goes a margin later, by a prune that removes no snapshot.
        self._clock.advance((MARGIN * 1.1).total_seconds())
        policy = Policy(last=len(vault.snapshots()))
        with vault.lock() as lock:
            prune(vault, lock, plan_prune(vault, policy))
        return taken_s

    def size_bytes(self) -> int:
        """All objects."""
        return size_of(self._folder)

    def read(self, number: int, name: str) -> tuple[bytes, float]:
        """An automation of a snapshot. The vault is opened anew, so that nothing is in memory; that is timed apart."""
        ident = name.removeprefix(f"{Kind.AUTOMATION.value}s/").removesuffix(".json")
        start = time.perf_counter()
        vault = self._open(self._folder, self._clock, reads=True)
        info = vault.snapshots()[number]
        self.vault_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        snapshot = vault.snapshot(info)
        self.snapshot_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        document = snapshot.detail(Kind.AUTOMATION, ident)
        return received(document), time.perf_counter() - start

    def prune(self) -> tuple[float, int, int]:
        """The same rules, three times with a margin between: what is removed can be had back for so long.

        By the host that writes, which has no identity for a sealed vault.
        """
        folder = Path(tempfile.mkdtemp(dir=self._place)) / "vault"
        shutil.copytree(self._folder, folder)
        clock = ManualClock(self._clock.now())
        policy = Policy(**KEPT)
        taken = []
        for _ in range(_PRUNES):
            taken.append(seconds(lambda: self._prune(folder, clock, policy)))
            clock.advance((MARGIN * 1.1).total_seconds())
        left = len(self._open(folder, clock, reads=False).snapshots())
        return sum(taken), size_of(folder), left

    def _prune(self, folder: Path, clock: ManualClock, policy: Policy) -> None:
        vault = self._open(folder, clock, reads=False)
        with vault.lock() as lock:
            prune(vault, lock, plan_prune(vault, policy))
