"""`drill`: what passes is equal, what is not equal never passes, and a real tenant is left as it was, to the byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve
from stage import (
    DAILY,
    EVERY_HOUR,
    MAIL,
    PLATFORM_OPERATIONS,
    QCS,
    Ended,
    Stage,
    bound_block,
    call_block,
    document,
    text_block,
)

from qlikmigrate.kernel.message import Reply, Request
from qlikmigrate.ops import rehearsal
from qlikmigrate.ops.drill import Drill
from qlikmigrate.sandbox import CloudTenant, Delay, Fault, ResetAfterCommit, Status, Switches

SECRET = "hunter2-of-the-source"
FAST = "[tenants.target.limits]\ntier1_per_minute = 100000\ntier2_per_minute = 100000\ntimeout_seconds = 1"


def fill(stage: Stage) -> None:
    """Every kind of automation there is, of two owners; both tenants have the connections that are used."""
    here = stage.source
    tenant, ben, cleo, sales = here.tenant, here.users["ben"], here.users["cleo"], here.spaces["Sales"]
    params = {"Client Id": "c", "Client Secret": SECRET, "Region": "eu"}
    bound = tenant.add_connection(PLATFORM_OPERATIONS, "Operations", ben, params=params)
    mail = tenant.add_connection(MAIL, "Mail", cleo)
    for side in (stage.target,):
        side.tenant.add_connection(PLATFORM_OPERATIONS, "Operations", side.users["ben"])
        side.tenant.add_connection(MAIL, "Mail", side.users["cleo"])
    own = next(
        ident for ident, one in tenant.connections.items() if one["connectorId"] == QCS and one["ownerId"] == ben
    )
    leaf = tenant.add_automation(document("leaf", bound_block(1, bound)), ben, sales)
    tenant.replace_workspace(leaf, document("leaf", bound_block(1, bound), text_block(2, leaf))["workspace"])
    first = tenant.add_automation(document("first", call_block(1, leaf)), ben)
    second = tenant.add_automation(document("second", call_block(1, first), bound_block(2, own, QCS)), ben)
    tenant.replace_workspace(first, document("first", call_block(1, second))["workspace"])
    tenant.add_automation(document("daily", bound_block(1, mail, MAIL), mode="scheduled", schedules=[DAILY]), cleo)
    tenant.add_automation(document("hourly", mode="scheduled", schedules=[EVERY_HOUR]), cleo, sales)
    tenant.add_automation(document("hook", bound_block(1, bound), mode="webhook"), ben)
    tenant.add_automation(document("button", mode="triggered", maxConcurrentRuns=3), ben)
    tenant.add_automation(document("off"), cleo, state="disabled")
    tenant.add_automation(document("broken"), cleo, state="unavailable")
    # Namesakes, which nothing but their content tells apart.
    for text in ("one", "other"):
        tenant.add_automation(document("twin", text_block(1, text)), ben)


ALL = 11


def occupy(stage: Stage) -> None:
    """The target has automations of the same names and owners: the same in content, another, and doubles of one."""
    there = stage.target
    tenant, ben, cleo = there.tenant, there.users["ben"], there.users["cleo"]
    tenant.add_automation(document("button", mode="triggered"), ben)
    tenant.add_automation(document("off"), cleo, state="disabled")
    tenant.add_automation(document("daily", text_block(1, "theirs"), mode="scheduled", schedules=[DAILY]), cleo)
    for _ in range(3):
        tenant.add_automation(document("twin"), ben)


def picture(tenant: CloudTenant) -> bytes:
    """All that a tenant holds."""
    held = (dict(tenant.automations), tenant.connections, tenant.spaces, tenant.assignments, tenant.users, tenant.items)
    return orjson.dumps([dict(kind) for kind in held], option=orjson.OPT_SORT_KEYS)


def evidence_of(ended: Ended) -> dict[str, Any]:
    """The evidence that the summary names."""
    found: dict[str, Any] = json.loads(Path(ended.summary["drill"]["evidence"]).read_bytes())
    return found


def drill(stage: Stage, *words: str | Path, archive: str = "a.qma") -> Ended:
    return stage.cli("drill", stage.folder / archive, *words)


def bend(monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Request, Any], Any]) -> None:
    """The embedded tenant's successful JSON answers go through `wrong`; those of other tenants do not."""
    right = CloudTenant.handle

    def handle(self: CloudTenant, request: Request) -> Reply:
        reply = right(self, request)
        if self.name != rehearsal.NAME or reply.response.status != 200 or "/oauth/" in request.url:
            return reply
        body = orjson.dumps(wrong(request, orjson.loads(reply.response.body)))
        headers = {key: value for key, value in reply.response.headers.items() if key != "content-length"}
        return evolve(reply, response=evolve(reply.response, body=body, headers=headers))

    monkeypatch.setattr(CloudTenant, "handle", handle)


