"""The history of an automation: each version once, absences told for what they are, real edits block by block."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stage import DAILY, EVERY_HOUR, bound_block, call_block, text_block
from timeline import NAMES, START, SURROUNDINGS, Timeline, automation, real_history

from qlikmigrate.cli.log import archives_in
from qlikmigrate.cli.output import Output
from qlikmigrate.cli.session import Session
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.difference import Change, Subject
from qlikmigrate.model.history import (
    Absence,
    Arrival,
    ContentKey,
    Entry,
    Labelled,
    Version,
    find_in_history,
    history,
    newest,
    token_hashes,
)
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Note, Scope, Selection
from qlikmigrate.model.snapshot import Snapshot

SESSION = Session(command="log", output=Output())


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    """Nothing taken yet."""
    return Timeline(tmp_path)


def entries(timeline: Timeline, ident: str = "a1", *, content_key: ContentKey | None = None) -> list[Entry]:
    """The history, read with one archive open at a time."""
    with ExitStack() as stack:
        return list(history(archives_in(SESSION, timeline.folder, stack), ident, content_key=content_key))


def told(found: list[Entry]) -> list[tuple[str, int, int]]:
    """What, the day it began, in how many snapshots."""
    return [
        (
            one.arrival.value if isinstance(one, Version) else one.reason.value,
            (one.first.taken_at - START).days,
            one.snapshots,
        )
        for one in found
    ]


def find(timeline: Timeline, wanted: str) -> str:
    """The id that is meant."""
    with ExitStack() as stack:
        return find_in_history(lambda: archives_in(SESSION, timeline.folder, stack), wanted)


def test_versions(timeline: Timeline) -> None:
    """Appearance, edits, and stretches in which nothing but runs and times changed."""
    other = automation("b2")
    timeline.take([other])
    for _ in range(2):
        timeline.take([other, automation("a1")])
    timeline.take([other, automation("a1", lastRunAt="2027", updatedAt="2027", description=None)])
    timeline.take([other, automation("a1", name="New", state="disabled", ownerId="u-ada", schedules=[DAILY])])
    timeline.take([other, automation("a1", name="New", state="disabled", ownerId="u-ada", schedules=[EVERY_HOUR])])
    found = entries(timeline)
    assert told(found) == [("appeared", 1, 3), ("changed", 4, 1), ("changed", 5, 1)]
    edited = found[1]
    assert isinstance(edited, Version)
    assert [one.id for one in edited.edits if one.id != "schedule"] == ["name", "state", "owner"]
    assert edited.automation.name == "New"
    assert edited.names_before is not None
    assert [one.name for one in (*edited.names_before, *edited.names)] == [
        "Ben Example",
        "Sales",
        "Ada Example",
        "Sales",
    ]
    assert isinstance(found[2], Version)
    assert {one.id for one in found[2].edits} == {"schedule"}
    assert told(entries(timeline, "b2")) == [("seen", 0, 6)]


def test_names_of_what_is_referred_to(timeline: Timeline) -> None:
    """Connections and called automations that a version uses have their names with it, then as now."""
    connection = "c1c1c1c1-0000-4000-8000-000000000001"
    mail = [*SURROUNDINGS, (Kind.CONNECTION, connection, {"id": connection, "name": "Old mail"})]
    callee = automation("callee", "Callee")
    timeline.take([automation("a1", workspace={"blocks": [bound_block(1, connection)]}), callee], surroundings=mail)
    timeline.take([automation("a1", workspace={"blocks": [call_block(1, "callee")]}), callee])
    first, second = entries(timeline)
    assert isinstance(first, Version)
    assert isinstance(second, Version)
    assert {one.name for one in first.names} == {"Ben Example", "Sales", "Old mail"}
    assert {one.name for one in second.names} == {"Ben Example", "Sales", "Callee"}


def test_absences(timeline: Timeline) -> None:
    """Unreadable and gone are two things; each return is told, with the edits of the time between."""
    held, other = automation("a1", "Mine"), automation("b2")
    lost = Note(kind=Kind.AUTOMATION, id="a1", name="Mine", reason="answered with 403")
    timeline.take([held, other])
    for _ in range(2):
        timeline.take([other], listed=[held], complete=False, unreadable=(lost,))
    timeline.take([held, other])
    timeline.take([other])
    timeline.take([other], vanished=(Note(kind=Kind.AUTOMATION, id="a1"),), complete=False)
    timeline.take([automation("a1", "Mine", state="disabled"), other])
    found = entries(timeline)
    assert told(found) == [
        ("seen", 0, 1), ("unreadable", 1, 2), ("returned", 3, 1), ("gone", 4, 2), ("returned", 6, 1),
    ]  # fmt: skip
    assert isinstance(found[1], Absence)
    assert (found[1].why, (found[1].last.taken_at - START).days) == ("answered with 403", 2)
    assert isinstance(found[2], Version)
    assert found[2].edits == ()
    assert isinstance(found[4], Version)
    assert [one.id for one in found[4].edits] == ["state"]


def test_unreadable_from_the_start(timeline: Timeline) -> None:
    """It is known all the same, and its first version does not claim to be new."""
    lost = Note(kind=Kind.AUTOMATION, id="a1", reason="403")
    timeline.take([])
    timeline.take([], listed=[automation("a1", "Mine")], unreadable=(lost,), complete=False)
    assert find(timeline, "a1") == find(timeline, "Mine") == "a1"
    assert told(entries(timeline)) == [("unreadable", 1, 1)]
    timeline.take([automation("a1", "Mine")])
    assert told(entries(timeline)) == [("unreadable", 1, 1), ("seen", 2, 1)]


@pytest.mark.parametrize(
    "silent",
    [
        {"complete": False},
        {"selection": Selection(include=("name=other",))},
        {"scope": Scope.IDENTITY, "identity": "somebody"},
        {"tenant": TenantFacts(id="t2", name="Other")},
    ],
    ids=["incomplete", "partial", "own view", "other tenant"],
)
def test_silence_is_no_news(silent: dict[str, Any], timeline: Timeline) -> None:
    """Snapshots that could not, or were not to, show it neither end a version nor make it new."""
    timeline.take([], **silent)
    timeline.take([automation("a1")])
    timeline.take([], **silent)
    timeline.take([automation("a1")])
    assert told(entries(timeline)) == [("seen", 1, 2)]


def test_one_identity_s_own_list(timeline: Timeline) -> None:
    """What an identity's own view had and has no more is gone from it."""
    view = {"scope": Scope.IDENTITY, "identity": "me"}
    timeline.take([], **view)
    timeline.take([automation("a1")], **view)
    timeline.take([], **view)
    assert told(entries(timeline)) == [("appeared", 1, 1), ("gone", 2, 1)]


