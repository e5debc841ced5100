"""A restore into an OEM account dies at any instant: a resume closes what is open first, and ends as if nothing was."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve
from dying import Killed, dying
from oem_rig import OemRig, make_rig

from qlikmigrate.api.endpoint import Access
from qlikmigrate.importer.journal import read_state
from qlikmigrate.importer.line_log import LineLog, read_lines
from qlikmigrate.importer.oem.rollback import roll_back_oem
from qlikmigrate.importer.result import Result
from qlikmigrate.importer.rollback_book import RollbackResult
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.event import discard
from qlikmigrate.model.selection import Selector, Selectors
from qlikmigrate.sandbox.oem import OemSwitches

NAMES = ("Stock feed North", "Price export summer", "Invoicing")
MANUAL = ["Price export summer"]
FEED = "Stock feed North"
BETWEEN_S = 100.0


def little_rig(folder: Path, switches: OemSwitches | None = None) -> OemRig:
    """Three automations, a bundle and a manual one among them."""
    rig = make_rig(folder)
    rig.selectors = Selectors(include=tuple(Selector(key="name", value=name) for name in NAMES))
    rig.target.switches = switches or rig.target.switches
    return rig


def undisturbed(folder: Path) -> tuple[str, int]:
    """What the account holds after a run that nobody disturbs, and how many requests applying it took."""
    rig = little_rig(folder)
    plan = rig.plan()
    before = len(rig.target.seen)
    assert rig.apply(plan).failed == 0
    return repr(rig.state()), len(rig.target.seen) - before


def check(rig: OemRig, result: Result, wanted: str) -> None:
    assert (result.failed, result.fatal) == (0, None)
    assert repr(rig.state()) == wanted
    assert rig.on() == MANUAL
    assert len(rig.target.windows) == len(NAMES)
    for one in rig.target.windows:
        # What is reported is never less than what the service saw.
        assert one.seconds is not None
        assert result.windows[one.blend] >= one.seconds
    assert not rig.target.undocumented


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_at_journal_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The process dies before and after lines that it writes, with `step` 1 each of them: same end."""
    wanted, _ = undisturbed(tmp_path / "calm")
    lines = 0
    plain = LineLog.append

    def counting(self: LineLog, line: Any) -> None:
        nonlocal lines
        lines += 1
        plain(self, line)

    monkeypatch.setattr(LineLog, "append", counting)
    calm = little_rig(tmp_path / "count")
    calm.apply(calm.plan())
    assert lines > 30
    for doomed in range(1, lines + 1, step):
        for after in (False, True):
            rig = little_rig(tmp_path / f"{doomed}-{after}")
            monkeypatch.setattr(LineLog, "append", dying(doomed, after=after))
            plan = rig.plan()
            with pytest.raises(Killed):
                rig.apply(plan)
            monkeypatch.setattr(LineLog, "append", plain)
            rig.clock.advance(BETWEEN_S)
            check(rig, rig.apply(plan), wanted)


def test_a_disk_that_is_full_at_any_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line goes to the journal and no more: nothing that was installed is left on, and a resume ends well."""
    wanted, _ = undisturbed(tmp_path / "calm")
    write = os.write
    for event in (b"answered", b"window", b"done"):
        rig = little_rig(tmp_path / event.decode())
        plan = rig.plan()
        installed = False

        def full(handle: int, data: bytes, event: bytes = event) -> int:
            nonlocal installed
            installed = installed or b'"step":"install"' in data
            if installed and b'"event":"%s"' % event in data:
                write(handle, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(handle, data)

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            rig.apply(plan)
        monkeypatch.setattr(os, "write", write)
        assert rig.target.windows
        assert all(one.end is not None for one in rig.target.windows), event
        assert read_state(tmp_path / event.decode() / "run" / "journal.jsonl").started
        rig.clock.advance(BETWEEN_S)
        check(rig, rig.apply(plan), wanted)


def test_a_line_that_did_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written after it, once there is room again, does not run into it."""
    write = os.write

    def full(handle: int, data: bytes) -> int:
        write(handle, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with LineLog(tmp_path / "log.jsonl") as log:
        log.append({"n": 1})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            log.append({"n": 2})
        monkeypatch.setattr(os, "write", write)
        log.append({"n": 3})
    assert read_lines(tmp_path / "log.jsonl")[0] == [{"n": 1}, {"n": 3}]


def kill_at_every_request(folder: Path, switches: OemSwitches, step: int = 1) -> int:
    """Die right before and right after each request; how many windows were open when it died."""
    wanted, requests = undisturbed(folder / "calm")
    opened = 0
    for doomed in range(1, requests + 1, step):
        for after in (False, True):
            rig = little_rig(folder / f"{doomed}-{after}", switches)
            plan = rig.plan()
            opened += die(rig, plan, doomed, after=after)
            first = resume_first(rig)
            rig.clock.advance(BETWEEN_S)
            left = [one for one in rig.target.windows if one.end is None]
            result = rig.apply(plan)
            if left and first:
                # Before anything else is written, what was left on is off.
                assert first[0][0] == "PUT"
                assert orjson.loads(first[0][1]) == {"state": "disabled"}
            check(rig, result, wanted)
    return opened


def die(rig: OemRig, plan: Any, doomed: int, *, after: bool) -> int:
    count = 0

    def handle(request: Any) -> Any:
        nonlocal count
        count += 1
        if count == doomed and not after:
            raise Killed
        reply = rig.target.handle(request)
        if count == doomed:
            raise Killed
        return reply

    rig.handler = handle
    with contextlib.suppress(Killed):
        rig.apply(plan)
    return sum(one.end is None for one in rig.target.windows)


def resume_first(rig: OemRig) -> list[tuple[str, bytes]]:
    """The writes of the resume, as they come."""
    writes: list[tuple[str, bytes]] = []

    def handle(request: Any) -> Any:
        if request.method != "GET":
            writes.append((request.method, request.body))
        return rig.target.handle(request)

    rig.handler = handle
    return writes


def test_kill_at_requests(tmp_path: Path) -> None:
    """Dies around every fourth request of a run, the service as documented."""
    assert kill_at_every_request(tmp_path, OemSwitches(), step=4) > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["documented", "hostile", "bundles", "replaces"])
