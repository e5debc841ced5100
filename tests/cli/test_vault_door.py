"""Vaults from the command line: what takes an archive takes `VAULT@WHEN`, and says plainly what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from attrs import define, field
from stage import DAILY, Ended, Stage, document, set_clock, staged, text_block

from qlikmigrate.cli.app import run
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import Status
from qlikmigrate.vault import Vault
from qlikmigrate.vault.store import LocalStore

IDENTITY = pyrage.x25519.Identity.generate()
DAY_S = 86_400
FIRST = datetime(2026, 3, 1, 2, tzinfo=UTC)


@define
class Door:
    """A tenant, a vault that gets a snapshot a day at 02:00 UTC, and the command line. `ids`: of the snapshots."""

    stage: Stage
    clock: ManualClock
    ids: list[str] = field(factory=list)

    @property
    def folder(self) -> Path:
        return self.stage.folder

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    def cli(self, *words: object) -> Ended:
        return self.stage.cli(*[str(word) for word in words])

    def text(self, *words: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr without `--json`."""
        self.stage.capture.readouterr()
        code = run([*map(str, words), "--no-progress", "--config", str(self.stage.config)])
        out = self.stage.capture.readouterr()
        return code, out.out, out.err

    def backup(self, *words: object, vault: Path | None = None) -> Ended:
        """One more snapshot; the next day comes."""
        ended = self.cli("backup", "source", "--vault", vault or self.vault, "--init", *words)
        if ended.summary["archive"]:
            self.ids.append(str(ended.summary["archive"]).rpartition("@")[2])
        self.clock.advance(DAY_S)
        return ended

    def edit(self, name: str, word: str) -> None:
        ident = self.stage.source.one(name)["id"]
        self.stage.source.tenant.replace_workspace(ident, document("x", text_block(1, word))["workspace"])

    def names(self, address: object, *words: object) -> list[str]:
        """The names in the archive of an address."""
        ended = self.cli("list", address, *words)
        assert ended.code == 0, ended.error
        return [row["name"] for row in ended.of("item")]


@pytest.fixture
def door(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """Three nights: one automation, then two, then three and the first edited."""
    clock = ManualClock(FIRST)
    set_clock(monkeypatch, clock)
    monkeypatch.chdir(tmp_path)
    with staged(tmp_path, capsys, clock=clock) as stage:
        here = Door(stage, clock)
        for name in ("One", "Two", "Three"):
            given = document(name, text_block(1, "first"), mode="scheduled", schedules=[DAILY])
            stage.source.tenant.add_automation(given, stage.source.users["ben"])
            if name == "Three":
                here.edit("One", "second")
            clock.advance(60)
            assert here.backup().code == 0
        yield here


def damaged(door: Door) -> None:
    for pack in (door.vault / "packs").iterdir():
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:-9] + b"nonsense\n")


# What each command is called with, and whether it writes a file that must not be there before.
TAKING: dict[str, list[str]] = {
    "list": ["list", "ARCHIVE"],
    "show": ["show", "ARCHIVE"],
    "show one": ["show", "ARCHIVE", "One"],
    "cat": ["cat", "ARCHIVE", "One"],
    "cat workspace": ["cat", "ARCHIVE", "One", "--workspace"],
    "scan": ["scan", "ARCHIVE"],
    "diff": ["diff", "ARCHIVE", "tenant:source"],
    "verify": ["verify", "ARCHIVE"],
    "mapping": ["mapping", "ARCHIVE", "target", "-o", "m.toml"],
    "plan": ["plan", "ARCHIVE", "target", "-o", "p.json"],
    "restore": ["restore", "ARCHIVE", "target", "--run", "r"],
    "restore, dry": ["restore", "ARCHIVE", "target", "--dry-run"],
    "drill": ["drill", "ARCHIVE"],
    "export": ["export", "ARCHIVE", "-o", "e.qma"],
    "export, plain": ["export", "ARCHIVE", "--plain", "plain"],
    "import": ["import", "ARCHIVE", "other", "--init"],
}
# The summary names the archive as it was given, but for commands that make one, or that look at two.
ELSEWHERE = {"diff", "export", "export, plain", "import", "mapping", "restore", "restore, dry"}


