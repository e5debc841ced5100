"""What a restore does to a tenant, seen from the tenant: nothing starts by itself, nothing is lost, nothing doubles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage import (
    DAILY,
    EVERY_HOUR,
    PLATFORM_OPERATIONS,
    Stage,
    bound_block,
    call_block,
    document,
    text_block,
)

from qlikmigrate.sandbox import (
    BotConnections,
    CloudTenant,
    Fault,
    PutConflict,
    RecurrenceInterval,
    ResetBefore,
    Status,
    Wrapping,
)


def actions(tenant: CloudTenant, ident: str) -> list[str]:
    """The writes on one automation, in order: `put`, or the action's name."""
    return [
        "put" if seen.method == "PUT" else seen.path.rsplit("/", 1)[-1]
        for seen in tenant.writes
        if seen.path.partition(ident)[1] and seen.status < 400
    ]


def creates(tenant: CloudTenant) -> int:
    """How many automations were created over the wire."""
    return sum(1 for seen in tenant.writes if seen.method == "POST" and seen.path.endswith("/automations"))


def both(stage: Stage, *, connections: bool = True) -> str:
    """A connection of Ben's that both tenants have by name; the source's id."""
    here = stage.source.tenant.add_connection(PLATFORM_OPERATIONS, "Tenant operations", stage.source.users["ben"])
    if connections:
        stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Tenant operations", stage.target.users["ben"])
    return here


ARMED = {
    "scheduled by rule": document("scheduled by rule", mode="scheduled", schedules=[DAILY]),
    "scheduled by interval": document("scheduled by interval", mode="scheduled", schedules=[EVERY_HOUR]),
    "webhook": document("webhook", mode="webhook"),
    "triggered": document("triggered", mode="triggered"),
}


@pytest.mark.parametrize("owner_by", ["impersonate", "transfer", "key"])
@pytest.mark.parametrize("name", ARMED)
def test_what_could_fire_is_complete_and_off(stage: Stage, name: str, owner_by: str) -> None:
    """Each run mode arrives whole and disabled, was never enabled and armed, and took the least writes."""
    stage.owner_by = owner_by
    stage.write_config()
    stage.source.tenant.add_automation(ARMED[name], stage.source.users["ben"], stage.source.spaces["Sales"])
    stage.backup()

    assert stage.restore().code == 0

    made = stage.target.one(name)
    assert made["state"] == "disabled"
    assert made["ownerId"] == stage.target.users["ben"]
    assert made["spaceId"] == stage.target.spaces["Sales"]
    assert made["description"] == f"{name}, described"
    assert made["runMode"] == stage.source.one(name)["runMode"]
    assert not stage.target.tenant.armed_while_enabled
    taken = actions(stage.target.tenant, made["id"])
    expected = {
        "impersonate": ["disable", "put"],
        "transfer": ["disable", "change-owner", "put"],
        "key": ["disable", "put", "change-owner"],
    }
    assert taken == expected[owner_by]


@pytest.mark.parametrize(
    ("owner_by", "expected"),
    [("impersonate", []), ("transfer", ["change-owner", "put"]), ("key", ["change-owner"])],
)
def test_manual_automation_takes_the_least_writes(stage: Stage, owner_by: str, expected: list[str]) -> None:
    """A manual automation with a connection: created as its owner in one write, or given to them and bound last."""
    stage.owner_by = owner_by
    stage.write_config()
    connection = both(stage)
    stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()

    restored = stage.restore()

    assert restored.code == 0
    made = stage.target.one("bound")
    assert actions(stage.target.tenant, made["id"]) == expected
    assert made["state"] == "available"
    bound = made["workspace"]["blocks"][1]["settings"][0]["value"]
    if owner_by == "key":
        assert bound is None
        assert "bindings-lost-on-transfer" in restored.codes()
    else:
        assert stage.target.tenant.connections[bound]["name"] == "Tenant operations"


def test_manual_without_bindings_is_given_away_in_two_writes(stage: Stage) -> None:
    """Transfer of an unbound manual automation: create and change-owner, nothing more."""
    stage.owner_by = "transfer"
    stage.write_config()
    stage.source.tenant.add_automation(document("plain"), stage.source.users["ben"])
    stage.backup()
    assert stage.restore().code == 0
    assert actions(stage.target.tenant, stage.target.one("plain")["id"]) == ["change-owner"]


