"""The archive's side of a restore: which automations are selected, and what they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate.kernel.error import CorruptError, UsageError
from qlikmigrate.kernel.event import Problem
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem_view import Lacking, OemView
from qlikmigrate.model.schedule import is_armed, real_schedule
from qlikmigrate.model.selection import Selectors, select
from qlikmigrate.model.snapshot import Snapshot, inventory_of, parse
from qlikmigrate.model.workspace import automations_called, connections_used, connectors_used


@frozen(kw_only=True)
class SourceAutomation:
    """One automation of the archive. Ids in `connections`, `connectors`, `calls` are as written in the workspace.

    `schedule`: the one that would fire, if any.
    """

    entity: Entity
    armed: bool
    max_concurrent_runs: int | None
    connections: frozenset[str]
    connectors: frozenset[str]
    calls: frozenset[str]
    schedule: Mapping[str, Any] | None = None


@frozen(kw_only=True)
class Source:
    """What a restore works on. `automations`: the selected ones by id, in id order.

    `token_hashes`: SHA-256 of the execution tokens of all automations of the archive, so that who embeds one is found.
    `lacking`: what is selected and cannot be brought over.
    """

    snapshot: Snapshot
    inventory: Inventory = field(repr=False)
    automations: Mapping[str, SourceAutomation] = field(repr=False)
    token_hashes: frozenset[str] = field(default=frozenset(), repr=False)
    lacking: tuple[Lacking, ...] = ()

    def is_unsure(self, one: Entity) -> bool:
        """Whether nobody says if it is on, as an OEM account's API may not."""
        return not one.state and not self.inventory.is_cloud

    def remarks(self, ident: str) -> tuple[Problem, ...]:
        """What the archive itself knows that is not brought over with an automation, or is left for people."""
        return self.snapshot.remarks(ident) if isinstance(self.snapshot, OemView) else ()

    def needed(self) -> set[tuple[Kind, str]]:
        """Everything the selection uses: problems of other objects are none of this restore's."""
        keys: set[tuple[Kind, str]] = set()
        for one in self.automations.values():
            entity = one.entity
            keys |= {(Kind.AUTOMATION, entity.id.lower()), (Kind.USER, entity.owner_id.lower())}
            if entity.space_id:
                keys.add((Kind.SPACE, entity.space_id.lower()))
            keys |= {(Kind.CONNECTOR, ident.lower()) for ident in one.connectors}
            keys |= {(Kind.AUTOMATION, ident.lower()) for ident in one.calls}
            for ident in one.connections:
                keys.add((Kind.CONNECTION, ident.lower()))
        return keys


def read_source(snapshot: Snapshot, selectors: Selectors, *, with_calls: bool) -> Source:
    """Read the archive's documents once and select.

    Raises:
        CorruptError: a document is damaged.
        UsageError: the selection is empty.
    """
    inventory = inventory_of(snapshot)
    found: dict[str, SourceAutomation] = {}
    hashes: set[str] = set()
    for ident in snapshot.ids(Kind.AUTOMATION):
        document = snapshot.detail(Kind.AUTOMATION, ident)
        hashes.update(cut.sha256 for cut in document.cuts if cut.sha256)
        value = parse(document.raw)
        if not isinstance(value, Mapping):
            raise CorruptError(f"automation {ident} of the archive is no object")
        found[ident] = _read(value, inventory.get(Kind.AUTOMATION, ident))
    chosen = select(
        [one.entity for one in found.values()], inventory, selectors, lambda ident: found[ident].connections
    )
    wanted = {one.id for one in chosen}
    if with_calls:
        wanted = _with_calls(wanted, found)
    lacking = _lacking(snapshot, inventory, selectors)
    if selectors and not wanted and not lacking:
        raise UsageError("the selection is empty", hint="`qlikmigrate list ARCHIVE` shows what it holds")
    return Source(
        snapshot=snapshot,
        inventory=inventory,
        automations={ident: found[ident] for ident in sorted(wanted)},
        token_hashes=frozenset(hashes),
        lacking=lacking,
    )


def _lacking(snapshot: Snapshot, inventory: Inventory, selectors: Selectors) -> tuple[Lacking, ...]:
    """What the selection names and the archive holds no workspace of: by its list row, which says nothing of `uses`."""
    if not isinstance(snapshot, OemView):
        return ()
    ones = {one.ident: one for one in snapshot.lacking()}
    rows = [row for ident in ones if (row := inventory.get(Kind.AUTOMATION, ident)) is not None]
    return tuple(ones[row.id] for row in select(rows, inventory, selectors, lambda ident: ()))


def choose(source: Source, selectors: Selectors, *, with_calls: bool) -> frozenset[str]:
    """Ids of a whole source's automations that `selectors` select; what has no document is judged by its list row."""
    found = source.automations
    ones = [found[one.id].entity if one.id in found else one for one in source.inventory.of(Kind.AUTOMATION)]

    def connections_of(ident: str) -> frozenset[str]:
        return found[ident].connections if ident in found else frozenset()

    wanted = {one.id for one in select(ones, source.inventory, selectors, connections_of)}
    return frozenset(_with_calls(wanted, found) if with_calls else wanted)


def _read(value: Mapping[str, Any], row: Entity | None) -> SourceAutomation:
    from qlikmigrate.model.inventory import entity

    runs = value.get("maxConcurrentRuns")
    return SourceAutomation(
        # The automation's own document is newer than its row, which only stands in for what it lacks.
        entity=entity(Kind.AUTOMATION, value) if value.get("ownerId") or row is None else row,
        armed=is_armed(value),
        max_concurrent_runs=runs if isinstance(runs, int) and not isinstance(runs, bool) else None,
        connections=frozenset(use.value for use in connections_used(value)),
        connectors=frozenset(use.value for use in connectors_used(value)),
        calls=frozenset(use.value for use in automations_called(value)),
        schedule=real_schedule(value.get("schedules")),
    )


def _with_calls(wanted: set[str], found: Mapping[str, SourceAutomation]) -> set[str]:
    by_lower = {ident.lower(): ident for ident in found}
    frontier = set(wanted)
    while frontier:
        known = [found[ident] for ident in frontier if ident in found]
        called = {by_lower.get(callee.lower()) for one in known for callee in one.calls}
        frontier = {ident for ident in called if ident is not None and ident not in wanted}
        wanted = wanted | frontier
    return wanted