# Into an embedded tenant


def test_an_archive_comes_back_equal(stage: Stage) -> None:
    """Every kind of automation, calls, cycles, bindings and namesakes: all equal; no real tenant is asked anything."""
    fill(stage)
    stage.backup()
    asked = [len(side.tenant.seen) for side in (stage.source, stage.target)]
    before = set(stage.folder.iterdir())
    ended = drill(stage)
    assert (ended.code, ended.error) == (0, {})
    assert ended.automations == {"selected": ALL, "created": ALL, "equal": ALL}
    assert asked == [len(side.tenant.seen) for side in (stage.source, stage.target)]
    assert ended.summary["drill"]["result"] == "passed"
    assert ended.summary["requests"]["tier1"] == 0
    # Nothing but the evidence in its two forms, for its owner only.
    new = sorted(set(stage.folder.iterdir()) - before)
    assert [path.suffix for path in new] == [".json", ".md"]
    assert all(path.name.startswith("a.qma.drill-2") and path.stat().st_mode & 0o777 == 0o600 for path in new)


def test_the_evidence_says_what_was_done(stage: Stage) -> None:
    """Archive, hashes, versions, phases, a forecast and what is not proven; and nothing that is secret."""
    import hashlib

    import zstandard

    from qlikmigrate import __version__

    fill(stage)
    stage.backup()
    told = evidence_of(drill(stage))
    raw = (stage.folder / "a.qma").read_bytes()
    assert (told["format"], told["format_version"], told["result"], told["share"]) == (
        "qlikmigrate-drill", "1.0", "passed", 1.0,
    )  # fmt: skip
    assert told["archive"]["sha256"] == hashlib.sha256(raw).hexdigest()
    assert told["archive"]["path"] == str(stage.folder / "a.qma")
    assert told["archive"]["tenant_id"] == stage.source.tenant.id
    assert told["where"]["kind"] == "embedded"
    assert told["where"]["tenant_id"] not in (stage.source.tenant.id, stage.target.tenant.id)
    assert told["tool_version"] == __version__
    assert told["libzstd_version"] == ".".join(map(str, zstandard.ZSTD_VERSION))
    assert list(told["phases"]) == ["lay out", "plan", "restore", "read again", "compare"]
    assert told["full_restore"]["automations"] == ALL
    # Four that start by themselves take three writes each.
    assert told["full_restore"]["tier2"] >= ALL + 4 * 2
    assert told["started_at"] < told["finished_at"]
    assert told["removal"] is None
    assert told["stood_in"] == {}
    assert any("embedded" in text for text in told["not_proven"])
    tokens = [one["executionToken"] for one in stage.source.tenant.automations.values()]
    for path in stage.folder.glob("a.qma.drill-*"):
        text = path.read_text()
        assert not [one for one in (*tokens, SECRET, *stage.source.bot, *stage.source.web) if one in text]
        assert "described" not in text, "a document's own text"


