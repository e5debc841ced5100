"""`export`: a snapshot as an archive of its own, or as plain files."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from stage import Stage, document, text_block

from qlikmigrate.sandbox import Fault, Status


def delete(stage: Stage, ident: str) -> None:
    """Somebody deletes an automation of the source."""
    side = stage.source
    headers = {"authorization": f"Bearer {side.tenant.api_key(side.users['ben'])}"}
    urlopen(Request(f"{side.tenant.base_url}/api/workflows/automations/{ident}", headers=headers, method="DELETE"))


@pytest.fixture
def archive(stage: Stage) -> Path:
    """An archive of two automations."""
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name, text_block(1, "hello")), stage.source.users["ben"])
    assert stage.backup().code == 0
    return stage.folder / "a.qma"


def test_a_copy(archive: Path, stage: Stage) -> None:
    """The same bytes under another name; a folder gets a name by tenant and time; what exists needs --force."""
    ended = stage.cli("export", archive, "-o", stage.folder / "b.qma")
    assert (ended.code, ended.summary["archive"]) == (0, str(stage.folder / "b.qma"))
    assert ended.automations == {"listed": 2, "captured": 2}
    assert (stage.folder / "b.qma").read_bytes() == archive.read_bytes()
    again = stage.cli("export", archive, "-o", stage.folder / "b.qma")
    assert (again.code, again.error["code"]) == (2, "output-exists")
    assert stage.cli("export", archive, "-o", stage.folder / "b.qma", "--force").code == 0
    assert stage.cli("export", archive, "-o", archive, "--force").code == 0
    (stage.folder / "copies").mkdir()
    assert stage.cli("export", archive, "-o", stage.folder / "copies").code == 0
    (copy,) = (stage.folder / "copies").glob("acme-*Z.qma")
    assert copy.read_bytes() == archive.read_bytes()


def test_plain_files(archive: Path, stage: Stage) -> None:
    """Counts of files, no secret in what is told; edits of the tenant show in the next export."""
    folder = stage.folder / "plain"
    first = stage.cli("export", archive, "--plain", folder)
    assert first.code == 0
    number = len([path for path in folder.rglob("*.*") if path.is_file() and path.name != ".qlikmigrate-plain"])
    assert first.summary["counts"]["files"] == {"written": number, "unchanged": 0, "removed": 0}
    ident = stage.source.one("one")["id"]
    workspace = json.loads((folder / f"automations/one~{ident[:8]}.workspace.json").read_text())
    assert workspace == stage.source.one("one")["workspace"]
    again = stage.cli("export", archive, "--plain", folder)
    assert again.summary["counts"]["files"] == {"written": 0, "unchanged": number, "removed": 0}
    delete(stage, ident)
    stage.backup()
    later = stage.cli("export", archive, "--plain", folder)
    assert later.summary["counts"]["files"]["removed"] == 2
    (stage.folder / "full").mkdir()
    (stage.folder / "full" / "mine").touch()
    refused = stage.cli("export", archive, "--plain", stage.folder / "full")
    assert (refused.code, refused.error["code"]) == (2, "folder-not-empty")


def test_words(archive: Path, stage: Stage) -> None:
    """One of -o and --plain, and --force with -o only; no such archive ends with 10."""
    out = str(stage.folder / "b.qma")
    assert stage.cli("export", archive).code == 2
    assert stage.cli("export", archive, "-o", out, "--plain", stage.folder / "plain").code == 2
    assert stage.cli("export", archive, "--plain", stage.folder / "plain", "--force").code == 2
    assert stage.cli("export", stage.folder / "no.qma", "-o", out).code == 10
    assert sorted(path.name for path in stage.folder.iterdir() if path.suffix in (".qma", "")) == ["a.qma"]


def test_an_incomplete_snapshot(stage: Stage) -> None:
    """Only where asked for, ends with 3, says so, and replaces no complete archive."""
    for name in ("one", "two"):
        stage.source.tenant.add_automation(document(name), stage.source.users["ben"])
    assert stage.backup("whole.qma").code == 0
    lost = stage.source.one("two")["id"]
    stage.source.tenant.faults.append(Fault(effect=Status(code=403), path=f"*/automations/{lost}", times=None))
    assert stage.backup().code == 3
    archive, folder = stage.folder / "a.qma", stage.folder / "plain"
    refused = stage.cli("export", archive, "--plain", folder)
    assert (refused.code, refused.error["code"]) == (3, "incomplete")
    assert not folder.exists()
    allowed = stage.cli("export", archive, "--plain", folder, "--allow-incomplete")
    assert (allowed.code, allowed.summary["complete"]) == (3, False)
    index = json.loads((folder / "index.json").read_text())
    assert [one["id"] for one in index["unreadable"]] == [lost]
    replaced = stage.cli("export", archive, "-o", stage.folder / "whole.qma", "--force", "--allow-incomplete")
    assert (replaced.code, replaced.error["code"]) == (3, "incomplete-not-replacing")
