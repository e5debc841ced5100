"""`list`, `show`, `cat`, `verify`: looking into archives, plans and runs, sound and broken ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import Stage, document, text_block

from qlikmigrate.cli.app import run
from qlikmigrate.sandbox import Fault, Status

LOOKING: dict[str, Callable[[str], list[str]]] = {
    "list": lambda path: ["list", path],
    "show": lambda path: ["show", path],
    "cat": lambda path: ["cat", path, "x"],
    "verify": lambda path: ["verify", path],
    "plan": lambda path: ["plan", path, "target"],
    "restore": lambda path: ["restore", path, "target"],
    "mapping": lambda path: ["mapping", path, "target", "-o", "m.toml"],
}


@pytest.fixture
def archive(stage: Stage) -> Path:
    """An archive with two automations of one name, and one of its own."""
    for name in ("twin", "twin", "single"):
        stage.source.tenant.add_automation(document(name, text_block(1, "1.50")), stage.source.users["ben"])
    assert stage.backup().code == 0
    return stage.folder / "a.qma"


@pytest.mark.parametrize("command", LOOKING)
def test_missing_archives(command: str, stage: Stage) -> None:
    """No such archive: 10."""
    ended = stage.cli(*LOOKING[command]("nope.qma"))
    assert (ended.code, ended.error["code"]) == (10, "no-archive")


@pytest.mark.parametrize("command", LOOKING)
@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_broken_archives(command: str, damage: str, archive: Path, stage: Stage) -> None:
    """Cut short, no archive at all: 13 from every command. A flipped bit: 13 from `verify`."""
    raw = archive.read_bytes()
    middle = len(raw) // 2
    broken = {
        "cut": raw[:middle],
        "flipped": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :],
        "text": b"hello",
        "empty": b"",
    }[damage]
    archive.write_bytes(broken)
    ended = stage.cli(*LOOKING[command](str(archive)))
    if damage == "flipped" and command != "verify":
        # Only what is asked for is read, and checked then.
        assert ended.code in (0, 2, 13)
        return
    assert ended.code == 13, ended.error
    assert "\n" not in ended.error["message"]
    assert not [seen for seen in stage.target.tenant.writes if seen.path != "/oauth/token"]


def test_verify_names_what_damage_hits(archive: Path, stage: Stage) -> None:
    """A flipped bit in a document: an item names it, the others are whole."""
    assert stage.cli("verify", archive).code == 0
    raw = bytearray(archive.read_bytes())
    name = stage.source.one("single")["id"].encode()
    place = raw.index(name) + len(name) + 60
    raw[place] ^= 1
    archive.write_bytes(raw)
    ended = stage.cli("verify", archive)
    assert (ended.code, ended.error["code"]) == (13, "corrupt")
    assert name.decode() in {item["id"] for item in ended.of("item") if item["status"] == "damaged"}
    assert {item["status"] for item in ended.of("item")} == {"damaged", "whole"}


def test_list(archive: Path, stage: Stage) -> None:
    """Automations by name with owner and space; a folder's archives, also where one of them is broken."""
    ended = stage.cli("list", archive)
    assert [item["name"] for item in ended.of("item")] == ["single", "twin", "twin"]
    assert {(item["owner"], item["space"]) for item in ended.of("item")} == {("Ben Example", "personal")}
    assert ended.summary["complete"] is True
    folder = stage.cli("list", stage.folder)
    assert [item["automations"] for item in folder.of("item")] == [3]
    (stage.folder / "b.qma").write_text("no archive")
    folder = stage.cli("list", stage.folder)
    assert folder.code == 13
    assert ["error" in item for item in folder.of("item")] == [False, True]
    (stage.folder / "empty").mkdir()
    assert stage.cli("list", stage.folder / "empty").code == 10


def test_show_archive(archive: Path, stage: Stage) -> None:
    """The head with counts, one automation by name, id or the beginning of an id; twins are told apart by id."""
    facts = {item["field"]: item["value"] for item in stage.cli("show", archive).of("item") if "field" in item}
    assert (facts["complete"], facts["scope"], facts["restorable"]) == (True, "tenant", "full")
    ident = stage.source.one("single")["id"]
    for wanted in ("single", ident, ident.upper(), ident[:13]):
        items = stage.cli("show", archive, wanted).of("item")
        assert {"kind": "automation", "field": "id", "value": ident}.items() <= items[0].items()
    twins = stage.cli("show", archive, "twin")
    assert twins.code == 2
    assert all(one["id"] in twins.error["message"] for one in stage.source.named("twin"))
    assert stage.cli("show", archive, "nobody").code == 2
    assert stage.cli("show", archive, "").code == 2


