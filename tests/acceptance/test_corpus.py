"""Every real automation of the corpus, from one tenant into another, through each path family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage import Stage

from qlikmigrate.sandbox import Families

CATALOGUE_KEYS = ("datasourcetype_guid", "endpoint_guid", "snippet_guid")
EDGES = ("childId", "childTrueId", "childFalseId", "loopBlockId", "statementChildrenIds", "defaultChildId")


def read_corpus(shared: Path) -> dict[str, dict[str, Any]]:
    """File name → the document as it would be created."""
    found = {}
    for path in sorted((shared / "corpus").glob("*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        if "workspace" in value:
            wanted = ("description", "schedules", "workspace")
            document = {key: value[key] for key in wanted if key in value}
        else:
            document = {"description": "", "schedules": [], "workspace": value}
        for schedule in document["schedules"]:
            if not str(schedule.get("startAt"))[:1].isdigit():
                schedule["startAt"] = None  # a placeholder of whoever published it
        found[path.stem] = {**document, "name": path.stem}
    return found


def bindings(workspace: dict[str, Any]) -> list[dict[str, Any]]:
    """The datasource settings that are bound."""
    return [
        setting
        for block in workspace["blocks"]
        for setting in block.get("settings") or ()
        if setting.get("id") == "datasource" and setting.get("value")
    ]


def connector_of(workspace: dict[str, Any], connection: str) -> str:
    """The connector of the first block that is bound to `connection`."""
    return next(
        block["datasourcetype_guid"]
        for block in workspace["blocks"]
        for setting in block.get("settings") or ()
        if setting.get("id") == "datasource" and setting.get("value") == connection
    )


def load(stage: Stage, corpus: dict[str, dict[str, Any]]) -> set[str]:
    """Put the corpus into the source; connections become the tenant's own, the target has the like. Their ids."""
    here, there = stage.source, stage.target
    ids: dict[str, str] = {}
    for document in corpus.values():
        for setting in bindings(document["workspace"]):
            old = setting["value"]
            if old not in ids:
                connector = connector_of(document["workspace"], old)
                name = f"Connection {len(ids)}"
                ids[old] = here.tenant.add_connection(connector, name, here.users["ben"])
                there.tenant.add_connection(connector, name, there.users["ben"])
        text = json.dumps(document, ensure_ascii=False)
        for old, new in ids.items():
            text = text.replace(old, new)
        here.tenant.add_automation(json.loads(text), here.users["ben"])
    return set(ids.values())


def skeleton(workspace: dict[str, Any]) -> str:
    """Block ids, edges, variables and catalogue guids, as text."""
    kept = [
        {key: block.get(key) for key in ("id", "variableGuid", *EDGES, *CATALOGUE_KEYS)}
        | {"inputs": [one.get("id") for one in block.get("inputs") or ()]}
        | {"operations": [one.get("key") for one in block.get("operations") or ()]}
        for block in workspace["blocks"]
    ]
    return json.dumps([kept, workspace.get("variables")], sort_keys=True)


@pytest.mark.parametrize("family", [Families.BOTH, Families.V1_ONLY, Families.WORKFLOWS_ONLY])
def test_corpus_survives_a_migration(shared: Path, make_stage: Callable[..., Stage], family: Families) -> None:
    """All of it arrives, equal but for its connections, of which no source id is left; a second restore is silent."""
    stage = make_stage(families=family)
    corpus = read_corpus(shared)
    assert len(corpus) >= 20
    connections = load(stage, corpus)
    assert len(connections) >= 2

    backup = stage.backup()
    assert backup.code == 0
    assert backup.summary["complete"] is True
    assert backup.automations == {"listed": len(corpus), "captured": len(corpus)}

    restore = stage.restore()
    assert restore.code == 0, {line["reason"] for line in restore.lines if line.get("status") == "failed"}
    assert restore.automations == {"selected": len(corpus), "created": len(corpus)}

    names = {connection["id"]: connection["name"] for connection in stage.target.tenant.connections.values()}
    old_names = {connection["id"]: connection["name"] for connection in stage.source.tenant.connections.values()}
    before, after = stage.source.by_name(), stage.target.by_name()
    for name in corpus:
        old, new = before[name], after[name]
        assert skeleton(new["workspace"]) == skeleton(old["workspace"])
        text = json.dumps(new["workspace"], ensure_ascii=False)
        assert not [ident for ident in connections if ident in text]
        old_bound, new_bound = bindings(old["workspace"]), bindings(new["workspace"])
        assert [names[one["value"]] for one in new_bound] == [old_names[one["value"]] for one in old_bound]
        # Put the old ids back: then everything else must be the same.
        back = {new_one["value"]: old_one["value"] for old_one, new_one in zip(old_bound, new_bound, strict=True)}
        for new_id, old_id in back.items():
            text = text.replace(new_id, old_id)
        for host_old, host_new in zip(stage.source.tenant.hostnames, stage.target.tenant.hostnames, strict=True):
            text = text.replace(host_new, host_old)
        assert json.loads(text) == old["workspace"]
        if family is Families.BOTH:
            assert new["runMode"] == old["runMode"]

    writes = len(stage.target.tenant.writes)
    again = stage.restore()
    assert again.code == 0
    assert again.automations == {"selected": len(corpus), "unchanged": len(corpus)}
    assert all(seen.path == "/oauth/token" for seen in stage.target.tenant.writes[writes:])
    assert not stage.target.tenant.armed_while_enabled
    assert all(seen.method == "GET" for seen in stage.source.tenant.seen if seen.path != "/oauth/token")
    used = {
        seen.path.split("/")[2] for seen in stage.target.tenant.seen if "automation" in seen.path and seen.status < 400
    }
    assert used == {"v1" if family is Families.V1_ONLY else "workflows"}


def test_corpus_survives_a_drill(shared: Path, stage: Stage) -> None:
    """Restored into an embedded tenant, all of it comes back equal."""
    corpus = read_corpus(shared)
    load(stage, corpus)
    stage.backup()
    ended = stage.cli("drill", stage.folder / "a.qma")
    assert (ended.code, ended.error) == (0, {})
    assert ended.automations == {"selected": len(corpus), "created": len(corpus), "equal": len(corpus)}
