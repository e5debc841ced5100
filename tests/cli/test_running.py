"""`plan`, `apply`, `restore`, `clone`, `mapping`: what is refused, with which code, and what is not sent then."""

from __future__ import annotations

import json
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock
from stage import Stage, document

from qlikmigrate.sandbox import Fault, Status


@pytest.fixture
def archive(stage: Stage) -> Path:
    """An archive with one automation."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    assert stage.backup().code == 0
    return stage.folder / "a.qma"


def writes(stage: Stage) -> list[str]:
    """What was sent to the target besides reads and token requests."""
    return [seen.path for seen in stage.target.tenant.writes if seen.path != "/oauth/token"]


@pytest.mark.parametrize("access", ["read", "state"])
def test_too_little_access(archive: Path, stage: Stage, access: str) -> None:
    """Writing verbs end with 2, name line and file, and send nothing; planning and dry runs go on."""
    stage.cli("plan", archive, "target", "-o", stage.folder / "plan.json")
    stage.write_config(target_access=access)
    asked = len(stage.target.tenant.seen)
    for words in (
        ["restore", archive, "target"],
        ["clone", "source", "target"],
        ["apply", stage.folder / "plan.json"],
    ):
        ended = stage.cli(*words)
        assert (ended.code, ended.error["code"]) == (2, "not-enough-access")
        assert ended.error["hint"] == f'add `access = "write"` under [tenants.target] of {stage.config}'
    assert len(stage.target.tenant.seen) == asked
    assert stage.restore("a.qma", "--dry-run").code == 0
    assert stage.cli("apply", stage.folder / "plan.json", "--dry-run").code == 0
    assert not writes(stage)


def test_swapped_arguments_of_a_clone(archive: Path, stage: Stage) -> None:
    """Source and target the wrong way round: refused, nothing sent to either."""
    asked = len(stage.source.tenant.seen) + len(stage.target.tenant.seen)
    assert stage.cli("clone", "target", "source").code == 2
    assert len(stage.source.tenant.seen) + len(stage.target.tenant.seen) == asked
    assert not (stage.folder / "qlikmigrate-runs").exists()


def test_same_tenant(stage: Stage) -> None:
    """Refused with 6, at plan, apply, restore and clone; the plan is written and says so; nothing is changed."""
    stage.target.tenant.add_automation(document("one"), stage.target.users["ben"])
    assert stage.cli("backup", "target", "-o", stage.folder / "t.qma").code == 0
    plan = stage.folder / "plan.json"
    ended = stage.cli("plan", stage.folder / "t.qma", "target", "-o", plan)
    assert (ended.code, ended.error["code"], ended.codes()) == (6, "refused", {"same-tenant"})
    assert "--same-tenant" in ended.error["hint"]
    assert json.loads(plan.read_text())["refused"] is True
    for words in (
        ["apply", plan],
        ["apply", plan, "--dry-run"],
        ["restore", stage.folder / "t.qma", "target", "--run", stage.folder / "run"],
        ["restore", stage.folder / "t.qma", "target", "--allow", "same-tenant"],
        ["clone", "target", "target", "--run", stage.folder / "cloned"],
    ):
        ended = stage.cli(*words)
        assert (ended.code, ended.summary["run"], ended.summary["counts"].get("automations", {}).get("created", 0)) == (
            6, None, 0,
        )  # fmt: skip
    assert not writes(stage)
    assert sorted(path.name for path in stage.folder.iterdir()) == ["plan.json", "t.qma", "tenants.toml"]


def test_stale_plan(archive: Path, stage: Stage) -> None:
    """The target or the archive changed since the plan: 7, nothing written, no run folder."""
    plan = stage.folder / "plan.json"
    assert stage.cli("plan", archive, "target", "-o", plan).code == 0
    stage.target.tenant.add_automation(document("other"), stage.target.users["ben"])
    ended = stage.cli("apply", plan, "--run", stage.folder / "run")
    assert (ended.code, ended.error["code"], ended.summary["run"]) == (7, "stale-plan", None)
    assert stage.cli("plan", archive, "target", "-o", plan).code == 0
    stage.source.tenant.add_automation(document("two"), stage.source.users["ben"])
    stage.backup()
    assert stage.cli("apply", plan, "--run", stage.folder / "run").code == 7
    assert not writes(stage)
    assert not (stage.folder / "run").exists()


def test_detailed_exit_code(archive: Path, stage: Stage) -> None:
    """4 while something would change, 0 after; without the flag always 0."""
    words = ("plan", archive, "target")
    assert stage.cli(*words).code == 0
    assert stage.cli(*words, "--detailed-exitcode").code == 4
    assert stage.restore().code == 0
    assert stage.cli(*words, "--detailed-exitcode").code == 0


def test_places_of_plans(archive: Path, stage: Stage) -> None:
    """A plan takes an older plan's place, never another file's; a wrong place is told before the target is read."""
    plan = stage.folder / "plan.json"
    for _ in range(2):
        assert stage.cli("plan", archive, "target", "-o", plan).code == 0
    assert plan.stat().st_mode & 0o777 == 0o600
    asked = len(stage.target.tenant.seen)
    for out in (archive, stage.config, stage.folder, stage.folder / "nowhere" / "plan.json"):
        assert stage.cli("plan", archive, "target", "-o", out).code == 2
    for out in (stage.folder, stage.folder / "nowhere" / "m.toml"):
        assert stage.cli("mapping", archive, "target", "-o", out).code == 2
    assert len(stage.target.tenant.seen) == asked


def test_wrong_mappings(archive: Path, stage: Stage) -> None:
    """Missing, malformed or changed since the plan: 2, the file untouched, nothing written."""
    mapping, plan = stage.folder / "m.toml", stage.folder / "plan.json"
    assert stage.cli("restore", archive, "target", "--mapping", mapping).code == 2
    for text in ("[", "[nonsense]\nx = 1\n", b"\xff"):
        mapping.write_bytes(text if isinstance(text, bytes) else text.encode())
        for words in (["plan", archive, "target", "--mapping", mapping], ["mapping", archive, "target", "-o", mapping]):
            ended = stage.cli(*words)
            assert ended.code == 2, ended.error
            assert "m.toml" in ended.error["message"]
        assert mapping.read_bytes() == (text if isinstance(text, bytes) else text.encode())
    mapping.unlink()
    assert stage.cli("mapping", archive, "target", "-o", mapping, "--unmatched", stage.folder / "u.csv").code == 0
    assert (stage.folder / "u.csv").read_text() == "kind,source_id,source_name,target_id\n"
    assert stage.cli("plan", archive, "target", "--mapping", mapping, "-o", plan).code == 0
    mapping.write_text(mapping.read_text() + "\n# changed\n")
    ended = stage.cli("apply", plan)
    assert ended.code == 2
    assert "changed since" in ended.error["message"]
    assert not writes(stage)
    (stage.folder / "ids.csv").write_text("kind,source_id\n")
    assert stage.cli("plan", archive, "target", "--ids", stage.folder / "ids.csv").code == 2


def test_mapping_rows(archive: Path, stage: Stage) -> None:
    """Every row has both sides and the rule behind the match; the summary names the file."""
    ended = stage.cli("mapping", archive, "target", "-o", stage.folder / "m.toml")
    (ben,) = [row for row in ended.of("item") if row["source_id"] == stage.source.users["ben"]]
    assert (ben["kind"], ben["target_id"], ben["used"]) == ("user", stage.target.users["ben"], True)
    assert ben["rule"]
    assert ended.summary["mapping"] == str(stage.folder / "m.toml")
    assert not writes(stage)


def test_empty_selections(archive: Path, stage: Stage) -> None:
    """Nothing selected is a slip: 2. So are an unknown key and an unreadable list of values."""
    for value in ("name=nobody", "colour=red", "name", "name=@nowhere.txt"):
        assert stage.restore("a.qma", "--include", value).code == 2
    (stage.folder / "names.txt").write_text("one\n\n")
    ended = stage.restore("a.qma", "--include", f"name=@{stage.folder / 'names.txt'}")
    assert ended.automations == {"selected": 1, "created": 1}


def test_run_folders(archive: Path, stage: Stage) -> None:
    """Begun without --resume: 2. Resumed: verified, 0. Other archive or tenant: 2. Not yet there: begun."""
    place = stage.folder / "run"
    assert stage.cli("restore", archive, "target", "--resume").code == 2
    assert stage.cli("restore", archive, "target", "--run", place, "--resume").automations["created"] == 1
    assert sorted(path.name for path in place.iterdir()) == [
        "ids.csv", "journal.jsonl", "plan.json", "report.json", "report.md", "runbook.md"
    ]  # fmt: skip
    assert place.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    done = len(writes(stage))
    again = stage.cli("restore", archive, "target", "--run", place)
    assert again.code == 2
    assert "--resume" in again.error["hint"]
    again = stage.cli("restore", archive, "target", "--run", place, "--resume")
    assert (again.code, again.summary["run"]) == (0, str(place))
    plan = stage.folder / "plan.json"
    assert stage.cli("plan", archive, "target", "-o", plan).code == 0
    assert stage.cli("apply", plan, "--run", place).code == 2
    assert stage.cli("apply", plan, "--run", place, "--resume").code == 0
    assert stage.cli("apply", plan, "--resume").code == 2
    stage.source.tenant.add_automation(document("two"), stage.source.users["ben"])
    stage.backup("b.qma")
    other = stage.cli("restore", stage.folder / "b.qma", "target", "--run", place, "--resume")
    assert (other.code, other.error["code"]) == (2, "usage")
    (stage.folder / "busy").mkdir()
    (stage.folder / "busy" / "file").write_text("")
    assert stage.cli("restore", archive, "target", "--run", stage.folder / "busy").code == 2
    assert len(writes(stage)) == done


def test_default_places(archive: Path, stage: Stage) -> None:
    """Without --run the folder is named by time and target; ledger and locks are in the user's state folder."""
    ended = stage.cli("restore", archive, "target")
    (made,) = (stage.folder / "qlikmigrate-runs").iterdir()
    assert made.name.endswith("-target")
    assert Path(ended.summary["run"]).resolve() == made.resolve()
    state = Path(platformdirs.user_state_dir("qlikmigrate"))
    (ledger,) = (state / "ledgers").iterdir()
    assert ledger.name == f"{stage.source.tenant.id}--{stage.target.tenant.id}.jsonl"
    assert stage.restore("a.qma", "--ledger", stage.folder / "own.jsonl").automations == {"selected": 1, "adopted": 1}
    assert (stage.folder / "own.jsonl").exists()


