"""`callers`: old addresses become new ones, and tokens are where they were asked for and nowhere else."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest
from stage import Stage, call_block, document


def prepare(stage: Stage) -> Path:
    """A triggered automation that another one calls, restored."""
    tenant, ben = stage.source.tenant, stage.source.users["ben"]
    trigger = tenant.add_automation(document("trigger", mode="triggered"), ben)
    tenant.add_automation(document("caller", call_block(1, trigger)), ben)
    stage.backup()
    assert stage.restore(run="r").code == 0
    return stage.folder / "callers.csv"


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_list_of_addresses(stage: Stage) -> None:
    """Ids, addresses, run mode, owner and callers of each automation; the file is its owner's, and holds no token."""
    path = prepare(stage)
    stage.target.tenant.seen.clear()
    ended = stage.cli("callers", stage.folder / "r", "-o", path)
    assert ended.code == 0
    assert not stage.target.tenant.writes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = rows(path)
    here, there = stage.source.one("trigger")["id"], stage.target.one("trigger")["id"]
    assert found["trigger"] == {
        "name": "trigger",
        "run_mode": "triggered",
        "owner": "Ben Example",
        "source_id": here,
        "source_url": f"https://127.0.0.1/api/v1/automations/{here}/actions/execute",
        "target_id": there,
        "target_url": f"{stage.target.tenant.base_url}/api/v1/automations/{there}/actions/execute",
        "called_by": "caller",
    }
    assert found["caller"]["run_mode"] == "manual"
    assert stage.target.one("trigger")["executionToken"] not in path.read_text()


def test_new_address_works(stage: Stage) -> None:
    """What the list says starts the automation, once it is on."""
    import httpx

    path = prepare(stage)
    stage.cli("callers", stage.folder / "r", "-o", path, "--with-tokens")
    row = rows(path)["trigger"]
    one = stage.target.tenant._shelf.records[row["target_id"]]
    assert httpx.post(row["target_url"], headers={"X-Execution-Token": one.token}).status_code == 403
    one.state = "available"
    answer = httpx.post(row["target_url"], headers={"X-Execution-Token": row["target_token"]})
    assert answer.status_code == 200


@pytest.mark.parametrize("owner_by", ["impersonate", "transfer", "key"])
def test_tokens_only_when_asked_for(stage: Stage, owner_by: str) -> None:
    """Tokens of what is started by one stand in FILE (0600), in no output and no other file."""
    stage.owner_by = owner_by
    stage.write_config()
    path = prepare(stage)
    token = stage.target.one("trigger")["executionToken"]
    ended = stage.cli("callers", stage.folder / "r", "-o", path, "--with-tokens")
    assert ended.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if owner_by == "key":
        # An administrator's key cannot read what it gave away.
        assert ended.codes() == {"token-unreadable"}
        assert rows(path)["trigger"]["target_token"] == ""
    else:
        assert rows(path)["trigger"]["target_token"] == token
    assert rows(path)["caller"]["target_token"] == ""
    assert all(token not in str(line) for line in ended.lines)
    for file in (stage.folder / "r").rglob("*"):
        assert file.is_dir() or token not in file.read_text()


def test_existing_file_is_not_replaced(stage: Stage) -> None:
    """Exit 2 and nothing asked of the tenant; `--force` replaces it, and closes what was open to others."""
    path = prepare(stage)
    path.write_text("mine")
    path.chmod(0o644)
    stage.target.tenant.seen.clear()
    refused = stage.cli("callers", stage.folder / "r", "-o", path)
    assert (refused.code, refused.error["code"]) == (2, "output-exists")
    assert path.read_text() == "mine"
    assert not stage.target.tenant.seen
    assert stage.cli("callers", stage.folder / "r", "-o", path, "--force").code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(rows(path)) == {"trigger", "caller"}
    assert stage.cli("callers", stage.folder / "nothing", "-o", stage.folder / "new.csv").code == 10