def test_what_the_snapshot_does_not_hold_is_stood_in_for(stage: Stage) -> None:
    """A deleted owner, one who may no longer work, a maker without a role and twin connections stop no drill."""
    tenant, users = stage.source.tenant, stage.source.users
    fill(stage)
    gone = tenant.add_user("corp\\gone", "Gone", "gone@example.com")
    closed = tenant.add_space("Closed", owner=users["ada"])
    tenant.add_automation(document("orphan"), gone)
    tenant.add_automation(document("orphan in a space"), gone, stage.source.spaces["Sales"])
    tenant.add_automation(document("guest"), users["ben"], closed)
    twins = [tenant.add_connection(MAIL, "Same", users["ben"]) for _ in range(2)]
    for number, ident in enumerate(twins):
        tenant.add_automation(document(f"twin of {number}", bound_block(1, ident, MAIL)), users["ben"])
    del tenant.users[gone]
    tenant.users[users["cleo"]]["status"] = "disabled"
    stage.backup()
    ended = drill(stage)
    assert (ended.code, ended.error) == (0, {})
    assert ended.automations["equal"] == ALL + 5
    told = evidence_of(ended)
    assert told["stood_in"] == {"owners": 1, "space roles": 2}
    assert any("stood in" in text for text in told["not_proven"])


def drop_a_block(value: Any) -> Any:
    value["workspace"]["blocks"].pop()
    return value


def test_a_document_that_comes_back_otherwise_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that loses a block: exit 5, and the evidence says so and names the automation, not its content."""
    fill(stage)
    stage.backup()
    bend(monkeypatch, lambda request, value: drop_a_block(value) if value.get("name") == "leaf" else value)
    ended = drill(stage)
    assert (ended.code, ended.error["code"]) == (5, "drill-failed")
    assert ended.automations == {"selected": ALL, "created": ALL, "equal": ALL - 1, "different": 1}
    told = evidence_of(ended)
    assert told["result"] == "failed"
    assert {one["code"] for one in told["problems"]} >= {"drill-differs"}
    leaf = stage.source.one("leaf")["id"]
    assert f"automation {leaf}" in {one["where"] for one in told["problems"]}


def test_what_only_a_backup_sees_fails_as_well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The restore's own read-back finds nothing, and the snapshot taken afterwards differs: exit 5."""
    fill(stage)
    stage.backup()
    seen: list[str] = []

    def wrong(request: Request, value: Any) -> Any:
        if request.method == "GET" and value.get("name") == "button" and "workspace" in value:
            seen.append(request.url)
            # Read before the PUT, read back, then read again.
            if len(seen) > 2:
                value["description"] = "somebody else's"
        return value

    bend(monkeypatch, wrong)
    ended = drill(stage)
    assert ended.code == 5
    assert [one["code"] for one in evidence_of(ended)["problems"]] == ["drill-differs"]
    assert "field description" in evidence_of(ended)["problems"][0]["message"]


def test_a_wrong_counterpart_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matching that confuses people restores something else, though it reads back as it was meant."""
    fill(stage)
    stage.backup()
    subjects = {"corp\\ben": "corp\\cleo", "corp\\cleo": "corp\\ben"}
    mails = {"ben@example.com": "cleo@example.com", "cleo@example.com": "ben@example.com"}

    def wrong(request: Request, value: Any) -> Any:
        for row in value.get("data", ()) if "/users" in request.url else ():
            row["subject"] = subjects.get(row["subject"], row["subject"])
            row["email"] = mails.get(row["email"], row["email"])
        return value

    bend(monkeypatch, wrong)
    ended = drill(stage)
    assert ended.code == 5
    assert {one["code"] for one in evidence_of(ended)["problems"]} == {"drill-counterpart"}


def test_a_moment_of_being_armed_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that switches on by itself is corrected by the restore, and the drill tells it all the same."""
    fill(stage)
    stage.backup()

    def made(name: str, **given: Any) -> CloudTenant:
        return CloudTenant(name, switches=Switches(put_keeps_disabled=False), **given)

    monkeypatch.setattr(rehearsal, "CloudTenant", made)
    ended = drill(stage)
    assert ended.code == 5
    assert "drill-armed" in {one["code"] for one in evidence_of(ended)["problems"]}
    assert ended.automations["equal"] == ALL


