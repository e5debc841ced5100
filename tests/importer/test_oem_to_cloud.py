"""An OEM account comes into a tenant of Qlik Cloud through the importer for Qlik Cloud; what it cannot say is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from oem_account import OemAccount, stored_input, write_archive
from stage import (
    MAIL,
    PLATFORM_OPERATIONS,
    QCS,
    Ended,
    Stage,
    bound_block,
    call_block,
    document,
    start_block,
    text_block,
)

SECRET = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"


def workspace(*blocks: dict[str, Any], mode: str = "manual") -> dict[str, Any]:
    """What the editor saves."""
    return {"blocks": [start_block(mode), *blocks], "variables": []}


def bring(
    stage: Stage, *accounts: OemAccount, words: tuple[str, ...] = ("--default-owner", "ben@example.com")
) -> Ended:
    """Restore the account into the target."""
    write_archive(stage.folder / "a.qma", *accounts)
    return stage.restore("a.qma", *words)


def runbook(stage: Stage, ended: Ended) -> str:
    return (Path(ended.summary["run"]) / "runbook.md").read_text(encoding="utf-8")


def tasks(ended: Ended) -> dict[str, list[dict[str, Any]]]:
    """The tasks of the run by code."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads((Path(ended.summary["run"]) / "report.json").read_text(encoding="utf-8"))["tasks"]:
        found.setdefault(one["code"], []).append(one)
    return found


def test_an_account_arrives_and_a_second_restore_writes_nothing(stage: Stage) -> None:
    """Name, description, bindings, calls and schedule arrive, owned by whom `--default-owner` names, and held."""
    there = stage.target
    account = OemAccount("acme")
    here = account.connection("Platform", PLATFORM_OPERATIONS)
    other = there.tenant.add_connection(PLATFORM_OPERATIONS, "Platform", there.users["ben"])
    callee = account.automation("Callee", workspace(), state="available")
    schedule = {
        "schedule_start_at": "2026-02-01 07:00:00", "schedule_stop_at": None, "schedule_interval": 3600,
        "schedule_timezone": "Europe/Brussels", "state": "available",
    }  # fmt: skip
    account.automation(
        "Caller",
        workspace(bound_block(1, here), call_block(2, callee), mode="scheduled"),
        schedule,
        run_mode="scheduled",
    )
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 2, "created": 2}
    caller, called = there.one("Caller"), there.one("Callee")
    assert {one["ownerId"] for one in (caller, called)} == {there.users["ben"]}
    assert (caller["description"], caller["state"], called["state"]) == ("Caller, described", "disabled", "available")
    _, bound, calls = caller["workspace"]["blocks"]
    assert bound["settings"][0]["value"] == other
    assert (calls["inputs"][0]["value"], calls["disabled"]) == (called["id"], False)
    kept = {key: caller["schedules"][0][key] for key in ("startAt", "stopAt", "interval", "timezone")}
    assert kept == {"startAt": "2026-02-01 07:00:00", "stopAt": None, "interval": 3600, "timezone": "Europe/Brussels"}
    assert not there.tenant.armed_while_enabled
    # Whoever was named is the owner: nobody is waited for.
    assert set(tasks(ended)) == {"held"}

    writes = len(there.tenant.writes)
    again = stage.restore("a.qma", "--default-owner", "ben@example.com")
    assert again.automations == {"selected": 2, "unchanged": 2}
    assert all(seen.path == "/oauth/token" for seen in there.tenant.writes[writes:])


def test_nobody_owns_what_comes_from_an_account_unless_named(stage: Stage) -> None:
    """Without an owner a restore is refused; the importing identity takes it when told so, and stands in for nobody."""
    account = OemAccount("acme")
    account.automation("One", workspace(), state="available")
    refused = bring(stage, account, words=())
    assert (refused.code, refused.codes()) == (6, {"owner-missing"})
    assert "--default-owner" in next(line["hint"] for line in refused.of("problem"))
    taken = bring(stage, account, words=("--owner", "importer"))
    assert taken.code == 0
    owner = stage.target.tenant.users[stage.target.one("One")["ownerId"]]
    assert owner["subject"].startswith("qlikbot")
    assert tasks(taken) == {}
    named = bring(stage, account, words=("--fallback-owner", "nobody@example.com"))
    assert named.code == 2