def test_made_anew(timeline: Timeline) -> None:
    """After a deletion, new automations of its name are named, however late; a namesake that was there is not."""
    twin = automation("twin", "Mine")
    timeline.take([automation("a1", "Mine"), twin])
    timeline.take([twin])
    timeline.take([twin, automation("new", "Other")])
    timeline.take([twin, automation("new", "Other"), automation("again", "Mine")])
    timeline.take([twin, automation("again", "Mine")])
    gone = entries(timeline)[-1]
    assert isinstance(gone, Absence)
    assert (gone.successors, gone.snapshots) == (("again",), 4)


def test_finding(timeline: Timeline) -> None:
    """By id, by the beginning of one, by a name that it had once; what means several is refused with their ids."""
    one, two = "aaaaaaaa-1111", "aaaaaaaa-2222"
    timeline.take([automation(one, 'Old "name"'), automation(two, "Re-used")])
    timeline.take([automation(one, "Näme"), automation("bbbbbbbb-3333", "Re-used")])
    assert find(timeline, one.upper()) == one
    assert find(timeline, "aaaaaaaa-1") == one
    assert find(timeline, "BBBBBBBB") == "bbbbbbbb-3333"
    assert find(timeline, 'Old "name"') == find(timeline, "Näme") == one
    with pytest.raises(UsageError, match=r"aaaaaaaa-2222 \(2026-03-01 to 2026-03-01\), bbbbbbbb-3333 \(2026-03-02"):
        find(timeline, "Re-used")
    with pytest.raises(UsageError, match="meant 2"):
        find(timeline, "aaaaaaaa")
    for wanted in ("aaaaaaa", "re-used", "nobody", "", "\ud800"):
        with pytest.raises(UsageError, match="no automation"):
            find(timeline, wanted)


def test_newest(timeline: Timeline) -> None:
    """Newest first, so many, from a time on."""
    for number in range(4):
        timeline.take([automation("a1", str(number))])
    found = entries(timeline)
    assert told(newest(found)) == [("changed", 3, 1), ("changed", 2, 1), ("changed", 1, 1), ("seen", 0, 1)]
    assert newest(found, limit=1) == found[-1:]
    assert newest(found, since=START + timedelta(days=2)) == found[:1:-1]
    assert newest(found, since=START + timedelta(days=9)) == []


