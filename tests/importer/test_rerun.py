"""The second clone, after people have worked at the target for a while: nothing of theirs is lost, nothing doubles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from stage import DAILY, PLATFORM_OPERATIONS, Stage, bound_block, call_block, document, text_block
from test_restore import creates, edit_target

AUTOMATIONS = 40
GAP, TEXT = 1, 2


def workspace(connection: str | None, text: str, mode: str = "manual") -> dict[str, Any]:
    made: dict[str, Any] = document("", bound_block(1, connection), text_block(2, text), mode=mode)["workspace"]
    return made


def bound(one: dict[str, Any]) -> Any:
    return one["workspace"]["blocks"][GAP]["settings"][0]["value"]


def shown(one: dict[str, Any]) -> Any:
    return one["workspace"]["blocks"][TEXT]["inputs"][0]["value"]


class Company:
    """40 automations that were cloned once and then worked on at the target, the source unchanged meanwhile.

    Each is bound by its owner to a connection of the target that has no counterpart at the source. Then, by number
    modulo 5: 0 nothing else, 1 renamed, 2 rescheduled, 3 switched on or off, 4 its text edited.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        here, there = stage.source, stage.target
        self.owners = [("ben", "cleo")[number % 2] for number in range(AUTOMATIONS)]
        gone = {
            who: here.tenant.add_connection(PLATFORM_OPERATIONS, f"Of {who}", here.users[who]) for who in here.users
        }
        self.sources = []
        for number, who in enumerate(self.owners):
            mode = "webhook" if number % 4 == 3 else "manual"
            given = document(f"automation {number:02}") | {"workspace": workspace(gone[who], f"text {number}", mode)}
            self.sources.append(here.tenant.add_automation(given, here.users[who], here.spaces["Sales"]))
        first = self.clone("first")
        assert first.code == 0
        assert first.automations == {"selected": AUTOMATIONS, "created": AUTOMATIONS}
        self.ids = [there.one(f"automation {number:02}")["id"] for number in range(AUTOMATIONS)]
        for number in range(AUTOMATIONS):
            self.work_on(number)
        self.theirs = self.picture()

    def work_on(self, number: int) -> None:
        there, who = self.stage.target, self.owners[number]
        name = f"automation {number:02}"
        one = there.one(name)
        connection = there.tenant.add_connection(PLATFORM_OPERATIONS, f"Mine {number}", there.users[who])
        space = one["workspace"]
        assert bound(one) is None
        space["blocks"][GAP]["settings"][0]["value"] = connection
        if number % 5 == 4:
            space["blocks"][TEXT]["inputs"][0]["value"] = f"theirs {number}"
        edit_target(self.stage, name, workspace=space)
        if number % 5 == 1:
            edit_target(self.stage, name, name=f"better {number:02}")
        if number % 5 == 2:
            edit_target(self.stage, name, schedules=[DAILY])
        if number % 5 == 3:
            self.switch(one["id"], "disable" if one["state"] == "available" else "enable")

    def switch(self, ident: str, word: str) -> None:
        from urllib.request import Request, urlopen

        there = self.stage.target
        owner = there.tenant.automations[ident]["ownerId"]
        headers = {"authorization": f"Bearer {there.tenant.api_key(owner)}"}
        url = f"{there.tenant.base_url}/api/workflows/automations/{ident}/actions/{word}"
        urlopen(Request(url, method="POST", headers=headers))

    def change_source(self) -> None:
        """Every second automation gets another text at the source."""
        for number in range(0, AUTOMATIONS, 2):
            tenant = self.stage.source.tenant
            space = tenant.automations[self.sources[number]]["workspace"]
            space["blocks"][TEXT]["inputs"][0]["value"] = f"changed {number}"
            tenant.replace_workspace(self.sources[number], space)

    def clone(self, run: str, *words: str) -> Any:
        return self.stage.cli(
            "clone", "source", "target", "--run", self.run_folder(run), "--ledger", self.ledger, *words
        )

    def run_folder(self, run: str) -> Path:
        return self.stage.folder / run

    @property
    def ledger(self) -> Path:
        return self.stage.folder / "ledger.jsonl"

    def picture(self) -> dict[str, str]:
        kept = ("name", "description", "state", "ownerId", "spaceId", "workspace", "schedules", "maxConcurrentRuns")
        return {
            ident: json.dumps({key: one[key] for key in kept}, sort_keys=True)
            for ident, one in self.stage.target.tenant.automations.items()
        }


@pytest.fixture
def company(stage: Stage) -> Company:
    return Company(stage)


def conflicts(ended: Any) -> set[str]:
    """The target ids that conflicts name."""
    return {line["where"].rpartition(" ")[2] for line in ended.of("problem") if line["code"] == "conflict"}


def test_work_of_people_stays_when_the_source_did_not_change(company: Company) -> None:
    """40 bound, and renamed, rescheduled, switched or edited: a second clone writes nothing at all."""
    before = len(company.stage.target.tenant.writes)
    again = company.clone("second")
    assert again.code == 0
    assert again.automations == {"selected": AUTOMATIONS, "unchanged": AUTOMATIONS}
    assert len(company.stage.target.tenant.writes) == before
    assert company.picture() == company.theirs


