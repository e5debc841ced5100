"""Spaces that a restore creates: with description, people, roles and owner as far as the target has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from ground import make_ground
from rig import Rig

from qlikmigrate.importer.plan import Verb
from qlikmigrate.kernel.event import Severity
from qlikmigrate.sandbox import Fault, Status


def space(rig: Rig, name: str) -> dict[str, Any]:
    (found,) = [one for one in rig.target.spaces.values() if one["name"] == name]
    return found


def members(rig: Rig, space_id: str) -> dict[str, tuple[str, ...]]:
    return {
        one["assigneeId"]: tuple(one["roles"]) for one in rig.target.assignments.values() if one["spaceId"] == space_id
    }


def user(rig: Rig, name: str) -> str:
    return next(ident for ident, one in rig.target.users.items() if one["name"] == name)


@pytest.mark.parametrize("impersonate", [True, False], ids=["impersonate", "transfer"])
def test_space_comes_with_description_members_and_owner(tmp_path: Path, impersonate: bool) -> None:
    """Mapped people have their roles, the mapped owner owns it, and its automations live in it."""
    rig = make_ground(tmp_path, impersonate=impersonate)
    result = rig.apply(rig.plan())
    made = space(rig, "Marketing")
    assert made["description"] == "Campaigns"
    assert made["ownerId"] == user(rig, "Cleo Example")
    assert members(rig, made["id"]) == {rig.ben_there: ("facilitator", "producer")}
    inside = {one["name"] for one in rig.target.automations.values() if one["spaceId"] == made["id"]}
    assert inside == {"mailer", "nightly"}
    assert result.counts["spaces"] == {"selected": 1, "created": 1, "failed": 0}


def test_who_cannot_come_is_told(tmp_path: Path) -> None:
    """A member without a counterpart is a warning, a group a task; neither stops anything."""
    problems = {one.code: one for one in make_ground(tmp_path).plan().problems}
    assert problems["space-member-missing"].severity is Severity.WARNING
    assert problems["space-group-left"].severity is Severity.TODO
    assert "consumer" in problems["space-group-left"].message


def test_fallback_owner_becomes_nobodys_member(tmp_path: Path) -> None:
    """Who stands in for lost owners gets no roles of lost members."""
    rig = make_ground(tmp_path)
    rig.options = evolve(rig.options, fallback_owner="Cleo Example")
    (planned,) = rig.plan().spaces
    assert {one.assignee_id for one in planned.members} == {rig.ben_there}


def test_space_that_appeared_is_used_and_members_are_completed(tmp_path: Path) -> None:
    """409 for the name and for a member: taken as they are."""
    rig = make_ground(tmp_path)
    plan = rig.plan()
    plain = rig.target.handle

    def meddle(request: Any) -> Any:
        if request.method == "POST" and request.url.endswith("/api/v1/spaces"):
            there = rig.target.add_space("Marketing", owner=user(rig, "Cleo Example"))
            rig.target.add_member(there, rig.ben_there, ("producer",))
        return plain(request)

    rig.handler = meddle
    assert rig.apply(plan).failed == 0
    assert members(rig, space(rig, "Marketing")["id"]) == {rig.ben_there: ("producer",)}


def test_member_that_is_refused_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    """400 for an assignment: a warning, and everything else is done."""
    rig = make_ground(tmp_path, impersonate=False)
    rig.target.faults.append(Fault(effect=Status(code=400), method="POST", path="*/assignments"))
    plan = rig.plan()
    result = rig.apply(plan)
    assert result.failed == 0
    assert [one.severity for one in result.problems if one.code == "space-member-failed"] == [Severity.WARNING]
    assert members(rig, space(rig, "Marketing")["id"]) == {}
    rig.apply(plan)
    assert members(rig, space(rig, "Marketing")["id"]) == {rig.ben_there: ("facilitator", "producer")}


def test_owner_that_is_refused_is_a_problem(tmp_path: Path) -> None:
    """The space stays with its creator, and that is said."""
    rig = make_ground(tmp_path, impersonate=False)
    rig.target.faults.append(Fault(effect=Status(code=403), method="PUT", path="/api/v1/spaces/*"))
    result = rig.apply(rig.plan())
    assert result.failed == 0
    assert "space-owner-failed" in {one.code for one in result.problems}


def test_without_the_flag_it_is_an_error_and_waived_it_is_left_out(tmp_path: Path) -> None:
    """`space-missing` refuses; waived, the automations of that space are skipped, and nothing lands elsewhere."""
    rig = make_ground(tmp_path)
    rig.options = evolve(rig.options, create_spaces=False)
    assert rig.plan().refused
    rig.options = evolve(rig.options, allow=("space-missing",))
    plan = rig.plan()
    assert not plan.refused
    assert {one.name: one.code for one in plan.actions if one.verb is Verb.SKIP} == {
        "mailer": "space-missing",
        "nightly": "space-missing",
    }
    rig.apply(plan)
    assert not {"mailer", "nightly"} & {one["name"] for one in rig.target.automations.values()}


@pytest.mark.parametrize("name", ["a/b", "what?", " ", "x" * 257])
def test_name_that_the_service_refuses(name: str) -> None:
    """Told before the first write, by the rules that the API documents."""
    from qlikmigrate.importer.space_plan import flaw_of

    assert flaw_of(name)
    assert not flaw_of("Sales & more (EU)")