def test_kill_at_every_request(tmp_path: Path, mode: str) -> None:
    """Dies around every request, whichever way the service answers."""
    switches = {
        "documented": OemSwitches(),
        "hostile": OemSwitches.hostile(),
        "bundles": OemSwitches(sub_blends_listed=True, bundle_state_cascades=True),
        "replaces": evolve(OemSwitches(), put_blend_replaces=True, state_in_get=True),
    }[mode]
    assert kill_at_every_request(tmp_path, switches) > 0


def roll_back(rig: OemRig) -> RollbackResult:
    async def work() -> RollbackResult:
        async with rig.open(rig.target, Access.WRITE) as client:
            view = RunView.open(rig.folder / "run")
            return await roll_back_oem(client, view, force=False, dry_run=False, clock=rig.clock, sink=discard)

    return asyncio.run(work())


@pytest.mark.parametrize("shown", [False, True])
def test_rollback_looks_whether_it_is_off(tmp_path: Path, shown: bool) -> None:
    """A switch that was answered and not thrown is thrown again; what stays on has failed, and is tried next time."""
    rig = make_rig(tmp_path, state_in_get=shown)
    rig.selectors = Selectors(include=(Selector(key="name", value=FEED), Selector(key="name", value=MANUAL[0])))
    assert rig.apply(rig.plan()).failed == 0
    # Both kinds of answers are seen: this one's connection shows its state, whatever its own answer does.
    held = rig.target.account(rig.account)
    (linked,) = (one for one in held.blends.values() if one.name == MANUAL[0])
    linked.links = {next(iter(held.datasources))}
    assert rig.on() == MANUAL
    rig.target.switches = evolve(rig.target.switches, ignored_states=99)
    result = roll_back(rig)
    assert (result.failed, rig.on()) == (1, MANUAL)
    assert [one.code for one in result.outcomes if one.status == "failed"] == ["readback-differs"]
    rig.target.switches = evolve(rig.target.switches, ignored_states=linked.ignored_states + 1)
    result = roll_back(rig)
    assert (result.failed, rig.on()) == (0, [])
    assert result.counts["automations"]["disabled"] == 1


def test_rollback_closes_what_is_open(tmp_path: Path) -> None:
    """A run dies within a window and is rolled back: the first write switches off, and nothing of it stays on."""
    rig = little_rig(tmp_path)
    plan = rig.plan()
    doomed = 0
    while not die(rig, plan, doomed, after=True):
        doomed += 1
        rig = little_rig(tmp_path / str(doomed))
        plan = rig.plan()
    writes = resume_first(rig)
    result = roll_back(rig)
    assert [(one[0], orjson.loads(one[1])) for one in writes][:1] == [("PUT", {"state": "disabled"})]
    assert rig.on() == []
    assert "oem-remains" in {one.code for one in result.problems}
    assert all(one.end is not None for one in rig.target.windows)


def test_torn_journal_is_read_at_every_byte(tmp_path: Path) -> None:
    """A journal cut at any byte is read without an error and never tells more than was done."""
    rig = little_rig(tmp_path)
    rig.apply(rig.plan())
    path = tmp_path / "run" / "journal.jsonl"
    whole, full = path.read_bytes(), read_state(path)
    torn = tmp_path / "torn.jsonl"
    for length in range(0, len(whole), 23):
        torn.write_bytes(whole[:length])
        state = read_state(torn)
        assert not state.finished
        for key, one in state.objects.items():
            assert one.steps == full.objects[key].steps[: len(one.steps)]
