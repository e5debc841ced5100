"""A run as its folder tells it: the plan, and how far the journal says that each action has come."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from qlikmigrate.importer.journal import RunState, read_state
from qlikmigrate.importer.plan import Action, Plan, Step
from qlikmigrate.importer.run_folder import RunFolder


@frozen
class RunView:
    """A run that was begun."""

    folder: RunFolder
    plan: Plan
    state: RunState

    @classmethod
    def open(cls, path: Path) -> RunView:
        """The run in the folder `path`.

        Raises:
            NotFoundError: no run was begun there.
            CorruptError: its plan or journal is damaged.
        """
        folder = RunFolder(path)
        return cls(folder, folder.plan(), read_state(folder.journal_path))

    def target_of(self, seq: int) -> str | None:
        """The id at the target of the automation of one action, as far as it is known."""
        done = self.state.objects.get(str(seq))
        if done is not None and done.target_id:
            return done.target_id
        return next((one.target_id for one in self.plan.actions if one.seq == seq), None)

    def complete(self, action: Action) -> bool:
        """Whether every write of an action was carried out, switching it on apart."""
        done = self.state.objects.get(str(action.seq))
        steps = done.steps if done else []
        return all(step in steps for step in action.steps if step is not Step.ENABLE)
