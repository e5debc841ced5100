"""What differs between two documents of one automation, by field, block and variable. Pure.

Nothing is told that canonical form holds to be the same; a schedule is compared by what it says, a block by its id.
The values in an edit are as they stand in the documents: whoever shows them masks secrets first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.model.canonical import canonical
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule_form import schedule_meaning
from qlikmigrate.model.workspace import CALL_BLOCK

# Member of the document → the word for it.
FIELDS: Mapping[str, str] = {
    "name": "name",
    "description": "description",
    "schedules": "schedule",
    "state": "state",
    "ownerId": "owner",
    "spaceId": "space",
    "maxConcurrentRuns": "maxConcurrentRuns",
    # Of OEM accounts: see `model.oem_face`.
    "run_mode": "run mode",
    "template": "template",
    "schedule": "schedule",
    "inputs": "inputs",
    "connector": "connector",
    "connections": "connections",
    "children": "children",
    "setup_complete": "setup complete",
}
WRITTEN = ("name", "description", "schedules", "maxConcurrentRuns", "workspace")
"""What an update writes. Source: openapi/workflows-automations.json, request body of updateAutomation."""
EVERYTHING = (*FIELDS, "workspace")

_PLACE = ("x", "y")
_ID_MEMBERS = ("key", "id", "guid", "name")
_NAME_MEMBERS = ("key", "name", "id", "label", "displayName")
_VALUE_MEMBERS = frozenset({"value", "values", "object", "default", "defaultValue"})
_REFERENCES = {"ownerId": Kind.USER, "spaceId": Kind.SPACE}
_ABSENT = object()


class Subject(StrEnum):
    """What an edit is about. `workspace`: what is neither a block nor a variable."""

    FIELD = "field"
    BLOCK = "block"
    VARIABLE = "variable"
    WORKSPACE = "workspace"


class Change(StrEnum):
    """What happened to it. `moved`: another place on the canvas or in the list, and nothing else."""

    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    CHANGED = "changed"


@frozen(kw_only=True)
class Edit:
    """One difference. `id`: the field's word, the block's or variable's id; `name`, `type`: the block's or variable's.

    `place`: where inside, such as `inputs[run_mode].value`. `old`, `new`: the values there; None where there is none,
    and for whole blocks. `kind`: both are ids of such objects. `labels`: what the place is called, by which secrets
    are known.
    """

    subject: Subject
    change: Change
    id: str = ""
    name: str = ""
    type: str = ""
    place: str = ""
    old: Any = field(default=None, repr=False)
    new: Any = field(default=None, repr=False)
    kind: Kind | None = None
    labels: tuple[str, ...] = field(default=(), repr=False)


def compare(old: Mapping[str, Any], new: Mapping[str, Any], *, only: Sequence[str] = EVERYTHING) -> tuple[Edit, ...]:
    """The edits that lead from `old` to `new`, two documents as the API gives them; fields first, then blocks in order.

    `only`: the document's members to look at, of `EVERYTHING`.
    """
    edits: list[Edit] = []
    for member, word in FIELDS.items():
        if member in only:
            about = Edit(subject=Subject.FIELD, change=Change.CHANGED, id=word, kind=_REFERENCES.get(member))
            edits += _walk(_field(old, member), _field(new, member), about, (), (word,))
    if "workspace" in only:
        edits += _compare_workspaces(_workspace(old), _workspace(new))
    return tuple(edits)


def labels_of(holder: Mapping[str, Any], member: str) -> tuple[str, ...]:
    """What a member of an object is called: by its key, and a value by what the object says of itself."""
    if member not in _VALUE_MEMBERS:
        return (member,)
    return (member, *(text for key in _NAME_MEMBERS if isinstance(text := holder.get(key), str) and text))


def _field(document: Mapping[str, Any], member: str) -> Any:
    value = schedule_meaning(document.get(member)) if member == "schedules" else document.get(member)
    return _present(canonical(value))


def _workspace(document: Mapping[str, Any]) -> Any:
    """The canonical workspace; what the editor last showed for a connection is no part of it."""
    workspace = canonical(document.get("workspace"))
    for block in _list(workspace, "blocks"):
        for setting in _list(block, "settings"):
            if isinstance(setting, dict) and setting.get("id") == "datasource":
                setting.pop("displayValue", None)
    return workspace


def _list(holder: Any, member: str) -> list[Any]:
    found = holder.get(member) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def _compare_workspaces(old: Any, new: Any) -> Iterator[Edit]:
    about = Edit(subject=Subject.WORKSPACE, change=Change.CHANGED)
    lists = ("blocks", "variables")
    for member in lists:
        found = tuple(one.get(member) if isinstance(one, dict) else None for one in (old, new))
        if all(one is None or isinstance(one, list) for one in found):
            subject = Subject.BLOCK if member == "blocks" else Subject.VARIABLE
            yield from _compare_lists(found[0] or [], found[1] or [], subject)
        else:
            yield from _walk(_present(found[0]), _present(found[1]), about, (member,), ())
    rest = [_without(one, lists) if one is not None else {} for one in (old, new)]
    yield from _walk(rest[0], rest[1], about, (), ())


def _compare_lists(old: list[Any], new: list[Any], subject: Subject) -> Iterator[Edit]:
    """Blocks or variables, by id."""
    before, after = _keyed(old), _keyed(new)
    moved = _out_of_order([key for key in before if key in after], list(after))
    for key, there in after.items():
        if key not in before:
            yield _about(key, there, subject, Change.ADDED)
            continue
        here = before[key]
        about = _about(key, there, subject, Change.CHANGED)
        yield from _walk(_without(here, _PLACE), _without(there, _PLACE), about, (), ())
        places = [_only(one, _PLACE) for one in (here, there)]
        where = [word for word, is_so in (("canvas", not _same(*places)), ("order", key in moved)) if is_so]
        if where:
            yield evolve(about, change=Change.MOVED, place=", ".join(where))
    for key, here in before.items():
        if key not in after:
            yield _about(key, here, subject, Change.REMOVED)


def _about(key: tuple[str, int], value: Any, subject: Subject, change: Change) -> Edit:
    told = value if isinstance(value, dict) else {}
    ident, name, kind = key[0], told.get("name"), told.get("type")
    return Edit(
        subject=subject,
        change=change,
        id=ident,
        name=name if isinstance(name, str) else "",
        type=kind if isinstance(kind, str) else "",
    )


def _keyed(items: list[Any]) -> dict[tuple[str, int], Any]:
    """Elements by id and, should an id come again, its number."""
    seen: dict[str, int] = {}
    found: dict[tuple[str, int], Any] = {}
    for one in items:
        told = (one.get("id") or one.get("guid")) if isinstance(one, dict) else None
        ident = told if isinstance(told, str) else ""
        number = seen[ident] = seen.get(ident, -1) + 1
        found[ident, number] = one
    return found


def _out_of_order(old: list[tuple[str, int]], new: list[tuple[str, int]]) -> set[tuple[str, int]]:
    """The fewest elements that have to be moved to bring `old` into the order of `new`: all but the longest run."""
    at = {key: index for index, key in enumerate(new)}
    ends: list[int] = []
    at_end: list[int] = []
    previous: list[int] = []
    for index, key in enumerate(old):
        place = bisect_left(ends, at[key])
        previous.append(at_end[place - 1] if place else -1)
        if place == len(ends):
            ends.append(at[key])
            at_end.append(index)
        else:
            ends[place] = at[key]
            at_end[place] = index
    stays = set()
    index = at_end[-1] if at_end else -1
    while index >= 0:
        stays.add(old[index])
        index = previous[index]
    return set(old) - stays


def _without(value: Any, names: Iterable[str]) -> Any:
    return {key: item for key, item in value.items() if key not in names} if isinstance(value, dict) else value


def _only(value: Any, names: Iterable[str]) -> Any:
    return {key: value[key] for key in names if key in value} if isinstance(value, dict) else None


def _present(value: Any) -> Any:
    return _ABSENT if value is None else value


def _walk(old: Any, new: Any, about: Edit, path: tuple[str, ...], labels: tuple[str, ...]) -> Iterator[Edit]:
    """The leaves in which two values differ. `about`: the edit but for the place and values."""
    if _same(old, new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            inner = (*labels_of(old, key), *labels_of(new, key))
            if about.type == "VariableBlock":
                inner = (*inner, about.name)
            step = key if not path else f".{key}"
            yield from _walk(old.get(key, _ABSENT), new.get(key, _ABSENT), about, (*path, step), inner)
        return
    if isinstance(old, list) and isinstance(new, list):
        yield from _walk_lists(old, new, about, path, labels)
        return
    place = "".join(path)
    told = [None if value is _ABSENT else value for value in (old, new)]
    yield evolve(
        about,
        place=place,
        old=told[0],
        new=told[1],
        kind=about.kind or _reference(about, place),
        labels=tuple(dict.fromkeys(labels)),
    )


def _walk_lists(
    old: list[Any], new: list[Any], about: Edit, path: tuple[str, ...], labels: tuple[str, ...]
) -> Iterator[Edit]:
    member = next((name for name in _ID_MEMBERS if _is_key(old, name) and _is_key(new, name)), None)
    if member is None:
        for index in range(max(len(old), len(new))):
            pair = [one[index] if index < len(one) else _ABSENT for one in (old, new)]
            yield from _walk(pair[0], pair[1], about, (*path, f"[{index}]"), labels)
        return
    before, after = ({one[member]: one for one in items} for items in (old, new))
    for key in dict.fromkeys((*before, *after)):
        yield from _walk(before.get(key, _ABSENT), after.get(key, _ABSENT), about, (*path, f"[{key}]"), (key, *labels))
    orders = [[key for key in keys if key in before and key in after] for keys in (before, after)]
    if orders[0] != orders[1]:
        yield evolve(about, place="".join((*path, " (order)")), old=orders[0], new=orders[1])


def _is_key(items: list[Any], member: str) -> bool:
    found = [one.get(member) if isinstance(one, dict) else None for one in items]
    return all(isinstance(one, str) for one in found) and len(set(found)) == len(found)


def _reference(about: Edit, place: str) -> Kind | None:
    """What the ids at a place belong to. Source: Qlik's published workspace schema."""
    if about.subject is not Subject.BLOCK:
        return None
    if place == "settings[datasource].value":
        return Kind.CONNECTION
    if place in ("datasourcetype_guid", "inputs[datasourcetype_guid].value"):
        return Kind.CONNECTOR
    return Kind.AUTOMATION if place == "inputs[guid].value" and about.type == CALL_BLOCK else None


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: `true` is not 1."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
