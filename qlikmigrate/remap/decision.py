"""Turns what a mapping file says (by id, name or e-mail) into decisions about objects of both inventories."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping_file import Entry, MappingFile


@frozen(kw_only=True)
class Chosen:
    """What the mapping file decides about one source object."""

    source: Entity
    target_id: str | None
    target_name: str
    decision: Decision


@frozen
class Choices:
    """All of them. `extra`: ids that no inventory names. `problems`: arguments (entity, code, message, hint)."""

    choices: dict[tuple[Kind, str], Chosen] = field(factory=dict)
    extra: list[Chosen] = field(factory=list)
    problems: list[tuple[Entity, str, str, str]] = field(factory=list)


def explicit_choices(source: Inventory, target: Inventory, file: MappingFile) -> Choices:
    """The file's decisions. One that names several objects, or none at the target, is a problem."""
    result = Choices()
    for kind in (Kind.USER, Kind.SPACE, Kind.CONNECTOR, Kind.CONNECTION, Kind.AUTOMATION):
        entries = [entry for entry in file.entries if entry.kind is kind]
        if not entries:
            continue
        mine, theirs = _references(source, kind), _references(target, kind)
        for entry in entries:
            _choose(result, entry, kind, mine, theirs)
    for entry in file.entries:
        if entry.kind is None:
            _choose_id(result, entry, source, target)
    return result


_References = tuple[Mapping[str, Entity], Mapping[str, list[Entity]]]


def _references(inventory: Inventory, kind: Kind) -> _References:
    by_id = {one.id.lower(): one for one in inventory.of(kind)}
    by_name: dict[str, list[Entity]] = {}
    for one in inventory.of(kind):
        for word in {one.name, one.email.lower(), one.subject} - {""}:
            by_name.setdefault(word, []).append(one)
    return by_id, by_name


def _look_up(reference: str, known: _References) -> list[Entity]:
    by_id, by_name = known
    if (one := by_id.get(reference.lower())) is not None:
        return [one]
    return by_name.get(reference) or (by_name.get(reference.lower(), []) if "@" in reference else [])


def _choose(result: Choices, entry: Entry, kind: Kind, mine: _References, theirs: _References) -> None:
    sources = _look_up(entry.source, mine)
    if not sources:
        # It may belong to another archive: only an id can still matter, in a text.
        sources = [Entity(kind=kind, id=entry.source)]
    hint = "give its id in the mapping file"
    if len(sources) > 1:
        for one in sources:
            message = f"`{entry.source}` names {len(sources)} {kind}s: {_listed(sources)}"
            result.problems.append((one, "ambiguous-mapping", message, hint))
        return
    one = sources[0]
    key = (kind, one.id.lower())
    target_id, target_name = None, ""
    if entry.decision is Decision.KEEP:
        target_id, target_name = one.id, one.name
    elif entry.decision is Decision.MAP:
        targets = _look_up(entry.target, theirs)
        if len(targets) != 1:
            code = "ambiguous-mapping" if targets else "mapping-target-missing"
            what = f"names {len(targets)} {kind}s: {_listed(targets)}" if targets else f"is no {kind} of the target"
            result.problems.append((one, code, f"`{entry.target}` {what}", hint))
            return
        target_id, target_name = targets[0].id, targets[0].name
    chosen = Chosen(source=one, target_id=target_id, target_name=target_name, decision=entry.decision)
    before = result.choices.get(key)
    if before is not None and (before.target_id, before.decision) != (chosen.target_id, chosen.decision):
        message = f"the mapping file decides twice about {kind} {one.name or one.id} ({one.id})"
        result.problems.append((one, "ambiguous-mapping", message, "leave one of the two lines"))
        return
    result.choices[key] = chosen
    if not _look_up(entry.source, mine):
        result.extra.append(chosen)


def _choose_id(result: Choices, entry: Entry, source: Inventory, target: Inventory) -> None:
    """A line of `[ids]`: any kind, taken at its word."""
    known = list(source.by_id.get(entry.source.lower(), ())) or [Entity(kind=Kind.ITEM, id=entry.source)]
    target_id = {Decision.MAP: entry.target, Decision.KEEP: entry.source}.get(entry.decision)
    for one in known:
        found = target.get(one.kind, target_id)
        chosen = Chosen(
            source=one,
            target_id=found.id if found else target_id,
            target_name=found.name if found else "",
            decision=entry.decision,
        )
        result.choices.setdefault((one.kind, one.id.lower()), chosen)
        if not source.by_id.get(entry.source.lower()):
            result.extra.append(chosen)


def _listed(ones: list[Entity]) -> str:
    return ", ".join(f"`{one.name or one.email or one.id}` ({one.id})" for one in ones)
