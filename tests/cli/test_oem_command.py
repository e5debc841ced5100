"""`oem run`, `oem accounts`, `oem templates`, `oem expire`, against a provider on loopback that answers either way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
from oem_stage import OemStage, oem_staged
from stage import set_clock

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox.fault import Fault, ResetAfterCommit, ResetBefore
from qlikmigrate.sandbox.oem import OemSwitches

SECRET = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"
BOTH = pytest.mark.parametrize(
    "switches", [OemSwitches.documented(), OemSwitches.hostile()], ids=["documented", "hostile"]
)
Make = Callable[..., OemStage]


@pytest.fixture
def make(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a stage whose provider answers as the switches say."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield lambda switches=None, **more: stack.enter_context(oem_staged(tmp_path, capsys, switches, **more))


def started(stage: OemStage) -> list[Any]:
    return stage.service.runs


def automation(stage: OemStage, name: str = "Smoke", **more: Any) -> str:
    """An automation of the model account that is there to be run."""
    return stage.service.add_blend(stage.partner.model, name, **more)


@BOTH
@pytest.mark.parametrize("by", ["guid", "name"])
def test_a_run_is_started_once_and_named(make: Make, switches: OemSwitches, by: str) -> None:
    """By guid or name, with the inputs given; the run that is told is the one that the service made."""
    stage = make(switches)
    ident = automation(stage)
    file = stage.folder / "inputs.json"
    file.write_text(json.dumps({"token": SECRET, "deep": {"n": 1}}), encoding="utf-8")
    word = ident if by == "guid" else "Smoke"
    ended = stage.cli("oem", "run", "partner/model", word, "--input", "region=eu=west", "--inputs", file)
    assert ended.code == 0, ended.lines
    (run,) = started(stage)
    assert run.inputs == {"region": "eu=west", "token": SECRET, "deep": {"n": 1}}
    (row,) = ended.of("item")
    assert (row["kind"], row["id"], row["automation_id"], row["automation"]) == ("run", run.guid, ident, "Smoke")
    assert ended.summary["command"] == "oem run"
    assert SECRET not in stage.heard
    assert stage.service.undocumented == []


@BOTH
def test_a_second_run_is_told_from_the_first(make: Make, switches: OemSwitches) -> None:
    """What ran before is not taken for what was just started, by name or by time."""
    stage = make(switches)
    automation(stage)
    first = stage.cli("oem", "run", "partner/model", "Smoke").of("item")[0]["id"]
    second = stage.cli("oem", "run", "partner/model", "Smoke").of("item")[0]["id"]
    assert [one.guid for one in started(stage)] == [first, second]


@pytest.mark.parametrize(("status", "code"), [("finished", 0), ("failed", 3), ("odd word", 3)])
def test_wait_ends_by_how_the_run_ended(make: Make, monkeypatch: pytest.MonkeyPatch, status: str, code: int) -> None:
    """0 only where it is known to have succeeded: a word that nobody knows is no success."""
    stage = make()
    automation(stage)
    monkeypatch.setattr("qlikmigrate.sandbox.oem.run.Runs._end", _ending(status))
    ended = stage.cli("oem", "run", "partner/model", "Smoke", "--wait")
    assert ended.code == code, ended.lines
    assert ended.of("item")[0]["status"] == status
    assert ended.error.get("code", "") == ("run-failed" if code else "")


def _ending(status: str) -> Callable[..., None]:
    from qlikmigrate.sandbox.oem.run import Runs

    real = Runs._end

    def end(self: Runs, run: Any, at: Any) -> None:
        real(self, run, at)
        run.status = status

    return end


def test_wait_asks_now_and_then_until_the_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of two minutes is waited for, with fewer calls the longer it takes; without --wait nobody waits."""
    clock = ManualClock()
    set_clock(monkeypatch, clock)
    stage = make(OemSwitches(run_seconds=120.0), clock=clock)
    automation(stage)
    ended = stage.cli("oem", "run", "partner/model", "Smoke", "--wait")
    assert (ended.code, ended.of("item")[0]["status"]) == (0, "finished")
    asked = [seen for seen in stage.service.seen if "/runs/" in seen.path]
    assert 8 <= len(asked) <= 16
    assert stage.cli("oem", "run", "partner/model", "Smoke").of("item")[0]["status"] == "running"


