"""Connections that a restore creates: with values from outside, as their owner, each once, and checked."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from dying import Killed, dying
from ground import MAIL_VALUES, PASSWORD, make_ground
from rig import Rig
from stage import MAIL
from test_faults import EFFECTS, run_to_the_end

from qlikmigrate.importer.plan import Verb
from qlikmigrate.importer.plan import dump_plan as dump
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.report.run import write_reports
from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.switches import BotConnections


def connection(rig: Rig, name: str) -> dict[str, Any]:
    (found,) = [one for one in rig.target.connections.values() if one["name"] == name]
    return found


def automation(rig: Rig, name: str) -> dict[str, Any]:
    (found,) = [one for one in rig.target.automations.values() if one["name"] == name]
    return found


def bound_to(one: dict[str, Any]) -> list[str | None]:
    return [
        setting["value"]
        for block in one["workspace"]["blocks"]
        for setting in block.get("settings") or ()
        if setting["id"] == "datasource"
    ]


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
def test_created_as_owner_with_values_and_bound(tmp_path: Path, impersonate: bool) -> None:
    """Values arrive, the owner and space are the mapped ones, the automations are bound, the check is made."""
    rig = make_ground(tmp_path, impersonate=impersonate)
    result = rig.apply(rig.plan())
    assert (result.failed, result.differing) == (0, 0)
    post, code = connection(rig, "Post"), connection(rig, "Code")
    assert post["ownerId"] == code["ownerId"] == rig.ben_there
    assert {one["name"]: one["value"] for one in post["params"]} == MAIL_VALUES
    assert rig.target.spaces[post["spaceId"]]["name"] == "Marketing"
    assert post["isConnected"] is True
    assert bound_to(automation(rig, "mailer")) == bound_to(automation(rig, "nightly")) == [post["id"]]
    assert bound_to(automation(rig, "coder")) == [code["id"]]
    counts = result.counts["connections"]
    assert counts == {
        "selected": 3,
        "created": 2,
        "updated": 0,
        "unchanged": 0,
        "adopted": 1,
        "skipped": 0,
        "failed": 0,
    }
    assert ("connection", post["id"]) in {(kind, target) for kind, _, target in result.ids}


def test_oauth_connection_is_bound_and_its_consent_is_the_owners_task(tmp_path: Path) -> None:
    """It exists and is bound before anybody agrees; the link stands in no file."""
    rig = make_ground(tmp_path)
    plan = rig.plan()
    result = rig.apply(plan)
    (task,) = [one for one in result.tasks if one.code == "consent"]
    assert (task.person, task.where) == ("Ben Example", f"connection {connection(rig, 'Code')['id']}")
    write_reports(RunFolder(tmp_path / "run"), plan, result)
    resumed = rig.apply(plan)
    assert [one.code for one in resumed.tasks if one.code == "consent"] == ["consent"]
    assert connection(rig, "Code")["redirect"]
    for path in (tmp_path / "run").rglob("*.*"):
        assert b"oauth/start" not in path.read_bytes()


def test_no_value_reaches_any_file_or_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Plan, journal, reports, ledger and archive hold names of parameters and not one value."""
    rig = make_ground(tmp_path)
    plan = rig.plan()
    assert PASSWORD not in dump(plan).decode()
    assert "Password" in dump(plan).decode()
    result = rig.apply(plan)
    write_reports(RunFolder(tmp_path / "run"), plan, result)
    assert PASSWORD not in repr(plan) + repr(result) + "".join(capfd.readouterr())
    found = subprocess.run(["grep", "-rl", PASSWORD, str(tmp_path)], capture_output=True, check=False, text=True)
    assert found.stdout == ""


def test_missing_values_leave_it_to_people_and_the_next_run_binds(tmp_path: Path) -> None:
    """Not created without its values: a todo, null bindings; once somebody made it, a re-run binds what is there."""
    rig = make_ground(tmp_path, secrets=False)
    plan = rig.plan()
    (post,) = [one for one in plan.connections if one.name == "Post"]
    assert (post.verb, post.code) == (Verb.SKIP, "connection-values-missing")
    assert "`Host`" in post.reason
    assert "`Encryption`" not in post.reason
    result = rig.apply(plan)
    assert result.failed == 0
    assert bound_to(automation(rig, "mailer")) == [None]
    assert {"connection-values-missing", "connection-unbound"} <= {one.code for one in result.problems}
    people = {(one.code, one.person) for one in result.tasks}
    assert {("connection-values-missing", "Ben Example"), ("space-group-left", "the administrator")} <= people

    made = rig.target.add_connection(MAIL, "Post", rig.ben_there, params=MAIL_VALUES)
    again = rig.plan()
    assert {one.name for one in again.actions if one.verb is Verb.UPDATE} == {"mailer", "nightly"}
    assert rig.apply(again, "second").failed == 0
    assert bound_to(automation(rig, "mailer")) == bound_to(automation(rig, "nightly")) == [made]
    assert rig.plan().writes == 0