def test_a_line_of_the_mapping_file_names_the_owner_first(stage: Stage) -> None:
    """The mapping proposes the account's owner as any user; what people fill in wins over `--default-owner`."""
    account = OemAccount("acme")
    account.automation("One", workspace(), state="available")
    write_archive(stage.folder / "a.qma", account)
    file = stage.folder / "map.toml"
    assert stage.cli("mapping", stage.folder / "a.qma", "target", "-o", file).code == 0
    text = file.read_text(encoding="utf-8")
    assert f"owner-of-{account.id}" in text
    file.write_text(f'[users]\n"owner-of-{account.id}" = "cleo@example.com"\n', encoding="utf-8")
    ended = stage.restore("a.qma", "--mapping", str(file), "--default-owner", "ben@example.com")
    assert ended.code == 0, ended.lines
    assert stage.target.one("One")["ownerId"] == stage.target.users["cleo"]


@pytest.mark.parametrize("by", ["name", "id", "new"])
def test_everything_goes_to_the_default_space(stage: Stage, by: str) -> None:
    """A shared space by name or id; one that is not there is made with --create-spaces, and nothing is doubled."""
    there = stage.target
    account = OemAccount("acme")
    account.automation("One", workspace(), state="available")
    name = {"name": "Sales", "id": there.spaces["Sales"], "new": "Customers"}[by]
    words = ("--default-owner", "ben@example.com", "--default-space", name)
    if by == "new":
        refused = bring(stage, account, words=words)
        assert (refused.code, refused.codes()) == (6, {"space-missing"})
        words = (*words, "--create-spaces")
    ended = bring(stage, account, words=words)
    assert ended.code == 0, ended.lines
    (space,) = [one for one in there.tenant.spaces.values() if one["id"] == there.one("One")["spaceId"]]
    assert space["name"] == {"name": "Sales", "id": "Sales", "new": "Customers"}[by]
    assert "space-owner-left" not in tasks(ended)
    # By name, space and owner, too: without the ledger.
    again = stage.restore("a.qma", *words, "--ledger", str(stage.folder / "other.jsonl"))
    assert again.automations == {"selected": 1, "adopted": 1}


def test_a_space_of_qlik_cloud_that_is_lost_has_a_default_too(stage: Stage) -> None:
    """Automations of a space without a counterpart go to the default space; texts that name the lost one stay."""
    here, there = stage.source, stage.target
    lost = here.tenant.add_space("Lost", owner=here.users["ada"])
    here.tenant.add_member(lost, here.users["ben"], ("producer", "facilitator"))
    here.tenant.add_automation(document("One", text_block(1, f"see {lost}")), here.users["ben"], space=lost)
    stage.backup()
    assert stage.restore().code == 6
    ended = stage.restore("a.qma", "--default-space", "Sales")
    assert ended.code == 0, ended.lines
    assert there.one("One")["spaceId"] == there.spaces["Sales"]
    assert lost in json.dumps(there.one("One")["workspace"])
    again = stage.restore("a.qma", "--default-space", "Sales", "--ledger", str(stage.folder / "other.jsonl"))
    assert again.automations == {"selected": 1, "adopted": 1}
    for words in (("--default-space", "Nowhere"), ("--default-space", "Sales", "--create-spaces")):
        assert stage.restore("a.qma", *words).code == 2


@pytest.mark.parametrize(
    ("interval", "written", "code"),
    [(30, 60, "schedule-rounded"), (60, 60, ""), (2_592_000, 2_592_000, ""), (-1, None, ""), (0, None, "schedule-once"),
     (None, None, "schedule-unknown")],
)  # fmt: skip
def test_a_schedule_is_carried_as_far_as_qlik_cloud_can_say_it(
    stage: Stage, interval: int | None, written: int | None, code: str
) -> None:
    """Half a minute is rounded up, once is nothing that repeats, and an unknown one is left to people: each is told."""
    account = OemAccount("acme")
    schedule = {"schedule_start_at": "2026-02-01 07:00:00", "schedule_timezone": "Europe/London", "state": "available"}
    schedule |= {} if interval is None else {"schedule_interval": interval}
    account.automation("One", workspace(mode="scheduled"), schedule, run_mode="scheduled")
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    found = [one.get("interval") for one in stage.target.one("One")["schedules"] if (one.get("interval") or 0) > 0]
    assert found == ([written] if written else [])
    told = {one for one in ended.codes() if one.startswith("schedule-") and one != "schedule-interval"}
    assert told == ({code} if code else set())
    assert stage.target.one("One")["state"] == "disabled"
    assert (code in tasks(ended)) is (code in ("schedule-once", "schedule-unknown"))


