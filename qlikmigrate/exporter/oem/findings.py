"""What a backup of OEM accounts met in the documents, as far as its manifest must tell: no value is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field

from qlikmigrate.model.manifest import Restorable
from qlikmigrate.model.oem import OemAutomation, automation_of
from qlikmigrate.remap.input_value import looks_secret
from qlikmigrate.remap.secret import has_secrets

# Modes in which nothing but a schedule starts an automation are all others.
# Source: the reference "Calling a data blend via a webhook URL"; the editor's run modes.
_WITHOUT_SCHEDULE = frozenset({"manual", "triggered", "webhook"})


@define
class Findings:
    """What was met in the documents, by id of the automation. `blends`: all that are captured."""

    blends: dict[str, OemAutomation] = field(factory=dict)
    with_workspace: set[str] = field(factory=set)
    with_schedule: set[str] = field(factory=set)
    secret_inputs: set[str] = field(factory=set)
    secret_workspaces: set[str] = field(factory=set)

    def learn(self, ident: str, value: Mapping[str, Any], *, run_mode: str, input_values: bool) -> None:
        """Keep what the rest of the backup must know of a document. `run_mode`: as its row says, where it does not."""
        self.forget(ident)
        view = automation_of(value)
        if input_values and any(looks_secret(each) for each in view.inputs):
            self.secret_inputs.add(ident)
        # Source: no page shows these; should an answer have them, they are there.
        workspace = value.get("workspace")
        if isinstance(workspace, Mapping | list) and workspace:
            self.with_workspace.add(ident)
            if has_secrets(json.dumps({"workspace": workspace}).encode()):
                self.secret_workspaces.add(ident)
        if view.schedule.get("schedule_interval") is not None:
            self.with_schedule.add(ident)
        stripped = tuple(evolve(each, value=None) for each in view.inputs)
        self.blends[ident] = evolve(view, inputs=stripped, run_mode=view.run_mode or run_mode)

    def forget(self, ident: str) -> None:
        """It is not in the snapshot."""
        self.blends.pop(ident, None)
        for marked in (self.with_workspace, self.with_schedule, self.secret_inputs, self.secret_workspaces):
            marked.discard(ident)

    def single(self) -> list[OemAutomation]:
        """Those that are no bundles: a bundle has neither a workspace nor a schedule, its children have."""
        return [one for one in self.blends.values() if not one.is_bundle]

    def without_workspace(self) -> list[str]:
        """Ids of those whose workspace is not in the snapshot."""
        return sorted(one.id for one in self.single() if one.id not in self.with_workspace)

    def without_schedule(self) -> list[str]:
        """Ids of those that may be started by a schedule, which is not in the snapshot."""
        return sorted(
            one.id
            for one in self.single()
            if one.run_mode not in _WITHOUT_SCHEDULE and one.id not in self.with_schedule
        )

    def restorable(self, *, input_values: bool) -> Restorable:
        """What could be recreated, apart from completeness."""
        lacking = len(self.without_workspace())
        if lacking and lacking == len(self.single()):
            return Restorable.METADATA
        cut = not input_values and any(one.inputs for one in self.blends.values())
        return Restorable.PARTIAL if lacking or cut or self.without_schedule() else Restorable.FULL
