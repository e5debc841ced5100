"""An OEM run from the command line: plan, apply, restore, clone, and what is done with a run afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from oem_stage import SECRETS, OemStage, oem_staged

from qlikmigrate.sandbox import Fault, Status
from qlikmigrate.sandbox.oem import OemSwitches

ALLOW = "oem-starts-on-install"


@pytest.fixture
def stage(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OemStage]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with oem_staged(tmp_path, capsys, OemSwitches(per_minute=None)) as made:
        (tmp_path / "secrets.toml").write_text(SECRETS)
        (tmp_path / "secrets.toml").chmod(0o600)
        yield made


def restore(stage: OemStage, *words: str, source: str | Path = "", target: str = "partner/new") -> Any:
    return stage.cli(
        "restore", source or stage.folder / "a.qma", target, "--connections", "create", "--create-account",
        "--secrets", stage.folder / "secrets.toml", "--allow", ALLOW, "--run", stage.folder / "run", *words,
    )  # fmt: skip


def consent(stage: OemStage, account: str = "new") -> None:
    for one in stage.service.account(account).datasources.values():
        if one.link:
            stage.service.consent(one.link)


def test_a_restore_from_its_plan_to_its_rollback(stage: OemStage) -> None:
    """Refused, restored in part, consented, resumed, started and undone: each with the exit code that it has."""
    stage.backup()
    assert stage.cli("plan", stage.folder / "a.qma", "partner/nwe").code == 2
    refused = stage.cli("restore", stage.folder / "a.qma", "partner/new", "--create-account", "--connections", "create",
                        "--secrets", stage.folder / "secrets.toml")  # fmt: skip
    assert refused.code == 6
    assert len(stage.service.accounts) == 3
    first = restore(stage)
    assert first.code == 3
    assert first.summary["counts"]["automations"]["failed"] == 5
    status = stage.cli("status", stage.folder / "run", "--links")
    assert status.code == 4
    links = {one["redirect"] for one in status.lines if one.get("kind") == "link"}
    for link in links:
        stage.service.consent(link)
    assert restore(stage, "--resume").code == 0
    assert restore(stage, "--resume").code == 0
    on = [one for one in stage.service.account("new").blends.values() if one.state == "available" and one.is_scheduled]
    assert not on
    assert stage.cli("activate", stage.folder / "run", "--yes").code == 6
    started = stage.cli("activate", stage.folder / "run", "--yes", "--allow", "source-on", "--include-unready")
    assert (started.code, started.summary["counts"]["automations"]["failed"]) == (0, 0)
    on = [one for one in stage.service.account("new").blends.values() if one.state == "available" and one.is_scheduled]
    assert on
    callers = stage.cli("callers", stage.folder / "run", "-o", stage.folder / "callers.csv")
    assert callers.code == 0
    assert "/widgets/" in (stage.folder / "callers.csv").read_text()
    undone = stage.cli("rollback", stage.folder / "run", "--yes")
    assert undone.code == 0
    on = [one for one in stage.service.account("new").blends.values() if one.state == "available" and not one.is_bundle]
    assert not on, undone.lines
    assert stage.cli("cutover", stage.folder / "run", "--yes").code == 2
    assert stage.cli("reassign", stage.folder / "run", "--yes").code == 2
    assert not stage.service.undocumented
    leaves = "\n".join(path.read_text() for path in (stage.folder / "run").rglob("*") if path.is_file())
    for secret in stage.service.secrets() | {"planted-velo-key", "demo-velo", "ghp_demo0123456789"}:
        assert secret not in leaves
        if secret not in links:
            assert secret not in stage.heard


def test_plan_apply_and_clone(stage: OemStage) -> None:
    """A saved plan is applied as it is, refused when stale (7); a clone brings the account over and again nothing."""
    stage.backup()
    common = ["--connections", "create", "--secrets", stage.folder / "secrets.toml", "--allow", ALLOW,
              "--create-account"]  # fmt: skip
    plan = stage.folder / "plan.json"
    chosen = ["--include", "name=Stock feed*", "--account-name", "Fresh"]
    made = stage.cli("plan", stage.folder / "a.qma", "partner/fresh", "-o", plan, *common, *chosen)
    assert made.code == 0
    assert "planted-" not in plan.read_text()
    assert stage.cli("apply", plan, "--dry-run").code == 0
    assert stage.cli("show", plan).code == 0
    applied = stage.cli("apply", plan, "--run", stage.folder / "fresh")
    assert applied.code == 0, applied.lines
    assert applied.summary["install_windows"]["count"] == 3
    assert stage.service.account("fresh").name == "Fresh"
    assert stage.cli("show", stage.folder / "fresh").code == 0
    assert stage.cli("apply", plan, "--run", stage.folder / "other").code == 7
    words = ["clone", "partner/model", "partner/cloned", *common, "--run"]
    assert stage.cli(*words, stage.folder / "first").code == 3
    consent(stage, "cloned")
    assert stage.cli(*words, stage.folder / "first", "--resume").code == 0
    again = stage.cli(*words, stage.folder / "second")
    assert again.code == 0
    counts = again.summary["counts"]["automations"]
    assert (counts["unchanged"], counts["skipped"], counts["created"]) == (20, 2, 0)
    assert stage.cli("restore", stage.folder / "a.qma", "partner/cloned", "--sync", "state").code == 2
    assert stage.cli("restore", stage.folder / "a.qma", "partner", *common).code == 2
    assert not stage.service.undocumented


def test_what_could_not_be_switched_off_stands_on_top(stage: OemStage) -> None:
    """Nothing can be switched off: exit 1, the report begins with the automation's name, and a resume mends it."""
    stage.backup()
    stage.service.faults.append(Fault(effect=Status(code=401), method="PUT", path="*/blends/*", times=None))
    chosen = ["--include", "name=Status board"]
    ended = restore(stage, *chosen)
    assert (ended.code, ended.summary["error"]["code"]) == (1, "window-open")
    assert "Status board" in ended.summary["error"]["message"]
    report = (stage.folder / "run" / "report.md").read_text().splitlines()
    assert report[2].startswith("**`Status board`")
    assert stage.cli("status", stage.folder / "run").lines
    stage.service.faults.clear()
    (stage.folder / "run" / "report.json").unlink()
    assert stage.cli("status", stage.folder / "run").code == 4
    assert restore(stage, *chosen, "--resume").code == 0
    assert [one.end is None for one in stage.service.windows] == [False]