def test_binding_that_people_chose_is_not_replaced_by_a_new_connection(tmp_path: Path) -> None:
    """People bound the gap to something else: a later run with values changes nothing of it and creates nothing."""
    rig = make_ground(tmp_path, secrets=False)
    rig.apply(rig.plan())
    theirs = rig.target.add_connection(MAIL, "Their post", rig.ben_there, params=MAIL_VALUES)
    for name in ("mailer", "nightly"):
        one = automation(rig, name)
        one["workspace"]["blocks"][1]["settings"][0]["value"] = theirs
        rig.target.replace_workspace(one["id"], one["workspace"])
    rig.secrets = {"Post": {name: Secret(value) for name, value in MAIL_VALUES.items()}}
    plan = rig.plan()
    assert plan.writes == 0
    assert [(one.verb, one.code) for one in plan.connections if one.name == "Post"] == [(Verb.SKIP, "not-needed")]
    assert bound_to(automation(rig, "mailer")) == [theirs]


def test_modes_match_and_skip_create_nothing(tmp_path: Path) -> None:
    """Only `create` creates; the system's own connection never is."""
    for mode in ("match", "skip"):
        rig = make_ground(tmp_path / mode)
        rig.options = evolve(rig.options, connections=mode)
        before = set(rig.target.connections)
        rig.apply(rig.plan())
        assert set(rig.target.connections) == before


def test_second_run_is_silent(tmp_path: Path) -> None:
    """Everything that was created is known: nothing is written twice, and nothing matched is ever PUT."""
    rig = make_ground(tmp_path)
    rig.apply(rig.plan())
    assert not [one for one in rig.target.writes if one.method == "PUT" and "connections" in one.path]
    again = rig.plan()
    assert again.writes == 0
    assert {one.verb for one in again.connections} <= {Verb.NONE, Verb.ADOPT}


def test_wrong_and_ambiguous_secrets_refuse(tmp_path: Path) -> None:
    """An unknown parameter or a name of two connections refuses; an entry that nothing uses is a warning."""
    rig = make_ground(tmp_path)
    other = rig.source.add_connection(MAIL, "Post", rig.source.add_user("corp\\x", "X", "x@example.com"))
    rig.source.replace_workspace(
        next(i for i, one in rig.source.automations.items() if one["name"] == "coder"),
        {"blocks": [*make_blocks(other)], "variables": []},
    )
    rig.backup()
    rig.secrets = {**rig.secrets, "Nobody": {"a": Secret("b")}}
    codes = {one.code for one in rig.plan().problems}
    assert {"secrets-ambiguous", "secrets-unused"} <= codes

    rig = make_ground(tmp_path / "second")
    rig.secrets = {"Post": {**rig.secrets["Post"], "Pasword": Secret("x")}}
    plan = rig.plan()
    assert plan.refused
    assert [one.message for one in plan.errors] == ["the connector of `Post` has no parameter `Pasword`"]


def make_blocks(ident: str) -> list[dict[str, Any]]:
    from stage import bound_block, start_block

    return [start_block(), bound_block(1, ident, MAIL)]


def test_connection_that_does_not_connect_is_told(tmp_path: Path) -> None:
    """The check after the create says no, and there is nobody to ask for consent: a warning."""
    rig = make_ground(tmp_path)
    rig.secrets["Post"]["Host"] = Secret("")
    result = rig.apply(rig.plan())
    assert [one.code for one in result.problems if one.code == "connection-not-connected"] == [
        "connection-not-connected"
    ]
    assert result.failed == 0