@pytest.mark.parametrize("armed", [False, True])
def test_what_nobody_says_is_on_is_created_off_and_waits_for_people(stage: Stage, armed: bool) -> None:
    """No state, no start: not even with `--start as-source`; what could fire waits for `activate`."""
    account = OemAccount("acme")
    mode = "triggered" if armed else "manual"
    account.automation("One", workspace(mode=mode), run_mode=None)
    ended = bring(stage, account, words=("--default-owner", "ben@example.com", "--start", "as-source"))
    assert ended.code == 0, ended.lines
    assert stage.target.one("One")["state"] == "disabled"
    assert set(tasks(ended)) == {"state-unknown"} | ({"held", "caller"} if armed else set())
    started = stage.cli("activate", ended.summary["run"], "--yes")
    if armed:
        assert (started.code, started.codes()) == (6, {"source-unchecked"})
        assert "OEM account" in started.of("problem")[0]["message"]
        assert stage.cli("activate", ended.summary["run"], "--yes", "--allow", "source-unchecked").code == 0
        assert stage.target.one("One")["state"] == "available"


def test_a_state_is_taken_from_the_connection_that_names_the_automation(stage: Stage) -> None:
    """The API may tell it there alone; what people say comes first."""
    account = OemAccount("acme")
    ids = [account.automation(name, workspace()) for name in ("On", "Off", "Said")]
    states = ("available", "disabled", "disabled")
    blends = [{"guid": ident, "state": state} for ident, state in zip(ids, states, strict=True)]
    account.connection("Platform", PLATFORM_OPERATIONS, blends=blends)
    account.schedules[ids[2]] = {"state": "available"}
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    found = {name: stage.target.one(name)["state"] for name in ("On", "Off", "Said")}
    assert found == {"On": "available", "Off": "disabled", "Said": "available"}
    assert "state-unknown" not in ended.codes()


def test_an_automation_without_a_workspace_is_left_out_and_told(stage: Stage) -> None:
    """It is skipped with a task that says how to supply it; a call to it is switched off; a bundle is none itself."""
    account = OemAccount("acme")
    bare = account.automation("Bare", state="available")
    child = account.automation("Part", workspace(), state="available")
    account.automation("Bundle", isbundle=True, sub_blends=[{"guid": child}])
    account.automation("Caller", workspace(call_block(1, bare)), state="available")
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 3, "created": 2, "skipped": 1}
    (outcome,) = [one for one in ended.of("outcome") if one["code"] == "workspace-missing"]
    assert (outcome["name"], outcome["status"], outcome["source_id"]) == ("Bare", "skipped", bare)
    (task,) = tasks(ended)["workspace-missing"]
    assert "--workspaces" in task["hint"]
    assert "--workspaces" in runbook(stage, ended)
    call = stage.target.one("Caller")["workspace"]["blocks"][1]
    assert (call["disabled"], call["inputs"][0]["value"]) == (True, None)
    assert stage.cli("status", ended.summary["run"]).code == 4
    assert not stage.target.named("Bundle")


def test_a_selection_of_nothing_but_missing_workspaces_is_no_error(stage: Stage) -> None:
    """What is selected and cannot be brought is told, not taken for an empty selection."""
    account = OemAccount("acme")
    account.automation("Bare", state="available")
    ended = bring(stage, account, words=("--default-owner", "ben@example.com", "--include", "name=B*"))
    assert (ended.code, ended.automations) == (0, {"selected": 1, "skipped": 1})
    none = bring(stage, account, words=("--default-owner", "ben@example.com", "--include", "name=C*"))
    assert none.code == 2


