"""`log`: the history of an automation as lines, JSON and Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage import DAILY, text_block
from timeline import Timeline, automation

from qlikmigrate.cli.app import COMMANDS, run
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Note

TOKEN = "Zk3" * 20 + "wxyz"
KEY = {**text_block(2, "x"), "inputs": [{"id": "api_key", "value": "s3cr3t-Value-0001", "type": "string"}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six nights: seen, edited with a secret, unreadable, back, gone, made anew."""
    monkeypatch.setitem(COMMANDS, "log", "log")
    timeline = Timeline(tmp_path)
    one = automation("a1", "Night|ly", workspace={"blocks": [text_block(1, "one"), KEY]})
    token = TOKEN
    other = {**KEY, "inputs": [{"id": "api_key", "value": "s3cr3t-Value-0002", "type": "string"}]}
    edited = {"blocks": [text_block(1, f"call it with {token}"), other, text_block(3, "three")]}
    two = automation("a1", "Night|ly", state="disabled", ownerId="u-ada", schedules=[DAILY], workspace=edited)
    bystander = automation("b2", executionToken=token)
    lost = Note(kind=Kind.AUTOMATION, id="a1", name="Night|ly", reason="403")
    timeline.take([one, bystander])
    timeline.take([two, bystander])
    timeline.take([bystander], listed=[two], unreadable=(lost,), complete=False)
    timeline.take([two, bystander])
    timeline.take([bystander])
    timeline.take([bystander, automation("a9", "Night|ly")])
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    capsys.readouterr()
    code = run([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, a line each; edits one by one where asked for."""
    code, out, err = ran(capsys, "log", folder, "a1")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["gone", "returned", "unreadable", "changed", "seen"]
    gone, back, lost, changed, seen = out.splitlines()
    assert gone.endswith("in 2 snapshots, last 2026-03-06T02:01:00Z; since then of the same name: a9")
    assert back.endswith("as it was")
    assert lost.endswith("403, in 1 snapshot, last 2026-03-03T02:01:00Z")
    assert changed.startswith("2026-03-02T02:01:00Z  changed    20260302.qma  state: `available` → `disabled`; ")
    assert changed.endswith("owner: `Ben Example` → `Ada Example`; schedule; blocks: 1 added, 2 changed")
    assert seen.endswith("Sales / Ben Example / Night|ly, available, manual, 2 blocks")
    assert "1 gone, 1 returned, 1 unreadable, 1 changed, 1 seen" in err
    code, out, _ = ran(capsys, "log", folder, "a1", "--verbose")
    assert "    + block `output3` (ShowBlock)" in out
    assert "what differs is masked" in out


def test_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for machines, all edits included."""
    code, out, _ = ran(capsys, "log", folder, "a1", "--json")
    *items, summary = map(json.loads, out.splitlines())
    assert (code, summary["counts"]["entries"]["told"]) == (0, 5)
    assert {item["type"] for item in items} == {"item"}
    gone, _, lost, changed, _ = items
    assert (gone["what"], gone["successors"], gone["snapshots"]) == ("gone", ["a9"], 2)
    assert (lost["what"], lost["reason"]) == ("unreadable", "403")
    assert (changed["owner"], changed["space"], changed["blocks"]) == ("Ada Example", "Sales", 3)
    assert changed["changes"] == {
        "fields": ["schedule", "state", "owner"], "workspace": 0, "variables": {}, "blocks": {"added": 1, "changed": 2},
    }  # fmt: skip
    (owner,) = [edit for edit in changed["edits"] if edit["id"] == "owner"]
    assert (owner["old_name"], owner["new_name"]) == ("Ben Example", "Ada Example")


def test_markdown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page with a section for each entry, block by block, out of which no name breaks."""
    code, out, _ = ran(capsys, "log", folder, "a1", "--format", "md")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == r"# History: Night\|ly (`a1`)"
    assert [line for line in lines if line.startswith("## ")][3] == "## 2026-03-02T02:01:00Z: changed"
    assert "- added: block `output3` (ShowBlock)" in lines
    assert r"- Sales / Ben Example / Night\|ly, available, manual, 2 blocks" in lines


def test_no_secret_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither one with a telling name nor another automation's execution token, in no form."""
    for words in (["--verbose"], ["--json"], ["--format", "md"]):
        _, out, err = ran(capsys, "log", folder, "a1", *words)
        assert "call it with" in out
        assert not [text for text in ("s3cr3t", TOKEN[:20]) if text in out + err]


def test_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So many, from a day on; a name that two had, nobody's, and no time at all are told in one line."""
    assert ran(capsys, "log", folder, "a1", "--limit", "1")[1].split()[1] == "gone"
    assert len(ran(capsys, "log", folder, "a1", "--since", "2026-03-03")[1].splitlines()) == 3
    code, out, err = ran(capsys, "log", folder, "a1", "--since", "2027-01-01T00:00:00+01:00")
    assert (code, out) == (0, "")
    assert "nothing happened in that time" in err
    for words in (["a1", "--since", "noon"], ["a1", "--limit", "0"], ["Night|ly"], ["nobody"]):
        assert ran(capsys, "log", folder, *words)[0] == 2
    assert "a1 (2026-03-01 to 2026-03-04), a9 (2026-03-06" in ran(capsys, "log", folder, "Night|ly")[2]
    (folder / "none").mkdir()
    assert ran(capsys, "log", folder / "none", "a1")[0] == 10