def test_automations_wait_for_a_connection_that_failed(tmp_path: Path) -> None:
    """What stands on a failed connection is not written half; a resume brings both."""
    rig = make_ground(tmp_path)
    from qlikmigrate.sandbox import Status

    rig.target.faults.append(Fault(effect=Status(code=422), method="POST", path="*/automation-connections", nth=2))
    plan = rig.plan()
    first = rig.apply(plan)
    failed = {one.name: one.code for one in first.outcomes if one.status == "failed"}
    assert "connection-failed" in failed.values()
    assert first.failed == len(failed)
    assert rig.apply(plan).failed == 0
    assert (rig.state(), rig.ground()) == (dict(calm(True)[0]), calm(True)[1])


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
@pytest.mark.parametrize("seen", [BotConnections.NONE, BotConnections.READ])
def test_whatever_the_bot_sees_of_connections(tmp_path: Path, seen: BotConnections, impersonate: bool) -> None:
    """Lists that hide or show other people's connections: created once, and the next plan is silent."""
    rig = make_ground(tmp_path, impersonate=impersonate)
    rig.target.switches = evolve(rig.target.switches, bot_connections=seen)
    result = rig.apply(rig.plan())
    assert (result.failed, result.differing) == (0, 0)
    again = rig.plan()
    assert again.writes == 0
    assert len([one for one in rig.target.connections.values() if one["name"] == "Post"]) == 1


@cache
def calm(impersonate: bool) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    """What an undisturbed run leaves behind."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rig = make_ground(Path(folder), impersonate=impersonate)
        result = rig.apply(rig.plan())
        assert result.failed == 0, result.problems
        return tuple(sorted(rig.state().items())), rig.ground()


WRITES = {
    "create connection": ("POST", "*/automation-connections"),
    "check": ("POST", "*/actions/check"),
    "connection owner": ("POST", "*/automation-connections/*/actions/change-owner"),
    "create space": ("POST", "/api/v1/spaces"),
    "assignment": ("POST", "*/assignments"),
    "space owner": ("PUT", "/api/v1/spaces/*"),
    "settings": ("PUT", "*/automations/settings"),
}


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("write", WRITES)
def test_fault_matrix(tmp_path: Path, write: str, effect: str) -> None:
    """Each write of the ground meets each fault: after resumes the target is as an undisturbed run leaves it."""
    method, path = WRITES[write]
    # Only what the caller made itself is given away.
    impersonate = write != "connection owner"
    rig = make_ground(tmp_path, impersonate=impersonate)
    rig.target.faults.append(Fault(effect=EFFECTS[effect], method=method, path=path))
    run_to_the_end(rig)
    assert (tuple(sorted(rig.state().items())), rig.ground()) == calm(impersonate)


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
def test_kill_at_journal_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impersonate: bool, step: int) -> None:
    """The process dies before or after lines of journal and ledger, with `step` 1 each: nothing twice or missing."""
    from qlikmigrate.importer.line_log import LineLog

    plain = LineLog.append
    lines: list[str] = []

    def counting(self: LineLog, line: Any) -> None:
        lines.append(str(line.get("key", "")))
        plain(self, line)

    monkeypatch.setattr(LineLog, "append", counting)
    first = make_ground(tmp_path / "calm", impersonate=impersonate)
    first.apply(first.plan())
    ground = [number for number, key in enumerate(lines, start=1) if not key.isdigit()]
    assert len(ground) > 20

    for doomed in ground[::step]:
        for after in (False, True):
            rig = make_ground(tmp_path / f"{doomed}-{after}", impersonate=impersonate)
            monkeypatch.setattr(LineLog, "append", dying(doomed, after=after))
            plan = rig.plan()
            with pytest.raises(Killed):
                rig.apply(plan)
            monkeypatch.setattr(LineLog, "append", plain)
            assert rig.apply(plan).failed == 0
            assert (tuple(sorted(rig.state().items())), rig.ground()) == calm(impersonate)


def test_gap_of_an_earlier_run_is_filled_by_a_new_connection(tmp_path: Path) -> None:
    """Left unbound for want of values; with the values, the next run creates the connection and binds the gaps."""
    rig = make_ground(tmp_path, secrets=False)
    rig.apply(rig.plan())
    rig.secrets = {"Post": {name: Secret(value) for name, value in MAIL_VALUES.items()}}
    again = rig.plan()
    assert {one.name for one in again.actions if one.verb is Verb.UPDATE} == {"mailer", "nightly"}
    assert rig.apply(again, "second").failed == 0
    assert bound_to(automation(rig, "mailer")) == [connection(rig, "Post")["id"]]
    assert rig.plan().writes == 0