def test_disabled_and_unavailable_stay_off(stage: Stage) -> None:
    """A manual automation that was off at the source is off at the target, at the price of one write."""
    for state in ("disabled", "unavailable"):
        stage.source.tenant.add_automation(document(state), stage.source.users["ben"], state=state)
    stage.backup()
    assert stage.restore().code == 0
    for state in ("disabled", "unavailable"):
        made = stage.target.one(state)
        assert made["state"] == "disabled"
        assert actions(stage.target.tenant, made["id"]) == ["disable"]


def test_start_as_source_enables_only_what_was_on(stage: Stage) -> None:
    """`--start as-source`: what was available is switched on last, what was disabled is not."""
    callee = stage.source.tenant.add_automation(ARMED["webhook"], stage.source.users["ben"])
    caller = document("caller", call_block(1, callee), mode="scheduled", schedules=[DAILY])
    stage.source.tenant.add_automation(caller, stage.source.users["ben"])
    stage.source.tenant.add_automation(ARMED["triggered"], stage.source.users["ben"], state="disabled")
    stage.backup()
    assert stage.restore("a.qma", "--start", "as-source").code == 0
    assert stage.target.one("triggered")["state"] == "disabled"
    sightings = stage.target.tenant.armed_while_enabled
    assert {sighting.how for sighting in sightings} == {"POST /api/workflows/automations/{}/actions/enable"}
    ids = [stage.target.one("webhook")["id"], stage.target.one("caller")["id"]]
    assert [sighting.automation_id for sighting in sightings] == ids


def test_calls_cycles_and_own_ids_arrive(stage: Stage) -> None:
    """Callers point to the target's callees; a cycle and a stored own id cost one further write each."""
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    leaf = tenant.add_automation(document("leaf"), ben)
    tenant.add_automation(document("caller", call_block(1, leaf)), ben)
    first = tenant.add_automation(document("first", call_block(1, leaf)), ben)
    second = tenant.add_automation(document("second", call_block(1, first)), ben)
    tenant.replace_workspace(first, document("first", call_block(1, second))["workspace"])
    own = tenant.add_automation(document("own"), ben)
    tenant.replace_workspace(own, document("own", text_block(1, f"I am {own}, {own}!"))["workspace"])
    stage.backup()

    restored = stage.restore()

    assert restored.code == 0
    ids = {name: stage.target.one(name)["id"] for name in ("leaf", "caller", "first", "second", "own")}

    def callee(name: str) -> Any:
        return stage.target.one(name)["workspace"]["blocks"][1]["inputs"][0]["value"]

    assert callee("caller") == ids["leaf"]
    assert callee("first") == ids["second"]
    assert callee("second") == ids["first"]
    assert callee("own") == f"I am {ids['own']}, {ids['own']}!"
    assert not any(one["workspace"]["blocks"][-1]["disabled"] for one in stage.target.tenant.automations.values())
    puts = [name for name in ids if actions(stage.target.tenant, ids[name]) == ["put"]]
    assert len(puts) == 2
    assert "own" in puts


def test_call_of_something_left_out_is_disabled_and_listed(stage: Stage) -> None:
    """A callee that is not brought over leaves a null and a disabled block, never an id of the source."""
    leaf = stage.source.tenant.add_automation(document("leaf"), stage.source.users["ben"])
    stage.source.tenant.add_automation(document("caller", call_block(1, leaf)), stage.source.users["ben"])
    stage.backup()

    restored = stage.restore("a.qma", "--include", "name=caller")

    assert restored.code == 0
    assert "call-unresolved" in restored.codes()
    block = stage.target.one("caller")["workspace"]["blocks"][1]
    assert block["disabled"] is True
    assert block["inputs"][0]["value"] is None
    assert not stage.target.named("leaf")

    both_of_them = stage.restore("a.qma", "--include", "name=caller", "--with-calls", "--on-conflict", "new")
    assert both_of_them.automations["selected"] == 2


