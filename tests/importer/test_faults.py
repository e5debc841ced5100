"""Every write × every fault: after a resume the target is as an undisturbed run leaves it. No double, none missing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dying import Killed, dying
from rig import TIMEOUT_S, Rig, make_rig

from qlikmigrate.importer.ledger import Ledger, read_ledger
from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Status, Truncate
from qlikmigrate.sandbox.fault import ExpireToken, HtmlOk

WRITES = {
    "create": ("POST", "*/automations"),
    "disable": ("POST", "*/actions/disable"),
    "change-owner": ("POST", "*/actions/change-owner"),
    "put": ("PUT", "*/automations/*"),
}
EFFECTS: dict[str, Any] = {
    "429": Status(code=429, retry_after=3),
    "500": Status(code=500),
    "502": Status(code=502),
    "503": Status(code=503),
    "504": Status(code=504),
    "504 after commit": Status(code=504, commit=True),
    "reset before": ResetBefore(),
    "reset after commit": ResetAfterCommit(),
    "timeout after commit": Delay(TIMEOUT_S + 5),
    "truncated answer": Truncate(),
    "HTML with 200": HtmlOk(),
    "token expired": ExpireToken(),
}


@cache
def undisturbed(impersonate: bool) -> tuple[tuple[str, str], ...]:
    """What the target holds after a run without faults."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rig = make_rig(Path(folder) / "calm", impersonate=impersonate)
        result = rig.apply(rig.plan())
        assert result.failed == 0
        return tuple(sorted(rig.state().items()))


def run_to_the_end(rig: Rig, tries: int = 6) -> int:
    """Apply, and resume until nothing failed; how many resumes it took."""
    plan = rig.plan()
    for number in range(tries):
        try:
            if rig.apply(plan).failed == 0:
                return number
        except QlikmigrateError:
            continue
    raise AssertionError("never came to its end")


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("write", WRITES)
def test_fault_matrix(tmp_path: Path, write: str, effect: str, impersonate: bool) -> None:
    """The first, second and third call of each write meet the fault; the end state is the undisturbed one."""
    if write == "change-owner" and impersonate:
        pytest.skip("impersonation changes no owner")
    method, path = WRITES[write]
    for nth in (1, 2, 3):
        rig = make_rig(tmp_path / str(nth), impersonate=impersonate)
        rig.target.faults.append(Fault(effect=EFFECTS[effect], method=method, path=path, nth=nth))
        run_to_the_end(rig)
        assert tuple(sorted(rig.state().items())) == undisturbed(impersonate)
        assert not rig.target.armed_while_enabled


@pytest.mark.parametrize("effect", ["500", "reset before", "reset after commit", "truncated answer"])
def test_lasting_fault_is_overcome_by_resume(tmp_path: Path, effect: str) -> None:
    """A service that fails every second create for a while: resumes bring it home without a double."""
    rig = make_rig(tmp_path)
    for nth in (1, 3, 5, 7):
        rig.target.faults.append(Fault(effect=EFFECTS[effect], method="POST", path="*/automations", nth=nth))
    run_to_the_end(rig)
    assert tuple(sorted(rig.state().items())) == undisturbed(True)


@pytest.mark.parametrize("lag", [1, 2])
def test_lost_create_is_found_through_list_lag(tmp_path: Path, lag: int) -> None:
    """The answer to a create is lost and the list shows it only later: it is found, not made again."""
    rig = make_rig(tmp_path, list_lag_s=float(lag))
    rig.target.faults.append(Fault(effect=ResetAfterCommit(), method="POST", path="*/automations", nth=2))
    run_to_the_end(rig)
    assert tuple(sorted(rig.state().items())) == undisturbed(True)


def remembered(rig: Rig) -> Ledger:
    return read_ledger(rig.folder / "ledger.jsonl", source_tenant=rig.source.id, target_tenant=rig.target.id)


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
def test_kill_at_every_journal_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impersonate: bool) -> None:
    """The process dies before and after each journal line: a resume ends as an undisturbed run does."""
    from qlikmigrate.importer.line_log import LineLog

    plain = LineLog.append
    calm = make_rig(tmp_path / "calm", impersonate=impersonate)
    lines = 0

    def counting(self: LineLog, line: Any) -> None:
        nonlocal lines
        lines += 1
        plain(self, line)

    monkeypatch.setattr(LineLog, "append", counting)
    calm.apply(calm.plan())
    assert lines > 20

    for doomed in range(1, lines + 1):
        for after in (False, True):
            rig = make_rig(tmp_path / f"{doomed}-{after}", impersonate=impersonate)
            monkeypatch.setattr(LineLog, "append", dying(doomed, after=after))
            plan = rig.plan()
            with pytest.raises(Killed):
                rig.apply(plan)
            monkeypatch.setattr(LineLog, "append", plain)
            assert rig.apply(plan).failed == 0
            assert tuple(sorted(rig.state().items())) == undisturbed(impersonate)
            # A kill between a write's outcome and the ledger's line leaves nothing out of the ledger.
            assert {one.target_id for one in remembered(rig)} >= set(rig.target.automations)
            assert not rig.target.armed_while_enabled


def test_two_candidates_stop_that_object_alone(tmp_path: Path) -> None:
    """A lost create with two possible results is `create-ambiguous`: nobody guesses, the others go on."""
    from stage import document

    rig = make_rig(tmp_path)
    plain = rig.target.handle
    seen = 0

    def handle(request: Any) -> Any:
        nonlocal seen
        reply = plain(request)
        if request.method == "POST" and request.url.endswith("/automations") and b'"name":"leaf"' in request.body:
            seen += 1
            if seen == 1:
                rig.target.add_automation(document("leaf"), rig.ben_there)
        return reply

    rig.handler = handle
    rig.target.faults.append(Fault(effect=ResetAfterCommit(), method="POST", path="*/automations", nth=4))
    plan = rig.plan()
    names = [action.name for action in plan.actions]
    assert names[3] == "leaf", names
    result = rig.apply(plan)
    assert result.failed == 1
    assert {one.name: one.code for one in result.outcomes if one.status == "failed"} == {"leaf": "create-ambiguous"}
    assert len([one for one in rig.target.automations.values() if one["name"] == "leaf"]) == 2


def test_torn_journal_is_read_at_every_byte(tmp_path: Path) -> None:
    """A journal cut at any byte is read without an error and never tells more than was done."""
    from qlikmigrate.importer.journal import read_state

    rig = make_rig(tmp_path)
    rig.apply(rig.plan())
    path = tmp_path / "run" / "journal.jsonl"
    whole = path.read_bytes()
    full = read_state(path)
    torn = tmp_path / "torn.jsonl"
    for length in range(len(whole)):
        torn.write_bytes(whole[:length])
        state = read_state(torn)
        assert not state.finished
        for key, one in state.objects.items():
            assert one.steps == full.objects[key].steps[: len(one.steps)]