def called(case: str, address: object) -> list[str]:
    return [str(address) if word == "ARCHIVE" else word for word in TAKING[case]]


@pytest.mark.parametrize("case", TAKING)
def test_every_command_takes_a_snapshot(case: str, door: Door) -> None:
    """Exit 0 and the summary of the contract; the same commands end with 10, 13 and 2 where that is so."""
    ended = door.cli(*called(case, "vault@latest"))
    assert ended.code == 0, ended.error
    assert {"command", "exit_code", "complete", "restorable", "archive", "run", "counts", "problems", "requests",
            "seconds", "error"} <= ended.summary.keys()  # fmt: skip
    assert ended.summary["command"] == TAKING[case][0]
    if case not in ELSEWHERE and case != "verify":
        assert ended.summary["archive"] == "vault@latest"
    assert all(line["format_version"] == "1.0" for line in ended.lines)
    writes = len(door.stage.target.tenant.writes)
    shutil.rmtree("r", ignore_errors=True)
    Path("e.qma").unlink(missing_ok=True)
    for address, code, word in (
        # Where a tenant could be meant as well, that is.
        ("nowhere@latest", *((2, "usage") if case == "diff" else (10, "no-archive"))),
        ("vault@2026-01-01", 10, "no-snapshot"),
        ("vault@00000000", 10, "no-snapshot"),
        ("vault@soon", 2, "usage"),
    ):
        ended = door.cli(*called(case, address))
        assert (ended.code, ended.error["code"]) == (code, word), address
    damaged(door)
    ended = door.cli(*called(case, "vault@latest"))
    assert (ended.code, ended.error["code"]) == (13, "corrupt")
    assert ended.error["hint"]
    assert len(door.stage.target.tenant.writes) == writes


@pytest.mark.parametrize("case", TAKING)
def test_an_encrypted_vault_wants_its_key(case: str, door: Door) -> None:
    """12 without a key and with another one, the same as ever with it; a check of bytes needs none."""
    public = str(IDENTITY.to_public())
    assert door.backup("--recipient", public, vault=door.folder / "sealed").code == 0
    key = door.folder / "key.txt"
    key.write_text(str(pyrage.x25519.Identity.generate()))
    key.chmod(0o600)
    words = called(case, "sealed@latest")
    writing = ("--recipient", public) if case == "drill" else ()
    if case != "verify":
        ended = door.cli(*words, *writing)
        assert (ended.code, ended.error["code"]) == (12, "no-key")
    ended = door.cli(*words, "--identity", key, *writing)
    assert (ended.code, ended.error["code"]) == (12, "wrong-key")
    key.write_text(str(IDENTITY))
    ended = door.cli(*words, "--identity", key, *writing)
    assert ended.code == 0, ended.error


def test_the_life_of_a_run(door: Door) -> None:
    """A plan made from `vault@latest` means that snapshot for good: after backups, a repack, a prune within the margin,
    and from another folder. So do all later commands of its run."""
    assert door.cli("plan", "vault@latest", "target", "-o", "p.json", "--allow", "source-on").code == 0
    saved = json.loads(Path("p.json").read_bytes())
    assert door.ids[2] in json.dumps(saved)
    door.edit("Two", "too late")
    assert door.backup().code == 0
    assert door.cli("repack", door.vault).code == 0
    elsewhere = door.folder / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    ended = door.cli("apply", door.folder / "p.json", "--run", door.folder / "r")
    assert ended.code == 0, ended.error
    assert ended.automations == {"selected": 3, "created": 3}
    assert "first" in json.dumps(door.stage.target.one("Two"))
    for words in (("status",), ("callers", "-o", "c.csv"), ("reassign",), ("activate", "--dry-run")):
        ended = door.cli(words[0], door.folder / "r", *words[1:])
        assert ended.code in (0, 4, 6), (words, ended.error)
    ended = door.cli("cutover", door.folder / "r", "--source", "source", "--dry-run")
    assert "source-changed" in ended.codes()
    assert door.cli("diff", f"{door.vault}@{door.ids[2][:8]}", "tenant:target", "--run", door.folder / "r").code in (
        0,
        5,
    )
    assert door.cli("rollback", door.folder / "r", "--yes").code == 0
    assert not door.stage.target.tenant.automations


