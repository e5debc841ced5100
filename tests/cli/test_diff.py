"""`diff`: archives and live tenants side by side, by id within a tenant and by mapping across two."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

import pytest
from stage import (
    DAILY,
    EVERY_HOUR,
    PLATFORM_OPERATIONS,
    Ended,
    Side,
    Stage,
    bound_block,
    call_block,
    document,
    text_block,
)

from qlikmigrate.cli.app import run
from qlikmigrate.sandbox import Fault, Status

SECRET = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


def edits(ended: Ended, name: str) -> list[tuple[Any, ...]]:
    """What is told of one automation: subject, change, name or id, place, old, new."""
    (item,) = [item for item in ended.of("item") if item["name"] == name]
    return [
        (one["what"], one["change"], one["name"] or one["id"], one["place"], one["old"], one["new"])
        for one in item["edits"]
    ]


def send(side: Side, method: str, path: str, owner: str, body: Any = None) -> None:
    """What a person does in the editor."""
    headers = {"authorization": f"Bearer {side.tenant.api_key(owner)}", "content-type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    urlopen(Request(f"{side.tenant.base_url}/api/workflows/automations/{path}", data, headers, method=method))


def edit(side: Side, wanted: str, **fields: Any) -> None:
    """Somebody changes an automation."""
    one = side.one(wanted)
    kept = ("name", "description", "schedules", "workspace", "maxConcurrentRuns")
    send(side, "PUT", one["id"], one["ownerId"], {field: one[field] for field in kept} | fields)


def told(ended: Ended) -> dict[str, str]:
    """Name → what became of it."""
    return {item["name"]: item["change"] for item in ended.of("item")}


def test_one_tenant_over_time(stage: Stage) -> None:
    """Archive against archive, archive against tenant: fields, blocks, added and removed ones; alike ends with 0."""
    ben = stage.source.users["ben"]
    for name in ("still", "edited", "deleted"):
        stage.source.tenant.add_automation(document(name, text_block(1, "one"), text_block(2, "two")), ben)
    assert stage.backup("a.qma").code == 0
    alike = stage.cli("diff", stage.folder / "a.qma", "source")
    assert (alike.code, alike.of("item"), alike.automations) == (0, [], {"compared": 3, "same": 3})
    blocks = [text_block(1, "uno"), {**text_block(2, "two"), "x": 40}, text_block(3, "three")]
    changed = document("edited", *blocks)["workspace"]
    edit(stage.source, "edited", description="other", schedules=[DAILY], workspace=changed)
    send(stage.source, "POST", f"{stage.source.one('edited')['id']}/actions/disable", ben)
    send(stage.source, "DELETE", stage.source.one("deleted")["id"], ben)
    stage.source.tenant.add_automation(document("new"), ben)
    assert stage.backup("b.qma").code == 0
    writes = len(stage.source.tenant.writes)
    for other in (stage.folder / "b.qma", "source", "tenant:source"):
        ended = stage.cli("diff", stage.folder / "a.qma", other)
        assert ended.code == 5
        assert told(ended) == {"edited": "changed", "deleted": "removed", "new": "added"}
        assert edits(ended, "edited")[0] == (
            "field", "changed", "description", "", "edited, described", "other",
        )  # fmt: skip
        assert [(one[2], one[1]) for one in edits(ended, "edited")[1:]] == [
            ("schedule", "changed"), ("state", "changed"), ("output1", "changed"), ("output2", "moved"),
            ("output3", "added"),
        ]  # fmt: skip
        assert ended.automations == {"compared": 4, "changed": 1, "added": 1, "removed": 1, "same": 1}
    assert [seen for seen in stage.source.tenant.writes[writes:] if seen.path != "/oauth/token"] == []
    back = stage.cli("diff", stage.folder / "b.qma", stage.folder / "a.qma")
    assert told(back) == {"edited": "changed", "deleted": "added", "new": "removed"}


def test_a_path_wins_and_tenant_forces(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is called like a tenant is the archive; `tenant:` means the tenant all the same."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    stage.backup()
    (stage.folder / "a.qma").rename(stage.folder / "source")
    edit(stage.source, "one", description="other")
    monkeypatch.chdir(stage.folder)
    assert stage.cli("diff", "source", "source").code == 0
    assert stage.cli("diff", "source", "tenant:source").code == 5
    assert stage.cli("diff", "source", "nobody").code == 2
    assert stage.cli("diff", "source", "no.qma").code == 10


def test_selectors(stage: Stage) -> None:
    """What is selected on either side is compared, and nothing else; nobody at all ends with 2."""
    ben = stage.source.users["ben"]
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), ben)
    stage.backup()
    edit(stage.source, "one", description="other")
    archive = stage.folder / "a.qma"
    assert stage.cli("diff", archive, "source", "--include", "name=two").code == 0
    assert told(stage.cli("diff", archive, "source", "--exclude", "name=two")) == {"one": "changed"}
    edit(stage.source, "two", name="renamed")
    assert edits(stage.cli("diff", archive, "source", "--include", "name=two"), "renamed")[0][2:] == (
        "name", "", "two", "renamed",
    )  # fmt: skip
    assert stage.cli("diff", archive, "source", "--include", "name=nobody").code == 2


def test_a_partial_snapshot_says_nothing_about_the_others(stage: Stage) -> None:
    """What a partial archive was not asked for is neither added nor removed."""
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    stage.backup("part.qma", "--include", "name=one")
    for pair in (("source", stage.folder / "part.qma"), (stage.folder / "part.qma", "source")):
        ended = stage.cli("diff", *pair)
        assert (ended.code, ended.automations) == (0, {"compared": 2, "same": 1, "unknown": 1})


def test_an_unreadable_side_ends_with_3(stage: Stage) -> None:
    """What a tenant lists and does not give is told, is no removal, and the difference beside it does not hide it."""
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    stage.backup()
    edit(stage.source, "one", description="other")
    lost = stage.source.one("two")["id"]
    stage.source.tenant.faults.append(Fault(effect=Status(code=403), path=f"*/automations/{lost}", times=None))
    ended = stage.cli("diff", stage.folder / "a.qma", "source")
    assert ended.code == 3
    assert "unreadable" in ended.codes()
    assert told(ended) == {"one": "changed", "two": "unreadable"}
    assert ended.summary["complete"] is False


def scene(stage: Stage) -> None:
    """A caller, its callee and a connection at the source; the connection's counterpart at the target."""
    sides = (stage.target, stage.source)
    connection = [side.tenant.add_connection(PLATFORM_OPERATIONS, "Ops", side.users["ben"]) for side in sides][1]
    ben = stage.source.users["ben"]
    callee = stage.source.tenant.add_automation(document("callee", schedules=[EVERY_HOUR]), ben)
    blocks = bound_block(1, connection), call_block(2, callee), text_block(3, "hello")
    stage.source.tenant.add_automation(document("caller", *blocks), ben, stage.source.spaces["Sales"])


