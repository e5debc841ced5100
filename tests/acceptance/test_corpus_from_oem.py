"""Every real automation of the corpus, saved by hand from an OEM account, comes into a tenant of Qlik Cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from oem_stage import oem_staged
from stage import PLATFORM_OPERATIONS, Stage
from test_corpus import bindings, connector_of, read_corpus, skeleton

from qlikmigrate.sandbox.oem import OemConnector, OemService, OemSwitches

OWNER = ("--default-owner", "ben@example.com", "--default-space", "Sales")
RULES = {PLATFORM_OPERATIONS: "Qlik Platform Operations"}


def fill(
    service: OemService, stage: Stage, corpus: dict[str, dict[str, Any]], folder: Path
) -> dict[str, dict[str, Any]]:
    """An account with an automation for each document, and the workspaces as people save them: name → workspace.

    The connections are the account's own; the target has the like, of the one who is to own everything.
    """
    folder.mkdir()
    for guid, name in RULES.items():
        service.add_connector(OemConnector(guid=guid, name=name))
    account = service.add_account("Acme", "acme")
    ids: dict[str, str] = {}
    saved = {}
    for name, document in corpus.items():
        for setting in bindings(document["workspace"]):
            old = setting["value"]
            if old not in ids:
                connector = connector_of(document["workspace"], old)
                called = f"Connection {len(ids)}"
                ids[old] = service.add_datasource(account, RULES[connector], called)
                stage.target.tenant.add_connection(connector, called, stage.target.users["ben"])
        text = json.dumps(document["workspace"], ensure_ascii=False)
        for old, new in ids.items():
            text = text.replace(old, new)
        ident = service.add_blend(account, name, description=f"{name}, described", connectors=RULES.values())
        (folder / f"{ident}.json").write_text(text, encoding="utf-8")
        saved[name] = json.loads(text)
    assert len(ids) >= 2
    return saved


@pytest.mark.parametrize("switches", [OemSwitches.documented(), OemSwitches.hostile()], ids=["documented", "hostile"])
def test_corpus_survives_the_way_from_oem(shared: Path, stage: Stage, switches: OemSwitches) -> None:
    """All of it arrives with every internal id as it was and no id of the account left; a second restore is silent."""
    corpus = read_corpus(shared)
    assert len(corpus) >= 20
    with oem_staged(stage.folder, stage.capture, switches, seed=3) as oem:
        saved = fill(oem.service, stage, corpus, stage.folder / "saved")
        schedules = stage.folder / "schedules.csv"
        first = min(corpus)
        schedules.write_text(
            "automation,schedule_start_at,schedule_interval,schedule_timezone,state\n"
            f"{first},2026-02-01 07:00:00,30,Europe/Brussels,available\n",
            encoding="utf-8",
        )
        words = ("--workspaces", stage.folder / "saved", "--schedules", schedules)
        backup = oem.backup(*words, account="/acme")
        assert backup.code == 0, backup.lines
        assert oem.service.writes == []
        assert oem.service.undocumented == []
        account = oem.service.account("acme").guid
        source_ids = {*oem.service.account("acme").blends, *oem.service.account("acme").datasources, account}

    there = stage.target
    ended = stage.restore("a.qma", *OWNER)
    assert ended.code == 0, {line["message"] for line in ended.of("problem") if line["severity"] == "error"}
    assert ended.automations == {"selected": len(corpus), "created": len(corpus)}
    assert "schedule-rounded" in ended.codes()
    listed = json.dumps(ended.of("problem"))
    after = there.by_name()
    names = {one["id"]: one["name"] for one in there.tenant.connections.values()}
    # The service stores in a spelling of its own: what it makes of the same workspaces is what must come out.
    for name, before in saved.items():
        stage.source.tenant.add_automation({"name": name, "workspace": before}, stage.source.users["ben"])
    stored = stage.source.by_name()
    for name, before in saved.items():
        new = after[name]
        assert (new["ownerId"], new["spaceId"]) == (there.users["ben"], there.spaces["Sales"])
        assert skeleton(new["workspace"]) == skeleton(before)
        text = json.dumps(new["workspace"], ensure_ascii=False)
        assert [ident for ident in source_ids if ident in text and ident not in listed] == []
        pairs = list(zip(bindings(before), bindings(new["workspace"]), strict=True))
        assert all(names[there_bound["value"]].startswith("Connection ") for _, there_bound in pairs)
        # Put the old ids back: then everything else must be the same.
        for here_bound, there_bound in pairs:
            text = text.replace(there_bound["value"], here_bound["value"])
        assert json.loads(text) == stored[name]["workspace"]
    assert after[first]["schedules"][0]["interval"] == 60
    assert after[first]["state"] == "disabled"
    assert not there.tenant.armed_while_enabled

    writes = len(there.tenant.writes)
    again = stage.restore("a.qma", *OWNER)
    assert again.code == 0
    assert again.automations == {"selected": len(corpus), "unchanged": len(corpus)}
    assert all(seen.path == "/oauth/token" for seen in there.tenant.writes[writes:])