def test_a_plan_outlives_a_prune_only_as_its_snapshot_does(door: Door) -> None:
    """What was removed is out of sight at once: the plan ends with 10, and goes again once it is taken back."""
    assert door.cli("plan", "vault@2026-03-02", "target", "-o", "p.json").code == 0
    assert door.cli("prune", door.vault, "--keep-last", "1", "--yes").code == 0
    ended = door.cli("apply", "p.json", "--run", "r")
    assert (ended.code, ended.error["code"]) == (10, "no-snapshot")
    assert not door.stage.target.tenant.writes
    assert "--undelete" in ended.error["hint"]
    assert door.cli("prune", door.vault, "--undelete", door.ids[1][:8]).code == 0
    assert door.cli("apply", "p.json", "--run", "r").automations == {"selected": 2, "created": 2}


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ("latest", 3), ("LATEST", 3), ("2026-03-01", 1), ("2026-03-02", 2), ("2026-03-09", 3),
        ("2026-03-02T01:59:59Z", 1), ("2026-03-02T03:00:00Z", 2), ("2026-03-02t03:00:00z", 2),
        ("2026-03-02T04:30:00+02:00", 2), ("2026-03-02T03:30:00+02:00", 1), ("yesterday", 3),
    ],
)  # fmt: skip
def test_times(when: str, names: int, door: Door) -> None:
    """The newest snapshot that is not after the time, or the end of the day, UTC."""
    assert len(door.names(f"vault@{when}")) == names


def test_yesterday(door: Door) -> None:
    """Counted from today, by UTC; before the first snapshot there is none, and the error says when it was."""
    door.clock.advance(-2 * DAY_S)
    assert len(door.names("vault@yesterday")) == 1
    door.clock.advance(-DAY_S)
    ended = door.cli("list", "vault@yesterday")
    assert (ended.code, ended.error["code"]) == (10, "no-snapshot")
    assert "2026-03-01T02:0" in ended.error["hint"]


def test_ids(door: Door) -> None:
    """An id, or 8 characters of it, in any case; fewer are no address, and several matches are refused."""
    for number, ident in enumerate(door.ids, 1):
        assert len(door.names(f"vault@{ident}")) == number
        assert len(door.names(f"vault@{ident[:8].upper()}")) == number
    assert door.cli("list", f"vault@{door.ids[0][:7]}").code == 2


@pytest.mark.parametrize("word", ["soon", "2026-13-01", "2026-03-02T03:00:00", "2026-03", "", "last week", "0123456"])
def test_what_is_no_time(word: str, door: Door) -> None:
    """Exit 2, with what WHEN can be."""
    ended = door.cli("show", f"vault@{word}")
    assert (ended.code, ended.error["code"]) == (2, "usage")
    assert ended.error["hint"]


def test_odd_paths(door: Door) -> None:
    """A path that exists wins; else the last `@` splits; relative, absolute, moved and with a slash at its end."""
    odd = door.folder / "v@2026-01-01"
    shutil.copytree(door.vault, odd)
    assert len(door.names("v@2026-01-01@2026-03-01")) == 1
    assert len(door.cli("list", "v@2026-01-01").of("item")) == 3
    assert door.cli("list", "v@2026-01-01").of("item")[0]["kind"] == "snapshot"
    assert len(door.names(f"{odd}@latest")) == 3
    assert len(door.names("vault/@latest")) == 3
    assert len(door.names("./vault@2026-03-02")) == 2
    assert door.cli("export", "vault@2026-03-01", "-o", "vault@latest").code == 0
    assert len(door.names("vault@latest")) == 1
    odd.rename(door.folder / "moved")
    assert len(door.names("moved@latest")) == 3
    for name in ("böse Datei", "-v", "a'b\"c"):
        shutil.copytree(door.vault, door.folder / name)
        assert len(door.names(f"./{name}@{door.ids[1]}")) == 2