def test_mapped_ids_are_no_difference(stage: Stage) -> None:
    """After a restore both tenants are alike by the run, either way round, and by natural key but for what is held."""
    scene(stage)
    stage.backup()
    assert stage.restore(run="run").code == 0
    archive, place = stage.folder / "a.qma", stage.folder / "run"
    for pair in ((archive, "target"), ("source", "target"), ("target", "source")):
        ended = stage.cli("diff", *pair, "--run", place)
        assert (ended.code, told(ended)) == (0, {}), ended.of("item")
    held = stage.cli("diff", archive, "target")
    assert (held.code, edits(held, "callee")) == (5, [("field", "changed", "state", "", "available", "disabled")])
    mapping = stage.folder / "m.toml"
    stage.cli("mapping", archive, "target", "-o", mapping)
    assert told(stage.cli("diff", archive, "target", "--mapping", mapping)) == {"callee": "changed"}
    assert stage.cli("diff", archive, "target", "--mapping", mapping, "--run", place).code == 2
    assert stage.cli("diff", archive, "source", "--run", place).code == 2
    assert stage.cli("diff", archive, "target", "--run", stage.folder / "nowhere").code == 10


def test_differences_across_tenants(stage: Stage) -> None:
    """What differs besides ids is told by block; connections by name; what only one tenant has is added or removed."""
    scene(stage)
    stage.backup()
    stage.restore(run="run")
    other = stage.target.tenant.add_connection(PLATFORM_OPERATIONS, "Other", stage.target.users["ben"])
    caller = stage.target.one("caller")
    for block in caller["workspace"]["blocks"]:
        if block["type"] == "EndpointBlock":
            block["settings"][0]["value"] = other
        if block["type"] == "ShowBlock":
            block["inputs"][0]["value"] = "goodbye"
    edit(stage.target, "caller", workspace=caller["workspace"])
    stage.target.tenant.add_automation(document("local"), stage.target.users["ben"])
    stage.source.tenant.add_automation(document("late"), stage.source.users["ben"])
    ended = stage.cli("diff", "source", "target", "--run", stage.folder / "run")
    assert told(ended) == {"caller": "changed", "late": "removed", "local": "added"}
    (item,) = [item for item in ended.of("item") if item["name"] == "caller"]
    rebound, said = item["edits"]
    assert (rebound["name"], rebound["old_name"], rebound["new_name"]) == ("rawApi1", "Ops", "Other")
    assert (said["place"], said["old"], said["new"]) == ("inputs[input].value", "hello", "goodbye")


