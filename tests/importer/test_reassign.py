"""`reassign`: automations go to their own owners once these are there, and nothing starts by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage import PLATFORM_OPERATIONS, Ended, Stage, bound_block, document

from qlikmigrate.importer.line_log import LineLog
from qlikmigrate.sandbox import Fault, ResetAfterCommit, Status


def prepare(stage: Stage, *words: str, binding: bool = True) -> None:
    """Dora exists at the source only; somebody stands in for her at the target."""
    tenant = stage.source.tenant
    dora = stage.source.users["dora"] = tenant.add_user("corp\\dora", "Dora Example", "dora@example.com")
    here = tenant.add_connection(PLATFORM_OPERATIONS, "Operations", dora)
    blocks = [bound_block(1, here)] if binding else []
    tenant.add_automation(document("hers", *blocks), dora)
    tenant.add_automation(document("hook", *blocks, mode="webhook"), dora)
    tenant.add_automation(document("bens"), stage.source.users["ben"])
    stage.backup()
    assert stage.restore("a.qma", *(words or ("--fallback-owner", "ada@example.com")), run="r").code == 0


def appear(stage: Stage, subject: str = "corp\\dora", email: str = "dora@example.com") -> tuple[str, str]:
    """Dora comes to the target, with her connection; her id and its."""
    dora = stage.target.users["dora"] = stage.target.tenant.add_user(subject, "Dora Example", email)
    return dora, stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Operations", dora)


def counts(ended: Ended) -> dict[str, int]:
    return ended.automations


def owners(stage: Stage) -> dict[str, str]:
    names = {ident: name for name, ident in stage.target.users.items()}
    return {name: names.get(stage.target.one(name)["ownerId"], "?") for name in ("hers", "hook", "bens")}


def bound_to(stage: Stage, name: str) -> Any:
    block = stage.target.one(name)["workspace"]["blocks"][1]
    return next(one["value"] for one in block["settings"] if one["id"] == "datasource")


def open_owners(stage: Stage) -> int:
    return sum(
        row["code"] == "owner-to-reassign" and not row["settled"]
        for row in stage.cli("status", stage.folder / "r").of("item")
        if row["kind"] == "task"
    )


@pytest.mark.parametrize("owner_by", ["impersonate", "transfer"])
def test_owner_who_appeared_gets_theirs(stage: Stage, owner_by: str) -> None:
    """Until then they are waiting and listed; afterwards they are hers, bound to her connection, and still off."""
    stage.owner_by = owner_by
    stage.write_config()
    prepare(stage)
    assert owners(stage) == {"hers": "ada", "hook": "ada", "bens": "ben"}
    assert open_owners(stage) == 2
    assert counts(stage.cli("reassign", stage.folder / "r")) == {"selected": 2, "waiting": 2}
    _, connection = appear(stage)
    stage.target.tenant.seen.clear()
    dry = stage.cli("reassign", stage.folder / "r", "--dry-run")
    assert {one["status"] for one in dry.of("outcome")} == {"planned"}
    assert not stage.target.tenant.writes
    done = stage.cli("reassign", stage.folder / "r")
    assert (done.code, counts(done)) == (0, {"selected": 2, "reassigned": 2})
    assert owners(stage) == {"hers": "dora", "hook": "dora", "bens": "ben"}
    assert bound_to(stage, "hers") == bound_to(stage, "hook") == connection
    assert stage.target.one("hook")["state"] == "disabled"
    assert not stage.target.tenant.armed_while_enabled
    assert open_owners(stage) == 0
    stage.target.tenant.seen.clear()
    again = stage.cli("reassign", stage.folder / "r")
    assert counts(again) == {"selected": 2, "settled": 2}
    assert not stage.target.tenant.writes


def test_later_clone_finds_nothing_to_do(stage: Stage) -> None:
    """The ledger knows what reassigning wrote: the next restore changes nothing, and is no conflict."""
    prepare(stage)
    appear(stage)
    stage.cli("reassign", stage.folder / "r")
    again = stage.restore("a.qma", run="again")
    assert again.code == 0
    assert again.automations == {"selected": 3, "unchanged": 3}


def test_match_is_by_address_too_and_never_a_guess(stage: Stage) -> None:
    """Another subject with her e-mail address is her; two users who could be her are a problem."""
    prepare(stage)
    appear(stage, subject="idp|42")
    stage.target.tenant.add_user("corp\\dora", "Another Dora", "other@example.com")
    unsure = stage.cli("reassign", stage.folder / "r")
    assert "ambiguous-match" in unsure.codes()
    assert owners(stage)["hers"] == "ada"


def test_by_address_alone(stage: Stage) -> None:
    """An identity provider that names people otherwise: the e-mail address counts."""
    prepare(stage)
    appear(stage, subject="idp|42")
    stage.cli("reassign", stage.folder / "r")
    assert owners(stage)["hers"] == "dora"


def test_importer_gives_away_what_it_kept(stage: Stage) -> None:
    """After `--owner importer` everything waits for its owner, and goes to those who are there."""
    prepare(stage, "--owner", "importer", binding=False)
    assert open_owners(stage) == 3
    assert counts(stage.cli("reassign", stage.folder / "r")) == {"selected": 3, "reassigned": 1, "waiting": 2}
    assert owners(stage)["bens"] == "ben"
    assert open_owners(stage) == 2


def test_admin_key_leaves_the_bindings_to_their_owner(stage: Stage) -> None:
    """An administrator's key may give it away and cannot write it then: the bindings are listed for people."""
    stage.owner_by = "key"
    stage.write_config()
    prepare(stage)
    appear(stage)
    done = stage.cli("reassign", stage.folder / "r")
    assert done.code == 0
    assert "bindings-lost-on-transfer" in done.codes()
    assert owners(stage)["hers"] == "dora"
    assert stage.target.one("hook")["state"] == "disabled"