def test_vault_alone(door: Door) -> None:
    """It means its latest snapshot, but for `list`, `verify`, `log` and `prune`, which are about the vault."""
    assert door.cli("show", "vault").summary["counts"]["automations"]["captured"] == 3
    assert [row["kind"] for row in door.cli("list", "vault").of("item")] == ["snapshot"] * 3
    assert door.cli("plan", "vault", "target", "-o", "p.json").code == 0
    assert door.ids[2] in Path("p.json").read_text()


@pytest.mark.parametrize("words", [("prune", "--keep-last", "1", "--yes"), ("repair",), ("repack",)])
def test_a_snapshot_where_a_vault_is_wanted(words: tuple[str, ...], door: Door) -> None:
    """Refused, and the hint names the vault. A place without a vault is told how one is made."""
    ended = door.cli(words[0], "vault@latest", *words[1:])
    assert (ended.code, ended.error["code"]) == (10, "no-vault")
    assert "`vault`" in ended.error["hint"]
    ended = door.cli(words[0], "nowhere", *words[1:])
    assert (ended.code, ended.error["code"]) == (10, "no-vault")
    assert "backup" in ended.error["hint"]


def test_list_rows(door: Door) -> None:
    """A row for each snapshot, oldest first, with what scripts go by."""
    ended = door.cli("list", door.vault)
    rows = ended.of("item")
    assert [row["id"] for row in rows] == door.ids
    assert rows[1].items() >= {
        "kind": "snapshot", "complete": True, "partial": False, "tenant": "acme", "automations": 2, "drill": None,
        "taken_at": "2026-03-02T02:02:00Z",
    }.items()  # fmt: skip
    assert rows[1]["tenant_id"] == door.stage.source.tenant.id
    assert ended.summary["counts"] == {"snapshots": {"listed": 3, "complete": 3}}
    code, out, _ = door.text("list", door.vault)
    assert (code, len(out.splitlines())) == (0, 3)


def test_log(door: Door) -> None:
    """What became of one automation, by id and by name; a name that nobody had ends with 2."""
    ended = door.cli("log", door.vault, "One")
    assert [row["what"] for row in ended.of("item")] == ["changed", "seen"]
    ident = door.stage.source.one("One")["id"]
    assert door.cli("log", door.vault, ident).of("item") == ended.of("item")
    assert door.cli("log", door.vault, "Nobody").code == 2
    assert door.cli("log", "nowhere", "One").code == 10
    code, out, _ = door.text("log", door.vault, "One")
    assert code == 0
    assert [line[:20] for line in out.splitlines()] == ["2026-03-03T02:03:00Z", "2026-03-01T02:01:00Z"]


def test_drift(door: Door) -> None:
    """`diff VAULT TENANT`: 0 while nothing changed, 5 with a row for each automation that did; two snapshots alike."""
    assert door.cli("diff", "vault", "source").code == 0
    door.edit("Two", "drifted")
    ended = door.cli("diff", "vault", "source")
    assert ended.code == 5
    assert [(row["change"], row["name"]) for row in ended.of("item")] == [("changed", "Two")]
    ended = door.cli("diff", "vault@2026-03-01", "vault@latest")
    assert (ended.code, ended.automations) == (5, {"compared": 3, "changed": 1, "added": 2})
    assert door.cli("diff", "vault@latest", "vault@latest").code == 0


