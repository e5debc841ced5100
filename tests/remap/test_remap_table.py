"""The table of paths (`ID_PATHS.tsv`) as the judge: what it calls internal or catalogue stays, the rest moves."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remap_tenants import one, rows, source, target

from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

_UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_ID = re.compile(rf"(?<![0-9A-Za-z-])(?:{_UUID}|[0-9a-f]{{24}})(?![0-9A-Za-z-])")
_FIXED = {"uuid:block-id", "uuid:catalogue", "uuid:operation-key", "uuid:variable-guid"}
_TENANT = {"uuid:connection", "uuid:other", "hex24"}


def table(reference: Path) -> tuple[set[str], set[str]]:
    """Paths that hold nothing of the tenant, and paths at which a tenant id was met."""
    kinds: dict[str, set[str]] = {}
    with (reference / "ID_PATHS.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            kinds.setdefault(row["path"].partition("«")[0], set()).add(row["kind"])
    # Two edges in hand-edited files hang loose, which the table counts as `other`; the webhook's event is catalogue.
    fixed = {path for path, found in kinds.items() if found & _FIXED and not path.endswith("].value")}
    fixed |= {path for path in kinds if re.search(r"\[(?:datasourcetype_guid|webhook_event_guid|label)\]", path)}
    tenants = {path for path, found in kinds.items() if found & _TENANT and not path.startswith("$outer")}
    return fixed, tenants - fixed


def strings(document: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Every string: its path as the table writes it, its path by index, its text, whether a select list holds it."""
    top = "workspace." if "workspace" in document else ""
    workspace = document.get("workspace", document)
    stack: list[tuple[str, str, Any, bool]] = []
    stack += [("blocks[]", f"{top}blocks[{n}]", block, False) for n, block in enumerate(workspace["blocks"])]
    stack += [("$ws.variables[]", f"{top}variables[{n}]", v, False) for n, v in enumerate(workspace["variables"])]
    while stack:
        named, path, here, option = stack.pop()
        if isinstance(here, str):
            yield named, path, here, option
        elif isinstance(here, list):
            for index, item in enumerate(here):
                ident = item.get("id") if isinstance(item, dict) else None
                word = re.sub(_UUID, "<guid>", ident) if isinstance(ident, str) and named.count(".") == 1 else ""
                stack.append((f"{named}[{'' if '.form' in named else word}]", f"{path}[{index}]", item, option))
        elif isinstance(here, dict):
            is_option = here.get("type") == "select"
            for key, item in here.items():
                if named.endswith("lookupValues"):
                    yield f"{named}.{{key}}", f"{path}.{key}", key, False
                    stack.append((f"{named}.{re.sub(_UUID, '<guid>', _hex(key))}", f"{path}.{key}", item, False))
                else:
                    stack.append((f"{named}.{key}", f"{path}.{key}", item, is_option and key == "value"))


def _hex(key: str) -> str:
    return "<hex24>" if re.fullmatch(r"[0-9a-f]{24}", key) else key


def test_table_agrees(corpus: list[Path], reference: Path) -> None:
    """With every id at a tenant's path in the inventory: fixed paths are the same, the others moved, listed or code."""
    fixed, tenants = table(reference)
    met: set[str] = set()
    moved = 0
    for file in corpus:
        raw = file.read_bytes()
        found = list(strings(json.loads(raw)))
        own = {ident.lower() for named, _, text, _ in found if named in fixed for ident in _ID.findall(text)}
        kinds: dict[str, Kind] = {}
        for named, _, text, option in found:
            # A nested workspace and a sample payload have ids of their own, which other tests look at.
            if named in tenants and not option and "blocks" not in text and "test_payload" not in named:
                for ident in _ID.findall(text):
                    if ident.lower() not in own:
                        kinds[ident.lower()] = Kind.CONNECTION if "[datasource]" in named else Kind.ITEM
        entities = {ident: one(kind, ident, f"name of {ident[:4]}") for ident, kind in kinds.items()}
        pairs = {ident: ident[::-1].translate(str.maketrans("0123456789abcdef", "fedcba9876543210")) for ident in kinds}
        pairs = {ident: "".join(c for c in new if c != "-") for ident, new in pairs.items()}
        theirs = target(*(one(kinds[ident], new, "there") for ident, new in pairs.items()))
        mapping = rows((entities[ident], new) for ident, new in pairs.items())
        result = rewrite(raw, Rewriting(source=source(*entities.values()), target=theirs, mapping=mapping))
        after = list(strings(json.loads(result.raw)))
        assert [one for one in after if one[0] in fixed] == [one for one in found if one[0] in fixed], file.name
        met |= {named for named, *_ in found if named in fixed | tenants}
        listed = {finding.path for finding in result.findings}
        for named, path, text, _ in after:
            for ident in _ID.findall(text):
                assert ident.lower() not in pairs or path in listed, (file.name, named, path)
        moved += len(result.changes)
    assert len(met) > 25
    assert moved > 100
