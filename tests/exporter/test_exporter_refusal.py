"""Documents that cannot be had, identities that are refused, hosts that go, people who stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from motion import DETAIL, LIST, Motion, archive_of, balanced, names_in
from test_exporter_living import write_key

from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import Delay, HtmlOk, ResetBefore, Status, Truncate


def seed(motion: Motion, count: int = 5) -> list[str]:
    """Automations A0, A1, …"""
    return [motion.create(f"A{index}") for index in range(count)]


def files_in(motion: Motion) -> list[str]:
    """What lies in the stage's folder, but for the tenants file."""
    return sorted(path.name for path in motion.stage.folder.iterdir() if path.name != "tenants.toml")


@pytest.mark.parametrize("foreign", [403, 404])
def test_admin_key_cannot_read_what_others_own(make_motion: Callable[..., Motion], foreign: int) -> None:
    """Exit 3, each by name; what is the administrator's own is captured; the scope is the tenant's."""
    motion = make_motion(foreign_status=foreign)
    motion.create("own", "ada")
    others = {motion.create("of ben", "ben"), motion.create("of cleo", "cleo")}
    write_key(motion, "ada")
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (3, False)
    told = [line for line in ended.of("problem") if line["code"] == "unreadable"]
    assert {line["where"] for line in told} == others
    assert all(line["severity"] == "error" and str(foreign) in line["message"] for line in told)
    assert {"of ben", "of cleo"} == {line["message"].split("`")[1] for line in told}
    assert names_in(motion.stage) == ["own"]
    assert balanced(motion.stage) == {"listed": 3, "captured": 1, "unreadable": 2}


@pytest.mark.parametrize("foreign", [403, 404])
def test_accepted_unreadable_ones_are_no_reason_for_exit_3(make_motion: Callable[..., Motion], foreign: int) -> None:
    """`accept_unreadable` of the tenants file: listed and counted, complete. One more than accepted: exit 3."""
    motion = make_motion(foreign_status=foreign)
    ids = [motion.create("of ben"), motion.create("of cleo", "cleo"), motion.create("own", "ada")]
    write_key(motion, "ada")
    config = motion.stage.config
    plain = config.read_text("utf-8")
    accept = f'accept_unreadable = ["{ids[0].upper()}", "{ids[1]}"]\n[tenants.target]'
    config.write_text(plain.replace("[tenants.target]", accept), "utf-8")
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert balanced(motion.stage) == {"listed": 3, "captured": 1, "unreadable": 2}
    assert "unreadable-accepted" in ended.codes()
    config.write_text(plain.replace("[tenants.target]", f'accept_unreadable = ["{ids[0]}"]\n[tenants.target]'), "utf-8")
    assert motion.stage.backup("b.qma").code == 3


def test_incomplete_never_replaces_complete(motion: Motion) -> None:
    """`--force` replaces a complete file by a complete one only, an incomplete one by either."""
    seed(motion)
    path = motion.stage.folder / "a.qma"
    assert motion.stage.backup().code == 0
    good = path.read_bytes()
    motion.tenant.faults.append(Fault(path=DETAIL, effect=Status(code=403), times=None))
    ended = motion.stage.backup()
    assert (ended.code, ended.error["code"]) == (3, "incomplete-not-replacing")
    assert path.read_bytes() == good
    assert files_in(motion) == ["a.qma"]
    assert motion.stage.backup("b.qma").code == 3
    motion.create("later")
    assert motion.stage.backup("b.qma").code == 3
    assert balanced(motion.stage, "b.qma")["listed"] == 6
    motion.tenant.faults.clear()
    assert motion.stage.backup("b.qma").code == 0
    assert motion.stage.backup().code == 0