def test_what_the_tenant_does_not_take_is_partial(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that cannot be created: exit 3, the rest is compared."""
    fill(stage)
    stage.backup()
    right = CloudTenant.handle

    def handle(self: CloudTenant, request: Request) -> Reply:
        refuses = self.name == rehearsal.NAME and request.method == "POST" and b'"off"' in request.body
        return right(self, evolve(request, body=b"{}") if refuses else request)

    monkeypatch.setattr(CloudTenant, "handle", handle)
    ended = drill(stage)
    assert ended.code == 3
    assert ended.automations == {"selected": ALL, "created": ALL - 1, "equal": ALL - 1, "failed": 1}
    assert evidence_of(ended)["result"] == "failed"


def test_a_damaged_archive_fails(stage: Stage) -> None:
    """A flipped byte in a document: exit 13, and evidence of that; what is no archive leaves none."""
    import zipfile

    fill(stage)
    stage.backup()
    path = stage.folder / "a.qma"
    with zipfile.ZipFile(path) as file:
        member = next(
            one for one in file.infolist() if one.filename.endswith(f"{stage.source.one('off')['id']}.json.zst")
        )
        start = member.header_offset + 30 + len(member.filename) + 20
    raw = bytearray(path.read_bytes())
    raw[start] ^= 0xFF
    path.write_bytes(raw)
    ended = drill(stage)
    assert ended.code == 13
    told = evidence_of(ended)
    assert (told["result"], told["counts"]["failed"]) == ("failed", ALL)
    assert [one["code"] for one in told["problems"]] == ["corrupt"]
    (stage.folder / "b.qma").write_bytes(b"no archive")
    ended = drill(stage, archive="b.qma")
    assert (ended.code, "drill" in ended.summary) == (13, False)
    assert drill(stage, archive="none.qma").code == 10


def test_an_incomplete_snapshot_needs_to_be_wanted(stage: Stage) -> None:
    """Exit 3 and no evidence; with --allow-incomplete the evidence says that it is incomplete."""
    fill(stage)
    stage.source.tenant.faults.append(
        Fault(effect=Status(code=403), path=f"*/automations/{stage.source.one('off')['id']}", times=None)
    )
    assert stage.backup().code == 3
    name = next(stage.folder.glob("*.qma")).name
    ended = drill(stage, archive=name)
    assert (ended.code, "drill" in ended.summary) == (3, False)
    told = evidence_of(drill(stage, "--allow-incomplete", archive=name))
    assert (told["result"], told["archive"]["complete"], told["archive"]["unreadable"]) == ("passed", False, 1)
    assert any("without holding them" in text for text in told["not_proven"])


# Samples, and what is kept of drills


def test_samples_come_to_everything(stage: Stage) -> None:
    """Four drills of three take all eleven: those drilled longest ago go first, whatever the day."""
    fill(stage)
    stage.backup()
    taken: list[str] = []
    for _ in range(4):
        ended = drill(stage, "--sample", "3")
        assert ended.code == 0
        told = evidence_of(ended)
        assert len(told["ids"]) == 3
        assert told["share"] == pytest.approx(3 / ALL, abs=1e-4)
        assert any(f"{ALL - 3} automations that were not drilled" in text for text in told["not_proven"])
        assert told["full_restore"]["basis"] == "from a sample of 3"
        taken += told["ids"]
    assert set(taken) == set(stage.source.tenant.automations)
    # Nothing was taken twice before everything was taken once.
    assert len(set(taken[:9])) == 9
    everything = evidence_of(drill(stage, "--sample", "50"))
    assert (everything["ids"], everything["share"]) == ([], 1.0)


def test_a_selection_is_drilled_alone(stage: Stage) -> None:
    """Selectors choose, and what they choose is what the evidence counts."""
    fill(stage)
    stage.backup()
    ended = drill(stage, "--include", "name=second", "--with-calls")
    assert (ended.code, ended.automations["equal"]) == (0, 2)
    assert drill(stage, "--include", "name=nothing").code == 2


def test_list_shows_the_last_drill(stage: Stage) -> None:
    """Date, result and share, only of what the archive holds now; what is no evidence is passed over."""
    fill(stage)
    stage.backup()
    stage.backup("never.qma", "--include", "name=off")
    drill(stage)
    ended = drill(stage, "--sample", "2")
    (stage.folder / "a.qma.drill-x.json").write_text("{")
    rows = {Path(row["path"]).name: row["drill"] for row in stage.cli("list", stage.folder).of("item")}
    assert rows["never.qma"] is None
    assert rows["a.qma"] == {
        "at": evidence_of(ended)["started_at"],
        "result": "passed",
        "share": pytest.approx(2 / ALL, abs=1e-4),
        "where": "embedded",
    }
    stage.source.tenant.add_automation(document("new"), stage.source.users["ben"])
    stage.backup()
    rows = {Path(row["path"]).name: row["drill"] for row in stage.cli("list", stage.folder).of("item")}
    assert rows["a.qma"] is None


def test_evidence_goes_where_it_is_wanted(stage: Stage) -> None:
    """--evidence names a file, which is never replaced; flags of a real tenant need one."""
    fill(stage)
    stage.backup()
    place = stage.folder / "proof.json"
    assert drill(stage, "--evidence", place).summary["drill"]["evidence"] == str(place)
    assert place.with_suffix(".md").read_text().startswith("# Restore drill\n")
    kept = place.read_bytes()
    assert drill(stage, "--evidence", place).code == 2
    assert place.read_bytes() == kept
    assert drill(stage, "--evidence", stage.folder / "none" / "proof.json").code == 2
    assert drill(stage, "--owner", "importer").code == 2


# Into a real tenant


def test_a_real_tenant_is_left_as_it_was(stage: Stage) -> None:
    """Namesakes are there, of any content: none is touched, all is compared, and the tenant is the same to the byte."""
    fill(stage)
    occupy(stage)
    stage.backup()
    tenant = stage.target.tenant
    before, running = picture(tenant), len(tenant.automations)
    ended = drill(stage, "--into", "target", "--run", stage.folder / "run")
    assert (ended.code, ended.error) == (0, {})
    assert ended.automations == {"selected": ALL, "created": ALL, "equal": ALL}
    assert picture(tenant) == before
    assert not tenant.armed_while_enabled
    created = [one for one in tenant.writes if one.method == "POST" and one.path.endswith("/automations")]
    deleted = [one for one in tenant.writes if one.method == "DELETE"]
    assert len(created) == len(deleted) == ALL
    assert running == 6
    told = evidence_of(ended)
    assert told["where"] == {
        "kind": "tenant", "name": "target", "host": "127.0.0.1", "tenant_id": tenant.id,
    }  # fmt: skip
    assert told["removal"] == {"removed": ALL, "left": [], "run": str(stage.folder / "run")}
    assert list(told["phases"]) == ["plan", "restore", "read again", "compare", "remove"]
    # The run tells its story, and the ledger that restores go by knows nothing of it.
    files = {path.name for path in (stage.folder / "run").iterdir()}
    assert {"plan.json", "journal.jsonl", "report.md", "rollback.md"} <= files
    assert "read-again.qma" not in files
    assert not list(Path(os.environ["XDG_STATE_HOME"]).rglob("ledgers/*"))
    tokens = [one["executionToken"] for one in stage.source.tenant.automations.values()]
    texts = [path.read_text() for path in (stage.folder / "run").rglob("*") if path.is_file()]
    assert not [token for token in (*tokens, SECRET) for text in texts if token in text]


def test_a_drill_that_differs_is_removed_as_well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 5, and nothing is left."""
    fill(stage)
    stage.backup()
    tenant = stage.target.tenant
    tenant.switches = Switches(schedule_forms=tenant.switches.schedule_forms, put_keeps_schedules=True)
    before = picture(tenant)
    right = CloudTenant.handle

    def handle(self: CloudTenant, request: Request) -> Reply:
        if self is tenant and request.method == "PUT" and b'"button"' in request.body:
            value = orjson.loads(request.body)
            value["description"] = "shortened"
            request = evolve(request, body=orjson.dumps(value))
        return right(self, request)

    monkeypatch.setattr(stage.target.server, "_handler", lambda request: handle(tenant, request))
    ended = drill(stage, "--into", "target")
    assert (ended.code, ended.automations["different"]) == (5, 1)
    assert picture(tenant) == before


@pytest.mark.parametrize("owner_by", ["impersonate", "transfer"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(effect=ResetAfterCommit(), method="POST", path="*/automations", times=1), 0),
        (Fault(effect=Status(code=504, commit=True), method="POST", path="*/automations", times=2), 0),
        (Fault(effect=Status(code=400), method="PUT", path="*/automations/*", times=None), 3),
        (Fault(effect=Status(code=400), method="POST", path="*/automations", times=None), 3),
        (Fault(effect=Status(code=500, commit=True), method="DELETE", path="*/automations/*", times=3), 0),
        (Fault(effect=Delay(1.5), method="DELETE", path="*/automations/*", times=1), 0),
    ],
    ids=["create lost", "create 504", "put refused", "create refused", "delete 500", "delete late"],
)
def test_faults_leave_nothing_behind(make_stage: Callable[..., Stage], owner_by: str, fault: Fault, code: int) -> None:
    """Whatever the wire does, the tenant is the same afterwards, and the exit code says how far it came."""
    stage = make_stage()
    stage.owner_by = owner_by
    fill(stage)
    occupy(stage)
    stage.backup()
    stage.write_config(extra_target=FAST)
    tenant = stage.target.tenant
    before = picture(tenant)
    tenant.faults.append(evolve(fault))
    ended = drill(stage, "--into", "target")
    assert (ended.code, picture(tenant) == before) == (code, True), ended.summary
    assert not tenant.armed_while_enabled
    assert (evidence_of(ended)["result"] == "passed") is (code == 0)


