"""Connections, spaces and settings through the front door, over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import MAIL, Stage, bound_block, document, staged

VALUES = {"Sender": "a@example.com", "Host": "smtp", "Port": "587", "Username": "post", "Password": "hunter two"}


@pytest.fixture
def stage(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A source with a space, a connection and a limit that the target lacks."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SMTP_PASSWORD", VALUES["Password"])
    with staged(tmp_path, capsys) as made:
        here, ben = made.source.tenant, made.source.users["ben"]
        space = here.add_space("Campaigns", owner=made.source.users["ada"])
        here.add_member(space, ben, ("producer",))
        post = here.add_connection(MAIL, "Post", ben, params=VALUES)
        here.add_automation(document("mailer", bound_block(1, post, MAIL)), ben, space=space)
        lines = [f'{name} = "{value}"' for name, value in VALUES.items() if name != "Password"]
        secrets = tmp_path / "secrets.toml"
        secrets.write_text("\n".join(["[connections.Post]", *lines, 'Password = { env = "SMTP_PASSWORD" }']))
        secrets.chmod(0o600)
        assert made.backup().code == 0
        yield made


def flags(stage: Stage) -> tuple[str, ...]:
    return ("--connections", "create", "--secrets", str(stage.folder / "secrets.toml"), "--create-spaces", "--settings")


def test_restore_creates_what_automations_stand_on(stage: Stage) -> None:
    """Forecast, outcomes and counts name the connection and the space, and add up; the value is nowhere."""
    planned = stage.cli("plan", stage.folder / "a.qma", "target", *flags(stage))
    assert not stage.target.tenant.writes
    forecast = planned.summary["forecast"]
    ended = stage.restore("a.qma", *flags(stage))
    assert ended.code == 0, ended.error
    assert len(stage.target.tenant.writes) == forecast["writes"]
    assert ended.summary["counts"]["connections"]["created"] == 1
    assert ended.summary["counts"]["spaces"] == {"selected": 1, "created": 1, "failed": 0}
    for numbers in ended.summary["counts"].values():
        assert numbers["selected"] == sum(number for word, number in numbers.items() if word != "selected")
    assert {line["kind"] for line in ended.of("outcome")} == {"automation", "connection", "space"}
    (made,) = [one for one in stage.target.tenant.connections.values() if one["name"] == "Post"]
    assert {one["name"]: one["value"] for one in made["params"] if one["value"]} == VALUES
    assert "connection," in (Path(ended.summary["run"]) / "ids.csv").read_text()
    for path in stage.folder.rglob("*"):
        assert not path.is_file() or VALUES["Password"].encode() not in path.read_bytes()
    assert VALUES["Password"] not in str(ended.lines)


def test_saved_plan_needs_the_secrets_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`apply` reads the file anew: an unset variable ends with 2 before anything is written."""
    plan = stage.folder / "plan.json"
    assert stage.cli("plan", stage.folder / "a.qma", "target", "-o", plan, *flags(stage)).code == 0
    monkeypatch.delenv("SMTP_PASSWORD")
    assert stage.cli("apply", plan, "--run", stage.folder / "r").code == 2
    assert not stage.target.tenant.writes
    monkeypatch.setenv("SMTP_PASSWORD", VALUES["Password"])
    assert stage.cli("apply", plan, "--run", stage.folder / "r").code == 0


def test_secrets_without_create_is_a_mistake(stage: Stage) -> None:
    """Values that nobody would use are refused."""
    ended = stage.restore("a.qma", "--secrets", str(stage.folder / "secrets.toml"))
    assert ended.code == 2
    assert "--connections create" in ended.error["hint"]


def test_dry_run_tells_connections(stage: Stage) -> None:
    """Planned outcomes of both kinds, the forecast, and no write."""
    ended = stage.restore("a.qma", "--dry-run", *flags(stage))
    assert ended.code == 0
    assert {(line["kind"], line["action"]) for line in ended.of("outcome")} == {
        ("automation", "create"),
        ("connection", "create"),
        ("space", "create"),
    }
    assert ended.summary["forecast"]["writes"] > 0
    assert not stage.target.tenant.writes