def test_restore_one_of_yesterday(door: Door) -> None:
    """The automation that somebody spoiled this morning, out of the snapshot of a time."""
    ended = door.cli("restore", "vault@2026-03-02T12:00:00Z", "target", "--include", "name=One", "--run", "r")
    assert (ended.code, ended.automations) == (0, {"selected": 1, "created": 1})
    assert "first" in json.dumps(door.stage.target.one("One"))
    ended = door.cli("restore", "vault@2026-03-02T12:00:00Z", "target", "--include", "name=Three", "--run", "s")
    assert ended.code == 2


def test_two_tenants(door: Door) -> None:
    """`--tenant` takes a name, an id or a host; without it an address by time is refused, one by id is not."""
    door.stage.target.tenant.add_automation(document("Theirs"), door.stage.target.users["ben"])
    ended = door.cli("backup", "target", "--vault", door.vault)
    assert ended.code == 0, ended.error
    refused = door.cli("list", "vault@latest")
    assert (refused.code, "--tenant" in refused.error["hint"]) == (2, True)
    assert "acme, acme-dr" in refused.error["message"]
    assert door.names("vault@latest", "--tenant", "acme-dr") == ["Theirs"]
    assert door.names("vault@latest", "--tenant", door.stage.target.tenant.id) == ["Theirs"]
    assert len(door.names("vault@latest", "--tenant", "acme")) == 3
    assert len(door.names(f"vault@{door.ids[0]}")) == 1
    assert len(door.cli("list", "vault", "--tenant", "acme").of("item")) == 3
    for words in (("list", "vault"), ("list", "vault@latest"), ("log", "vault", "One"), ("show", "vault")):
        ended = door.cli(*words, "--tenant", "nobody")
        assert (ended.code, ended.error["code"]) == (10, "no-snapshot"), words
    assert door.cli("log", "vault", "One").code == 2
    assert door.cli("log", "vault", "One", "--tenant", "acme").code == 0
    assert door.cli("plan", "vault", "target", "--tenant", "acme", "-o", "p.json").code == 0
    assert door.ids[2] in Path("p.json").read_text()
    assert door.cli("apply", "p.json", "--run", "r").code == 0
    shown = door.cli("prune", "vault", "--keep-last", "1", "--tenant", "acme", "--dry-run").of("item")
    assert {row["tenant"] for row in shown if row["kind"] == "snapshot"} == {"acme"}


def test_two_tenants_of_an_encrypted_vault(door: Door) -> None:
    """With the key `--tenant` takes names and hosts there as well; `list` tells them."""
    public, sealed, key = str(IDENTITY.to_public()), door.folder / "sealed", door.folder / "key.txt"
    key.write_text(str(IDENTITY))
    key.chmod(0o600)
    for name in ("source", "target"):
        assert door.cli("backup", name, "--vault", sealed, "--init", "--recipient", public).code == 0
        door.clock.advance(60)
    with_key = ("--identity", key)
    assert len(door.names("sealed@latest", "--tenant", "acme", *with_key)) == 3
    assert [row["tenant"] for row in door.cli("list", sealed, *with_key).of("item")] == ["acme", "acme-dr"]
    assert "acme" not in str(door.cli("list", sealed).of("item"))
    assert len(door.cli("list", sealed, "--tenant", door.stage.source.tenant.id).of("item")) == 1


def test_incomplete(door: Door) -> None:
    """It is never meant by a time, and by its id only where that is said; looking is always allowed."""
    ident = door.stage.source.one("Two")["id"]
    door.edit("Two", "withheld")
    door.stage.source.tenant.faults.append(Fault(path=f"*/{ident}", effect=Status(code=403), times=None))
    ended = door.backup()
    assert (ended.code, ended.error["code"]) == (3, "incomplete")
    assert [row["complete"] for row in door.cli("list", "vault").of("item")] == [True, True, True, False]
    by_id = f"vault@{door.ids[3]}"
    assert len(door.names("vault@latest")) == 3
    assert len(door.names(by_id)) == 2
    for words in (
        ("plan", by_id, "target", "-o", "p.json"), ("restore", by_id, "target", "--run", "r"), ("drill", by_id),
        ("export", by_id, "-o", "e.qma"), ("import", by_id, "other", "--init"),
    ):  # fmt: skip
        ended = door.cli(*words)
        assert (ended.code, ended.error["code"]) == (3, "incomplete"), words
        assert "--allow-incomplete" in ended.error["hint"]
    assert not door.stage.target.tenant.writes
    assert door.cli("plan", "vault@latest", "target", "--allow-incomplete", "-o", "p.json").code == 0
    assert door.ids[3] in Path("p.json").read_text()
    assert door.cli("apply", "p.json", "--run", "r").automations == {"selected": 2, "created": 2}


