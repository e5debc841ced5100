"""A restore into the tenant of the archive: what is gone comes back, callers find it, a copy is never itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from stage import PLATFORM_OPERATIONS, Ended, Stage, bound_block, call_block, document, staged, text_block


@pytest.fixture
def stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """A stage whose source may be written to."""
    with staged(tmp_path, capsys) as scene:
        web = scene.source.web
        scene.write_config(
            extra_source=f'access = "write"\nimpersonation = {{ client_id = "{web[0]}", client_secret = "{web[1]}" }}'
        )
        yield scene


def add(stage: Stage, name: str, *blocks: dict[str, Any], **fields: Any) -> str:
    """An automation of Ben's at the source."""
    return stage.source.tenant.add_automation(document(name, *blocks, **fields), stage.source.users["ben"])


def delete(stage: Stage, ident: str) -> None:
    """What a person does by mistake."""
    key = stage.source.tenant.api_key(stage.source.users["ada"])
    url = f"{stage.source.tenant.base_url}/api/workflows/automations/{ident}"
    urlopen(Request(url, method="DELETE", headers={"authorization": f"Bearer {key}"}))


def recover(stage: Stage, *words: str, run: str = "r") -> Ended:
    """Restore the archive into its own tenant."""
    return stage.cli(
        "restore", stage.folder / "a.qma", "source", "--same-tenant", "recover", "--run", stage.folder / run, *words
    )


def called(stage: Stage, name: str) -> str:
    """Whom an automation's first Call block calls."""
    return str(stage.source.one(name)["workspace"]["blocks"][1]["inputs"][0]["value"])


@pytest.mark.parametrize("selected", [True, False], ids=["in the selection", "outside"])
def test_callers_are_listed_and_left_alone(stage: Stage, selected: bool) -> None:
    """What still calls the old id is told with its path and not written."""
    lost = add(stage, "lost")
    caller = add(stage, "caller", call_block(1, lost))
    stage.backup()
    delete(stage, lost)
    ended = recover(stage, *([] if selected else ["--include", "name=lost"]))
    assert ended.code == 0, ended.lines
    (told,) = [one for one in ended.of("problem") if one["code"] == "caller-left"]
    assert (told["severity"], told["where"]) == ("warning", f"automation {caller}: workspace.blocks[1].inputs.guid")
    assert "`caller`" in told["message"]
    assert called(stage, "caller") == lost
    assert not [one for one in stage.source.tenant.writes if one.method == "PUT"]


@pytest.mark.parametrize("selected", [True, False], ids=["in the selection", "outside"])
def test_callers_are_led_to_the_new_id_and_back(stage: Stage, selected: bool) -> None:
    """`--repoint-callers`: one PUT, only the id changes, on stays on; a rollback keeps what no longer can be saved."""
    lost = add(stage, "lost")
    caller = add(stage, "caller", call_block(1, lost), text_block(2, "é 1.0"), mode="webhook")
    stage.backup()
    delete(stage, lost)
    before = json.dumps(stage.source.one("caller")["workspace"])
    ended = recover(stage, "--repoint-callers", *([] if selected else ["--include", "name=lost"]))
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 2, "created": 1, "updated": 1}
    assert ended.codes() & {"caller-left", "caller-repointed"} == {"caller-repointed"}
    new = stage.source.one("lost")["id"]
    after = stage.source.one("caller")
    assert json.dumps(after["workspace"]) == before.replace(lost, new)
    assert (after["id"], after["state"]) == (caller, "available")
    assert [one.path.rsplit("/", 1)[-1] for one in stage.source.tenant.writes if one.method == "PUT"] == [caller]

    again = recover(stage, "--repoint-callers", run="again")
    assert (again.code, again.automations.get("selected")) == (0, 2)
    assert again.automations.get("created", 0) == again.automations.get("updated", 0) == 0

    undone = stage.cli("rollback", stage.folder / "r", "--yes")
    assert undone.code == 0, undone.lines
    assert {"former-call-gone", "callee-removed"} <= undone.codes()
    assert called(stage, "caller") == new
    assert not stage.source.named("lost")


