"""What a rollback comes to, object by object: outcomes, reasons, and counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qlikmigrate.api.error import ApiError
from qlikmigrate.importer.plan import Action, SpaceAction
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.undo import Undo, Way
from qlikmigrate.kernel.event import Outcome, Problem, Severity, Sink
from qlikmigrate.model.workspace import automations_called, connections_used

_WORDS = {Way.DELETE: "delete", Way.RESTORE: "update", Way.KEEP: "skip", Way.NOTHING: "none"}
_COUNTED = {Way.DELETE: "deleted", Way.RESTORE: "restored", Way.KEEP: "kept", Way.NOTHING: "untouched"}
_FORCEABLE = ("changed-since", "enabled-since", "ran-since", "cannot-compare", "not-proven")


@frozen(kw_only=True)
class RollbackResult:
    """What a rollback came to, or would. `counts`: deleted + restored + kept + untouched + failed = selected."""

    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]
    counts: Mapping[str, Mapping[str, int]]
    failed: int = 0
    differing: int = 0

    @property
    def changes(self) -> bool:
        """Whether it changes the target."""
        return any(one.action in ("delete", "update") and one.status == "planned" for one in self.outcomes)


class RollbackBook:
    """Outcomes, problems and counts in the making."""

    def __init__(self, view: RunView, sink: Sink) -> None:
        self._plan = view.plan
        self._sink = sink
        self._outcomes: list[Outcome] = []
        self._counts = {
            kind: {"selected": selected} | dict.fromkeys((*_COUNTED.values(), "failed"), 0)
            for kind, selected in (("automations", len(view.plan.actions)), ("spaces", len(view.plan.spaces)))
        }
        self._counts["connections"] = dict.fromkeys(self._counts["spaces"], 0)
        if view.plan.settings is not None:
            self._counts["settings"] = {**self._counts["connections"], "selected": 1}
        self.problems: list[Problem] = []
        self.deleted: set[str] = set()
        self._kept: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.differing = 0

    def take(
        self,
        action: Action,
        undo: Undo,
        *,
        done: bool,
        value: Mapping[str, Any] | None = None,
        error: ApiError | None = None,
    ) -> None:
        """One automation is decided on, or done with. `value`: its document."""
        if undo.way is Way.DELETE and undo.target_id and error is None:
            self.deleted.add(undo.target_id)
        if (undo.way is Way.KEEP or error is not None) and undo.target_id and value:
            self._kept[undo.target_id] = (action.name, value)
        self._add("automation", action.source_id, action.name, undo, done=done, error=error)

    def take_connection(
        self, source_id: str, name: str, undo: Undo, *, done: bool, error: ApiError | None = None
    ) -> None:
        """One connection is decided on, or done with."""
        self._counts["connections"]["selected"] += 1
        self._add("connection", source_id, name, undo, done=done, error=error)

    @property
    def highest_runs(self) -> int:
        """The most concurrent runs that a kept automation may have."""
        found = [value.get("maxConcurrentRuns") for _, value in self._kept.values()]
        return max((runs for runs in found if isinstance(runs, int)), default=0)

    def take_settings(self, undo: Undo, *, done: bool, error: ApiError | None = None) -> None:
        """The settings are decided on, or done with."""
        self._add("settings", "", "maxConcurrentRunsPerAutomation", undo, done=done, error=error)

    @property
    def used(self) -> set[str]:
        """The connections that kept automations are bound to."""
        return {use.value for _, value in self._kept.values() for use in connections_used(value)}

    def take_space(self, space: SpaceAction, undo: Undo, *, done: bool, error: ApiError | None = None) -> None:
        """One space is decided on, or done with."""
        self._add("space", space.source_id, space.name, undo, done=done, error=error)

    def _add(self, kind: str, source_id: str, name: str, undo: Undo, *, done: bool, error: ApiError | None) -> None:
        where = f"{kind} {undo.target_id or source_id}".rstrip()
        status = "skipped" if undo.way is Way.KEEP else "done" if done else "planned"
        code, reason = undo.code, undo.reason
        if error is not None:
            status, code, reason = "failed", error.code, error.message
            self.note(code, Severity.ERROR, f"`{name}`: {reason}", where)
        elif undo.way is Way.KEEP:
            hint = "--force undoes it all the same" if kind == "automation" and code in _FORCEABLE else ""
            self.note(code, Severity.WARNING, f"`{name}` is kept: {reason}", where, hint)
        outcome = Outcome(
            kind=kind,
            source_id=source_id or None,
            target_id=undo.target_id,
            name=name,
            action=_WORDS[undo.way],
            status=status,
            code=code,
            reason=reason,
        )
        self._outcomes.append(outcome)
        self._sink(outcome)
        self._counts[kind if kind == "settings" else f"{kind}s"][
            "failed" if error is not None else _COUNTED[undo.way]
        ] += 1

    def note(self, code: str, severity: Severity, message: str, where: str, hint: str = "") -> None:
        """A problem."""
        problem = Problem(code=code, severity=severity, message=message, where=where, hint=hint)
        self.problems.append(problem)
        self._sink(problem)

    def result(self) -> RollbackResult:
        """Everything so far."""
        for ident, (name, value) in self._kept.items():
            for callee in sorted({use.value for use in automations_called(value)} & self.deleted):
                self.note(
                    "callee-removed",
                    Severity.WARNING,
                    f"`{name}` is kept, and calls an automation that this rollback removes: {callee}",
                    f"automation {ident}",
                    "choose another automation to call, or remove the block",
                )
        return RollbackResult(
            outcomes=tuple(self._outcomes),
            problems=tuple(self.problems),
            counts=self._counts,
            failed=sum(one.status == "failed" for one in self._outcomes),
            differing=self.differing,
        )