def test_unbound_connection_is_null_and_in_the_runbook(stage: Stage) -> None:
    """A connection without a counterpart becomes null, a warning, and a task for the automation's owner."""
    connection = both(stage, connections=False)
    stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()
    restored = stage.restore(run="here")
    assert restored.code == 0
    assert "connection-unbound" in restored.codes()
    assert stage.target.one("bound")["workspace"]["blocks"][1]["settings"][0]["value"] is None
    runbook = (stage.folder / "here" / "runbook.md").read_text(encoding="utf-8")
    assert "## Ben Example" in runbook
    assert "Tenant operations" in runbook


def test_another_owners_connection_is_never_taken(stage: Stage) -> None:
    """A connection of the same name that somebody else owns is no match: a run uses its owner's connections."""
    connection = both(stage, connections=False)
    stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Tenant operations", stage.target.users["cleo"])
    stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()
    assert "connection-unbound" in stage.restore().codes()
    assert stage.target.one("bound")["workspace"]["blocks"][1]["settings"][0]["value"] is None


def test_missing_owner_refuses_and_a_fallback_settles(stage: Stage) -> None:
    """An owner without a counterpart is a preflight error (6, nothing written); a fallback owner takes over."""
    zoe = stage.source.tenant.add_user("corp\\zoe", "Zoe Example", "zoe@example.com")
    stage.source.tenant.add_automation(document("hers"), zoe)
    stage.backup()
    refused = stage.restore()
    assert refused.code == 6
    assert "owner-missing" in refused.codes()
    assert not stage.target.tenant.writes
    assert stage.restore("a.qma", "--fallback-owner", "cleo@example.com").code == 0
    assert stage.target.one("hers")["ownerId"] == stage.target.users["cleo"]


def test_missing_space_refuses_and_is_created_on_request(stage: Stage) -> None:
    """A space without a counterpart is a preflight error; `--create-spaces` creates it once."""
    space = stage.source.tenant.add_space("Finance", owner=stage.source.users["ada"])
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ada"], space)
    stage.backup()
    refused = stage.restore()
    assert refused.code == 6
    assert "space-missing" in refused.codes()
    assert not stage.target.tenant.writes
    made = stage.restore("a.qma", "--create-spaces", "--owner", "importer")
    assert made.code == 0
    (ident,) = [ident for ident, one in stage.target.tenant.spaces.items() if one["name"] == "Finance"]
    assert {stage.target.one(name)["spaceId"] for name in ("one", "two")} == {ident}


def test_personal_space_stays_personal(stage: Stage) -> None:
    """An automation of nobody's space lands in its owner's personal one."""
    stage.source.tenant.add_automation(document("mine"), stage.source.users["cleo"])
    stage.backup()
    stage.restore()
    assert not stage.target.one("mine")["spaceId"]
    assert stage.target.one("mine")["ownerId"] == stage.target.users["cleo"]


def test_owner_that_cannot_be_set_is_an_error_not_the_importer(stage: Stage) -> None:
    """An ordinary user cannot give automations away; the restore refuses instead of keeping them."""
    stage.source.tenant.add_automation(document("his"), stage.source.users["ben"])
    stage.backup()
    there = stage.target
    stage.config.write_text(
        f'[tenants.target]\nurl = "{there.tenant.base_url}"\naccess = "write"\n'
        f'api_key = "{there.tenant.api_key(there.users["cleo"])}"\n',
        encoding="utf-8",
    )
    refused = stage.restore()
    assert refused.code == 6
    assert "owner-not-settable" in refused.codes()
    assert not there.tenant.writes
    assert stage.restore("a.qma", "--owner", "importer").code == 0
    assert there.one("his")["ownerId"] == there.users["cleo"]


def test_too_many_concurrent_runs_are_clamped(stage: Stage) -> None:
    """`maxConcurrentRuns` above the target's setting is clamped with a warning, not refused by the server."""
    stage.source.tenant.add_automation(document("busy", maxConcurrentRuns=7), stage.source.users["ben"])
    stage.backup()
    stage.cli("restore", stage.folder / "a.qma", "target", "--dry-run")
    restored = stage.restore()
    assert restored.code == 0
    assert stage.target.one("busy")["maxConcurrentRuns"] == 7