def test_token_hashes(timeline: Timeline) -> None:
    """Of each automation one."""
    timeline.take([automation("a1"), automation("b2")])
    with timeline.open() as archive:
        assert len(token_hashes(archive)) == 2


def blocks_of(workspace: dict[str, Any]) -> dict[str, Any]:
    """Id → block."""
    return {block["id"]: block for block in workspace["blocks"]}


@pytest.mark.parametrize("name", NAMES)
def test_real_histories(name: str, shared: Path, timeline: Timeline) -> None:
    """Of real edits, added and removed blocks are told exactly, none of a block that is the same, each version once."""
    workspaces = real_history(shared, name)
    assert len(workspaces) >= 3
    for workspace in workspaces:
        # Two nights each: a version is told once.
        for _ in range(2):
            timeline.take([automation("a1", name, workspace=workspace), automation("b2")])
    found = entries(timeline)
    assert told(found)[0] == ("seen", 0, 2)
    assert told(found)[1:] == [("changed", 2 * number, 2) for number in range(1, len(workspaces))]
    for number, version in enumerate(found[1:], start=1):
        assert isinstance(version, Version)
        before, after = (blocks_of(one) for one in workspaces[number - 1 : number + 1])
        edits = [one for one in version.edits if one.subject is Subject.BLOCK]
        assert Counter(one.id for one in edits if one.change is Change.ADDED) == Counter(after.keys() - before.keys())
        assert Counter(one.id for one in edits if one.change is Change.REMOVED) == Counter(before.keys() - after.keys())
        changed = {one.id for one in edits if one.change is Change.CHANGED}
        assert all(before[ident] != after[ident] for ident in changed)
        same = {ident for ident in before.keys() & after.keys() if before[ident] == after[ident]}
        assert not same & changed
        assert version.blocks == len(after)


class Counting:
    """Snapshots that count what is read of them, and refuse it once the next one is asked for."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.details = 0
        self.rows = 0

    def __call__(self) -> Iterator[Labelled]:
        counting = self
        with ExitStack() as stack:
            for label, snapshot in archives_in(SESSION, self.timeline.folder, stack):

                class Watched:
                    """One of them."""

                    def __getattr__(self, name: str, snapshot: Snapshot = snapshot) -> Any:
                        counting.details += name == "detail"
                        counting.rows += name == "rows"
                        return getattr(snapshot, name)

                yield label, Watched()  # type: ignore[misc]


STATES = st.lists(
    st.none() | st.tuples(st.sampled_from(["available", "disabled"]), st.sampled_from(["x", "y"])),
    min_size=1,
    max_size=7,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(states=STATES)
def test_content_keys_change_nothing_but_the_work(
    states: list[tuple[str, str] | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With keys the same history comes out, and a document is read only where it changed; ids are found without any."""
    timeline = Timeline(tmp_path_factory.mktemp("keys"))
    for state in states:
        one = (
            None if state is None else automation("a1", state=state[0], workspace={"blocks": [text_block(1, state[1])]})
        )
        timeline.take([one] if one else [])
    days = {f"{START + timedelta(days=day):%Y%m%d}": state for day, state in enumerate(states)}

    def key(snapshot: Snapshot, ident: str) -> Hashable | None:
        assert ident == "a1"
        return days[f"{snapshot.capture.started_at:%Y%m%d}"]

    with_keys, without = Counting(timeline), Counting(timeline)
    found = list(history(with_keys(), "a1", content_key=key))
    assert found == list(history(without(), "a1"))
    held = [state for state in states if state is not None]
    assert without.details == len(held)
    assert with_keys.details == sum(1 for at, state in enumerate(held) if at == 0 or held[at - 1] != state)
    # The laws of a history: stretches follow one another, and neighbours differ.
    assert sum(one.snapshots for one in found) == len(states) - next(
        (n for n, s in enumerate(states) if s), len(states)
    )
    for one, other in itertools.pairwise(found):
        assert one.last.taken_at < other.first.taken_at
        assert not (isinstance(one, Absence) and isinstance(other, Absence))
        assert isinstance(one, Absence) or isinstance(other, Absence) or other.edits
    if held:
        looking = Counting(timeline)
        assert find_in_history(looking, "a1") == "a1"
        assert looking.details == looking.rows == 0
    arrivals = [one.arrival for one in found if isinstance(one, Version)]
    assert arrivals[:1] == ([] if not held else [Arrival.SEEN if states[0] else Arrival.APPEARED])