def test_a_spent_time_budget_ends_the_wait_and_not_the_run(make: Make) -> None:
    """21, and the run goes on: nothing stops it."""
    stage = make(OemSwitches(run_seconds=3600.0))
    automation(stage)
    ended = stage.cli("oem", "run", "partner/model", "Smoke", "--wait", "--time-budget", "0.3s")
    assert ended.code == 21
    assert [one.status for one in started(stage)] == ["running"]
    assert any(started(stage)[0].guid in one["message"] for one in ended.of("log"))


def test_a_name_that_several_bear_starts_nothing(make: Make) -> None:
    """Ambiguous, unknown, or a bundle: exit 2 with what to name instead, and nothing is sent that starts anything."""
    stage = make()
    ids = [automation(stage, "Twin"), automation(stage, "Twin")]
    twin = stage.cli("oem", "run", "partner/model", "Twin")
    assert twin.code == 2
    assert all(ident in twin.error["message"] for ident in ids)
    assert stage.cli("oem", "run", "partner/model", "Nobody").code == 2
    assert stage.cli("oem", "run", "partner/nobody", "Twin").code == 2
    assert stage.cli("oem", "run", "partner", "Twin").code == 2
    bundle = next(one for name, one in stage.partner.automations.items() if stage.service.blend(one).is_bundle)
    refused = stage.cli("oem", "run", "partner/model", bundle)
    assert (refused.code, "parts" in refused.error["hint"]) == (2, True)
    assert started(stage) == []


def test_a_full_queue_is_told_as_that(make: Make) -> None:
    """400 that speaks of the queue: nothing was started, and nothing is tried again."""
    stage = make(OemSwitches(queue_limit=0))
    automation(stage)
    ended = stage.cli("oem", "run", "partner/model", "Smoke")
    assert (ended.code, ended.error["code"]) == (1, "queue-full")
    assert len([seen for seen in stage.service.writes if seen.path.endswith("/run")]) == 1


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_answer_is_looked_up_and_never_sent_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    """Where the run shows in the list it is told; where none does, the outcome is unknown and the hint says so."""
    stage = make()
    clock = ManualClock()
    set_clock(monkeypatch, clock)
    automation(stage)
    effect = ResetAfterCommit() if carried_out else ResetBefore()
    stage.service.faults.append(Fault(effect=effect, method="POST", path="*/run"))
    ended = stage.cli("oem", "run", "partner/model", "Smoke")
    assert len(started(stage)) == int(carried_out)
    if carried_out:
        assert (ended.code, ended.of("item")[0]["id"]) == (0, started(stage)[0].guid)
    else:
        assert (ended.code, ended.error["code"]) == (1, "outcome-unknown")
        assert "once more" in ended.error["hint"]


def test_async_looks_for_nothing_and_excludes_wait(make: Make) -> None:
    """One POST and what is needed to find the automation; together with --wait it is a contradiction."""
    stage = make()
    automation(stage)
    ended = stage.cli("oem", "run", "partner/model", "Smoke", "--async")
    assert (ended.code, ended.of("item")) == (0, [])
    assert not [seen for seen in stage.service.seen if seen.path.endswith(("/runs", "/lastrun"))]
    assert len(started(stage)) == 1
    assert stage.cli("oem", "run", "partner/model", "Smoke", "--async", "--wait").code == 2