def test_same_tenant_is_refused_and_nothing_sent(stage: Stage) -> None:
    """A restore into the tenant of the archive needs `--same-tenant`; without it: 6, no write."""
    stage.source.tenant.add_automation(document("mine"), stage.source.users["ben"])
    stage.backup()
    stage.write_config(extra_source='access = "write"')
    refused = stage.cli("restore", stage.folder / "a.qma", "source")
    assert refused.code == 6
    assert "same-tenant" in refused.codes()
    assert not stage.source.tenant.writes


def test_recover_brings_back_only_what_is_gone(stage: Stage) -> None:
    """`--same-tenant recover`: an automation that still exists is itself, a deleted one is made again."""
    keep = stage.source.tenant.add_automation(document("keep"), stage.source.users["ben"])
    lost = stage.source.tenant.add_automation(document("lost"), stage.source.users["ben"])
    stage.backup()
    stage.write_config(
        extra_source=(
            'access = "write"\n'
            f'impersonation = {{ client_id = "{stage.source.web[0]}", client_secret = "{stage.source.web[1]}" }}'
        )
    )
    bot = stage.source.tenant.api_key(stage.source.users["ada"])
    from urllib.request import Request, urlopen

    url = f"{stage.source.tenant.base_url}/api/workflows/automations/{lost}"
    urlopen(Request(url, method="DELETE", headers={"authorization": f"Bearer {bot}"}))
    assert lost not in stage.source.tenant.automations

    recovered = stage.cli(
        "restore", stage.folder / "a.qma", "source", "--same-tenant", "recover", "--run", stage.folder / "r"
    )

    assert recovered.code == 0, recovered.lines
    assert recovered.automations == {"selected": 2, "created": 1, "adopted": 1}
    assert stage.source.one("keep")["id"] == keep
    assert stage.source.one("lost")["ownerId"] == stage.source.users["ben"]


def test_second_run_with_a_key_that_cannot_read_back(stage: Stage) -> None:
    """An admin's key cannot read what it gave away: a second run with nothing changed still writes nothing."""
    stage.owner_by = "key"
    stage.write_config()
    connection = both(stage)
    stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    stage.source.tenant.add_automation(ARMED["webhook"], stage.source.users["cleo"])
    stage.backup()
    assert "readback-unreadable" in stage.restore().codes()
    before = len(stage.target.tenant.writes)
    again = stage.restore()
    assert again.code == 0
    assert again.automations == {"selected": 2, "unchanged": 2}
    assert len(stage.target.tenant.writes) == before


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("mode", ["manual", "webhook"])
def test_bindings_left_to_the_owner_are_no_difference(stage: Stage, mode: str, readable: bool) -> None:
    """What an admin's key gives away arrives unbound, as the plan said: no mismatch, and no change the second time."""
    stage.owner_by = "key"
    web = stage.target.web
    impersonation = f'impersonation = {{ client_id = "{web[0]}", client_secret = "{web[1]}" }}'
    stage.write_config(extra_target=impersonation if readable else "")
    connection = both(stage)
    bound = document("bound", bound_block(1, connection), mode=mode)
    stage.source.tenant.add_automation(bound, stage.source.users["ben"])
    stage.backup()
    first = stage.restore("a.qma", "--owner", "transfer")
    assert first.code == 0, first.lines
    assert "bindings-lost-on-transfer" in first.codes()
    assert ("readback-unreadable" in first.codes()) is not readable
    before = len(stage.target.tenant.writes)
    again = stage.restore("a.qma", "--owner", "transfer")
    assert (again.code, again.automations) == (0, {"selected": 1, "unchanged": 1})
    assert len(stage.target.tenant.writes) == before