def test_only_incomplete(door: Door) -> None:
    """A vault that has nothing else shows it, and lets nobody restore it unawares."""
    ident = door.stage.source.one("Two")["id"]
    door.stage.source.tenant.faults.append(Fault(path=f"*/{ident}", effect=Status(code=403), times=None))
    assert door.backup(vault=door.folder / "bad").code == 3
    assert len(door.names("bad@latest")) == 2
    assert door.cli("show", "bad").code == 0
    ended = door.cli("restore", "bad@latest", "target")
    assert (ended.code, ended.error["code"]) == (3, "incomplete")


def test_partial(door: Door) -> None:
    """A snapshot of a selection is found by its id alone, and is marked in the list."""
    ended = door.backup("--include", "name=Two")
    assert ended.code == 0
    assert len(door.names("vault@latest")) == 3
    assert door.names(f"vault@{door.ids[3]}") == ["Two"]
    assert [row["partial"] for row in door.cli("list", "vault").of("item")] == [False, False, False, True]
    assert "partial" in door.text("list", "vault")[1]
    only = door.folder / "only"
    assert door.backup("--include", "name=Two", vault=only).code == 0
    ended = door.cli("list", "only@latest")
    assert (ended.code, ended.error["code"]) == (10, "no-snapshot")


def test_where_a_backup_goes(door: Door) -> None:
    """A folder that is no vault needs `--init`, which on a vault does nothing; exactly one of -o and --vault."""
    place = door.folder / "new"
    place.mkdir()
    (place / "note.txt").write_text("mine")
    ended = door.cli("backup", "source", "--vault", place)
    assert (ended.code, ended.error["code"]) == (10, "no-vault")
    assert "--init" in ended.error["hint"]
    assert [one.name for one in place.iterdir()] == ["note.txt"]
    for _ in range(2):
        assert door.cli("backup", "source", "--vault", place, "--init").code == 0
    assert len(door.cli("list", place).of("item")) == 2
    assert (place / "note.txt").read_text() == "mine"
    for words in (
        (), ("-o", "a.qma", "--vault", place), ("-o", "a.qma", "--init"), ("-o", "a.qma", "--full"),
        ("--vault", place, "--force"), ("--vault", ""), ("--vault", door.stage.config),
    ):  # fmt: skip
        assert door.cli("backup", "source", *words).code == 2, words
    assert not Path("a.qma").exists()


def test_backup_says_what_it_stored_and_saved(door: Door) -> None:
    """The summary names the snapshot in full, and how many requests were saved; people are told the short id."""
    ended = door.backup()
    assert ended.summary["archive"] == f"{door.vault}@{door.ids[3]}"
    assert ended.summary["requests"]["saved"] == 2
    assert ended.summary["counts"]["automations"]["captured"] == 3
    code, _, err = door.text("backup", "source", "--vault", door.vault)
    assert code == 0
    assert "complete: 3 of 3 automations in" in err
    assert "requests saved" in err
    assert door.cli("backup", "source", "--vault", door.vault, "--full").summary["requests"].get("saved", 0) == 0