def test_what_cannot_be_removed_is_named(stage: Stage) -> None:
    """Deleting is refused: exit 3 with what is left and where to go on; `rollback RUN` then removes it."""
    fill(stage)
    occupy(stage)
    stage.backup()
    tenant = stage.target.tenant
    before = picture(tenant)
    tenant.faults.append(Fault(effect=Status(code=403), method="DELETE", path="*/automations/*", times=None))
    run = stage.folder / "run"
    ended = drill(stage, "--into", "target", "--run", run)
    assert (ended.code, ended.error["code"]) == (3, "drill-left")
    assert f"rollback {run}" in ended.error["hint"]
    told = evidence_of(ended)
    # What was compared was equal, all the same.
    assert (told["result"], told["counts"]["equal"], len(told["removal"]["left"])) == ("passed", ALL, ALL)
    assert set(told["removal"]["left"]) <= set(tenant.automations)
    for words in (
        ("activate", run),
        ("reassign", run),
        ("restore", stage.folder / "a.qma", "target", "--run", run, "--resume"),
        ("apply", run / "plan.json", "--run", stage.folder / "other"),
    ):
        refused = stage.cli(*words)
        assert (refused.code, "drill" in refused.error["message"]) == (2, True), words
    tenant.faults.clear()
    assert stage.cli("rollback", run, "--yes").code == 0
    assert picture(tenant) == before
    assert drill(stage, "--into", "target", "--run", run).code == 2


