"""The archive's automations as they are to be written: rewritten with what is known of the target so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qlikmigrate.importer.body import full_body, shell_body, with_bindings, without_bindings
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.importer.plan import Action, Plan
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule import real_schedule
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.finding import Rewritten
from qlikmigrate.remap.mapping import PENDING, UNMATCHED, Decision, MappingRow
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting


def mapping_of(plan: Plan, source: Inventory, values: Mapping[str, str]) -> IdMapping:
    """The mapping that a plan holds. What it creates has no counterpart yet. `values`: resolved `@@KEY@@` texts."""
    return IdMapping(
        rows=tuple(
            MappingRow(
                kind=row.kind,
                source=source.get(row.kind, row.source_id)
                or Entity(kind=row.kind, id=row.source_id, name=row.source_name),
                target_id=row.target_id,
                target_name=row.target_name,
                decision=Decision(row.decision),
                rule=UNMATCHED if row.rule == PENDING else row.rule,
            )
            for row in plan.rows
        ),
        hosts=plan.hosts,
        values=values,
        mail_domains=plan.mail_domains,
        rewrite_code=plan.rewrite_code,
        rewrite_prose=plan.rewrite_prose,
    )


class DocumentSource:
    """Gives bodies for the writes of a run. `learn` tells it ids that have come to be known."""

    def __init__(self, snapshot: Snapshot, rewriting: Rewriting) -> None:
        self._snapshot = snapshot
        self._rewriting = rewriting
        self._fresh: dict[tuple[Kind, str], str] = {}

    def learn(self, kind: Kind, source_id: str, target_id: str) -> None:
        """An object exists at the target now; what refers to it is rewritten from here on."""
        self._fresh[kind, source_id] = target_id

    def rewritten(self, source_id: str) -> Rewritten:
        """An automation's document with its references moved as far as they can be."""
        self._renew()
        return rewrite(self._snapshot.detail(Kind.AUTOMATION, source_id).raw, self._rewriting)

    def shell(self, action: Action, space_id: str, marker: str) -> bytes:
        """The body that creates a shell."""
        return shell_body(self._raw(action.source_id), space_id=space_id, marker=marker)

    def whole(self, action: Action, space_id: str) -> bytes:
        """The body that creates a whole automation."""
        raw = self._raw(action.source_id)
        if action.bind_last:
            raw = without_bindings(raw)
        return full_body(raw, space_id=space_id, max_concurrent_runs=action.max_concurrent_runs)

    def update(
        self,
        action: Action,
        *,
        bind: bool,
        present: Mapping[str, str],
        schedule: Mapping[str, Any] | None = None,
    ) -> tuple[bytes, Face]:
        """The body of a PUT, and the face it gives the automation.

        `present`: block id → connection that is bound at the target and resolves there; a gap of ours never takes it
        away. `schedule`: its schedule in another form.
        """
        raw = self._raw(action.source_id)
        if not bind:
            raw = without_bindings(raw)
        if present:
            raw = with_bindings(raw, present, only_gaps=True)
            raw = with_bindings(raw, {one: present[one] for one in action.kept if one in present}, only_gaps=False)
        body = full_body(raw, space_id=None, max_concurrent_runs=action.max_concurrent_runs, schedule=schedule)
        return body, face_of(parse(body))

    def made_of(self, source_id: str) -> str | None:
        """The automation that this run or an earlier one made of one of the archive's."""
        self._renew()
        return self._rewriting.mapping.target_of(Kind.AUTOMATION, source_id)

    def schedule(self, source_id: str) -> Mapping[str, Any] | None:
        """The schedule that an automation has in the archive."""
        return real_schedule(parse(self._snapshot.detail(Kind.AUTOMATION, source_id).raw).get("schedules"))

    def face(self, source_id: str) -> Face:
        """The face of an automation as it is to be at the target."""
        return face_of(parse(self._raw(source_id)))

    def _raw(self, source_id: str) -> bytes:
        return self.rewritten(source_id).raw

    def _renew(self) -> None:
        if self._fresh:
            pairs: Iterable[tuple[Kind, str, str]] = [(kind, old, new) for (kind, old), new in self._fresh.items()]
            known = self._rewriting
            self._rewriting = Rewriting(
                source=known.source,
                target=known.target,
                mapping=known.mapping.with_targets(pairs),
                published=known.published,
            )
            self._fresh = {}