def test_a_second_run_on_one_target(archive: Path, stage: Stage) -> None:
    """While another run holds the target's lock: 11, nothing written; afterwards it goes."""
    folder = Path(platformdirs.user_state_dir("qlikmigrate")) / "locks"
    folder.mkdir(parents=True)
    with FileLock(folder / f"{stage.target.tenant.id}.lock"):
        ended = stage.restore()
        assert (ended.code, ended.error["code"]) == (11, "locked")
        assert ended.error["hint"]
        assert stage.restore("a.qma", "--dry-run").code == 0
    assert not writes(stage)
    assert stage.restore().code == 0


def test_failures_of_some(archive: Path, stage: Stage) -> None:
    """One object fails: 3, named, the rest done; --resume tries it again. --on-error abort starts nothing new."""
    stage.source.tenant.add_automation(document("two"), stage.source.users["ben"])
    stage.backup()
    fault = Fault(effect=Status(code=400), method="POST", path="*/automations", times=None)
    stage.target.tenant.faults.append(fault)
    place = stage.folder / "run"
    ended = stage.cli("restore", archive, "target", "--run", place)
    assert (ended.code, ended.error["code"]) == (3, "partial")
    assert "--resume" in ended.error["hint"]
    assert ended.automations == {"selected": 2, "failed": 2}
    assert [line["status"] for line in ended.of("outcome")] == ["failed", "failed"]
    assert ended.summary["problems"] >= 2
    before = len(writes(stage))
    stopped = stage.cli("restore", archive, "target", "--run", stage.folder / "other", "--on-error", "abort")
    assert stopped.code == 3
    assert {line["code"] for line in stopped.of("outcome")} >= {"not-started"}
    assert len(writes(stage)) == before + 1
    stage.target.tenant.faults.clear()
    assert stage.cli("restore", archive, "target", "--run", place, "--resume").code == 0


