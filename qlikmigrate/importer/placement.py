"""Where a new automation goes: to which owner, how it comes to be theirs, and into which space. Pure.

What has no place is left out and told; nothing ever falls to the importing identity by itself.
"""

from __future__ import annotations

from attrs import field, frozen

from qlikmigrate.importer.connection_plan import owner_mode_of
from qlikmigrate.importer.plan import OwnerMode, PlanOptions, SpaceAction
from qlikmigrate.importer.source import Source, SourceAutomation
from qlikmigrate.importer.space_plan import SpaceRecord, flaw_of, plan_space
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping import Mapping as IdMapping


@frozen(kw_only=True)
class Place:
    """Ids at the target; `space_id` empty for a personal one, `new:SOURCE_ID` for one that is created first.

    `code`: why there is none, a stable word; empty where there is.
    """

    owner_id: str = ""
    owner_mode: OwnerMode = OwnerMode.CALLER
    space_id: str = ""
    code: str = ""
    reason: str = ""


@frozen
class Placement:
    """Finds places. `spaces`: those that have to be created; `problems`: what was met so far."""

    source: Source
    target: Target
    mapping: IdMapping
    options: PlanOptions
    records: dict[str, SpaceRecord]
    fallback_owner: str | None
    fallback_space: str | None = None
    spaces: dict[str, SpaceAction] = field(factory=dict, init=False)
    problems: list[Problem] = field(factory=list, init=False)
    _told: set[str] = field(factory=set, init=False)

    def place_of(self, one: SourceAutomation) -> Place:
        """The place of one automation that is to be created."""
        owner = self._owner_of(one)
        space = self.space_of(one)
        if isinstance(owner, Place):
            return owner
        if isinstance(space, Place):
            return space
        mode = owner_mode_of(self.target, owner, self.options.owner)
        if mode is None:
            self._problem(
                "owner-not-settable",
                f"`{one.entity.name}` cannot be given to its owner with this identity",
                f"automation {one.entity.id}",
                "configure `impersonation`, use an admin's identity, or say --owner importer",
            )
            return Place(code="owner-not-settable", reason="this identity cannot give it to its owner")
        return Place(owner_id=owner, owner_mode=mode, space_id=space)

    def _owner_of(self, one: SourceAutomation) -> str | Place:
        if self.options.owner == "importer":
            return self.target.caller.user_id
        owner = one.entity.owner_id
        found = self.mapping.target_of(Kind.USER, owner)
        if found is not None:
            return found
        row = self.mapping.row_of(Kind.USER, owner)
        if row is not None and row.rule == "ambiguous":
            return Place(code="ambiguous-match", reason="more than one user may be its owner")
        if self.fallback_owner is not None:
            return self.fallback_owner
        if owner not in self._told:
            self._told.add(owner)
            user = self.source.inventory.get(Kind.USER, owner)
            name = f"`{user.name or user.subject}`" if user else "unknown"
            self._problem(
                "owner-missing",
                f"the owner {name} of `{one.entity.name}` has no counterpart at the target"
                if self.source.inventory.is_cloud
                else f"nobody is named to own what comes from the account {name}",
                f"user {owner}",
                "map the user in a mapping file, or name one with --default-owner",
            )
        return Place(code="owner-missing", reason="its owner has no counterpart at the target")

    def space_of(self, one: SourceAutomation) -> str | Place:
        """The id of its space, as in `Place.space_id`; a `Place` with a code where it has none."""
        source_id = one.entity.space_id
        if not source_id:
            return ""
        found = self.mapping.target_of(Kind.SPACE, source_id)
        if found is not None:
            return found
        row = self.mapping.row_of(Kind.SPACE, source_id)
        if row is not None and row.decision in (Decision.NULL, Decision.DROP):
            return ""
        if row is not None and row.rule == "ambiguous":
            return Place(code="ambiguous-match", reason="more than one space may be its own")
        record = self.records.get(source_id.lower())
        if record is not None and self.options.create_spaces:
            return self._new_space(record)
        if self.fallback_space is not None:
            return self.fallback_space
        name = f"`{record.name}`" if record else "unknown"
        self._problem(
            "space-missing",
            f"the space {name} has no counterpart at the target",
            f"space {source_id}",
            "create it, map it in a mapping file, name another with --default-space, or say --create-spaces",
        )
        return Place(code="space-missing", reason="its space has no counterpart at the target")

    def _new_space(self, record: SpaceRecord) -> str | Place:
        if flaw := flaw_of(record.name):
            self._problem(
                "name-refused",
                f"the service takes no space called `{record.name}`: {flaw}",
                f"space {record.id}",
                "map it to another space in a mapping file",
            )
            return Place(code="name-refused", reason=f"the name of its space: {flaw}")
        if record.id not in self.spaces:
            self.spaces[record.id], problems = plan_space(record, self.mapping, self.target)
            self.problems.extend(problems)
        return f"new:{record.id}"

    def _problem(self, code: str, message: str, where: str, hint: str) -> None:
        self.problems.append(Problem(code=code, severity=Severity.ERROR, message=message, where=where, hint=hint))