FORMS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no JSON": (lambda form: "nonsense", "corrupt"),
    "empty": (lambda form: "", "corrupt"),
    "foreign": (lambda form: {"format": "restic", "version": 2}, "corrupt"),
    "a list": (lambda form: [], "corrupt"),
    "newer": (lambda form: {**form, "format_version": "2.0"}, "newer-format"),
    "changed": (lambda form: {**form, "id": "0" * 16}, "corrupt"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_description_that_is_wrong(case: str, door: Door) -> None:
    """13 for every command, and no bug; a newer format says so. Nothing is written."""
    change, code = FORMS[case]
    path = door.vault / "vault.json"
    form = change(json.loads(path.read_bytes().splitlines()[0]))
    path.chmod(0o600)
    path.write_text(form if isinstance(form, str) else json.dumps(form))
    before = sorted(one.name for one in door.vault.rglob("*"))
    for words in (
        ("list", "vault"), ("list", "vault@latest"), ("show", "vault"), ("log", "vault", "One"), ("verify", "vault"),
        ("backup", "source", "--vault", "vault"), ("backup", "source", "--vault", "vault", "--init"),
        ("prune", "vault", "--keep-last", "1", "--yes"), ("repack", "vault"), ("drill", "vault@latest"),
    ):  # fmt: skip
        ended = door.cli(*words)
        assert (ended.code, ended.error["code"]) == (13, code), words
        assert ended.error["hint"]
    assert sorted(one.name for one in door.vault.rglob("*")) == before


def test_a_lost_description(door: Door) -> None:
    """A vault without it is damaged, not absent, and `--init` makes no second one in its place; `repair` mends it."""
    (door.vault / "vault.json").unlink()
    for words in (("list", "vault"), ("show", "vault@latest"), ("backup", "source", "--vault", "vault", "--init")):
        ended = door.cli(*words)
        assert (ended.code, "repair" in ended.error["hint"]) == (13, True), words
    assert door.cli("repair", "vault").code == 0
    assert len(door.names("vault@latest")) == 3


def test_junk_in_the_folder(door: Door) -> None:
    """What is no object of a vault is nobody's business: it is neither read nor removed."""
    (door.vault / "README.txt").write_text("mine")
    (door.vault / "packs" / "notes.txt").write_text("mine")
    (door.vault / "snapshots" / ".DS_Store").write_bytes(b"\0")
    (door.vault / "lost+found").mkdir()
    assert door.backup().code == 0
    assert len(door.names("vault@latest")) == 3
    assert door.cli("prune", "vault", "--keep-last", "1", "--yes").code == 0
    assert (door.vault / "packs" / "notes.txt").read_text() == "mine"
    ended = door.cli("list", door.folder / "runs")
    assert ended.code == 10


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(door: Door) -> None:
    """Exit 1 with the path, and no traceback."""
    (door.vault / "packs").chmod(0o000)
    try:
        for words in (("show", "vault"), ("backup", "source", "--vault", "vault"), ("verify", "vault")):
            ended = door.cli(*words)
            assert (ended.code, ended.error["code"]) == (1, "no-access"), words
            assert "packs" in ended.error["message"]
    finally:
        (door.vault / "packs").chmod(0o700)


def test_a_place_that_cannot_be_written_to(door: Door) -> None:
    """A file where a folder should be, and a folder where a pack should be: one line each."""
    place = door.folder / "half"
    place.mkdir()
    (place / "packs").write_text("a file")
    ended = door.cli("backup", "source", "--vault", place, "--init")
    assert (ended.code, ended.error["code"] != "bug") == (1, True), ended.error


def test_prune_refuses(door: Door) -> None:
    """Each mistake ends with 2 before anything is removed: no rule, no yes, a wrong zone, period, margin or number."""
    for words in (
        ("--yes",), ("--keep-daily", "0", "--yes"), ("--keep-last", "1"), ("--keep-last", "-1", "--yes"),
        ("--keep-last", "1", "--zone", "Mars/Base", "--yes"), ("--keep-last", "1", "--zone", "", "--yes"),
        ("--keep-within", "3 weeks", "--yes"), ("--keep-within", "", "--yes"), ("--keep-within", "12h30d", "--yes"),
        ("--keep-last", "1", "--margin", "0h", "--yes"), ("--keep-last", "1", "--margin", "soon", "--yes"),
        ("--keep-last", "one", "--yes"),
    ):  # fmt: skip
        ended = door.cli("prune", "vault", *words)
        assert ended.code == 2, words
        assert len(door.cli("list", "vault").of("item")) == 3
    assert door.cli("prune", "vault", "--yes").error["code"] == "empty-policy"


def test_prune_shows_and_takes_back(door: Door) -> None:
    """Times in whole seconds; what was removed comes back with `--undelete`, and `list --verbose` shows it."""
    code, out, err = door.text("prune", "vault", "--keep-last", "1", "--yes")
    assert code == 0
    assert "2026-03-01T02:01:00Z" in out
    assert "removed 2 of 3 snapshots, 1 stays" in err
    assert "--undelete" in err
    assert len(door.cli("list", "vault").of("item")) == 1
    code, out, err = door.text("list", "vault", "--verbose")
    assert (len(out.splitlines()), err.count("removed")) == (1, 2)
    assert door.cli("prune", "vault", "--undelete", "ffffffff").code == 10
    assert door.cli("prune", "vault", "--undelete", door.ids[0][:8], "--dry-run").code == 0
    assert len(door.cli("list", "vault").of("item")) == 1
    assert door.cli("prune", "vault", "--undelete", door.ids[0][:8]).code == 0
    assert len(door.cli("list", "vault").of("item")) == 2


def test_locked(door: Door) -> None:
    """Two writers: the second waits a minute and ends with 11, naming the first; readers are not kept waiting."""
    with Vault.open(door.vault, clock=door.clock).lock():
        for words in (("backup", "source", "--vault", "vault"), ("prune", "vault", "--keep-last", "1", "--yes")):
            before = door.clock.now()
            ended = door.cli(*words)
            assert (ended.code, ended.error["code"]) == (11, "locked"), ended.error
            assert door.clock.now() - before >= timedelta(seconds=60)
        assert len(door.names("vault@latest")) == 3
        assert door.cli("verify", "vault").code == 0
    assert door.backup().code == 0


def test_a_drill_is_filed(door: Door) -> None:
    """The evidence lies in the vault, its place is told so that it can be found, and `list` shows the last one."""
    ended = door.cli("drill", "vault@2026-03-02")
    assert ended.code == 0, ended.error
    place = Path(ended.summary["drill"]["evidence"])
    assert json.loads(place.read_bytes())["result"] == "passed"
    assert [bool(row["drill"]) for row in door.cli("list", "vault").of("item")] == [False, True, False]
    copy = door.folder / "evidence.json"
    assert door.cli("drill", "vault@latest", "--evidence", copy).code == 0
    assert json.loads(copy.read_bytes())["result"] == "passed"


def test_export_and_import_round(door: Door) -> None:
    """A snapshot of an old day as an archive, and that archive in another vault, are the same."""
    assert door.cli("export", "vault@2026-03-02", "-o", "e.qma").code == 0
    assert door.cli("import", "e.qma", "other").code == 10
    assert door.cli("import", "e.qma", "other", "--init").code == 0
    row = door.cli("list", "other").of("item")[0]
    assert (row["taken_at"][:10], row["automations"]) == ("2026-03-02", 2)
    assert door.cli("diff", "other@latest", "vault@2026-03-02").code == 0
    assert door.cli("export", "other@latest", "-o", "f.qma").code == 0
    assert Path("e.qma").read_bytes() == Path("f.qma").read_bytes()


def test_old_golden_names_are_no_addresses(door: Door) -> None:
    """A bucket's address is one whether or not there is a file of that name, and a wrong one ends with 2."""
    for address in ("s3://", "s3:///x@latest", "s3://a b/c@latest"):
        assert door.cli("show", address).code == 2, address
    assert LocalStore(door.vault).location == str(door.vault)