def test_existing_file_needs_force(motion: Motion) -> None:
    """Exit 2 before anything is asked for; a folder gets a name of its own."""
    assert motion.stage.backup().code == 0
    asked = len(motion.tenant.seen)
    ended = motion.stage.cli("backup", "source", "-o", motion.stage.folder / "a.qma")
    assert (ended.code, len(motion.tenant.seen)) == (2, asked)
    ended = motion.stage.cli("backup", "source", "-o", motion.stage.folder)
    assert ended.code == 0
    made = Path(ended.summary["archive"])
    assert made.name.startswith("source-20")
    assert made.suffix == ".qma"
    assert made.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "effect",
    [Status(code=500), Status(code=503), Status(code=400), ResetBefore(), HtmlOk(), Truncate()],
    ids=["500", "503", "400", "reset", "html", "truncated"],
)
def test_one_document_that_fails(motion: Motion, effect: Status) -> None:
    """Exit 3, that one by name and `not-captured`; the rest is captured."""
    idents = seed(motion)
    motion.tenant.faults.append(Fault(path=f"*/automations/{idents[1]}", effect=effect, times=None))
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (3, False)
    assert [line["where"] for line in ended.of("problem") if line["code"] == "not-captured"] == [idents[1]]
    assert names_in(motion.stage) == ["A0", "A2", "A3", "A4"]
    assert balanced(motion.stage) == {"listed": 5, "captured": 4, "missing": 1}


def test_one_document_that_fails_for_a_while(motion: Motion) -> None:
    """What failed through all its retries is tried again at the end."""
    idents = seed(motion)
    motion.tenant.faults.append(Fault(path=f"*/automations/{idents[1]}", effect=Status(code=502), times=7))
    assert motion.stage.backup().code == 0
    assert balanced(motion.stage) == {"listed": 5, "captured": 5}


def test_many_documents_that_are_reset_are_no_dead_host(motion: Motion) -> None:
    """More resets in a row than patience: the tenant still answers, so the backup goes on."""
    idents = seed(motion, 12)
    for ident in idents[:10]:
        motion.tenant.faults.append(Fault(path=f"*/automations/{ident}", effect=ResetBefore(), times=None))
    ended = motion.stage.backup()
    assert ended.code == 3
    assert balanced(motion.stage) == {"listed": 12, "captured": 2, "missing": 10}


@pytest.mark.parametrize("other", [b'{"id":"f0000000-0000-4000-8000-000000000000"}', b"{}", b"[]", b"7", b"{"])
def test_another_document_is_not_captured_as_this_one(motion: Motion, other: bytes) -> None:
    """An answer about something else is no capture."""
    idents = seed(motion)
    motion.bend(f"*/automations/{idents[1]}", lambda body: other)
    ended = motion.stage.backup()
    assert ended.code == 3
    assert balanced(motion.stage) == {"listed": 5, "captured": 4, "missing": 1}


@pytest.mark.parametrize("depth", [400, 900, 1000, 1100, 5000, 200_000])
def test_deep_nesting_costs_one_document_at_most(motion: Motion, depth: int) -> None:
    """A document nested beyond what can be taken apart is one that is missing, not the end of the backup."""
    idents = seed(motion, 2)
    nest = b"[" * depth + b"]" * depth
    motion.bend(f"*/automations/{idents[1]}", lambda body: body[:-1] + b',"deep":' + nest + b"}")
    ended = motion.stage.backup()
    assert ended.code in (0, 3)
    assert balanced(motion.stage)["captured"] == (2 if ended.code == 0 else 1)


def test_host_gone_midway(motion: Motion) -> None:
    """Exit 1, and no file: neither under its name nor beside it."""
    idents = seed(motion, 20)
    motion.at_detail(idents[7], lambda: motion.tenant.faults.append(Fault(path="*", effect=ResetBefore(), times=None)))
    ended = motion.stage.backup()
    assert (ended.code, ended.error["code"]) == (1, "unreachable")
    assert files_in(motion) == []