def test_what_is_handed_in_beside_a_clone(stage: OemStage) -> None:
    """Schedules reach one account and many; beside an archive, which holds its own, they are refused."""
    table, schedules = stage.folder / "table.csv", stage.folder / "schedules.csv"
    table.write_text("target\npartner/two\npartner/three\n")
    schedules.write_text(
        "automation,schedule_start_at,schedule_stop_at,schedule_interval,schedule_timezone,state\n"
        "Status board,2026-01-05 02:00:00,,30,Europe/Berlin,disabled\n"
    )
    words = ("--create-account", "--connections", "skip", "--allow", ALLOW, "--include", "name=Status board",
             "--schedules", schedules)  # fmt: skip
    one = stage.cli("clone", "partner/model", "partner/one", *words, "--run", stage.folder / "one")
    many = stage.cli("clone", "partner/model", "--table", table, *words, "--run", stage.folder / "many")
    assert (one.code, many.code) == (0, 0), (one.lines, many.lines)
    assert "schedule-unknown" not in one.codes() | many.codes()
    for name in ("one", "two", "three"):
        (blend,) = stage.service.account(name).blends.values()
        assert (blend.name, blend.schedule.interval if blend.schedule else None) == ("Status board", 30)
    stage.backup()
    beside = stage.cli("clone", stage.folder / "a.qma", "partner/one", *words)
    assert (beside.code, "--schedules is for a backup" in str(beside.summary["error"])) == (2, True)


def test_what_is_not_on_was_not_started(stage: OemStage) -> None:
    """A service that says yes and does nothing: where a connection shows it, `activate` fails and tries again."""
    words = ["--include", "name=Stock feed South"]
    stage.backup(*words)
    assert restore(stage).code == 0
    activate = ["activate", stage.folder / "run", "--yes", "--allow", "source-on", "--include-unready"]
    (blend,) = stage.service.account("new").blends.values()
    stage.service.switches = evolve(stage.service.switches, ignored_states=blend.ignored_states + 1)
    ignored = stage.cli(*activate)
    assert (ignored.code, "readback-differs" in ignored.codes(), blend.state) == (3, True, "disabled")
    heard = stage.cli(*activate)
    assert (heard.code, heard.summary["counts"]["automations"]["enabled"], blend.state) == (0, 1, "available")
