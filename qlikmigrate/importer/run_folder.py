"""The folder of one run: its plan, journal, pre-images and reports. Readable by its owner only."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from attrs import frozen

from qlikmigrate.importer.journal import read_state
from qlikmigrate.importer.plan import Plan, dump_plan, read_plan
from qlikmigrate.kernel.error import NotFoundError, UsageError
from qlikmigrate.kernel.file import is_left_over, private_folder, write_atomic

DEFAULT_FOLDER = Path("qlikmigrate-runs")


def default_run(now: datetime, target: str) -> Path:
    """`./qlikmigrate-runs/UTC-TARGET/`."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in target)
    return DEFAULT_FOLDER / f"{now:%Y%m%dT%H%M%SZ}-{safe}"


def run_name(folder: RunFolder, plan: Plan) -> str:
    """The run's name in ledgers, where runs of several folders meet."""
    return f"{folder.path.name} {plan.created_at}"


@frozen
class RunFolder:
    """One run's files."""

    path: Path

    @property
    def plan_path(self) -> Path:
        """The plan that is applied."""
        return self.path / "plan.json"

    @property
    def journal_path(self) -> Path:
        """What was meant and done."""
        return self.path / "journal.jsonl"

    @property
    def started(self) -> bool:
        """Whether a run was begun here."""
        return self.plan_path.exists()

    @property
    def finished(self) -> bool:
        """Whether that run came to its end with nothing left to retry."""
        return read_state(self.journal_path).finished

    def plan(self) -> Plan:
        """The plan of the run.

        Raises:
            NotFoundError: no run was begun here.
        """
        if not self.started:
            raise NotFoundError(f"no run: {self.path}")
        return read_plan(self.plan_path)

    def begin(self, plan: Plan) -> None:
        """Make the folder and put the plan into it."""
        private_folder(self.path)
        if any(not is_left_over(one.name, self.plan_path) for one in self.path.iterdir()):
            raise UsageError(f"the run folder is not empty: {self.path}", hint="name another with --run")
        write_atomic(self.plan_path, dump_plan(plan))

    def same_work(self, plan: Plan) -> bool:
        """Whether the run that was begun here has the same archive, target and mapping as `plan`."""
        mine = self.plan()
        # An archive of several OEM accounts has one digest.
        same = (mine.archive.digest, mine.archive.tenant_id) == (plan.archive.digest, plan.archive.tenant_id)
        wanted = (plan.target.tenant_id, plan.options.mapping_hash)
        return same and (mine.target.tenant_id, mine.options.mapping_hash) == wanted

    def keep_pre_image(self, ident: str, raw: bytes) -> str:
        """Save what an update replaces; the file's name, relative to the folder."""
        path = self._pre_image_path(ident)
        private_folder(path.parent)
        if not path.exists():
            write_atomic(path, raw)
        return f"pre-images/{path.name}"

    def pre_image(self, ident: str) -> bytes | None:
        """What an update replaced; None where none was kept."""
        try:
            return self._pre_image_path(ident).read_bytes()
        except FileNotFoundError:
            return None

    def _pre_image_path(self, ident: str) -> Path:
        safe = ident if ident.replace("-", "").isalnum() else hashlib.sha256(ident.encode()).hexdigest()
        return self.path / "pre-images" / f"{safe}.json"

    def write(self, name: str, text: str) -> Path:
        """Save a report."""
        path = self.path / name
        write_atomic(path, text.encode())
        return path