def test_connections_that_nobody_binds_need_not_be_told_apart(stage: Stage) -> None:
    """Two connections of one name refuse a restore that binds them, and not one with `--connections skip`."""
    stage.write_config()
    connection = both(stage)
    stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Tenant operations", stage.target.users["ben"])
    stage.source.tenant.add_automation(document("x", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()
    refused = stage.restore()
    assert (refused.code, "ambiguous-match" in refused.codes()) == (6, True)
    ended = stage.restore("a.qma", "--connections", "skip")
    assert (ended.code, "ambiguous-match" in ended.codes()) == (0, False), ended.lines
    assert stage.target.one("x")["workspace"]["blocks"][1]["settings"][0]["value"] is None


def test_target_without_a_list_of_connectors(stage: Stage) -> None:
    """Connectors are the same everywhere: a tenant that does not list them is restored into, with a warning."""
    stage.write_config()
    connection = both(stage)
    stage.source.tenant.add_automation(document("x", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()
    stage.target.tenant.faults.append(Fault(path="/api/*/automation-connectors", effect=Status(code=404), times=None))
    ended = stage.restore()
    assert (ended.code, "connectors-unreadable" in ended.codes()) == (0, True)
    assert stage.target.one("x")["workspace"]["blocks"][1]["settings"][0]["value"] is not None


@pytest.mark.parametrize("with_ledger", [True, False])
def test_second_run_writes_nothing(stage: Stage, with_ledger: bool) -> None:
    """Run again with nothing changed, with or without the ledger: no write, no double."""
    connection = both(stage)
    for name, given in ARMED.items():
        stage.source.tenant.add_automation(given | {"name": name}, stage.source.users["ben"])
    stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()
    ledger = stage.folder / "ledger.jsonl"
    assert stage.restore("a.qma", "--ledger", str(ledger)).code == 0
    before = len(stage.target.tenant.writes)
    if not with_ledger:
        ledger.unlink()
    again = stage.restore("a.qma", "--ledger", str(ledger))
    assert again.code == 0
    assert again.automations == {"selected": 5, "unchanged" if with_ledger else "adopted": 5}
    assert len(stage.target.tenant.writes) == before


def test_change_at_the_source_is_one_put(stage: Stage) -> None:
    """One automation changed at the source: the next clone sends one PUT and nothing else."""
    ids = {
        name: stage.source.tenant.add_automation(document(name), stage.source.users["ben"]) for name in ("one", "two")
    }
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 0
    stage.source.tenant.replace_workspace(ids["one"], document("one", text_block(1, "new"))["workspace"])
    before = len(stage.target.tenant.writes)
    again = stage.cli("clone", "source", "target", "--run", stage.folder / "r2")
    assert again.code == 0
    assert again.automations == {"selected": 2, "updated": 1, "unchanged": 1}
    assert [seen.method for seen in stage.target.tenant.writes[before:]] == ["PUT"]
    assert stage.target.one("one")["workspace"]["blocks"][1]["inputs"][0]["value"] == "new"


def edit_target(stage: Stage, wanted: str, **changes: Any) -> None:
    """What a person does in the editor at the target."""
    import json
    from urllib.request import Request, urlopen

    one = stage.target.one(wanted)
    key = stage.target.tenant.api_key(one["ownerId"])
    kept = ("name", "description", "schedules", "workspace", "maxConcurrentRuns")
    body = {field: one[field] for field in kept} | changes
    url = f"{stage.target.tenant.base_url}/api/workflows/automations/{one['id']}"
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    urlopen(Request(url, method="PUT", headers=headers, data=json.dumps(body).encode()))


def test_edits_at_the_target_survive_an_unchanged_source(stage: Stage) -> None:
    """People renamed, rescheduled and edited at the target: with the source unchanged, a clone leaves it all alone."""
    for name in ("renamed", "edited", "rescheduled"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 0
    edit_target(stage, "renamed", name="a better name")
    edit_target(stage, "edited", workspace=document("x", text_block(1, "by hand"))["workspace"])
    edit_target(stage, "rescheduled", schedules=[DAILY])
    before = len(stage.target.tenant.writes)
    again = stage.cli("clone", "source", "target", "--run", stage.folder / "r2")
    assert again.code == 0
    assert again.automations == {"selected": 3, "unchanged": 3}
    assert len(stage.target.tenant.writes) == before
    assert stage.target.one("a better name")


@pytest.mark.parametrize("on_conflict", ["fail", "skip", "update", "new"])
def test_conflict_is_named_and_settled_as_asked(stage: Stage, on_conflict: str) -> None:
    """Changed at both sides: refused, left, overwritten with a pre-image, or made anew beside it."""
    ident = stage.source.tenant.add_automation(document("both"), stage.source.users["ben"])
    stage.backup()
    assert stage.restore().code == 0
    stage.source.tenant.replace_workspace(ident, document("both", text_block(1, "source"))["workspace"])
    edit_target(stage, "both", workspace=document("both", text_block(1, "target"))["workspace"])
    stage.backup("b.qma")
    before = len(stage.target.tenant.writes)

    ended = stage.restore("b.qma", "--on-conflict", on_conflict, run="second")

    shown = sorted(one["workspace"]["blocks"][1]["inputs"][0]["value"] for one in stage.target.named("both"))
    if on_conflict == "fail":
        assert ended.code == 6
        assert "conflict" in ended.codes()
        assert len(stage.target.tenant.writes) == before
        assert shown == ["target"]
    elif on_conflict == "skip":
        assert ended.code == 0
        assert ended.automations == {"selected": 1, "skipped": 1}
        assert shown == ["target"]
    elif on_conflict == "update":
        assert ended.code == 0
        assert shown == ["source"]
        (image,) = (stage.folder / "second" / "pre-images").iterdir()
        text = image.read_text(encoding="utf-8")
        assert '"target"' in text
        assert "executionToken" not in text
    else:
        assert ended.code == 0
        assert shown == ["source", "target"]


def test_binding_made_by_people_is_kept_by_an_update(stage: Stage) -> None:
    """A gap that somebody filled at the target stays filled when the source's other changes arrive."""
    connection = both(stage, connections=False)
    ident = stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 0
    new = stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "My own", stage.target.users["ben"])
    edit_target(stage, "bound", workspace=document("bound", bound_block(1, new))["workspace"])
    stage.source.tenant.replace_workspace(
        ident, document("bound", bound_block(1, connection), text_block(2, "more"))["workspace"]
    )
    again = stage.cli("clone", "source", "target", "--run", stage.folder / "r2")
    assert again.code == 0
    assert again.automations == {"selected": 1, "updated": 1}
    blocks = stage.target.one("bound")["workspace"]["blocks"]
    assert blocks[1]["settings"][0]["value"] == new
    assert blocks[2]["inputs"][0]["value"] == "more"


def test_rerun_binds_what_is_there_now(stage: Stage) -> None:
    """A connection that has appeared since is bound by the next run, with one PUT."""
    connection = both(stage, connections=False)
    stage.source.tenant.add_automation(document("bound", bound_block(1, connection)), stage.source.users["ben"])
    stage.backup()
    assert stage.restore().code == 0
    new = stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Tenant operations", stage.target.users["ben"])
    again = stage.restore()
    assert again.automations == {"selected": 1, "updated": 1}
    assert stage.target.one("bound")["workspace"]["blocks"][1]["settings"][0]["value"] == new


def test_update_keeps_state_owner_space_and_runs(stage: Stage) -> None:
    """An update changes the document only: state, owner, space and concurrency belong to the target."""
    ident = stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 0
    edit_target(stage, "one", maxConcurrentRuns=5)
    made = stage.target.one("one")
    from urllib.request import Request, urlopen

    key = stage.target.tenant.api_key(stage.target.users["ben"])
    base = f"{stage.target.tenant.base_url}/api/workflows/automations/{made['id']}/actions"
    urlopen(Request(f"{base}/disable", method="POST", headers={"authorization": f"Bearer {key}"}))
    stage.source.tenant.replace_workspace(ident, document("one", text_block(1, "new"))["workspace"])
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r2").automations["updated"] == 1
    after = stage.target.one("one")
    assert (after["state"], after["maxConcurrentRuns"]) == ("disabled", 5)
    assert after["workspace"]["blocks"][1]["inputs"][0]["value"] == "new"


def test_update_that_would_arm_is_held(stage: Stage) -> None:
    """A manual automation that became scheduled at the source is disabled first at the target, then updated."""
    ident = stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 0
    stage.source.tenant.replace_workspace(ident, document("one", mode="webhook")["workspace"])
    again = stage.cli("clone", "source", "target", "--run", stage.folder / "r2")
    assert again.code == 0
    assert stage.target.one("one")["state"] == "disabled"
    assert stage.target.one("one")["runMode"] == "webhook"
    assert not stage.target.tenant.armed_while_enabled


def test_changed_while_writing_is_not_overwritten(stage: Stage) -> None:
    """An automation that somebody changes after the plan's read fails alone; its edit is kept."""
    ids = {name: stage.source.tenant.add_automation(document(name), stage.source.users["ben"]) for name in ("a", "b")}
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 0
    for name, ident in ids.items():
        stage.source.tenant.replace_workspace(ident, document(name, text_block(1, "source"))["workspace"])
    stage.backup()
    tenant = stage.target.tenant
    there = stage.target.one("a")["id"]
    plain = tenant.handle
    reads = 0

    def handle(request: Any) -> Any:
        nonlocal reads
        if request.method == "GET" and request.url.endswith(there):
            reads += 1
            if reads == 2:
                tenant.replace_workspace(there, document("a", text_block(1, "just now"))["workspace"])
        return plain(request)

    stage.target.server._handler = handle
    ended = stage.restore()
    assert ended.code == 3
    assert ended.automations == {"selected": 2, "updated": 1, "failed": 1}
    assert "changed-meanwhile" in ended.codes()
    assert stage.target.one("a")["workspace"]["blocks"][1]["inputs"][0]["value"] == "just now"


def test_revoked_identity_stops_the_run_resumable(stage: Stage) -> None:
    """401 on a write is no object's fault: the run stops with 20, and goes on when the key works again."""
    for name in ("a", "b", "c"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    stage.backup()
    stage.target.tenant.faults.append(Fault(effect=Status(code=401), method="POST", path="*/automations", times=None))
    assert stage.restore(run="run").code == 20
    stage.target.tenant.faults.clear()
    assert stage.restore("a.qma", "--resume", run="run").automations == {"selected": 3, "created": 3}


def test_gone_host_stops_the_run_resumable(stage: Stage) -> None:
    """The server is unplugged mid-way: the run ends with 1 and can be resumed."""
    for name in ("a", "b", "c", "d", "e"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    stage.backup()
    stage.target.tenant.faults.append(Fault(effect=ResetBefore(), path="*/automations*", nth=4, times=None))
    assert stage.restore(run="run").code in (1, 3)
    stage.target.tenant.faults.clear()
    assert stage.restore("a.qma", "--resume", run="run").automations == {"selected": 5, "created": 5}


def test_killed_while_the_plan_was_put_down(stage: Stage) -> None:
    """A half-written plan is all that is in the run folder: the run begins. Anything else is somebody's."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    for name, code in ((".plan.json.k3j9", 0), (".plan.json", 2), ("notes.txt", 2)):
        folder = stage.folder / f"run{name}"
        folder.mkdir()
        (folder / name).write_text("half")
        assert stage.restore(run=folder.name).code == code


def test_empty_tenant_is_cloned_to_nothing(stage: Stage) -> None:
    """An empty tenant is no error: backup and clone end with 0."""
    assert stage.backup().code == 0
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r").code == 0


def test_stale_plan_is_refused(stage: Stage) -> None:
    """The target changed between plan and apply: 7, naming what moved, nothing written, no run folder."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    plan = stage.folder / "plan.json"
    assert stage.cli("plan", stage.folder / "a.qma", "target", "-o", plan).code == 0
    stage.target.tenant.add_automation(document("somebody's"), stage.target.users["cleo"])
    assert stage.cli("apply", plan, "--dry-run").code == 7
    ended = stage.cli("apply", plan, "--run", stage.folder / "run")
    assert ended.code == 7
    assert "`somebody's`" in ended.error["message"]
    assert "is new" in ended.error["message"]
    assert not stage.target.tenant.writes
    assert not (stage.folder / "run").exists()


def test_planning_sends_only_reads(stage: Stage) -> None:
    """Plan, mapping, doctor, dry runs and backup send GETs and token requests only."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.target.tenant.add_automation(document("one", text_block(1, "other")), stage.target.users["ben"])
    stage.backup()
    archive: Path = stage.folder / "a.qma"
    stage.cli("plan", archive, "target", "-o", stage.folder / "p.json")
    stage.cli("mapping", archive, "target", "-o", stage.folder / "m.toml")
    stage.cli("restore", archive, "target", "--dry-run", "--on-conflict", "update")
    stage.cli("clone", "source", "target", "--dry-run", "--run", stage.folder / "never")
    stage.cli("doctor", "target")
    for side in (stage.source, stage.target):
        assert {seen.method for seen in side.tenant.seen if seen.path != "/oauth/token"} == {"GET"}


def test_plan_and_run_hold_no_bodies_and_no_secrets(stage: Stage) -> None:
    """Plan, journal, ledger and reports name ids and hashes: no workspace text, token or secret is in them."""
    stage.source.tenant.add_automation(
        document("one", text_block(1, "PLANTED-IN-THE-WORKSPACE"), mode="triggered"), stage.source.users["ben"]
    )
    stage.backup()
    plan = stage.folder / "plan.json"
    stage.cli("plan", stage.folder / "a.qma", "target", "-o", plan, "--ledger", stage.folder / "l.jsonl")
    assert stage.cli("apply", plan, "--run", stage.folder / "run").code == 0
    planted = {"PLANTED-IN-THE-WORKSPACE", stage.target.bot[1], stage.target.web[1]}
    planted |= {one["executionToken"] for one in stage.source.tenant.automations.values()}
    planted |= {one["executionToken"] for one in stage.target.tenant.automations.values()}
    files = [plan, stage.folder / "l.jsonl", *(stage.folder / "run").iterdir()]
    assert len(files) >= 8
    for file in files:
        assert file.stat().st_mode & 0o077 == 0
        text = file.read_text(encoding="utf-8")
        assert not [secret for secret in planted if secret in text], file


@pytest.mark.parametrize(
    "switches",
    [
        {"put_keeps_disabled": False},
        {"owner_change_keeps_disabled": False},
        {"created_disabled": True},
        {"owner_change_nulls_bindings": False},
        {"space_change_nulls_bindings": True},
        {"list_workspace": True},
        {"list_lag_calls": 2},
        {"foreign_status": 404},
        {"put_keeps_schedules": False},
        {"refused_save_status": 422},
        {"string_booleans": True},
        {"rewrites_recurrence": False},
        {"normalises": False},
        {"disabled_calls_exempt": False},
        {"put_conflict": PutConflict.STALE},
        {"recurrence_interval": RecurrenceInterval.COMPUTED},
        {"recurrence_interval": RecurrenceInterval.NULL},
        {"masks_values": True},
        {"wrapping": Wrapping.ALL},
        {"bot_connections": BotConnections.READ},
    ],
    ids=lambda switches: (
        "-".join(f"{key}={value}" for key, value in switches.items()) if isinstance(switches, dict) else None
    ),
)
@pytest.mark.parametrize("owner_by", ["impersonate", "transfer"])
def test_open_questions_end_in_the_same_state(
    make_stage: Callable[..., Stage], switches: dict[str, Any], owner_by: str
) -> None:
    """Whatever the service's answer to an open question is: all arrive, off, bound, and a second run is silent."""
    stage = make_stage(**switches)
    stage.owner_by = owner_by
    stage.write_config()
    connection = both(stage)
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    for name, given in ARMED.items():
        tenant.add_automation(given | {"name": name}, ben, stage.source.spaces["Ops"])
    leaf = tenant.add_automation(document("leaf", bound_block(1, connection)), ben)
    first = tenant.add_automation(document("first"), ben)
    second = tenant.add_automation(document("second", call_block(1, first), call_block(2, leaf)), ben)
    tenant.replace_workspace(first, document("first", call_block(1, second))["workspace"])
    stage.backup()

    restored = stage.restore()

    target = stage.target
    if switches == {"disabled_calls_exempt": False}:
        # The one that closes the cycle cannot be saved at all: it fails alone, and is named.
        assert restored.code == 3
        return
    assert restored.code == 0, [line for line in restored.lines if line.get("severity") in ("error", "warning")]
    assert {one["state"] for name in ARMED for one in target.named(name)} == {"disabled"}
    assert target.one("second")["workspace"]["blocks"][1]["inputs"][0]["value"] == target.one("first")["id"]
    assert target.one("first")["workspace"]["blocks"][1]["inputs"][0]["value"] == target.one("second")["id"]
    assert target.one("leaf")["workspace"]["blocks"][1]["settings"][0]["value"] in target.tenant.connections
    assert len(target.tenant.automations) == 7
    if "put_keeps_disabled" not in switches:
        assert not target.tenant.armed_while_enabled
    before = len(target.tenant.writes)
    assert stage.restore().automations == {"selected": 7, "unchanged": 7}
    assert len(target.tenant.writes) == before