def test_conflicts_are_named_and_the_rest_arrives(company: Company) -> None:
    """Half changed at the source: bindings and states stay, updates go where nobody edited, conflicts are all named."""
    company.change_source()
    edited = {company.ids[number] for number in range(0, AUTOMATIONS, 2) if number % 5 in (1, 2, 4)}
    tenant = company.stage.target.tenant

    refused = company.clone("refused", "--on-conflict", "fail")
    assert refused.code == 6
    assert conflicts(refused) == edited
    assert company.picture() == company.theirs

    skipped = company.clone("skipped", "--on-conflict", "skip")
    assert skipped.code == 0
    assert conflicts(skipped) == edited
    assert skipped.automations == {
        "selected": AUTOMATIONS,
        "unchanged": AUTOMATIONS // 2,
        "updated": AUTOMATIONS // 2 - len(edited),
        "skipped": len(edited),
    }
    now = company.picture()
    for number, ident in enumerate(company.ids):
        one, was = tenant.automations[ident], json.loads(company.theirs[ident])
        if number % 2 or ident in edited:
            assert now[ident] == company.theirs[ident]
        else:
            assert shown(one) == f"changed {number}"
            assert (bound(one), one["state"]) == (bound(was), was["state"])

    updated = company.clone("updated", "--on-conflict", "update")
    assert updated.code == 0
    assert conflicts(updated) == edited
    for ident in edited:
        one, was = tenant.automations[ident], json.loads(company.theirs[ident])
        assert shown(one).startswith("changed ")
        assert (bound(one), one["state"]) == (bound(was), was["state"])
        kept = json.loads((company.run_folder("updated") / "pre-images" / f"{ident}.json").read_bytes())
        assert (kept["name"], shown(kept)) == (was["name"], shown(was))
    assert len(tenant.automations) == AUTOMATIONS


def test_nothing_doubles_when_ledger_and_run_are_gone(company: Company) -> None:
    """The same without ledger and run folder: the untouched are adopted, the others named, and nobody made anew."""
    shutil.rmtree(company.run_folder("first"))
    company.ledger.unlink()
    worked_on = {company.ids[number] for number in range(AUTOMATIONS) if number % 5 in (1, 2, 4)}
    before = creates(company.stage.target.tenant)

    refused = company.clone("refused", "--on-conflict", "fail")
    assert refused.code == 6
    assert conflicts(refused) == worked_on
    assert company.picture() == company.theirs

    skipped = company.clone("skipped", "--on-conflict", "skip")
    assert skipped.code == 0
    assert conflicts(skipped) == worked_on
    assert skipped.automations == {
        "selected": AUTOMATIONS,
        "adopted": AUTOMATIONS - len(worked_on),
        "skipped": len(worked_on),
    }
    assert creates(company.stage.target.tenant) == before
    assert company.picture() == company.theirs

    updated = company.clone("updated", "--on-conflict", "update")
    assert updated.code == 0
    assert conflicts(updated) == worked_on
    assert creates(company.stage.target.tenant) == before
    assert company.picture().keys() == company.theirs.keys()
    for ident in company.ids:
        one, was = company.stage.target.tenant.automations[ident], json.loads(company.theirs[ident])
        assert (bound(one), one["state"]) == (bound(was), was["state"])


def test_twins_are_never_taken_for_renamed_ones(stage: Stage) -> None:
    """Two of one content under other names, or one that is empty: nobody guesses, the missing one is made."""
    for name in ("one", "empty"):
        blocks = [text_block(1, "the same")] if name == "one" else []
        given = document(name, *blocks) | {"description": ""}
        stage.source.tenant.add_automation(given, stage.source.users["ben"])
        for number in range(2 if name == "one" else 1):
            stage.target.tenant.add_automation(given | {"name": f"{name}-{number}"}, stage.target.users["ben"])
    ended = stage.cli("clone", "source", "target")
    assert ended.code == 0
    assert ended.automations == {"selected": 2, "created": 2}
    assert not conflicts(ended)


def test_callers_of_renamed_ones_are_found_too(stage: Stage) -> None:
    """A caller and its callee, both renamed, ledger gone: both are found."""
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    leaf = tenant.add_automation(document("leaf", text_block(1, "the leaf")), ben)
    tenant.add_automation(document("caller", call_block(1, leaf)), ben)
    stage.cli("clone", "source", "target", "--ledger", stage.folder / "l", "--run", stage.folder / "r")
    for name in ("leaf", "caller"):
        edit_target(stage, name, name=f"better {name}")
    (stage.folder / "l").unlink()
    ended = stage.cli("clone", "source", "target", "--ledger", stage.folder / "l", "--on-conflict", "skip")
    assert ended.code == 0
    assert ended.automations == {"selected": 2, "skipped": 2}
    assert len(stage.target.tenant.automations) == 2


def test_renamed_callee_is_no_change_of_its_callers(stage: Stage) -> None:
    """Somebody renames what another one calls: the caller's label is no reason to write to it, nor a conflict."""
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    leaf = tenant.add_automation(document("leaf"), ben)
    tenant.add_automation(document("caller", call_block(1, leaf)), ben)
    stage.cli("clone", "source", "target", "--run", stage.folder / "r1")
    edit_target(stage, "leaf", name="better leaf")
    before = len(stage.target.tenant.writes)
    again = stage.cli("clone", "source", "target", "--run", stage.folder / "r2", "--on-conflict", "fail")
    assert again.code == 0
    assert again.automations == {"selected": 2, "unchanged": 2}
    assert len(stage.target.tenant.writes) == before