def test_secrets_are_masked(stage: Stage) -> None:
    """A secret that changed is told by its place, in no form by its value: lines, JSON, Markdown."""
    key = {**text_block(2, "x"), "inputs": [{"id": "api_key", "value": "s3cr3t-Value-0001", "type": "string"}]}
    stage.source.tenant.add_automation(
        document("one", text_block(1, f"Authorization: {SECRET}1"), key), stage.source.users["ben"]
    )
    stage.backup()
    workspace = stage.source.one("one")["workspace"]
    workspace["blocks"][1]["inputs"][0]["value"] = f"Authorization: {SECRET}2"
    workspace["blocks"][2]["inputs"][0]["value"] = "s3cr3t-Value-0002"
    edit(stage.source, "one", workspace=workspace)
    archive = str(stage.folder / "a.qma")
    ended = stage.cli("diff", archive, "source")
    assert ended.code == 5
    assert [one[3] for one in edits(ended, "one")] == ["inputs[input].value", "inputs[api_key].value"]
    shown = [json.dumps(ended.lines)]
    for shape in ("text", "md"):
        stage.capture.readouterr()
        assert run(["diff", archive, "source", "--format", shape, "--verbose", "--config", str(stage.config)]) == 5
        out = stage.capture.readouterr()
        assert "what differs is masked" in out.out
        shown += [out.out, out.err]
    assert not [text for text in shown if "dozjgNry" in text or "s3cr3t" in text]


def test_markdown(stage: Stage) -> None:
    """A list that a page can hold: names cannot break out of it."""
    stage.source.tenant.add_automation(document("*a* | `b`", text_block(1, "one")), stage.source.users["ben"])
    stage.backup()
    edit(stage.source, "*a* | `b`", description="``x``")
    stage.capture.readouterr()
    words = ["diff", str(stage.folder / "a.qma"), "source", "--format", "md", "--config", str(stage.config)]
    assert run(words) == 5
    lines = stage.capture.readouterr().out.splitlines()
    assert lines[0].startswith("# Differences: ")
    assert lines[2].startswith(r"- changed: **\*a\* \| \`b\`** (`")
    assert lines[3] == "  - description: ``*a* | `b`, described`` → ``` ``x`` ```"


def test_plan_shows_what_changes(stage: Stage) -> None:
    """`plan --changes` tells each edit of an update, secrets masked and names for ids, and nothing of it is in PLAN."""
    scene(stage)
    stage.backup()
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "first").code == 0
    late = stage.source.tenant.add_automation(document("late"), stage.source.users["ben"])
    workspace = stage.source.one("caller")["workspace"]
    for block in workspace["blocks"]:
        if block["type"] == "ShowBlock":
            block["inputs"][0]["value"] = f"Authorization: {SECRET}"
        if block["type"] == "CallWidgetBlock":
            block["inputs"][0]["value"] = late
    edit(stage.source, "caller", workspace=workspace, description="other")
    stage.backup()
    plan = stage.folder / "plan.json"
    before = len(stage.target.tenant.writes)
    ended = stage.cli("plan", stage.folder / "a.qma", "target", "-o", plan, "--changes")
    assert ended.code == 0
    rows = [item for item in ended.of("item") if item["kind"] == "edit"]
    assert {row["automation"] for row in rows} == {"caller"}
    told_of = {(row["name"] or row["id"], row["place"]): row for row in rows}
    assert told_of["description", ""]["new"] == "other"
    call = told_of["callAutomation2", "inputs[guid].value"]
    assert (call["old_name"], call["new_name"], call["new"]) == ("callee", "late", f"new:{late}")
    assert told_of["output3", "inputs[input].value"]["old"] == "hello"
    assert "dozjgNry" not in json.dumps(ended.lines)
    assert "other" not in plan.read_text()
    assert "hello" not in plan.read_text()
    assert [seen for seen in stage.target.tenant.writes[before:] if seen.path != "/oauth/token"] == []
    assert not [
        item for item in stage.cli("plan", stage.folder / "a.qma", "target").of("item") if item["kind"] == "edit"
    ]
    stage.capture.readouterr()
    run(["plan", str(stage.folder / "a.qma"), "target", "--changes", "--config", str(stage.config)])
    assert "    ~ description: `caller, described` → `other`" in stage.capture.readouterr().out