def test_a_run_that_lost_its_rights_can_go_on(archive: Path, stage: Stage) -> None:
    """401 in the middle ends with 20, the run is named, and --resume ends it."""
    fault = Fault(effect=Status(code=401), method="GET", path="re:.*/automations/[0-9a-f-]{36}", times=None)
    stage.target.tenant.faults.append(fault)
    place = stage.folder / "run"
    ended = stage.cli("restore", archive, "target", "--run", place)
    assert (ended.code, ended.summary["run"]) == (20, str(place))
    stage.target.tenant.faults.clear()
    assert stage.cli("restore", archive, "target", "--run", place, "--resume").automations["created"] == 1


def test_clone_again_doubles_nothing(stage: Stage) -> None:
    """Run again it brings over what changed; a dry run leaves no file; a run folder's archive is nobody else's."""
    stage.source.tenant.add_automation(document("one"), stage.source.users["ben"])
    dry = stage.cli("clone", "source", "target", "--dry-run")
    assert (dry.code, dry.summary["archive"], dry.automations) == (0, None, {"selected": 1, "created": 1})
    assert [path.name for path in stage.folder.iterdir()] == ["tenants.toml"]
    first = stage.cli("clone", "source", "target", "--run", stage.folder / "r1")
    assert first.automations == {"selected": 1, "created": 1}
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1").code == 2
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r1", "--resume").code == 0
    stage.source.tenant.add_automation(document("two"), stage.source.users["ben"])
    second = stage.cli("clone", "source", "target", "--run", stage.folder / "r2")
    assert second.automations == {"selected": 2, "created": 1, "unchanged": 1}
    mine = stage.folder / "r3-source.qma"
    mine.write_text("mine")
    assert stage.cli("clone", "source", "target", "--run", stage.folder / "r3").code == 2
    assert mine.read_text() == "mine"
