"""A state machine of people, tenants, crashes and restores, beside a model of a few dictionaries that must agree.

The model knows which pairs the ledger remembers, and what people set at the target and when. The laws: what is created
is what has no counterpart, what people did is lost only where `--on-conflict update` was said and the conflict named,
what did not change at the source is left alone, nothing is switched on, counts add up, a second run writes nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from rig import LIMITS, Rig
from stage import DAILY, PLATFORM_OPERATIONS, bound_block, call_block, document, text_block
from test_rollback import rollback

from qlikmigrate.importer.ledger import read_ledger
from qlikmigrate.importer.line_log import LineLog
from qlikmigrate.importer.plan import Conflict, Plan, PlanOptions, Step, Verb
from qlikmigrate.importer.result import Result
from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.kernel.error import StaleError
from qlikmigrate.kernel.message import Request
from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import CloudTenant

SEED = 20261122
GAP, TEXT = 1, 2
# What `--on-conflict update` may take; a connection that people bound and a state are never part of an update.
WRITTEN = ("name", "rule", "text")

pick = st.integers(min_value=0, max_value=10_000)
what = st.sampled_from(["name", "rule", "text"])


class Killed(BaseException):
    """The process is gone."""


def daily(number: int) -> dict[str, Any]:
    """A schedule that no other call gives."""
    minute, hour = number % 60, number // 60 % 24
    return {**DAILY, "recurrence": f"RRULE:FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute};BYSECOND=0"}


def workspace(text: str, connection: str | None, mode: str = "manual", callee: str | None = None) -> dict[str, Any]:
    blocks = [bound_block(GAP, connection), text_block(TEXT, text)] + ([call_block(3, callee)] if callee else [])
    made: dict[str, Any] = document("", *blocks, mode=mode)["workspace"]
    return made


def view(one: dict[str, Any]) -> dict[str, Any]:
    """An automation as people see it."""
    blocks = one["workspace"]["blocks"]
    return {
        "name": one["name"],
        "rule": one["schedules"][0]["recurrence"] if one["schedules"] else None,
        "text": blocks[TEXT]["inputs"][0]["value"] if len(blocks) > TEXT else None,
        "binding": blocks[GAP]["settings"][0]["value"] if len(blocks) > GAP else None,
        "state": one["state"],
    }


def holds(one: dict[str, Any]) -> tuple[Any, ...]:
    """What tells an automation from others, its name apart: the last are what it calls, and whether that is off."""
    blocks = one["workspace"]["blocks"]
    call = blocks[3] if len(blocks) > 3 else None
    start = blocks[0]["inputs"][0]["value"]
    callee = call["inputs"][0]["value"] if call else None
    seen = view(one)
    return (start, one["description"], seen["rule"], seen["text"], callee, bool(call and call["disabled"]))


class Machine(RuleBasedStateMachine):
    """`known`: source id → target id, as far as the ledger is there; `written`: what was told then.

    `theirs`: target id → what people set there.

    `touched`: ids that people changed since the last run; `made`: ids that it created; `overwritten`: what people had
    set in those that it updated in spite of a conflict.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.number = 0
        self.runs = 0
        self.known: dict[str, str] = {}
        self.theirs: dict[str, dict[str, Any]] = {}
        self.touched: set[str] = set()
        self.made: set[str] = set()
        self.overwritten: dict[str, dict[str, Any]] = {}
        self.last_run = ""
        self.written: dict[str, tuple[Any, ...]] = {}

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.arrive_and_rest()
        shutil.rmtree(self.folder)

    @initialize(cloned=st.booleans())
    def company(self, cloned: bool) -> None:
        clock = ManualClock()
        source, target = (CloudTenant(name, clock=clock, seed=n) for n, name in enumerate(("acme", "acme-dr"), 1))
        here, there = (tenant.add_user("corp\\ben", "Ben", "ben@example.com") for tenant in (source, target))
        # Only the source has this one: the target's automations arrive with a gap.
        self.missing = source.add_connection(PLATFORM_OPERATIONS, "Elsewhere", here)
        self.at_hand = [target.add_connection(PLATFORM_OPERATIONS, f"Own {n}", there) for n in range(2)]
        self.rig = Rig(self.folder, clock, source, target, here, there, limits=evolve(LIMITS, concurrency=2))
        self.keys = {source.name: source.api_key(here), target.name: target.api_key(there)}
        leaf = self.add("manual")
        self.add("webhook", leaf)
        self.add("triggered")
        self.backup()
        if cloned:
            self.restore(Conflict.FAIL)

    # People

    def fresh(self) -> int:
        self.number += 1
        return self.number

    def add(self, mode: str, callee: str | None = None) -> str:
        number = self.fresh()
        given = document(f"automation {number}") | {"workspace": workspace(f"t{number}", self.missing, mode, callee)}
        return self.rig.source.add_automation(given, self.rig.ben_here)

    def ask(self, tenant: CloudTenant, method: str, path: str, body: Any = None) -> bool:
        """One request of Ben's; whether it was granted."""
        request = Request(
            method=method,
            url=f"http://127.0.0.1:1/api/workflows/automations/{path}",
            headers={"authorization": f"Bearer {self.keys[tenant.name]}", "content-type": "application/json"},
            body=b"" if body is None else json.dumps(body).encode(),
        )
        return tenant.handle(request).response.status < 400

    def choose(self, tenant: CloudTenant, number: int) -> str:
        ids = sorted(tenant.automations)
        return ids[number % len(ids)]

    def save(self, tenant: CloudTenant, ident: str, **changes: Any) -> bool:
        """What the editor does: read, change, write."""
        one = tenant.automations[ident]
        self.ask(tenant, "GET", ident)
        kept = ("name", "description", "schedules", "workspace", "maxConcurrentRuns")
        return self.ask(tenant, "PUT", ident, {name: one[name] for name in kept} | changes)

    def change(self, tenant: CloudTenant, ident: str, field: str) -> dict[str, Any]:
        """Change one field to what it never was; what was set, nothing where the tenant refused to save."""
        number = self.fresh()
        if field == "name":
            value: Any = f"renamed {number}"
            granted = self.save(tenant, ident, name=value)
        elif field == "rule":
            granted = self.save(tenant, ident, schedules=[daily(number)])
            value = view(tenant.automations[ident])["rule"]
        else:
            value = f"edited {number}"
            space = tenant.automations[ident]["workspace"]
            space["blocks"][TEXT]["inputs"][0]["value"] = value
            granted = self.save(tenant, ident, workspace=space)
        return {field: value} if granted else {}

    def touch(self, ident: str, **values: Any) -> None:
        if values:
            self.theirs.setdefault(ident, {}).update(values)
            self.touched.add(ident)

    @rule(number=pick, field=what)
    def source_changes(self, number: int, field: str) -> None:
        if self.rig.source.automations:
            self.change(self.rig.source, self.choose(self.rig.source, number), field)

    @rule(mode=st.sampled_from(["manual", "triggered", "webhook"]), number=pick, calls=st.booleans())
    def source_creates(self, mode: str, number: int, calls: bool) -> None:
        callee = self.choose(self.rig.source, number) if calls and self.rig.source.automations else None
        self.add(mode, callee)

    @rule(number=pick)
    def source_deletes(self, number: int) -> None:
        if len(self.rig.source.automations) > 1:
            self.ask(self.rig.source, "DELETE", self.choose(self.rig.source, number))

    @rule(number=pick, word=st.sampled_from(["enable", "disable"]))
    def source_switches(self, number: int, word: str) -> None:
        if self.rig.source.automations:
            self.ask(self.rig.source, "POST", f"{self.choose(self.rig.source, number)}/actions/{word}")

    @precondition(lambda self: self.rig.target.automations)
    @rule(number=pick, field=what)
    def target_changes(self, number: int, field: str) -> None:
        ident = self.choose(self.rig.target, number)
        self.touch(ident, **self.change(self.rig.target, ident, field))

    @precondition(lambda self: self.rig.target.automations)
    @rule(number=pick, which=st.integers(0, 1))
    def target_binds(self, number: int, which: int) -> None:
        ident = self.choose(self.rig.target, number)
        space = self.rig.target.automations[ident]["workspace"]
        space["blocks"][GAP]["settings"][0]["value"] = self.at_hand[which]
        if self.save(self.rig.target, ident, workspace=space):
            self.touch(ident, binding=self.at_hand[which])

    @precondition(lambda self: self.rig.target.automations)
    @rule(number=pick, word=st.sampled_from(["enable", "disable"]))
    def target_switches(self, number: int, word: str) -> None:
        ident = self.choose(self.rig.target, number)
        self.ask(self.rig.target, "POST", f"{ident}/actions/{word}")
        self.touch(ident, state="available" if word == "enable" else "disabled")

    @precondition(lambda self: self.rig.target.automations)
    @rule(number=pick)
    def target_deletes(self, number: int) -> None:
        ident = self.choose(self.rig.target, number)
        self.ask(self.rig.target, "DELETE", ident)
        self.theirs.pop(ident, None)
        self.overwritten.pop(ident, None)

    # The tool

    @rule()
    def backup(self) -> None:
        self.rig.backup()
        self.in_archive = dict(self.rig.source.automations)

    @rule()
    def lose_ledger(self) -> None:
        (self.folder / "ledger.jsonl").unlink(missing_ok=True)
        self.known, self.written = {}, {}

    @rule(conflict=st.sampled_from([Conflict.FAIL, Conflict.SKIP, Conflict.UPDATE]))
    def restore(self, conflict: Conflict) -> None:
        self.run(conflict, lambda plan, run: self.rig.apply(plan, run))

    @rule(conflict=st.sampled_from([Conflict.SKIP, Conflict.UPDATE]), line=st.integers(1, 16), after=st.booleans())
    def restore_killed(self, conflict: Conflict, line: int, after: bool) -> None:
        self.run(conflict, lambda plan, run: self.apply_killed(plan, run, line, after, lambda: None))

    @rule(line=st.integers(1, 16), after=st.booleans(), number=pick, field=what)
    def restore_killed_and_edited(self, line: int, after: bool, number: int, field: str) -> None:
        """Between the kill and the resume somebody edits what was there before the run."""
        before = sorted(self.rig.target.automations)

        def edit() -> None:
            if before:
                ident = before[number % len(before)]
                self.late = ident
                self.touch(ident, **self.change(self.rig.target, ident, field))

        self.run(Conflict.SKIP, lambda plan, run: self.apply_killed(plan, run, line, after, edit), edited=True)

    def apply_killed(self, plan: Plan, run: str, line: int, after: bool, between: Callable[[], None]) -> Result:
        plain = LineLog.append
        count = 0

        def dying(log: LineLog, value: Any) -> None:
            nonlocal count
            count += 1
            if count == line and not after:
                raise Killed
            plain(log, value)
            if count == line:
                raise Killed

        LineLog.append = dying  # type: ignore[method-assign]
        try:
            return self.rig.apply(plan, run)
        except Killed:
            pass
        finally:
            LineLog.append = plain  # type: ignore[method-assign]
        between()
        return self.rig.apply(plan, run)

    def pair_up(self) -> dict[str, str | None]:
        """The counterpart of each: remembered, of the same name, of the same content. All is Ben's and in no space."""
        target = self.rig.target.automations
        pairs = {ident: self.known.get(ident) for ident in self.in_archive}
        pairs = {ident: one if one in target else None for ident, one in pairs.items()}

        def look(alike: Callable[[str, str], bool]) -> bool:
            hit = False
            for ident in [one for one, found in pairs.items() if found is None]:
                found = [one for one in target if one not in pairs.values() and alike(ident, one)]
                assert len(found) <= 1
                if found:
                    pairs[ident], hit = found[0], True
            return hit

        look(lambda ident, one: bool(target[one]["name"] == self.in_archive[ident]["name"]))
        while look(lambda ident, one: holds(target[one]) == self.to_be(ident, pairs)):
            pass
        return pairs

    def to_be(self, ident: str, pairs: dict[str, str | None]) -> tuple[Any, ...]:
        """What an automation of the archive holds at the target; None in it where that is not known yet."""
        *rest, callee, off = holds(self.in_archive[ident])
        if callee not in self.in_archive:
            return (*rest, None, callee is not None or off)
        return (*rest, pairs[callee] or "to be made", off)

    def run(self, conflict: Conflict, work: Callable[[Plan, str], Result], *, edited: bool = False) -> None:
        rig = self.rig
        rig.options = PlanOptions(on_conflict=conflict)
        pairs = self.pair_up()
        same = {ident for ident, was in self.written.items() if ident in pairs and was == self.told(ident, pairs)}
        before = {ident: view(one) for ident, one in rig.target.automations.items()}
        armed = self.armed()
        writes, sightings = len(rig.target.writes), len(rig.target.armed_while_enabled)
        plan = rig.plan()
        assert len(rig.target.writes) == writes
        if plan.refused:
            assert conflict is Conflict.FAIL
            assert {one.code for one in plan.errors} == {"conflict"}
            return
        if not self.in_archive:
            return
        self.touched, self.made, self.overwritten, self.late = set(), set(), {}, ""
        self.runs += 1
        self.last_run = f"run-{self.runs}"
        try:
            result = work(plan, self.last_run)
        except StaleError:
            # Killed before the first intent, and edited since: refused as any plan of before the edit is.
            assert edited
            assert len(rig.target.automations) == len(before)
            self.known |= self.remembered()
            self.last_run = ""
            return

        counts = dict(result.counts["automations"])
        assert counts.pop("selected") == sum(counts.values()) == len(self.in_archive)
        failed = {one.target_id: one.code for one in result.outcomes if one.status == "failed"}
        assert not failed or (edited and failed == {self.late: "changed-meanwhile"}), failed
        now = rig.target.automations
        assert before.keys() <= now.keys()
        self.made = now.keys() - before.keys()
        assert len(self.made) == sum(1 for one in pairs.values() if one is None)
        named = {one.where.rpartition(" ")[2] for one in plan.problems if one.code == "conflict"}
        arrived: list[str] = []
        for action in plan.actions:
            outcome = next(one for one in result.outcomes if one.source_id == action.source_id)
            if action.verb is not Verb.CREATE:
                assert outcome.target_id == pairs[action.source_id]
            else:
                assert outcome.target_id in self.made
                assert not (action.armed and now[str(outcome.target_id)]["state"] != "disabled")
            if action.source_id in same and pairs[action.source_id] == self.known.get(action.source_id):
                assert action.verb is Verb.NONE, (action.name, action.reason, action.fields)
            if action.verb is not Verb.SKIP and outcome.status == "done":
                self.known[action.source_id] = str(outcome.target_id)
                arrived.append(action.source_id)
            if action.verb is Verb.UPDATE and outcome.status == "done":
                self.updated(str(action.target_id), action.steps, conflict is Conflict.UPDATE, named)
        pairs = {one.source_id: one.target_id for one in result.outcomes}
        # What did not change at the source since is left alone, however the target came to be edited meanwhile.
        self.written |= {ident: self.told(ident, pairs) for ident in arrived}
        for ident, one in before.items():
            if now[ident]["state"] != one["state"] and ident not in self.touched:
                assert now[ident]["state"] == "disabled"
                assert [Step.DISABLE in action.steps for action in plan.actions if action.target_id == ident] == [True]
        new = rig.target.armed_while_enabled[sightings:]
        assert {one.automation_id for one in new} - self.touched <= armed
        self.check_theirs()

    def told(self, ident: str, pairs: dict[str, str | None]) -> tuple[Any, ...]:
        return (self.in_archive[ident]["name"], *self.to_be(ident, pairs))

    def updated(self, ident: str, steps: tuple[Step, ...], said: bool, named: set[str]) -> None:
        """What an update takes from people: its fields where that was said and named, the state where it would arm."""
        theirs = self.theirs.get(ident)
        if theirs is None:
            return
        self.overwritten[ident] = dict(theirs)
        if Step.DISABLE in steps:
            theirs.pop("state", None)
        if said and ident in named:
            for field in WRITTEN:
                theirs.pop(field, None)

    def remembered(self) -> dict[str, str]:
        path, pair = self.folder / "ledger.jsonl", (self.rig.source.id, self.rig.target.id)
        entries = read_ledger(path, source_tenant=pair[0], target_tenant=pair[1])
        return {one.source_id: one.target_id for one in entries if one.kind is Kind.AUTOMATION}

    def armed(self) -> set[str]:
        return {
            ident
            for ident, one in self.rig.target.automations.items()
            if one["state"] == "available" and one["runMode"] != "manual"
        }

    def check_theirs(self) -> None:
        now = self.rig.target.automations
        for ident, values in self.theirs.items():
            seen = view(now[ident])
            assert {name: seen[name] for name in values} == values

    @precondition(lambda self: self.last_run)
    @rule()
    def roll_back(self) -> None:
        before, armed = dict(self.rig.target.automations), self.armed()
        sightings = len(self.rig.target.armed_while_enabled)
        result = rollback(self.rig, self.last_run)
        assert not result.failed
        now = self.rig.target.automations
        gone = before.keys() - now.keys()
        assert gone == {ident for ident in self.made & before.keys() if ident not in self.touched}
        # The ledger goes back to what was written before the run.
        self.written = {}
        self.known = {here: there for here, there in self.known.items() if there not in gone}
        for ident, values in self.overwritten.items():
            if ident not in self.touched:
                self.theirs[ident] = values
        assert {one.automation_id for one in self.rig.target.armed_while_enabled[sightings:]} <= armed
        self.check_theirs()
        self.last_run = ""

    def arrive_and_rest(self) -> None:
        """However it went: one more restore goes through, and the one after it writes nothing."""
        self.backup()
        self.restore(Conflict.SKIP)
        before = len(self.rig.target.writes)
        plan = self.rig.plan()
        assert not plan.writes
        result = self.rig.apply(plan, "last")
        assert not result.failed
        assert not {"created", "updated"} & {name for name, n in result.counts["automations"].items() if n}
        assert len(self.rig.target.writes) == before


def examine(examples: int, steps: int) -> None:
    """Run the machine from a fixed seed."""
    print(f"seed: {SEED}")
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(seed(SEED)(Machine), settings=chosen)


def test_model_agrees() -> None:
    """The short form: 30 stories of 14 events each."""
    examine(30, 14)


@pytest.mark.slow
def test_model_agrees_for_long() -> None:
    """400 stories of 30 events each."""
    examine(400, 30)