def test_a_dry_run_and_wrong_inputs_start_nothing(make: Make) -> None:
    """A preview names inputs without values; a secret on the command line, a doubled or malformed input is refused."""
    stage = make()
    automation(stage)
    file = stage.folder / "inputs.json"
    file.write_text(json.dumps({"token": SECRET}), encoding="utf-8")
    dry = stage.cli("oem", "run", "partner/model", "Smoke", "--inputs", file, "--dry-run")
    assert (dry.code, dry.of("item")[0]["inputs"]) == (0, ["token"])
    wrong = [
        ("--input", f"token={SECRET}"),
        ("--input", "novalue"),
        ("--input", "a=1", "--input", "a=2"),
        ("--input", "token=1", "--inputs", str(file)),
        ("--inputs", str(stage.folder / "none.json")),
    ]
    for words in wrong:
        assert stage.cli("oem", "run", "partner/model", "Smoke", *words).code == 2, words
    file.write_text("[1]", encoding="utf-8")
    assert stage.cli("oem", "run", "partner/model", "Smoke", "--inputs", file).code == 2
    assert SECRET not in stage.heard
    assert started(stage) == []
    assert stage.service.writes == []


def test_a_run_needs_write_access(make: Make) -> None:
    """With less, nothing is sent; the hint names the line to add."""
    stage = make()
    automation(stage)
    stage.config.write_text(stage.config.read_text().replace('access = "write"\n', ""), encoding="utf-8")
    for words in (("run", "partner/model", "Smoke"), ("expire", "partner/model", "--yes")):
        ended = stage.cli("oem", *words)
        assert (ended.code, "write" in ended.error["hint"]) == (2, True)
    assert stage.service.seen == []


@BOTH
def test_accounts_and_templates_are_listed(make: Make, switches: OemSwitches) -> None:
    """What tables and mapping files name: guids with externalids and names, bundles with their parts."""
    stage = make(switches)
    accounts = stage.cli("oem", "accounts", "partner")
    assert accounts.code == 0
    assert {one["id"]: one["externalid"] for one in accounts.of("item")} == {
        guid: externalid for externalid, guid in stage.partner.accounts.items()
    }
    templates = {one["name"]: one for one in stage.cli("oem", "templates", "partner").of("item")}
    whole = {one.name: one for one in stage.service.templates.values()}
    assert templates.keys() <= whole.keys()
    bundles = [one for one in templates.values() if one["bundle"]]
    assert bundles
    assert all(one["parts"] for one in bundles)
    assert stage.service.writes == []


def test_expiring_asks_for_the_name(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal it needs --yes; at one, the externalid has to be typed; a dry run changes nothing."""
    from qlikmigrate.cli.app import run

    stage = make()
    guid = stage.partner.model
    assert stage.cli("oem", "expire", "partner/model").code == 2
    assert stage.cli("oem", "expire", "partner/model", "--dry-run").code == 0
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    words = ["oem", "expire", "partner/model", "--config", str(stage.config)]
    asked: list[str] = []

    def answer(text: str) -> Callable[..., str]:
        def prompt(question: str, **more: Any) -> str:
            asked.append(question)
            return text

        return prompt

    monkeypatch.setattr(click, "prompt", answer("yes"))
    assert run(words) == 2
    assert not stage.service.account(guid).expired
    assert "no call is known that takes it back" in asked[0]
    monkeypatch.setattr(click, "prompt", answer("model"))
    assert run(words) == 0
    assert stage.service.account(guid).expired
    other = stage.partner.accounts
    name = next(one for one in other if one != "model")
    assert stage.cli("oem", "expire", f"partner/{name}", "--yes").code == 0
    assert stage.service.undocumented == []


def test_the_group_explains_itself(make: Make) -> None:
    """Without a command, or with one that there is not, exit 2 and how it is called; a Cloud tenant is refused."""
    stage = make()
    assert stage.cli("oem").code == 2
    assert stage.cli("oem", "dance").code == 2
    stage.write_config('[tenants.cloud]\nurl = "http://127.0.0.1:9"\napi_key = "x"\n')
    for words in (("accounts", "cloud"), ("templates", "cloud"), ("run", "cloud/x", "y"), ("expire", "cloud")):
        assert stage.cli("oem", *words).code == 2, words
