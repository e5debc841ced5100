"""`activate` and `cutover` on the command line, over loopback: access, questions, dry runs, exit codes, summaries."""

from __future__ import annotations

import pytest
from stage import DAILY, EVERY_HOUR, Stage, document

from qlikmigrate.cli.app import run
from qlikmigrate.kernel.error import BudgetSpentError
from qlikmigrate.sandbox import Fault, Status

NAMES = {"hook", "hourly", "daily"}


def on(stage: Stage) -> tuple[set[str], set[str]]:
    """What is on at the source, and at the target."""
    return tuple(  # type: ignore[return-value]
        {one["name"] for one in side.tenant.automations.values() if one["state"] == "available"}
        for side in (stage.source, stage.target)
    )


def stop_sources(stage: Stage) -> None:
    for one in stage.source.tenant._shelf.records.values():
        one.state = "disabled"
        one.touch()


@pytest.fixture
def restored(stage: Stage) -> Stage:
    """A run in the folder `run`, all held; the source may be switched."""
    stage.write_config(extra_source='access = "state"')
    for name, mode, schedules in (("hook", "webhook", []), ("hourly", "scheduled", [EVERY_HOUR]),
                                  ("daily", "scheduled", [DAILY])):  # fmt: skip
        stage.source.tenant.add_automation(document(name, mode=mode, schedules=schedules), stage.source.users["ben"])
    assert stage.backup().code == 0
    assert stage.restore(run="run").code == 0
    for side in (stage.source, stage.target):
        side.tenant.seen.clear()
    return stage


def test_activate_is_refused_while_the_source_is_on(restored: Stage) -> None:
    """Exit 6, every counterpart named, nothing written: not even asked."""
    ended = restored.cli("activate", "run", "--yes")
    assert ended.code == 6
    assert ended.error["code"] == "refused"
    assert [one["code"] for one in ended.of("problem")] == ["source-on"] * 3
    assert not restored.target.tenant.writes
    assert on(restored) == (NAMES, set())


def test_activate(restored: Stage) -> None:
    """The sources are off, so all are started; the summary adds up and the next firings are told."""
    stop_sources(restored)
    ended = restored.cli("activate", "run", "--yes")
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 3, "enabled": 3}
    outcomes = {one["name"]: one for one in ended.of("outcome")}
    assert outcomes["hourly"]["action"] == "enable"
    assert outcomes["hourly"]["status"] == "done"
    assert outcomes["hourly"]["reason"].startswith("next firing: ")
    assert on(restored) == (set(), NAMES)
    again = restored.cli("activate", "run", "--yes")
    assert again.automations == {"selected": 3, "unchanged": 3}


def test_activate_asks(restored: Stage) -> None:
    """Without `--yes` and a terminal there is nobody to ask: exit 2, nothing written. A dry run asks nothing."""
    stop_sources(restored)
    ended = restored.cli("activate", "run")
    assert ended.code == 2
    assert "--yes" in ended.error["hint"]
    dry = restored.cli("activate", "run", "--dry-run")
    assert dry.code == 0
    assert {one["status"] for one in dry.of("outcome")} == {"planned"}
    assert dry.automations == {"selected": 3, "enabled": 3}
    assert not restored.target.tenant.writes


def test_activate_with_another_source(restored: Stage) -> None:
    """A source that is not the archive's tenant is a usage error; one that does not answer cannot be checked."""
    stop_sources(restored)
    assert restored.cli("activate", "run", "--yes", "--source", "target").code == 2
    assert restored.cli("activate", "run", "--yes", "--source", "nobody").code == 2
    restored.source.tenant.faults.append(Fault(effect=Status(code=401), times=None))
    ended = restored.cli("activate", "run", "--yes")
    assert ended.code == 6
    assert ended.codes() == {"source-unchecked"}
    assert not restored.target.tenant.writes
    assert restored.cli("activate", "run", "--yes", "--allow", "source-unchecked").code == 0


def test_activate_that_fails_in_part_ends_with_three(restored: Stage) -> None:
    """One automation that cannot be switched makes the command partial; run again it comes to its end."""
    stop_sources(restored)
    restored.target.tenant.faults.append(Fault(effect=Status(code=400), path="*/actions/enable"))
    ended = restored.cli("activate", "run", "--yes")
    assert ended.code == 3
    assert ended.automations == {"selected": 3, "enabled": 2, "failed": 1}
    assert restored.cli("activate", "run", "--yes").code == 0
    assert on(restored) == (set(), NAMES)