def test_caller_changed_meanwhile_is_not_overwritten(stage: Stage) -> None:
    """Somebody edits the caller between plan and apply: that object fails, and their work stays."""
    lost = add(stage, "lost")
    caller = add(stage, "caller", call_block(1, lost))
    stage.backup()
    delete(stage, lost)
    plan = stage.folder / "p.json"
    made = stage.cli(
        "plan", stage.folder / "a.qma", "source", "--same-tenant", "recover", "--repoint-callers", "-o", plan
    )
    assert made.code == 0
    edited = document("caller", call_block(1, lost), text_block(2, "by hand"))["workspace"]
    record = stage.source.tenant._shelf.records[caller]
    record.set_workspace(edited)
    record.version += 1
    record.touch()
    ended = stage.cli("apply", plan, "--run", stage.folder / "r")
    assert ended.code == 3, ended.lines
    assert "changed-meanwhile" in ended.codes()
    assert called(stage, "caller") == lost
    assert "by hand" in json.dumps(stage.source.one("caller")["workspace"])


def test_repoint_callers_is_for_recover_only(stage: Stage) -> None:
    """Without `--same-tenant recover` the flag is a usage error."""
    add(stage, "one")
    stage.backup()
    ended = stage.cli("plan", stage.folder / "a.qma", "source", "--repoint-callers")
    assert (ended.code, ended.error["hint"]) == (2, "add --same-tenant recover")


def test_one_automation_with_what_it_uses_and_calls(stage: Stage) -> None:
    """One out of an old archive: its connection is bound, `--with-calls` brings what it calls, and nothing else."""
    connection = stage.source.tenant.add_connection(PLATFORM_OPERATIONS, "Operations", stage.source.users["ben"])
    leaf = add(stage, "leaf")
    root = add(stage, "root", call_block(1, leaf), bound_block(2, connection))
    other = add(stage, "other")
    stage.backup()
    for ident in (leaf, root, other):
        delete(stage, ident)
    ended = recover(stage, "--include", "name=root", "--with-calls")
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 2, "created": 2}
    assert called(stage, "root") == stage.source.one("leaf")["id"]
    assert connection in json.dumps(stage.source.one("root")["workspace"])
    assert not stage.source.named("other")


def test_copy_is_never_itself_and_doubles_nothing(stage: Stage) -> None:
    """Development to production: each gets a twin in the mapped space that calls twins; again: nothing is written."""
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    dev, prod = (tenant.add_space(name, owner=ben) for name in ("dev", "prod"))
    leaf = tenant.add_automation(document("leaf"), ben, space=dev)
    root = tenant.add_automation(document("root", call_block(1, leaf)), ben, space=dev)
    mapping = stage.folder / "prod.toml"
    mapping.write_text(f'[spaces]\n"{dev}" = "{prod}"\n', encoding="utf-8")
    stage.backup()
    words = ("restore", stage.folder / "a.qma", "source", "--same-tenant", "copy", "--mapping", mapping, "--run")
    ended = stage.cli(*words, stage.folder / "r1")
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 2, "created": 2}
    twins = {one["name"]: one for one in tenant.automations.values() if one["spaceId"] == prod}
    assert set(twins) == {"leaf", "root"}
    assert twins["root"]["workspace"]["blocks"][1]["inputs"][0]["value"] == twins["leaf"]["id"]
    assert {twins["leaf"]["id"], twins["root"]["id"]}.isdisjoint({leaf, root})
    assert tenant.automations[root]["workspace"]["blocks"][1]["inputs"][0]["value"] == leaf

    writes = len(tenant.writes)
    again = stage.cli(*words, stage.folder / "r2")
    assert (again.code, again.automations) == (0, {"selected": 2, "unchanged": 2})
    assert len(tenant.writes) == writes
    stage.backup()
    third = stage.cli(*words, stage.folder / "r3", "--include", f"space={dev}")
    assert (third.code, third.automations) == (0, {"selected": 2, "unchanged": 2}), third.lines
    assert len(tenant.automations) == 4