@pytest.mark.parametrize("path", [LIST, DETAIL, "/api/*/automation-connections/*", "*/settings", "*/assignments"])
def test_identity_refused_midway(motion: Motion, path: str) -> None:
    """A 401 that a new token does not cure ends the backup with 20, wherever it comes; no file."""
    seed(motion)
    motion.tenant.faults.append(Fault(path=path, effect=Status(code=401), times=None))
    ended = motion.stage.backup()
    assert ended.code == 20
    assert files_in(motion) == []


def test_expired_token_is_replaced(motion: Motion) -> None:
    """A token that ends midway costs one request for another."""
    from qlikmigrate.sandbox.fault import ExpireToken

    seed(motion)
    motion.tenant.faults.append(Fault(path=DETAIL, effect=ExpireToken(), nth=3))
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["requests"]["token"]) == (0, 2)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_side_documents_that_fail_cost_no_automation(motion: Motion, status: int) -> None:
    """Connection details, members of spaces, settings: told, and the backup is complete."""
    seed(motion)
    for path in ("/api/*/automation-connections/*", "*/assignments", "*/automations/settings"):
        motion.tenant.faults.append(Fault(path=path, effect=Status(code=status), times=None))
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    withheld = {"connection-details-withheld", "assignments-withheld", "settings-unreadable"}
    failed = {"connection-detail-failed", "assignments-failed", "settings-unreadable"}
    assert ended.codes() == (failed if status == 500 else withheld)
    wanted = "warning" if status == 500 else "info"
    assert {line["severity"] for line in ended.of("problem")} == {wanted}


def test_abort_on_error(motion: Motion) -> None:
    """`--on-error abort`: exit 3 at the first document that fails, nothing new is started, no file."""
    idents = seed(motion, 60)
    motion.tenant.faults.append(Fault(path=f"*/automations/{idents[1]}", effect=Status(code=400), times=None))
    ended = motion.stage.backup("a.qma", "--on-error", "abort")
    assert ended.code == 3
    assert idents[1] in ended.error["message"]
    assert files_in(motion) == []
    assert sum(1 for one in motion.tenant.seen if one.path.rpartition("/")[2] in idents) < 40


def test_time_budget_spent(motion: Motion) -> None:
    """`--time-budget`: exit 21, no file."""
    seed(motion)
    motion.tenant.faults.append(Fault(path=DETAIL, effect=Delay(3.0), times=None))
    ended = motion.stage.backup("a.qma", "--time-budget", "0.5s")
    assert (ended.code, ended.error["code"]) == (21, "time-budget-spent")
    assert files_in(motion) == []
    assert ended.summary["requests"]["tier1"] > 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(motion: Motion, number: signal.Signals) -> None:
    """A signal midway: exit 130, a summary, no file."""
    idents = seed(motion)
    stage = motion.stage
    process: list[subprocess.Popen[str]] = []
    motion.at_detail(idents[0], lambda: os.kill(process[0].pid, number))
    motion.tenant.faults.append(Fault(path=f"*/automations/{idents[0]}", effect=Delay(3.0)))
    words = ["backup", "source", "-o", str(stage.folder / "a.qma"), "--json", "--config", str(stage.config)]
    started = subprocess.Popen(
        [sys.executable, "-m", "qlikmigrate", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    process.append(started)
    out, err = started.communicate(timeout=30)
    assert started.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["exit_code"] == 130
    assert "Traceback" not in err
    assert files_in(motion) == []


def test_document_larger_than_the_archive_takes(motion: Motion, monkeypatch: pytest.MonkeyPatch) -> None:
    """One document beyond the format's limit is missing by name; the rest is captured."""
    idents = seed(motion)
    monkeypatch.setattr("qlikmigrate.archive.layout.MAX_DOCUMENT_BYTES", 5000)
    motion.bend(f"*/automations/{idents[1]}", lambda body: body[:-1] + b',"pad":"' + b"x" * 6000 + b'"}')
    ended = motion.stage.backup()
    assert ended.code == 3
    assert balanced(motion.stage) == {"listed": 5, "captured": 4, "missing": 1}
    with archive_of(motion.stage) as archive:
        assert "larger" in archive.manifest.missing[0].reason