def test_ids_that_are_not_the_accounts_own_are_never_guessed(stage: Stage) -> None:
    """A workspace of another instance of a template names another account's datasource and blend: both stay open."""
    there = stage.target
    acme, other = OemAccount("acme"), OemAccount("other")
    acme.connection("Platform", PLATFORM_OPERATIONS)
    foreign = other.connection("Platform", PLATFORM_OPERATIONS)
    callee = other.automation("Callee", workspace(), state="available")
    there.tenant.add_connection(PLATFORM_OPERATIONS, "Platform", there.users["ben"])
    acme.automation("One", workspace(bound_block(1, foreign), call_block(2, callee)), state="available")
    words = ("--default-owner", "ben@example.com", "--include", "account=acme")
    ended = bring(stage, acme, other, words=words)
    assert ended.code == 0, ended.lines
    assert {"connection-unbound", "call-unresolved"} <= ended.codes()
    _, bound, call = there.one("One")["workspace"]["blocks"]
    assert bound["settings"][0]["value"] is None
    assert (call["inputs"][0]["value"], call["disabled"]) == (None, True)
    assert foreign not in json.dumps(there.one("One"))


def test_one_account_of_several_is_chosen_and_found_again(stage: Stage) -> None:
    """`--include account=` by external id or guid; a plan remembers it; a run of one is no run of another."""
    acme, other = OemAccount("acme"), OemAccount("other")
    acme.automation("Mine", workspace(), state="available")
    other.automation("Theirs", workspace(), state="available")
    words = ("--default-owner", "ben@example.com")
    unsaid = bring(stage, acme, other, words=words)
    assert unsaid.code == 2
    assert "account=" in unsaid.error["hint"]
    archive = stage.folder / "a.qma"
    plan = stage.folder / "plan.json"
    made = stage.cli("plan", archive, "target", "-o", plan, *words, "--include", f"account={other.id}")
    assert made.code == 0, made.lines
    run = stage.folder / "run-x"
    assert stage.cli("apply", plan, "--run", run).automations == {"selected": 1, "created": 1}
    assert stage.target.one("Theirs")
    again = stage.cli("restore", archive, "target", *words, "--include", "account=acme", "--run", run, "--resume")
    assert again.code == 2
    assert not stage.target.named("Mine")
    for wrong in (("account=acme", "account=other"), ("account=",), ("account=Nobody",)):
        chosen = [word for one in wrong for word in ("--include", one)]
        assert stage.cli("plan", archive, "target", *words, *chosen).code == 2
    stage.backup("cloud.qma")
    assert stage.restore("cloud.qma", "--include", "account=acme").code == 2


def test_a_connector_is_found_by_id_and_then_by_name(stage: Stage) -> None:
    """An id of OEM's own is moved to the target's connector of that name; one that nobody has is refused."""
    there = stage.target
    account = OemAccount("acme")
    own = "11111111-2222-11ea-95da-0fb0c241e75c"
    here = account.connection("Post", own, "Mail")
    other = there.tenant.add_connection(MAIL, "Post", there.users["ben"])
    block = bound_block(1, here, own)
    block.pop("endpoint_guid")
    account.automation("One", workspace(block), state="available")
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    found = there.one("One")["workspace"]["blocks"][1]
    assert (found["datasourcetype_guid"], found["settings"][0]["value"]) == (MAIL, other)

    account.automation(
        "Two", workspace(bound_block(1, None, "99999999-2222-11ea-95da-0fb0c241e75c")), state="available"
    )
    refused = bring(stage, account)
    assert (refused.code, "connector-missing" in refused.codes()) == (6, True)


def test_connections_of_the_system_become_the_owners_one(stage: Stage) -> None:
    """Each user has one connection to Qlik Cloud Services: several of an account are the owner's, and no rivals."""
    there = stage.target
    account = OemAccount("acme")
    ids = [account.connection(name, QCS, "Qlik Cloud Services") for name in ("First", "Second")]
    (mine,) = [
        one["id"]
        for one in there.tenant.connections.values()
        if one["connectorId"] == QCS and one["ownerId"] == there.users["ben"]
    ]
    account.automation("One", workspace(bound_block(1, ids[0], QCS), bound_block(2, ids[1], QCS)), state="available")
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    blocks = there.one("One")["workspace"]["blocks"][1:]
    assert [one["settings"][0]["value"] for one in blocks] == [mine, mine]