def test_server_that_enables_is_put_right(make_stage: Callable[..., Stage]) -> None:
    """Where a change of owner switches an automation on, it is off again at once, and that is told."""
    stage = make_stage(owner_change_keeps_disabled=False)
    prepare(stage)
    appear(stage)
    done = stage.cli("reassign", stage.folder / "r")
    assert "armed-by-server" in done.codes()
    assert stage.target.one("hook")["state"] == "disabled"
    assert stage.target.one("hers")["state"] == "available"


def test_history_that_is_lost_is_told(stage: Stage) -> None:
    """An automation that has run loses its runs: a warning names it."""
    prepare(stage)
    appear(stage)
    stage.target.tenant.run(stage.target.one("hers")["id"])
    done = stage.cli("reassign", stage.folder / "r")
    assert [one["message"] for one in done.of("problem") if one["code"] == "history-lost"] == [
        "the run history of `hers` is lost"
    ]


def test_what_somebody_gave_away_or_deleted_is_left(stage: Stage) -> None:
    """Another owner since, or gone: nothing is done, and why is said."""
    prepare(stage)
    appear(stage)
    shelf = stage.target.tenant._shelf
    one = shelf.records[stage.target.one("hers")["id"]]
    one.owner_id = stage.target.users["cleo"]
    one.touch()
    del shelf.records[stage.target.one("hook")["id"]]
    stage.target.tenant._realm.changed()
    done = stage.cli("reassign", stage.folder / "r")
    assert {one["name"]: one["code"] for one in done.of("outcome")} == {"hers": "owner-changed", "hook": "gone-since"}
    assert stage.target.one("hers")["ownerId"] == stage.target.users["cleo"]


def test_ordinary_identity_is_refused(stage: Stage) -> None:
    """Whoever may not change owners is told so before anything is written."""
    prepare(stage, binding=False)
    appear(stage)
    key = stage.target.tenant.api_key(stage.target.users["ada"])
    stage.target.tenant.set_roles(stage.target.users["ada"], "AutomationCreator")
    stage.config.write_text(
        f'[tenants.target]\nurl = "{stage.target.tenant.base_url}"\naccess = "write"\napi_key = "{key}"\n'
    )
    stage.target.tenant.seen.clear()
    refused = stage.cli("reassign", stage.folder / "r")
    assert (refused.code, refused.error["code"]) == (20, "owner-not-settable")
    assert not stage.target.tenant.writes


def test_rollback_takes_reassigned_ones_too(stage: Stage) -> None:
    """A change of owner by us is no change by people."""
    prepare(stage)
    appear(stage)
    stage.cli("reassign", stage.folder / "r")
    assert stage.cli("rollback", stage.folder / "r", "--yes").automations == {"selected": 3, "deleted": 3}
    assert not stage.target.tenant.automations


class Killed(BaseException):
    """The process is gone."""


def final(stage: Stage) -> tuple[Any, ...]:
    return (owners(stage), bound_to(stage, "hers"), bound_to(stage, "hook"), stage.target.one("hook")["state"])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("doomed", [1, 2, 3, 4, 5, 6, 7, 8])
def test_kill_at_every_line(stage: Stage, monkeypatch: pytest.MonkeyPatch, doomed: int, after: bool) -> None:
    """The process dies before or after each journal line: the next call finishes it, off what was off."""
    prepare(stage)
    _, connection = appear(stage)
    plain = LineLog.append
    count = 0

    def dying(self: LineLog, line: Any) -> None:
        nonlocal count
        count += 1
        if count == doomed and not after:
            raise Killed
        plain(self, line)
        if count == doomed:
            raise Killed

    monkeypatch.setattr(LineLog, "append", dying)
    with pytest.raises(Killed):
        stage.cli("reassign", stage.folder / "r")
    monkeypatch.setattr(LineLog, "append", plain)
    assert stage.cli("reassign", stage.folder / "r").code == 0
    assert final(stage) == ({"hers": "dora", "hook": "dora", "bens": "ben"}, connection, connection, "disabled")


@pytest.mark.parametrize("effect", [Status(code=503), Status(code=500), ResetAfterCommit()], ids=["503", "500", "lost"])
@pytest.mark.parametrize("path", ["*/actions/change-owner", "*/automations/*"])
def test_faults_are_overcome(stage: Stage, effect: Any, path: str) -> None:
    """Each of its writes meets a fault: the end is the same, here or after another call."""
    prepare(stage)
    _, connection = appear(stage)
    method = "POST" if "owner" in path else "PUT"
    stage.target.tenant.faults.append(Fault(effect=effect, method=method, path=path, nth=1))
    stage.cli("reassign", stage.folder / "r")
    assert stage.cli("reassign", stage.folder / "r").code == 0
    assert final(stage) == ({"hers": "dora", "hook": "dora", "bens": "ben"}, connection, connection, "disabled")


def test_plan_says_who_stands_in_for_whom(stage: Stage) -> None:
    """Plan and runbook name the owner who is missing, by id and by what they are searched for."""
    prepare(stage)
    plan = json.loads((Path(stage.folder) / "r" / "plan.json").read_text())
    dora = stage.source.users["dora"]
    assert plan["owners"] == [
        {"source_id": dora, "name": "Dora Example", "subject": "corp\\dora", "email": "dora@example.com"}
    ]
    rules = {one["name"]: (one["wanted_owner"], one["owner_rule"]) for one in plan["actions"]}
    assert rules == {
        "hers": (dora, "fallback"),
        "hook": (dora, "fallback"),
        "bens": (stage.source.users["ben"], "subject"),
    }
    assert "Dora Example" in (Path(stage.folder) / "r" / "runbook.md").read_text()