@pytest.mark.parametrize(
    ("words", "source", "line"),
    [
        (["cutover"], "read", 'access = "state"'),
        (["cutover", "--running", "stop"], "state", 'access = "write"'),
    ],
)
def test_cutover_needs_access_to_the_source(restored: Stage, words: list[str], source: str, line: str) -> None:
    """Exit 2 names the line and the file, and not even a GET was sent; a dry run needs no more than reading."""
    restored.write_config(extra_source=f'access = "{source}"')
    ended = restored.cli(words[0], "run", "--yes", *words[1:])
    assert ended.code == 2
    assert ended.error["code"] == "not-enough-access"
    assert line in ended.error["hint"]
    assert "[tenants.source]" in ended.error["hint"]
    assert str(restored.config) in ended.error["hint"]
    assert not restored.source.tenant.seen
    assert restored.cli(words[0], "run", "--dry-run", *words[1:]).code == 0
    assert not restored.source.tenant.writes


def test_cutover_needs_no_more_than_state(restored: Stage) -> None:
    """`state` is enough at both sides."""
    restored.write_config(target_access="state", extra_source='access = "state"')
    ended = restored.cli("cutover", "run", "--yes")
    assert ended.code == 0, ended.lines
    assert ended.automations == {"selected": 3, "switched": 3}
    assert on(restored) == (set(), NAMES)


def test_cutover_and_undo(restored: Stage) -> None:
    """There and back, each asked for with `--yes`, dry runs in between writing nothing."""
    assert restored.cli("cutover", "run").code == 2
    dry = restored.cli("cutover", "run", "--dry-run")
    assert dry.automations == {"selected": 3, "switched": 3}
    assert on(restored) == (NAMES, set())
    assert restored.cli("cutover", "run", "--yes").code == 0
    assert on(restored) == (set(), NAMES)
    assert restored.cli("cutover", "run", "--undo").code == 2
    assert restored.cli("cutover", "run", "--undo", "--dry-run").automations == {"selected": 3, "switched": 3}
    assert on(restored) == (set(), NAMES)
    undone = restored.cli("cutover", "run", "--undo", "--yes")
    assert undone.code == 0, undone.lines
    assert on(restored) == (NAMES, set())
    assert restored.cli("cutover", "run", "--undo", "--yes").automations == {}


def test_cutover_with_a_changed_source(restored: Stage) -> None:
    """Exit 3 with `source-changed`, that pair unswitched; with `--allow` exit 0."""
    one = restored.source.tenant._shelf.records[restored.source.one("hook")["id"]]
    one.description = "edited"
    one.touch()
    ended = restored.cli("cutover", "run", "--yes")
    assert ended.code == 3
    assert "source-changed" in ended.codes()
    assert on(restored) == ({"hook"}, NAMES - {"hook"})
    assert restored.cli("cutover", "run", "--yes", "--allow", "source-changed").code == 0
    assert on(restored) == (set(), NAMES)


def test_spent_time_budget_can_be_taken_up(restored: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 21 says how to go on and how to go back; both work, and no pair is on at both sides."""
    from qlikmigrate.importer import handover

    async def spent(*given: object, **how: object) -> None:
        raise BudgetSpentError("the time budget is spent")

    monkeypatch.setattr(handover, "settle_runs", spent)
    ended = restored.cli("cutover", "run", "--yes")
    assert ended.code == 21
    assert "--undo" in ended.error["hint"]
    assert len(on(restored)[0]) == 2
    assert on(restored)[1] == set()
    monkeypatch.undo()
    monkeypatch.chdir(restored.folder)
    assert restored.cli("cutover", "run", "--undo", "--yes").code == 0
    assert on(restored) == (NAMES, set())
    assert restored.cli("cutover", "run", "--yes").code == 0
    assert on(restored) == (set(), NAMES)


def test_no_such_run(stage: Stage) -> None:
    """Exit 10 for a folder without a run."""
    for word in ("activate", "cutover"):
        assert stage.cli(word, "nothing", "--yes").code == 10


def test_people_are_shown_what_will_be_switched(
    restored: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the pairs and their next firings are shown before the question; `n` does nothing."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda question, err: print(question) is not None)
    capsys.readouterr()
    code = run(["cutover", "run", "--config", str(restored.config)])
    told = capsys.readouterr()
    assert code == 2
    assert "enable  hourly  (next firing: " in told.out
    assert "switch 3 automations from `source` to `target`?" in told.out
    assert "nothing was done" in told.err
    assert on(restored) == (NAMES, set())


def test_source_is_found_by_host(restored: Stage) -> None:
    """The only other tenant with the archive's host is taken; where two have it, it must be named."""
    text = restored.config.read_text()
    restored.config.write_text(text + text.partition("[tenants.target]")[0].replace("source", "twin"))
    ended = restored.cli("cutover", "run", "--yes")
    assert ended.code == 2
    assert "--source" in ended.error["hint"]
    assert restored.cli("cutover", "run", "--yes", "--source", "source").code == 0