def test_what_people_changed_meanwhile_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody edits and runs what the drill made: it is theirs now, and named; all else goes."""
    fill(stage)
    stage.backup()
    tenant = stage.target.tenant
    there = len(tenant.automations)
    compare = Drill._compare

    async def meanwhile(self: Drill, *given: Any) -> Any:
        tenant.replace_workspace(stage.target.one("off")["id"], document("off", text_block(1, "mine"))["workspace"])
        return await compare(self, *given)

    monkeypatch.setattr(Drill, "_compare", meanwhile)
    ended = drill(stage, "--into", "target")
    assert (ended.code, ended.error["code"]) == (3, "drill-left")
    assert "changed-since" in ended.codes()
    assert len(tenant.automations) == there + 1
    told = evidence_of(ended)
    assert told["removal"]["left"] == [stage.target.one("off")["id"]]
    assert (told["result"], told["counts"]["different"]) == ("failed", 1)


def test_an_identity_that_could_not_remove_is_refused(stage: Stage) -> None:
    """What an admin's key gives away it cannot prove untouched: exit 6, nothing written; as the importer it works."""
    stage.owner_by = "key"
    fill(stage)
    stage.backup()
    stage.write_config()
    tenant = stage.target.tenant
    before = picture(tenant)
    ended = drill(stage, "--into", "target")
    assert ended.code == 6
    assert "drill-not-removable" in ended.codes()
    assert not tenant.writes
    assert evidence_of(ended)["result"] == "failed"
    # Whose managed connection the importer's would stand for is not for a drill to say.
    ended = drill(stage, "--into", "target", "--owner", "importer", "--exclude", "name=second")
    assert (ended.code, ended.automations["equal"], picture(tenant) == before) == (0, ALL - 1, True)


