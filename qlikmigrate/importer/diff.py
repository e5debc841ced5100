"""Compares the automations of two snapshots: pairs them, brings one side's ids over to the other, tells what differs.

Only one pair of documents is held at a time. What a side could not read, or was not asked for, is never called removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.importer.comparison import face_of
from qlikmigrate.importer.document_source import mapping_of
from qlikmigrate.importer.ledger import default_ledger, read_ledger
from qlikmigrate.importer.plan import Action
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.source import Source, choose, read_source
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.difference import Edit, compare
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Manifest, Scope
from qlikmigrate.model.selection import Selectors
from qlikmigrate.model.snapshot import Snapshot, parse
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.mapping_file import MappingFile
from qlikmigrate.remap.matching import Contents, contested, match
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

# What a rewrite writes as nothing: a gap on the other side is then no difference, and is told by these.
_GAPS = {
    "connection-unbound": "the connection has no counterpart: compared as unbound",
    "call-unresolved": "the called automation has no counterpart: compared as a disabled block",
}


# What an OEM account's API may not, or never, say of an automation.
_UNSAID = ("state", "maxConcurrentRuns")


class Standing(StrEnum):
    """What became of an automation from the first side to the second. `unknown`: the other side does not say."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class Compared:
    """One automation, or OEM connection, as both sides have it; `old` or `new` is None where a side has none."""

    standing: Standing
    old: Entity | None = None
    new: Entity | None = None
    edits: tuple[Edit, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """Its name, the newer one."""
        one = self.new or self.old
        return one.name if one else ""

    @property
    def kind(self) -> Kind:
        """What it is: an automation, or with OEM accounts a connection."""
        one = self.new or self.old
        return one.kind if one else Kind.AUTOMATION


@frozen(kw_only=True)
class DiffRequest:
    """How two sides are compared. `run`: its pairs of ids; `decisions`: a mapping file, None where none was given.

    `values`: resolved `@@KEY@@` texts.
    """

    selectors: Selectors = field(factory=Selectors)
    with_calls: bool = False
    run: RunView | None = None
    decisions: MappingFile | None = None
    values: Mapping[str, str] = field(factory=dict, repr=False)


class Diff:
    """Two snapshots, ready to be compared.

    Raises (when made):
        UsageError: the selection is empty on both sides, or the run is one of other tenants.
        CorruptError: a document is damaged.
    """

    def __init__(self, old: Snapshot, new: Snapshot, request: DiffRequest) -> None:
        # Ids are brought from the source to the target, whichever of them stands first.
        self._swapped = request.run is not None and _is_swapped(old.manifest, new.manifest, request.run)
        here, there = (new, old) if self._swapped else (old, new)
        # All of either side: a counterpart may lie outside the selection.
        self.source, self.target = (read_source(one, Selectors(), with_calls=False) for one in (here, there))
        self._chosen = [_chosen(one, request) for one in (self.source, self.target)]
        if request.selectors and not any(self._chosen):
            raise UsageError("the selection is empty", hint="`qlikmigrate list ARCHIVE` shows what it holds")
        self._actions = _actions(request.run)
        same = here.manifest.tenant.id == there.manifest.tenant.id
        self._mapping: IdMapping | None = None
        if request.run is not None:
            self._mapping = _run_mapping(request.run, self.source).with_values(request.values)
        elif request.decisions is not None or not same:
            self._mapping = self._match(request).with_values(request.values)
        self._rewriting = self._rewriting_of(self._mapping)

    @property
    def old(self) -> Source:
        """The first side."""
        return self.target if self._swapped else self.source

    @property
    def new(self) -> Source:
        """The second side."""
        return self.source if self._swapped else self.target

    @property
    def token_hashes(self) -> frozenset[str]:
        """SHA-256 of the execution tokens of both sides."""
        return self.source.token_hashes | self.target.token_hashes

    @property
    def namings(self) -> tuple[tuple[Inventory, ...], tuple[Inventory, ...]]:
        """Where the ids in the old and the new values of edits have names, the first that knows one."""
        if self._mapping is None:
            return (self.old.inventory,), (self.new.inventory,)
        both = (self.target.inventory, self.source.inventory)
        return both, both

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Matches that could not be settled, as warnings: what they concern has no counterpart here."""
        found = self._mapping.problems if self._mapping else ()
        return tuple(evolve(one, severity=Severity.WARNING) for one in found if one.code.startswith("ambiguous"))

    def __iter__(self) -> Iterator[Compared]:
        """The selected automations of both sides, by name."""
        pairs = list(self._pairs())
        for pair in sorted(pairs, key=lambda pair: _order(*pair)):
            yield self._compare(*pair)

    def _pairs(self) -> Iterator[tuple[Entity | None, Entity | None]]:
        """Source and target of each automation that either side selects."""
        here, there = self._chosen
        met: set[str] = set()
        for one in self.source.inventory.of(Kind.AUTOMATION):
            ident = one.id if self._mapping is None else self._mapping.target_of(Kind.AUTOMATION, one.id)
            counterpart = self.target.inventory.get(Kind.AUTOMATION, ident)
            met |= {counterpart.id} if counterpart else set()
            if one.id in here or (counterpart is not None and counterpart.id in there):
                yield one, counterpart
        for one in self.target.inventory.of(Kind.AUTOMATION):
            if one.id in there and one.id not in met:
                yield None, one

    def _compare(self, here: Entity | None, there: Entity | None) -> Compared:
        pair = (there, here) if self._swapped else (here, there)
        told = Compared(standing=Standing.SAME, old=pair[0], new=pair[1])
        sides = ((here, self.source, self.target), (there, self.target, self.source))
        for one, side, other in sides:
            # A list row without a document: it was not to be had, or is no part of a partial snapshot.
            if one is not None and one.id not in side.automations:
                lost = {note.id for note in (*side.snapshot.manifest.unreadable, *side.snapshot.manifest.missing)}
                return evolve(told, standing=Standing.UNREADABLE if one.id in lost else Standing.UNKNOWN)
            if one is None and _is_narrow(side.snapshot.manifest, other.snapshot.manifest):
                return evolve(told, standing=Standing.UNKNOWN)
        if here is None or there is None:
            return evolve(told, standing=Standing.ADDED if pair[0] is None else Standing.REMOVED)
        now = _value(self.target.snapshot, there.id)
        wanted, problems = self._wanted(here.id, now)
        edits = compare(now, wanted) if self._swapped else compare(wanted, now)
        return evolve(told, standing=Standing.CHANGED if edits else Standing.SAME, edits=edits, problems=problems)

    def _wanted(self, ident: str, now: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        """A source automation as it would be at the target."""
        raw = self.source.snapshot.detail(Kind.AUTOMATION, ident).raw
        if self._rewriting is None or self._mapping is None:
            return dict(parse(raw)), ()
        rewritten = rewrite(raw, self._rewriting)
        value = dict(parse(rewritten.raw))
        for member, kind in (("ownerId", Kind.USER), ("spaceId", Kind.SPACE)):
            value[member] = self._mapping.target_of(kind, value.get(member)) or value.get(member)
        if not self.source.inventory.is_cloud:
            # Of what an OEM account does not say nothing can differ.
            value |= {member: now.get(member) for member in _UNSAID if not value.get(member)}
        problems = tuple(
            evolve(one, message=_GAPS[one.code], hint="").problem(f"automation {ident}")
            for one in rewritten.findings
            if one.code in _GAPS
        )
        action = self._actions.get(ident)
        return (_placed(value, action, now, self._mapping) if action else value), problems

    def _match(self, request: DiffRequest) -> IdMapping:
        tenants = (self.source.inventory.tenant.id, self.target.inventory.tenant.id)
        ledger = read_ledger(default_ledger(*tenants), source_tenant=tenants[0], target_tenant=tenants[1])

        def run(contents: Contents | None) -> IdMapping:
            return match(
                self.source.inventory,
                self.target.inventory,
                decisions=request.decisions,
                ledger=ledger.pairs(),
                needed=self.source.needed(),
                contents=contents,
            )

        mapping = run(None)
        if not all(contested(self.source.inventory, self.target.inventory, mapping)):
            return mapping
        rewriting = self._rewriting_of(mapping)

        def core(side: Source, ident: str) -> str | None:
            if ident not in side.automations:
                return None
            raw = side.snapshot.detail(Kind.AUTOMATION, ident).raw
            if side is self.source and rewriting is not None:
                raw = rewrite(raw, rewriting).raw
            return face_of(parse(raw)).core

        return run(
            Contents(source=lambda ident: core(self.source, ident), target=lambda ident: core(self.target, ident))
        )

    def _rewriting_of(self, mapping: IdMapping | None) -> Rewriting | None:
        if mapping is None:
            return None
        return Rewriting(source=self.source.inventory, target=self.target.inventory, mapping=mapping)


def _chosen(side: Source, request: DiffRequest) -> frozenset[str]:
    """Ids that the selection names on a side; what has no document is chosen by its list row."""
    if not request.selectors:
        return frozenset(one.id for one in side.inventory.of(Kind.AUTOMATION))
    return choose(side, request.selectors, with_calls=request.with_calls)


def _value(snapshot: Snapshot, ident: str) -> Mapping[str, Any]:
    value: Mapping[str, Any] = parse(snapshot.detail(Kind.AUTOMATION, ident).raw)
    return value


def _order(here: Entity | None, there: Entity | None) -> tuple[str, str]:
    one = there or here
    return (one.name.casefold(), one.id) if one else ("", "")


def _is_narrow(manifest: Manifest, other: Manifest) -> bool:
    """Whether a snapshot's silence about an automation of the other one says nothing."""
    own_view = manifest.scope is Scope.IDENTITY and manifest.identity != other.identity
    return manifest.selection is not None or own_view


def _is_swapped(old: Manifest, new: Manifest, run: RunView) -> bool:
    """Whether the second side is the run's source.

    Raises:
        UsageError: the run is one of other tenants.
    """
    wanted = (run.plan.archive.tenant_id, run.plan.target.tenant_id)
    if (old.tenant.id, new.tenant.id) == wanted:
        return False
    if (new.tenant.id, old.tenant.id) == wanted:
        return True
    raise UsageError(
        f"the run brought `{run.plan.archive.tenant_name}` to `{run.plan.target.name}`: these are other tenants",
        hint="compare an archive of the source with the target, or leave --run out",
    )


def _actions(run: RunView | None) -> dict[str, Action]:
    return {one.source_id: one for one in run.plan.actions} if run else {}


def _run_mapping(run: RunView, source: Source) -> IdMapping:
    """The plan's rows, and what the journal says was created."""
    made = [(Kind.AUTOMATION, one.source_id, run.target_of(one.seq)) for one in run.plan.actions]
    for key, done in run.state.objects.items():
        for kind in (Kind.SPACE, Kind.CONNECTION):
            prefix, _, ident = key.partition(":")
            if prefix == kind.value:
                made.append((kind, ident, done.target_id))
    known = [(kind, ident, target) for kind, ident, target in made if target]
    return mapping_of(run.plan, source.inventory, {}).with_targets(known)


def _placed(value: dict[str, Any], action: Action, now: Mapping[str, Any], mapping: IdMapping) -> dict[str, Any]:
    """What the run meant an automation to be: its owner, space and limit, and off where it was held."""
    found = dict(value)
    if action.owner_id:
        found["ownerId"] = action.owner_id
    space = action.space_id or ""
    found["spaceId"] = mapping.target_of(Kind.SPACE, space[4:]) if space.startswith("new:") else space
    if action.max_concurrent_runs is not None:
        found["maxConcurrentRuns"] = action.max_concurrent_runs
    off = action.held or found.get("state") == "unavailable"
    if off and now.get("state") == "disabled":
        found["state"] = "disabled"
    return found
