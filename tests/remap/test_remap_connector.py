"""Connectors that the target publishes under another id, against a served tenant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from stage import PLATFORM_OPERATIONS, Stage, bound_block, document, start_block, text_block

from qlikmigrate.sandbox import Families
from qlikmigrate.sandbox.catalogue import BUILT_IN, GITHUB, PUSH, Connector

OTHER = "11110000-e0f2-11ec-ada1-d5ef75014b77"
EVENTS = "22220000-27c0-11ea-921c-022e6b5ea1e2"


def replace(stage: Stage, ident: str, new: str, **changes: Any) -> None:
    """The target offers the connector under another id."""
    (one,) = [connector for connector in BUILT_IN if connector.id == ident]
    made: Connector = evolve(one, id=new, **changes)
    stage.target.tenant.drop_connector(ident)
    stage.target.tenant.add_connector(made)


def load(stage: Stage) -> None:
    here, there = stage.source, stage.target
    bound = here.tenant.add_connection(PLATFORM_OPERATIONS, "Operations", here.users["ben"])
    there.tenant.add_connection(OTHER, "Operations", there.users["ben"])
    here.tenant.add_automation(document("a", bound_block(1, bound)), here.users["ben"])


def test_same_connector_under_another_id(stage: Stage) -> None:
    """Found by name: the copy's blocks have the target's id, are bound, and keep the guids of their endpoints."""
    replace(stage, PLATFORM_OPERATIONS, OTHER)
    load(stage)
    assert stage.backup().code == 0
    ended = stage.restore()
    assert ended.code == 0
    (block,) = [one for one in stage.target.one("a")["workspace"]["blocks"] if one["type"] == "EndpointBlock"]
    assert block["datasourcetype_guid"] == OTHER
    assert block["endpoint_guid"] == "7b5d4040-c463-11f0-9b81-e7987de54c81"
    assert block["settings"][0]["value"] in stage.target.tenant.connections
    assert "catalogue-guid-missing" not in ended.codes()
    asked = {seen.path for seen in stage.target.tenant.seen if "/automation-connectors/" in seen.path}
    assert {path.partition("automation-connectors/")[2].partition("/")[0] for path in asked} == {OTHER}
    assert stage.restore().automations == {"selected": 1, "unchanged": 1}


def test_missing_endpoint_refuses_by_block(stage: Stage) -> None:
    """The target's own connector lacks the endpoint: refused before the first write, with the block's name."""
    replace(stage, PLATFORM_OPERATIONS, OTHER, blocks=())
    load(stage)
    assert stage.backup().code == 0
    ended = stage.restore()
    assert ended.code == 6
    (told,) = [line for line in ended.of("problem") if line["code"] == "catalogue-guid-missing"]
    assert told["severity"] == "error"
    assert "(block `rawApi1`)" in told["where"]
    assert not stage.target.tenant.automations


def test_missing_event_refuses_by_block(stage: Stage) -> None:
    """A webhook's event is checked as well."""
    replace(stage, GITHUB, EVENTS, events=())
    start = start_block("webhook", datasourcetype_guid=GITHUB, webhook_event_guid=PUSH)
    automation = document("a", text_block(1, "x"))
    automation["workspace"]["blocks"][0] = start
    stage.source.tenant.add_automation(automation, stage.source.users["ben"])
    assert stage.backup().code == 0
    ended = stage.cli("plan", stage.folder / "a.qma", "target")
    assert ended.code == 6
    assert [line["where"] for line in ended.of("problem") if line["code"] == "catalogue-guid-missing"]


def test_connector_that_the_target_lacks(stage: Stage) -> None:
    """No connector of that name: an error that names it, once for the connector."""
    load_source = stage.source
    bound = load_source.tenant.add_connection(PLATFORM_OPERATIONS, "Operations", load_source.users["ben"])
    load_source.tenant.add_automation(document("a", bound_block(1, bound)), load_source.users["ben"])
    stage.target.tenant.drop_connector(PLATFORM_OPERATIONS)
    assert stage.backup().code == 0
    ended = stage.restore()
    assert ended.code == 6
    missing = [line for line in ended.of("problem") if line["code"] == "connector-missing"]
    assert any("(block `rawApi1`)" in line["where"] for line in missing)
    assert all("Qlik Platform Operations" in line["message"] for line in missing)
    assert not stage.target.tenant.automations


@pytest.mark.parametrize("family", [Families.V1_ONLY])
def test_unreadable_catalogue_is_told(make_stage: Callable[..., Stage], family: Families) -> None:
    """The older API tells nothing of what a connector publishes: the restore goes on and says so."""
    stage = make_stage(families=family)
    replace(stage, PLATFORM_OPERATIONS, OTHER)
    load(stage)
    assert stage.backup().code == 0
    ended = stage.restore()
    assert ended.code == 0
    (told,) = [line for line in ended.of("problem") if line["code"] == "catalogue-unchecked"]
    assert told["severity"] == "info"
