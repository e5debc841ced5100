"""What a plan for an OEM account says it costs, against what the service counts and the rate makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from oem_rig import OemRig, make_rig

from qlikmigrate.api.oem.endpoint import OemLimits
from qlikmigrate.importer.plan import Plan, Step
from qlikmigrate.model.selection import Selector, Selectors

# Of those that take no person's consent: by hand, in the setup, on a schedule, a bundle of two.
NAMES = ("Stock feed North", "Daily digest", "Price export summer", "Status board", "Invoicing")
# 300 a minute, of which four fifths are used and a fifth of these lies ready.
SECONDS_A_CALL = 60 / (300 * 0.8 * 0.8)


def rig_of(folder: Path) -> OemRig:
    rig = make_rig(folder)
    rig.selectors = Selectors(include=tuple(Selector(key="name", value=name) for name in NAMES))
    rig.limits = OemLimits(timeout_s=20.0)
    rig.options = evolve(rig.options, ledger="")
    return rig


def told_and_sent(rig: OemRig, run: str) -> tuple[Plan, int, int, float]:
    """The plan, the calls that applying it sent, the writes that were not needed, and the seconds it took."""
    plan = rig.plan()
    # The bucket is full when it begins.
    rig.clock.advance(600)
    before, begun_s = len(rig.target.seen), rig.clock.monotonic()
    result = rig.apply(plan, run)
    assert not result.failed
    seen = rig.target.seen[before:]
    sent = sum(one.path.endswith("/set-persisted-inputs") for one in seen)
    named = sum(one.method == "PUT" and "/blends/" in one.path for one in seen)
    steps = [step for one in plan.actions for step in one.steps]
    needless = steps.count(Step.INPUTS) - sent
    needless += sum(steps.count(one) for one in (Step.DISABLE, Step.RENAME, Step.SCHEDULE, Step.ENABLE)) - named
    return plan, len(seen), needless, rig.clock.monotonic() - begun_s


@pytest.mark.parametrize("again", [False, True])
def test_forecast_counts_every_call(tmp_path: Path, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new account, and one that is there and has lost an automation: as many calls as were told, in the time told."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    rig = rig_of(tmp_path)
    plan, sent, needless, taken_s = told_and_sent(rig, "first")
    if again:
        held = rig.target.account(rig.account).blends
        del rig.target.accounts[held[next(iter(held))].account.guid].blends[
            next(guid for guid, one in held.items() if one.name == "Status board")
        ]
        plan, sent, needless, taken_s = told_and_sent(rig, "second")
        assert len([one for one in plan.actions if one.steps]) == 1
    assert plan.forecast is not None
    assert plan.forecast.tier1 == sent + needless
    # What was not needed took no time.
    assert taken_s == pytest.approx(plan.forecast.seconds - needless * SECONDS_A_CALL, abs=0.1) or again
    assert bool(taken_s) != again
    assert rig.target.calls_over_limit == 0