def test_show_plan_and_run(archive: Path, stage: Stage) -> None:
    """A plan and a run as a whole and for one automation; what is neither is refused."""
    plan, place = stage.folder / "plan.json", stage.folder / "run"
    stage.cli("plan", archive, "target", "-o", plan)
    assert [item["kind"] for item in stage.cli("show", plan).of("item")] == ["plan", *["automation"] * 3, "sum"]
    assert [item["action"] for item in stage.cli("show", plan, "single").of("item")] == ["create"]
    assert stage.cli("show", plan, "nobody").code == 2
    stage.cli("apply", plan, "--run", place)
    items = stage.cli("show", place).of("item")
    assert items[0]["state"] == "finished"
    assert all(item["done"] for item in items[1:])
    made = stage.target.one("single")["id"]
    assert [item["target_id"] for item in stage.cli("show", place, made).of("item")] == [made]
    (stage.folder / "empty").mkdir()
    assert stage.cli("show", stage.folder / "empty").code == 10
    assert stage.cli("show", stage.config).code == 13
    plan.write_text('{"format": "qlikmigrate-plan", "format_version": 99}')
    newer_plan = stage.cli("show", plan)
    assert newer_plan.code == 13
    assert "99" in newer_plan.error["message"]
    for text in ("{}", "{", "[]", '{"format": "qlikmigrate-plan", "format_version": 1}'):
        plan.write_text(text)
        assert stage.cli("show", plan).code == 13
        assert stage.cli("apply", plan).code == 13
    assert stage.cli("apply", stage.folder / "nope.json").code == 10


def test_cat_gives_the_received_bytes(archive: Path, stage: Stage) -> None:
    """A document, and its workspace, exactly as the tenant answered; other kinds by id; nothing for a wrong id."""
    ident = stage.source.one("single")["id"]
    (seen,) = stage.cli("cat", archive, ident).of("item")
    assert (seen["kind"], seen["id"]) == ("automation", ident)
    stage.capture.readouterr()
    assert run(["cat", str(archive), "single"]) == 0
    whole = stage.capture.readouterr().out
    assert whole == seen["document"]
    assert run(["cat", str(archive), "single", "--workspace"]) == 0
    workspace = stage.capture.readouterr().out
    assert workspace.startswith("{")
    assert workspace in whole
    assert "executionToken" not in whole
    user = stage.source.users["ben"]
    (row,) = stage.cli("cat", archive, user).of("item")
    assert (row["kind"], row["id"]) == ("user", user)
    for wrong in ("nobody", "twin", "", user + "x"):
        assert stage.cli("cat", archive, wrong).code == 2
    assert stage.cli("cat", archive, user, "--workspace").code == 2


def test_incomplete_archives(stage: Stage) -> None:
    """An incomplete snapshot exits 3, replaces nothing, and is used only where that was said."""
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    assert stage.backup().code == 0
    before = (stage.folder / "a.qma").read_bytes()
    ident = stage.source.one("two")["id"]
    stage.source.tenant.faults.append(Fault(effect=Status(code=403), path=f"*/automations/{ident}", times=None))
    ended = stage.backup()
    assert (ended.code, ended.error["code"]) == (3, "incomplete-not-replacing")
    assert (stage.folder / "a.qma").read_bytes() == before
    ended = stage.backup("b.qma")
    assert (ended.code, ended.error["code"], ended.summary["complete"]) == (3, "incomplete", False)
    assert ended.automations == {"listed": 2, "captured": 1, "unreadable": 1}
    assert stage.cli("verify", stage.folder / "b.qma").code == 0
    for command in ("plan", "restore"):
        refused = stage.cli(command, stage.folder / "b.qma", "target")
        assert (refused.code, refused.error["code"]) == (3, "incomplete")
        assert "--allow-incomplete" in refused.error["hint"]
    assert not stage.target.tenant.writes
    assert stage.cli("restore", stage.folder / "b.qma", "target", "--allow-incomplete").code == 0
    stage.write_config(extra_source=f'accept_unreadable = ["{ident}"]')
    assert stage.backup("c.qma").code == 0
    clone = stage.cli("clone", "source", "target", "--run", stage.folder / "run")
    assert clone.code == 0


def test_a_clone_of_an_incomplete_snapshot_writes_nothing(stage: Stage) -> None:
    """What could not be read whole is not brought over, and its archive does not stay."""
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    ident = stage.source.one("two")["id"]
    stage.source.tenant.faults.append(Fault(effect=Status(code=403), path=f"*/automations/{ident}", times=None))
    ended = stage.cli("clone", "source", "target", "--run", stage.folder / "run")
    assert (ended.code, ended.summary["archive"], ended.summary["run"]) == (3, None, None)
    assert not stage.target.tenant.seen
    assert [path.name for path in stage.folder.iterdir()] == ["tenants.toml"]


def test_archives_lie_where_they_were_asked_for(stage: Stage) -> None:
    """A folder gets TENANT-UTC.qma; an existing file, a missing folder and a device are refused before any request."""
    (stage.folder / "shelf").mkdir()
    ended = stage.cli("backup", "source", "-o", stage.folder / "shelf")
    (made,) = (stage.folder / "shelf").iterdir()
    assert made.name.startswith("source-2")
    assert made.suffix == ".qma"
    assert made.stat().st_mode & 0o777 == 0o600
    assert ended.summary["archive"] == str(made)
    asked = len(stage.source.tenant.seen)
    for out in (made, stage.folder / "nowhere" / "a.qma", "/dev/null"):
        assert stage.cli("backup", "source", "-o", out).code == 2
    assert len(stage.source.tenant.seen) == asked
    assert stage.cli("backup", "source", "-o", stage.folder / "x.qma", "--include", "name=nobody").code == 2
    assert not (stage.folder / "x.qma").exists()
    shutil.rmtree(stage.folder / "shelf")
