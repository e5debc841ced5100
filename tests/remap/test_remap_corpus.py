"""Every published automation: an independent walk finds each tenant id moved or listed, and all else as it was.

The walk knows the positions from the table of paths (`ID_PATHS.tsv`), not from the engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remap_tenants import one, rows, source, target

from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import Rewritten
from qlikmigrate.remap.mapping import Mapping
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

_UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_ID = re.compile(rf"(?<![0-9A-Za-z-])(?:{_UUID}|[0-9a-f]{{24}})(?![0-9A-Za-z-])")
_NESTED_CONNECTION = re.compile(rf'"id": ?"datasource"[^{{}}]*?"value": ?"({_UUID})"')


def _workspace(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document.get("workspace", document)
    return found


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str, bool]]:
    """Path, text, whether it is a key: of every string."""
    if isinstance(value, str):
        yield path, value, False
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}", key, True
            yield from _strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{index}]")


def _tenant_strings(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Strings of the table's rows 13 to 24: path, text, block, name of the position."""
    prefix = "workspace.blocks" if "workspace" in document else "blocks"
    for number, block in enumerate(_workspace(document)["blocks"]):
        for group in ("inputs", "settings"):
            for index, field in enumerate(block.get(group) or []):
                for member in ("value", "displayValue", "lookupValues"):
                    where = f"{prefix}[{number}].{group}[{index}].{member}"
                    if block["type"] == "GotoBlock" and field["id"] == "label":
                        continue
                    if field["id"] in ("webhook_event_guid", "datasourcetype_guid"):
                        continue
                    for path, text, _ in _strings(field.get(member), where):
                        yield path, text, block, f"{group}[{field['id']}].{member}"
        for index, operation in enumerate(block.get("operations") or []):
            for member in ("value", "object", "remove_key"):
                for path, text, _ in _strings(
                    operation.get(member), f"{prefix}[{number}].operations[{index}].{member}"
                ):
                    yield path, text, block, "operation"
        for index, field in enumerate(block.get("form") or []):
            yield f"{prefix}[{number}].form[{index}].helpText", field.get("helpText") or "", block, "prose"


def _internal(document: dict[str, Any]) -> list[Any]:
    """Everything of rows 1 to 12, in order."""
    found: list[Any] = []
    workspace = _workspace(document)
    for block in workspace["blocks"]:
        found += [block.get(key) for key in (
            "id", "childId", "childTrueId", "childFalseId", "loopBlockId", "statementChildrenIds", "defaultChildId",
            "variableGuid", "datasourcetype_guid", "endpoint_guid", "snippet_guid", "type", "name",
        )]  # fmt: skip
        found += [operation.get("key") for operation in block.get("operations") or []]
        for field in (block.get("inputs") or []) + (block.get("settings") or []):
            found.append(field["id"])
            if field["id"] in ("label", "webhook_event_guid", "datasourcetype_guid"):
                found.append(field["value"])
    return [*found, [(one["guid"], one["name"]) for one in workspace["variables"]]]


def _tenant_ids(document: dict[str, Any]) -> dict[str, Kind]:
    """The ids that must be the tenant's: bound connections, and literals that are no option of a select list."""
    internal = {text.lower() for text in re.findall(_UUID, json.dumps(_internal(document)))}
    found: dict[str, Kind] = {}
    for _, text, block, position in _tenant_strings(document):
        if position == "settings[datasource].value":
            found[text.lower()] = Kind.CONNECTION
        for ident in _NESTED_CONNECTION.findall(text):
            found[ident.lower()] = Kind.CONNECTION
        if "blocks" in text or position == "inputs[test_payload].value":
            continue
        for ident in _ID.findall(text):
            options = [f.get("value") for f in block.get("inputs") or [] if f.get("type") == "select"]
            if ident not in options and ident.lower() not in internal and "microsoftonline" not in text:
                found.setdefault(ident.lower(), Kind.SPACE if len(ident) == 24 else Kind.ITEM)
    return found


def _counterpart(ident: str) -> str:
    """An id of the same form that no tenant has."""
    return ident[:-6] + ("".join(chr(ord("0") + (int(char, 16) + 5) % 10) for char in ident[-6:]))[::-1] + "feed"


def _moved(path: Path, *, without: frozenset[str] = frozenset()) -> tuple[dict[str, Any], dict[str, str], Rewritten]:
    raw = path.read_bytes()
    document = json.loads(raw)
    kinds = _tenant_ids(document)
    entities = {ident: one(kind, ident, f"name of {ident[:4]}") for ident, kind in kinds.items()}
    pairs = {ident: _counterpart(ident) for ident in kinds if ident not in without}
    rewriting = Rewriting(
        source=source(*entities.values()),
        target=target(*(one(kinds[ident], new, "new name") for ident, new in pairs.items())),
        mapping=rows((entities[ident], new) for ident, new in pairs.items()),
    )
    return document, pairs, rewrite(raw, rewriting)


def test_every_tenant_id_is_moved_or_listed(corpus: list[Path]) -> None:
    """At every position of the table a tenant id comes out moved, or a finding names its path; the rest is the same."""
    seen = 0
    for path in corpus:
        old, pairs, result = _moved(path)
        new = json.loads(result.raw)
        assert _internal(new) == _internal(old), path.name
        listed = {finding.path for finding in result.findings}
        after = {where: text for where, text, *_ in _tenant_strings(new)}
        for where, text, _, _ in _tenant_strings(new):
            for ident in _ID.findall(text):
                if ident.lower() in pairs:
                    seen += 1
                    assert where in listed, (path.name, where)
        for where, text, _, position in _tenant_strings(old):
            if position == "settings[datasource].value":
                seen += 1
                assert after[where] == pairs[text.lower()], (path.name, where)
    assert seen > 150


