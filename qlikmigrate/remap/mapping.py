"""Which object of the target takes the place of which object of the source, and by which rule it was found."""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cached_property

from attrs import evolve, field, frozen

from qlikmigrate.kernel.event import Problem
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind


class Decision(StrEnum):
    """What becomes of references to an object.

    `map`: they move to the target's object. `keep`: they stay as they are, knowingly. `null`: null is written where the
    position allows it. `drop`: like `null`, and the object itself is not brought over.
    """

    MAP = "map"
    KEEP = "keep"
    DROP = "drop"
    NULL = "null"


UNMATCHED = "unmatched"
PENDING = "pending"
CREATED = "created"


@frozen(kw_only=True)
class MappingRow:
    """One source object and its counterpart. `target_id` is None where there is none (yet).

    `rule` is the rule that decided: explicit, ledger, same-id, tenant, subject, email, type+name,
    connector+name+owner, connector+name+owner+space, connector+owner, id, name, name+space+owner, content,
    created-at, type+name+space, fallback, created, pending, unmatched, ambiguous.
    """

    kind: Kind
    source: Entity
    target_id: str | None = None
    target_name: str = ""
    decision: Decision = Decision.MAP
    rule: str = UNMATCHED


@frozen(kw_only=True, slots=False)
class Mapping:
    """All rows, and what else a rewrite replaces.

    `hosts`: source host (lower case) → target host; a host mapped to itself is kept knowingly.
    `values`: key of `@@KEY@@` → text. `mail_domains`: domain (lower case) → domain, for addresses in workspaces.
    `rewrite_code`, `rewrite_prose`: treat source code, or comments, help texts and sample payloads, like other text.
    """

    rows: tuple[MappingRow, ...] = field(default=(), repr=False)
    hosts: abc.Mapping[str, str] = field(factory=dict)
    values: abc.Mapping[str, str] = field(factory=dict, repr=False)
    mail_domains: abc.Mapping[str, str] = field(factory=dict)
    problems: tuple[Problem, ...] = ()
    rewrite_code: bool = False
    rewrite_prose: bool = False

    @cached_property
    def _index(self) -> dict[tuple[Kind, str], MappingRow]:
        return {(row.kind, row.source.id.lower()): row for row in self.rows}

    @cached_property
    def by_id(self) -> abc.Mapping[str, tuple[MappingRow, ...]]:
        """Lower-case source id → its rows; an id may belong to objects of several kinds."""
        index: dict[str, tuple[MappingRow, ...]] = {}
        for row in self.rows:
            key = row.source.id.lower()
            index[key] = (*index.get(key, ()), row)
        return index

    def row_of(self, kind: Kind, source_id: str | None) -> MappingRow | None:
        """The row of a source object; ids are found without regard to case."""
        return self._index.get((kind, source_id.lower())) if source_id else None

    def target_of(self, kind: Kind, source_id: str | None) -> str | None:
        """The id at the target that takes the place of `source_id`; None where there is none."""
        row = self.row_of(kind, source_id)
        return None if row is None else row.target_id

    def of(self, kind: Kind) -> Iterator[MappingRow]:
        """The rows of one kind."""
        return (row for row in self.rows if row.kind is kind)

    def unmatched(self, kind: Kind) -> Iterator[MappingRow]:
        """Rows of one kind that have no counterpart and no decision that settles them."""
        return (row for row in self.of(kind) if row.target_id is None and row.decision is Decision.MAP)

    def with_targets(self, pairs: Iterable[tuple[Kind, str, str]], *, rule: str = CREATED) -> Mapping:
        """The mapping once objects exist: `pairs` are (kind, source id, target id).

        A decision other than `map` is about references and stays, whatever becomes of the object itself.
        """
        known = {(kind, source_id.lower()): (source_id, target_id) for kind, source_id, target_id in pairs}
        rows = []
        for row in self.rows:
            found = known.pop((row.kind, row.source.id.lower()), None)
            if found is None or row.decision is not Decision.MAP:
                rows.append(row)
            else:
                name = row.target_name or row.source.name
                rows.append(evolve(row, target_id=found[1], target_name=name, decision=Decision.MAP, rule=rule))
        for (kind, _), (source_id, target_id) in known.items():
            rows.append(MappingRow(kind=kind, source=Entity(kind=kind, id=source_id), target_id=target_id, rule=rule))
        return evolve(self, rows=tuple(rows))

    def with_pending(self, objects: Iterable[tuple[Kind, str]]) -> Mapping:
        """The mapping of a plan: `objects` will be created, so references to them are no findings."""
        wanted = {(kind, source_id.lower()) for kind, source_id in objects}
        return evolve(
            self,
            rows=tuple(
                evolve(row, rule=PENDING, target_name=row.source.name)
                if row.target_id is None and (row.kind, row.source.id.lower()) in wanted
                else row
                for row in self.rows
            ),
        )

    def with_values(self, values: abc.Mapping[str, str]) -> Mapping:
        """The mapping with `@@KEY@@` values that the caller has resolved."""
        return evolve(self, values={**self.values, **values})