def test_a_dry_run_writes_nothing(stage: Stage) -> None:
    """Neither to the tenant nor beside the archive; a drill needs `access = "write"`, a dry run does not."""
    fill(stage)
    stage.backup()
    stage.write_config(target_access="read")
    before = set(stage.folder.iterdir())
    assert drill(stage, "--into", "target").code == 2
    for words in (("--into", "target", "--dry-run"), ("--dry-run",)):
        ended = drill(stage, *words)
        assert (ended.code, len([one for one in ended.of("outcome") if one["kind"] == "automation"])) == (0, ALL)
        assert {one["status"] for one in ended.of("outcome")} == {"planned"}
    assert not stage.target.tenant.writes
    assert set(stage.folder.iterdir()) == before


def test_the_source_itself_is_drilled_only_when_it_is_meant(stage: Stage) -> None:
    """Into the archive's own tenant: refused, unless a copy is said to be wanted; the originals stay as they are."""
    fill(stage)
    stage.backup()
    stage.write_config(extra_source='access = "write"')
    tenant = stage.source.tenant
    before = picture(tenant)
    ended = drill(stage, "--into", "source")
    assert (ended.code, "same-tenant" in ended.codes()) == (6, True)
    assert not tenant.writes
    ended = drill(stage, "--into", "source", "--same-tenant", "copy")
    assert (ended.code, ended.automations.get("equal")) == (0, ALL), ended.summary
    assert picture(tenant) == before


def test_missing_owners_are_a_finding(stage: Stage) -> None:
    """What a restore there would refuse, a drill refuses: exit 6 with evidence; a fallback owner settles it."""
    fill(stage)
    stage.backup()
    tenant = stage.target.tenant
    tenant.users[stage.target.users["cleo"]]["status"] = "disabled"
    ended = drill(stage, "--into", "target")
    assert ended.code == 6
    told = evidence_of(ended)
    assert {one["code"] for one in told["problems"]} == {"owner-missing"}
    assert (told["result"], told["counts"]["failed"]) == ("failed", ALL)
    before = picture(tenant)
    ended = drill(stage, "--into", "target", "--fallback-owner", "ben@example.com", "--exclude", "name=second")
    assert (ended.code, picture(tenant) == before) == (0, True)