def test_a_host_of_oem_is_never_replaced_by_a_tenants(stage: Stage) -> None:
    """An address at OEM's API acts on the account and has no like at Qlik Cloud: refused, unless people keep it."""
    account = OemAccount("acme")
    called = account.automation("Called", workspace(mode="triggered"), state="available", run_mode="triggered")
    url = f"https://api.blendr.io/v1/widgets/{called}"
    account.automation("One", workspace(text_block(1, f"POST {url}")), state="available")
    refused = bring(stage, account)
    assert (refused.code, "source-host-left" in refused.codes()) == (6, True)
    file = stage.folder / "map.toml"
    file.write_text('[hosts]\n"api.blendr.io" = { decision = "keep" }\n', encoding="utf-8")
    kept = bring(stage, account, words=("--default-owner", "ben@example.com", "--mapping", str(file)))
    assert kept.code == 0, kept.lines
    assert "https://api.blendr.io/v1/widgets/" in json.dumps(stage.target.one("One")["workspace"])
    (task,) = tasks(kept)["caller"]
    assert called in task["hint"]
    listed = stage.cli("callers", kept.summary["run"], "-o", stage.folder / "callers.csv")
    assert listed.code == 0
    text = (stage.folder / "callers.csv").read_text(encoding="utf-8")
    assert url in text


def test_stored_inputs_are_listed_for_people_without_secrets(stage: Stage) -> None:
    """Names in the plan, names and values in the runbook; what looks like a secret is shown nowhere."""
    account = OemAccount("acme")
    inputs = [
        stored_input("region", "eu-west"),
        stored_input("token", SECRET),
        stored_input("filter", {"deep": [SECRET]}),
    ]
    inputs += [stored_input("empty", None)]
    account.automation("One", workspace(), state="available", inputs=inputs)
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    (task,) = tasks(ended)["persisted-input"]
    assert all(word in task["message"] for word in ("`region`: eu-west", "`token`: ***", "`filter`: "))
    assert "empty" not in task["message"]
    folder = Path(ended.summary["run"])
    everything = json.dumps(ended.lines) + "".join(
        one.read_text(encoding="utf-8") for one in folder.rglob("*") if one.is_file()
    )
    assert SECRET not in everything
    assert "eu-west" not in (folder / "plan.json").read_text(encoding="utf-8")


def test_scan_and_diff_read_an_account_as_they_read_a_tenant(stage: Stage) -> None:
    """What a migration will meet, without a target; and nothing differs after a restore, seen through its run."""
    account = OemAccount("acme")
    here = account.connection("Platform", PLATFORM_OPERATIONS)
    stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Platform", stage.target.users["ben"])
    account.automation("One", workspace(bound_block(1, here), text_block(2, f"token {SECRET}")), state="available")
    account.automation("Bare", state="available")
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    archive = stage.folder / "a.qma"
    scanned = stage.cli("scan", archive)
    assert (scanned.code, scanned.summary["counts"]["findings"].get("secret-in-workspace")) == (0, 1)
    same = stage.cli("diff", archive, "tenant:target", "--run", ended.summary["run"])
    assert same.code == 0, same.lines
    assert same.summary["counts"]["automations"]["same"] == 1
    stage.target.tenant.replace_workspace(stage.target.one("One")["id"], workspace(text_block(2, "edited")))
    assert stage.cli("diff", archive, "tenant:target", "--run", ended.summary["run"]).code == 5


def test_a_workspace_inside_an_automations_document_will_do(stage: Stage) -> None:
    """People may hand in what Qlik Cloud's API gives; and an API that shows the workspace needs no file."""
    account = OemAccount("acme")
    account.automation("Whole", {"name": "x", "executionToken": SECRET, "workspace": workspace(text_block(1, "whole"))})
    account.automation("Shown", state="available", workspace=None)
    ident = account.automation("Api")
    account.blends[ident]["workspace"] = workspace(text_block(1, "shown"))
    ended = bring(stage, account)
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 3, "created": 2, "skipped": 1}
    for name, text in (("Whole", "whole"), ("Api", "shown")):
        assert stage.target.one(name)["workspace"]["blocks"][1]["inputs"][0]["value"] == text
    assert SECRET not in json.dumps(list(stage.target.tenant.automations.values()))
    account.workspaces[ident] = {"no": "workspace"}
    assert bring(stage, account).code == 13


def test_cutover_says_that_an_account_is_switched_by_people(stage: Stage) -> None:
    """Nothing in an account is stopped from here: exit 2, and how to go on."""
    account = OemAccount("acme")
    account.automation("One", workspace(mode="triggered"), state="available", run_mode="triggered")
    ended = bring(stage, account)
    refused = stage.cli("cutover", ended.summary["run"], "--yes")
    assert (refused.code, "activate RUN" in refused.error["hint"]) == (2, True)
