"""Recreating an OEM account: what was exported comes back but for what the API cannot give, and that is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from oem_rig import OemRig, make_rig

from qlikmigrate.importer.plan import PlanOptions
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Severity
from qlikmigrate.sandbox.oem import OemSwitches

HAND_BUILT = {"Dealer import (by hand)", "Återförsäljare"}
MODES = {"documented": {}, "hostile": OemSwitches.hostile()}


def hostile(rig: OemRig, mode: str) -> OemRig:
    if mode == "hostile":
        rig.target.switches = OemSwitches.hostile()
    return rig


def expected(rig: OemRig) -> dict[str, Any]:
    """What the model account holds: without what was built by hand, off but for what is manual."""
    model = rig.state("model")
    manual = {"Price export", "Price export summer"}
    blends = [
        (name, template, "available" if name in manual else "disabled", *rest)
        for name, template, _, *rest in model["blends"]
        if name not in HAND_BUILT
    ]
    return {"blends": sorted(blends), "names": [one[:2] for one in model["connections"]]}


def found(rig: OemRig) -> dict[str, Any]:
    held = rig.state()
    return {"blends": held["blends"], "names": [one[:2] for one in held["connections"]]}


@pytest.mark.parametrize("mode", MODES)
def test_comes_back(tmp_path: Path, mode: str) -> None:
    """A model account in a new one: names, templates, inputs, links and schedules are the source's, and all is off."""
    rig = hostile(make_rig(tmp_path), mode)
    plan = rig.plan()
    assert not plan.refused, [one for one in plan.problems if one.severity is Severity.ERROR]
    result = rig.restore()
    assert found(rig) == expected(rig)
    assert result.counts["automations"] == {
        "selected": 22, "created": 20, "updated": 0, "unchanged": 0, "adopted": 0, "skipped": 2, "failed": 0,
    }  # fmt: skip
    assert not rig.target.undocumented
    assert not result.differing
    assert {one.code for one in result.tasks} >= {"hand-built", "held", "caller"}


@pytest.mark.parametrize("mode", MODES)
def test_second_run_writes_nothing(tmp_path: Path, mode: str) -> None:
    """Restored again, with the ledger or without: everything is known or adopted, and nothing is sent but GETs."""
    rig = hostile(make_rig(tmp_path), mode)
    rig.restore()
    for ledger, word in ((rig.options.ledger, "unchanged"), (str(tmp_path / "other.jsonl"), "adopted")):
        rig.options = evolve(rig.options, ledger=ledger)
        plan = rig.plan()
        assert (plan.refused, plan.writes) == (False, 0), [one for one in plan.problems if one.severity == "error"]
        assert plan.counts()[word] == 20
        before = len(rig.target.seen)
        result = rig.apply(plan, f"again-{word}")
        assert {one.method for one in rig.target.seen[before:]} == {"GET"}
        assert (result.failed, result.differing) == (0, 0)


def test_nothing_is_installed_unless_allowed(tmp_path: Path) -> None:
    """Without the word that waives it, the plan is refused, and nothing but GETs was sent to make it."""
    rig = make_rig(tmp_path)
    rig.options = evolve(rig.options, allow=())
    before = len(rig.target.seen)
    plan = rig.plan()
    assert [one.code for one in plan.errors] == ["oem-starts-on-install"]
    assert {one.method for one in rig.target.seen[before:]} == {"GET"}


def test_a_typo_makes_no_account(tmp_path: Path) -> None:
    """An account that does not exist is made only when that was asked for; the message says which there are."""
    rig = make_rig(tmp_path)
    rig.options = PlanOptions()
    with pytest.raises(UsageError, match="no account is called `new-customer`") as raised:
        rig.plan()
    assert "rad-hamburg" in raised.value.hint