def command(stage: Stage, run: Path) -> list[str]:
    return [
        sys.executable, "-m", "qlikmigrate", "drill", str(stage.folder / "a.qma"), "--into", "target", "--no-progress",
        "--config", str(stage.config), "--run", str(run),
    ]  # fmt: skip


def many(stage: Stage) -> None:
    """Enough that there is time to be stopped in."""
    for number in range(60):
        mode = {"mode": "scheduled", "schedules": [DAILY]} if number % 2 else {}
        stage.source.tenant.add_automation(document(f"more {number}", **mode), stage.source.users["ben"])


def wait_for_writes(stage: Stage, number: int, process: subprocess.Popen[bytes]) -> None:
    """Until the target has seen so many writing calls."""
    ends = time.monotonic() + 60
    while len(stage.target.tenant.writes) < number:
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.mark.parametrize("writes", [1, 20, 90, 160, 200])
def test_a_kill_is_undone_by_rollback(make_stage: Callable[..., Stage], writes: int) -> None:
    """kill -9 while creating, completing, or removing: `rollback RUN` leaves the tenant as it was."""
    stage = make_stage()
    fill(stage)
    occupy(stage)
    many(stage)
    stage.backup()
    stage.write_config(extra_target=FAST)
    tenant, run = stage.target.tenant, stage.folder / "run"
    before = picture(tenant)
    process = subprocess.Popen(command(stage, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_writes(stage, writes, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert picture(tenant) != before
    assert not list(stage.folder.glob("a.qma.drill-*"))
    assert stage.cli("rollback", run, "--yes").code == 0
    assert picture(tenant) == before
    assert not tenant.armed_while_enabled


SLOW = pytest.mark.slow


@pytest.mark.parametrize("number", [1, 30, pytest.param(50, marks=SLOW), pytest.param(71, marks=SLOW)])
def test_a_create_without_an_answer_is_undone(make_stage: Callable[..., Stage], number: int) -> None:
    """kill -9 when the tenant has created and not answered, an armed one or a manual one: it is known as ours."""
    stage = make_stage()
    fill(stage)
    occupy(stage)
    many(stage)
    stage.backup()
    stage.write_config()
    tenant, run = stage.target.tenant, stage.folder / "run"
    before = picture(tenant)
    tenant.faults.append(Fault(effect=Delay(60), method="POST", path="*/automations", nth=number))
    process = subprocess.Popen(command(stage, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while sum(one.path.endswith("/automations") for one in tenant.writes) < number:
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(tenant.automations) == 6 + number
    assert stage.cli("rollback", run, "--yes").code == 0
    assert picture(tenant) == before


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (None, 21)])
def test_a_drill_that_is_stopped_cleans_up(
    make_stage: Callable[..., Stage], stop: signal.Signals | None, code: int
) -> None:
    """Ctrl-C, a termination, a spent time budget: what was created is removed first, and no evidence is written."""
    stage = make_stage()
    fill(stage)
    occupy(stage)
    many(stage)
    stage.backup()
    stage.write_config(extra_target=FAST)
    tenant, run = stage.target.tenant, stage.folder / "run"
    before = picture(tenant)
    words = command(stage, run)
    if stop is None:
        # Creates come one after the other: they alone take longer than the budget.
        tenant.faults.append(Fault(effect=Delay(0.3), method="POST", path="*/automations", times=None))
        words += ["--time-budget", "7s"]
    process = subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for_writes(stage, 15 if stop else 1, process)
    if stop is not None:
        process.send_signal(stop)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == code
    summary = json.loads(out.splitlines()[-1])
    assert (summary["exit_code"], summary["run"], "drill" in summary) == (code, str(run), False)
    assert picture(tenant) == before
    assert not tenant.armed_while_enabled
    assert not list(stage.folder.glob("a.qma.drill-*"))
