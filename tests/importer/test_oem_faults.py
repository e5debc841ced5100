"""Every write to an OEM account × every fault: after a resume it is as an undisturbed run leaves it, and nothing is on.

No double, none missing, and at the end of every single process nothing that was installed is left on.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from oem_rig import TIMEOUT_S, OemRig, make_rig

from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.model.selection import Selector, Selectors
from qlikmigrate.sandbox import Delay, Fault, ResetAfterCommit, ResetBefore, Status, Truncate
from qlikmigrate.sandbox.fault import HtmlOk
from qlikmigrate.sandbox.oem import OemSwitches

NAMES = ("Stock feed North", "Stock feed South", "Price export summer", "Invoicing", "Status board")
MANUAL = {"Price export summer"}
CALLS = {
    "account": ("POST", "*/accounts"),
    "connection": ("POST", "*/datasources"),
    "install": ("POST", "*/install"),
    "put": ("PUT", "*/blends/*"),
    "inputs": ("POST", "*/set-persisted-inputs"),
    "list": ("GET", "*/blends"),
    "bundle": ("GET", "*/blends/*"),
}
EFFECTS: dict[str, Any] = {
    "429": Status(code=429, retry_after=3),
    "500": Status(code=500),
    "503": Status(code=503),
    "504 after commit": Status(code=504, commit=True),
    "400": Status(code=400),
    "400 after commit": Status(code=400, commit=True),
    "reset before": ResetBefore(),
    "reset after commit": ResetAfterCommit(),
    "timeout after commit": Delay(TIMEOUT_S + 5),
    "truncated answer": Truncate(),
    "HTML with 200": HtmlOk(),
}


def small_rig(folder: Path, **switches: Any) -> OemRig:
    """Five of the model's automations, a bundle among them, that need nobody's consent."""
    rig = make_rig(folder, **switches)
    rig.selectors = Selectors(include=tuple(Selector(key="name", value=name) for name in NAMES))
    return rig


@cache
def undisturbed() -> str:
    """What the account holds after a run without faults."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rig = small_rig(Path(folder))
        assert rig.apply(rig.plan()).failed == 0
        return repr(rig.state())


def run_to_the_end(rig: OemRig, tries: int = 6) -> None:
    """Apply, and resume until nothing failed; each process leaves nothing on, unless it says so."""
    plan = rig.plan()
    for _ in range(tries):
        fatal = None
        try:
            result = rig.apply(plan)
            fatal = result.fatal
            if not result.failed and fatal is None:
                return
        except QlikmigrateError:
            pass
        try:
            on = set(rig.on())
        except LookupError:
            on = set()
        assert fatal is not None or on <= MANUAL, on
    raise AssertionError("never came to its end")


def check(rig: OemRig) -> None:
    assert repr(rig.state()) == undisturbed()
    assert set(rig.on()) == MANUAL
    assert len([one for one in rig.target.accounts.values() if one.externalid == rig.account]) == 1
    windows = rig.target.windows
    assert len(windows) == len({one.blend for one in windows}) == len(NAMES)
    assert all(one.end is not None for one in windows)
    assert not rig.target.undocumented


def survive(folder: Path, call: str, effect: str, nth: int) -> None:
    method, path = CALLS[call]
    rig = small_rig(folder)
    rig.target.faults.append(Fault(effect=EFFECTS[effect], method=method, path=path, nth=nth))
    run_to_the_end(rig)
    check(rig)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("call", CALLS)
def test_fault_matrix(tmp_path: Path, call: str, effect: str) -> None:
    """A call of each kind in the middle of the run meets the fault; the end state is the undisturbed one."""
    survive(tmp_path, call, effect, {"account": 1, "list": 3}.get(call, 2))


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("call", CALLS)
def test_whole_fault_matrix(tmp_path: Path, call: str, effect: str, nth: int) -> None:
    """The same for each of the first calls of a kind."""
    survive(tmp_path, call, effect, nth)


@pytest.mark.parametrize("effect", ["500", "reset after commit", "504 after commit"])
def test_lasting_fault_of_installs(tmp_path: Path, effect: str) -> None:
    """Every second install is lost for a while: none is doubled, and each process ends with nothing on."""
    rig = small_rig(tmp_path)
    for nth in (1, 3, 5):
        rig.target.faults.append(Fault(effect=EFFECTS[effect], method="POST", path="*/install", nth=nth))
    run_to_the_end(rig)
    check(rig)


@pytest.mark.parametrize("effect", ["reset after commit", "timeout after commit", "504 after commit"])
def test_hostile_and_lost(tmp_path: Path, effect: str) -> None:
    """A lost install that shows in the list only later is found all the same."""
    rig = small_rig(tmp_path)
    rig.target.switches = OemSwitches.hostile()
    for nth in (1, 2, 4):
        rig.target.faults.append(Fault(effect=EFFECTS[effect], method="POST", path="*/install", nth=nth))
    run_to_the_end(rig)
    check(rig)
