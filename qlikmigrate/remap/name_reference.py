"""Finds references by name, which no rewrite touches: they break where a space, connection or app is called otherwise.

Conservative: a field of a block that is the whole name, the name in quotes within a text, and `lib://NAME:…`. Names
under four characters and names with quotes or backslashes in them are not looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.document import Path
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import Finding
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.position import path_text
from qlikmigrate.remap.region import regions
from qlikmigrate.remap.role import Role, block_role

# Kinds whose names workspaces use, the likeliest first. Of the items only apps: data files share names with columns.
_KINDS = (Kind.SPACE, Kind.CONNECTION, Kind.ITEM)
_SHORTEST = 4
_LONGEST = 120
_QUOTED = re.compile(r"""["']([^"'\\]{4,120})(?=\\*["'])""")
_LIB = re.compile(r"""lib://([^:/"'\\\s][^:/"'\\]{0,119})(?=[:/])""")
_GROUPS = frozenset({"inputs", "settings", "operations", "form"})
_ROLES = frozenset({Role.TEXT, Role.CODE})


@frozen
class NameIndex:
    """The names of a source's objects. `renamed`: (kind, lower-case id) → the other name at the target."""

    by_name: Mapping[str, tuple[Entity, ...]] = field(repr=False)
    renamed: Mapping[tuple[Kind, str], str] = field(factory=dict, repr=False)


def name_index(source: Inventory, mapping: IdMapping | None = None) -> NameIndex:
    """What `find_names` looks for; with a mapping, what will be called otherwise at the target is known too."""
    by_name: dict[str, tuple[Entity, ...]] = {}
    for kind in _KINDS:
        for one in source.of(kind):
            is_searched = kind is not Kind.ITEM or one.type == "app"
            if is_searched and _SHORTEST <= len(one.name) <= _LONGEST and not re.search(r"[\"'\\]", one.name):
                by_name[one.name] = (*by_name.get(one.name, ()), one)
    renamed = {}
    for row in mapping.rows if mapping else ():
        is_mapped = row.kind in _KINDS and row.decision is Decision.MAP and row.target_id and row.target_name
        if is_mapped and row.source.name and row.target_name != row.source.name:
            renamed[row.kind, row.source.id.lower()] = row.target_name
    return NameIndex(by_name, renamed)


def find_names(raw: bytes, names: NameIndex) -> tuple[Finding, ...]:
    """References by name in an automation's document or in a bare workspace; each name once a string.

    Raises:
        ValueError: `raw` is no JSON object in UTF-8.
    """
    text = raw.decode("utf-8")
    # Escapes may spell a name, so only a text without them is ruled out at once.
    if "\\u" not in text and not (names.by_name.keys() & {*_QUOTED.findall(text), *_LIB.findall(text)}):
        return ()
    return tuple(_find(text, names))


def _find(text: str, names: NameIndex) -> Iterator[Finding]:
    for region in regions(text):
        if region.block_index is None:
            continue
        try:
            block = json.loads(text[region.start : region.end], strict=False)
        except RecursionError:
            continue
        block_name = block.get("name") if isinstance(block.get("name"), str) else ""
        for path, value, role in _strings(block):
            for name in sorted(_names_in(value, role, names)):
                yield _finding(names, name, path_text((*region.prefix, *path)), block_name)


def _strings(block: Mapping[str, Any]) -> Iterator[tuple[Path, str, Role]]:
    """The strings of a block that may hold a name, with their role."""
    fields: dict[Path, str] = {("type",): block["type"]} if isinstance(block.get("type"), str) else {}
    for group in ("inputs", "settings"):
        members = block.get(group)
        for index, one in enumerate(members if isinstance(members, list) else ()):
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                fields[group, index, "id"] = one["id"]
    stack: list[tuple[Path, Any]] = [((key,), block[key]) for key in reversed(list(block)) if key in _GROUPS]
    while stack:
        path, here = stack.pop()
        if isinstance(here, str):
            role = block_role(path, fields)
            if role in _ROLES and path[-1] not in ("type", "mode", "id"):
                yield path, here, role
        elif isinstance(here, dict):
            stack += [((*path, key), here[key]) for key in reversed(list(here))]
        elif isinstance(here, list):
            stack += [((*path, index), here[index]) for index in range(len(here) - 1, -1, -1)]


def _names_in(value: str, role: Role, names: NameIndex) -> set[str]:
    known = names.by_name
    found = {one for one in _QUOTED.findall(value) if one in known}
    found.update(one for one in _LIB.findall(value) if one in known)
    if role is not Role.CODE and value.strip() in known:
        found.add(value.strip())
    return found


def _finding(names: NameIndex, name: str, path: str, block_name: str) -> Finding:
    ones = names.by_name[name]
    new = [names.renamed.get((one.kind, one.id.lower())) for one in ones]
    kinds = " or ".join(dict.fromkeys("app" if one.kind is Kind.ITEM else one.kind.value for one in ones))
    # Where one of several namesakes keeps the name, the reference may well mean that one.
    is_renamed = all(new)
    return Finding(
        code="name-reference",
        severity=Severity.WARNING if is_renamed else Severity.INFO,
        path=path,
        block_name=block_name,
        kind=ones[0].kind,
        source_id=ones[0].id,
        message=f"name of {kinds} `{name}`" + (f", called `{new[0]}` at the target" if is_renamed else ""),
        hint="change the name in the automation, or keep the old one at the target" if is_renamed else "",
    )