def test_without_counterparts_everything_is_listed(corpus: list[Path]) -> None:
    """With nothing mapped, connections become null and every other id is listed with its path."""
    nulls = 0
    for path in corpus:
        old = json.loads(path.read_bytes())
        ids = frozenset(_tenant_ids(old))
        _, _, result = _moved(path, without=ids)
        new = json.loads(result.raw)
        listed = {(finding.path, finding.source_id.lower()) for finding in result.findings}
        after = {where: text for where, text, *_ in _tenant_strings(new)}
        for where, text, _, position in _tenant_strings(old):
            if position == "settings[datasource].value":
                nulls += 1
                assert where not in after
                assert (where, text.lower()) in listed
                continue
            for ident in _ID.findall(text):
                if ident.lower() in ids:
                    assert any(
                        place == where or where.startswith(place) for place, told in listed if told == ident.lower()
                    )
    assert nulls > 100


def test_nothing_to_do_gives_the_same_bytes(corpus: list[Path]) -> None:
    """Between tenants that share no id with a document, the very same bytes come back."""
    for path in corpus:
        raw = path.read_bytes()
        assert rewrite(raw, Rewriting(source=source(), target=target(), mapping=Mapping())).raw is not None
        document = json.loads(raw)
        for block in _workspace(document)["blocks"]:
            for field in block.get("settings") or []:
                if field["id"] == "datasource":
                    field["value"] = None
        raw = json.dumps(document).encode()
        assert rewrite(raw, Rewriting(source=source(), target=target(), mapping=Mapping())).raw is raw


def test_there_and_back(corpus: list[Path]) -> None:
    """The inverse of the mapping restores the document, labels aside."""
    for path in corpus:
        raw = path.read_bytes()
        kinds = _tenant_ids(json.loads(raw))
        here = {ident: one(kind, ident) for ident, kind in kinds.items()}
        there = {ident: one(kind, _counterpart(ident)) for ident, kind in kinds.items()}
        mine, theirs = source(*here.values()), target(*there.values())
        forth = Rewriting(source=mine, target=theirs, mapping=rows((here[i], there[i].id) for i in kinds))
        back = Rewriting(source=theirs, target=mine, mapping=rows((there[i], i) for i in kinds))
        moved = rewrite(raw, forth).raw
        assert (moved == raw) == (not kinds)
        assert rewrite(moved, forth).raw == moved
        assert rewrite(moved, back).raw == raw, path.name


def test_nested_workspaces_are_rewritten_inside(corpus: list[Path]) -> None:
    """Every file again as text inside a block, made no JSON by a template: its ids move, its own block ids stay."""
    for path in corpus:
        kinds = _tenant_ids(json.loads(path.read_bytes()))
        entities = {ident: one(kind, ident) for ident, kind in kinds.items()}
        pairs = {ident: _counterpart(ident) for ident in kinds}
        text = path.read_text(encoding="utf-8").rstrip("} \n") + ', "interval": {map: {$.x}, {"15 minutes": "900"}}}'
        outer = {"blocks": [{"id": "A", "name": "n", "type": "EndpointBlock", "inputs": [{"id": "i", "value": text}]}]}
        theirs = target(*(one(kinds[ident], new) for ident, new in pairs.items()))
        mapping = rows((entities[ident], new) for ident, new in pairs.items())
        raw = json.dumps(outer).encode()
        result = rewrite(raw, Rewriting(source=source(*entities.values()), target=theirs, mapping=mapping))
        expected = text
        for before, after in pairs.items():
            expected = re.sub(rf"(?<![0-9A-Za-z-]){before}(?![0-9A-Za-z-])", after, expected, flags=re.IGNORECASE)
        assert json.loads(result.raw)["blocks"][0]["inputs"][0]["value"] == expected, path.name


def test_search_pattern_in_code_stays(corpus: list[Path]) -> None:
    """An id that source code looks for is reported and not rewritten, in every published custom-code block."""
    checked = 0
    for path in corpus:
        raw = path.read_bytes()
        document = json.loads(raw)
        for block in _workspace(document)["blocks"]:
            for field in block.get("inputs") or []:
                if block["type"] == "CustomCodeBlock3" and field["id"] == "code":
                    field["value"] += '\ntext.replace("507f1f77bcf86cd799439011", new_space)'
                    checked += 1
        space = one(Kind.SPACE, "507f1f77bcf86cd799439011")
        raw = json.dumps(document).encode()
        rewriting = Rewriting(
            source=source(space), target=target(), mapping=rows([(space, "65aa1f77bcf86cd799439022")])
        )
        result = rewrite(raw, rewriting)
        codes = [finding.code for finding in result.findings if finding.source_id == space.id]
        assert json.loads(result.raw) == json.loads(
            rewrite(raw, Rewriting(source=source(), target=target(), mapping=Mapping())).raw
        )
        assert set(codes) <= {"id-in-code"}
        checked -= len(codes)
    assert checked == 0
