"""Backups that know of earlier ones: what must be read is read, nothing else is, and the snapshot is a full one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nights import Nights, least, nights
from stage import MAIL, bound_block, document, text_block

from qlikmigrate.api.endpoint import Limits
from qlikmigrate.kernel.event import Log
from qlikmigrate.model.inventory import entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.selection import parse_selectors
from qlikmigrate.model.snapshot import parse
from qlikmigrate.sandbox import BotConnections, Fault, Switches
from qlikmigrate.sandbox.fault import DropRows, Status

AUTOMATION = "/api/workflows/automations/{}"
CONNECTION = "/api/workflows/automation-connections/{}"


@pytest.fixture
def make_nights(tmp_path: Path) -> Iterator[Callable[..., Nights]]:
    """Makes tenants whose answers follow the given switches."""
    with ExitStack() as stack:
        yield lambda **switches: stack.enter_context(nights(tmp_path, **switches))


@pytest.fixture
def here(make_nights: Callable[..., Nights]) -> Nights:
    """Fourteen automations in a tenant with the default answers, backed up once: each night reads two of them anew."""
    made = make_nights()
    made.seed(14)
    made.backup()
    return made


def reread(nights: Nights, days: float = 1, **options: Any) -> list[str]:
    """The automations that another night asks for; its snapshot is as good as a full one."""
    night = nights.backup(days=days, **options)
    assert night.taken.manifest.complete
    assert night.taken.content() == nights.full().content()
    return night.asked_of(nights.ids)


@pytest.mark.parametrize("count", [40, 300])
def test_unchanged_tenant_takes_the_least_requests(make_nights: Callable[..., Nights], count: int) -> None:
    """The second night asks for lists as ever, and for the oldest seventh of own documents: no request more."""
    here = make_nights()
    here.seed(count)
    first = here.backup()
    assert (first.saved, len(first.asked_of(here.ids))) == (0, count)
    connections = len(here.tenant.connections)
    night = here.backup(days=1)
    pages = -(-count // 200)
    assert night.requests == {
        "/api/v1/tenants/me": 1,
        f"/api/v1/tenants/{here.tenant.id}": 1,
        "/api/v1/users/me": 1,
        "/api/v1/users/{}": 1,
        "/api/workflows/automations": 2 * pages,
        AUTOMATION: least(count),
        "/api/workflows/automation-connections": 1,
        CONNECTION: least(connections),
        "/api/workflows/automation-connectors": 1,
        "/api/workflows/automations/settings": 1,
        "/api/v1/spaces": 1,
        "/api/v1/spaces/{}/assignments": 2,
        "/api/v1/users": 1,
        "/api/v1/items": -(-count // 100),
    }
    assert night.asked_of(here.ids) == here.ids[: least(count)]
    assert night.saved == count - least(count) + connections - least(connections)
    assert night.taken.capture.requests["tier1"] == sum(night.requests.values())
    told = [one for one in night.events if isinstance(one, Log) and "saved" in one.message]
    assert [one.message.split()[0] for one in told] == [str(night.saved)]


@pytest.mark.slow
def test_ten_thousand_of_which_a_hundredth_changed(make_nights: Callable[..., Nights]) -> None:
    """The requests of a large tenant's second night are the least that the rule allows, to the last one."""
    here = make_nights()
    ids = here.tenant.add_synthetic(10_000, 2_000, owners=(here.motion.stage.source.users["ben"],))
    here.clock.advance(3600)
    here.backup()
    changed = sorted(ids)[::100]
    for ident in changed:
        here.motion.rename(ident, f"renamed {ident}")
    here.clock.advance(3600)
    night = here.backup(days=1)
    assert set(changed) <= set(night.asked)
    assert night.requests[AUTOMATION] == least(10_000, len(changed)) == 1429
    assert night.requests["/api/workflows/automations"] == 2 * 50
    assert night.taken.manifest.complete


def test_equal_tenants_give_equal_snapshots(here: Nights) -> None:
    """Not a byte of documents or manifest tells whether a document was read or taken over."""
    night = here.backup(days=1)
    full = here.full()
    assert night.saved
    assert night.taken.content() == full.content()
    assert night.taken.manifest == full.manifest


def test_without_earlier_snapshots_nothing_is_said_of_them(here: Nights) -> None:
    """An archive's backup reads all and counts nothing as saved."""
    assert "saved" not in here.full().capture.requests


def test_every_document_is_read_within_seven_nights(here: Nights) -> None:
    """The oldest go first: a week reads each once, two a night."""
    weeks = [reread(here) for _ in range(7)]
    assert [len(one) for one in weeks] == [2] * 7
    assert sorted(ident for night in weeks for ident in night) == here.ids


def test_what_must_be_read_counts(here: Nights) -> None:
    """Changed ones are read in the place of the oldest; only what is left of the seventh is filled up with those."""
    ids = here.ids
    here.motion.rename(ids[9], "renamed")
    here.clock.advance(60)
    assert reread(here) == [ids[0], ids[9]]
    for ident in ids[5:9]:
        here.motion.rename(ident, "renamed, too")
    here.clock.advance(60)
    assert reread(here) == ids[5:9]


def workspace(text: str) -> Any:
    """A workspace that shows `text`."""
    return document("x", text_block(1, text))["workspace"]


CHANGES: dict[str, Callable[[Nights, str], Any]] = {
    "renamed": lambda here, ident: here.motion.rename(ident, "renamed"),
    "rewritten": lambda here, ident: here.tenant.replace_workspace(ident, workspace("y")),
    "owner": lambda here, ident: here.act(ident, "change-owner", {"userId": here.motion.stage.source.users["cleo"]}),
    "space": lambda here, ident: here.act(ident, "change-space", {"spaceId": here.motion.stage.source.spaces["Ops"]}),
    "disabled": lambda here, ident: here.act(ident, "disable"),
    "token": lambda here, ident: renew_token(here, ident),
}  # fmt: skip


def renew_token(here: Nights, ident: str) -> None:
    """Another execution token, of the same length, without a save."""
    record = here.record(ident)
    record.token = record.token[::-1]
    record.touch()
    here.tenant._realm.changed()


@pytest.mark.parametrize("bumped", [True, False])
@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_changes_are_read(make_nights: Callable[..., Nights], change: str, filled: bool, bumped: bool) -> None:
    """Whatever a row tells of is read, workspace in the row or not, new update time or not; a second time not."""
    here = make_nights(list_workspace=filled, updates_on_state=bumped)
    ids = here.seed(14)
    here.backup()
    here.clock.advance(3600)
    CHANGES[change](here, ids[-1])
    here.clock.advance(60)
    assert reread(here) == [ids[0], ids[-1]]
    assert reread(here) == ids[1:3]


@pytest.mark.parametrize("filled", [True, False])
def test_runs_are_no_change(make_nights: Callable[..., Nights], filled: bool) -> None:
    """First and further runs of all automations leave every document where it is."""
    here = make_nights(list_workspace=filled)
    ids = here.seed(14)
    here.backup()
    for night in range(3):
        for ident in ids:
            here.tenant.run(ident)
        assert reread(here) == ids[2 * night : 2 * night + 2]


@pytest.mark.parametrize(("gap_s", "again"), [(0, True), (1, True), (1.9, True), (3, False), (60, False)])
@pytest.mark.parametrize("skew_h", [-30, 0, 30])
def test_saved_in_the_seconds_before_its_reading(here: Nights, gap_s: float, again: bool, skew_h: float) -> None:
    """A document read so soon after its save that another may share its time is read again, whatever our clock says."""
    here.skew = timedelta(hours=skew_h)
    ids = here.ids
    here.backup(full=True)
    here.motion.rename(ids[-1], "renamed")
    here.clock.advance(gap_s)
    assert ids[-1] in reread(here, days=0)
    assert (ids[-1] in reread(here, days=1)) is again
    assert ids[-1] not in reread(here, days=1)


def test_second_save_of_the_same_moment_is_not_lost(here: Nights) -> None:
    """Two saves with one update time, the backup between them: the row is the same, the second is read all the same."""
    ident = here.ids[-1]
    for text in ("first", "second"):
        here.tenant.replace_workspace(ident, workspace(text))
        here.backup()
    row = here.shelf.taken[-1].documents[Kind.AUTOMATION, ident, "row"]  # type: ignore[index]
    assert row.raw == here.shelf.taken[-2].documents[Kind.AUTOMATION, ident, "row"].raw  # type: ignore[index]
    here.tenant.replace_workspace(ident, workspace("third"))
    assert ident in reread(here)


def test_waiting_counts_for_the_document(make_nights: Callable[..., Nights]) -> None:
    """Throttled for half a minute, a backup does not take the date of the late answer for the moment of its reading."""
    here = make_nights()
    ids = here.seed(14)
    here.backup()
    here.motion.rename(ids[-1], "renamed")
    here.clock.advance(1)
    here.tenant.faults.append(Fault(path=f"*/{ids[-1]}", effect=Status(code=429, retry_after=30), times=1))
    here.backup()
    assert ids[-1] in reread(here)


@pytest.mark.parametrize(("gap_s", "again"), [(60, True), (3500, True), (3700, False)])
def test_without_the_servers_date(make_nights: Callable[..., Nights], gap_s: float, again: bool) -> None:
    """Where answers carry no date, our own clock is trusted to an hour."""
    here = make_nights(dates=False)
    ids = here.seed(14)
    here.backup()
    here.clock.advance(86_400)
    here.motion.rename(ids[-1], "renamed")
    here.clock.advance(gap_s)
    assert ids[-1] in reread(here, days=0)
    assert (ids[-1] in reread(here)) is again


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 32 Nov 2026 12:00:00 GMT"])
def test_a_date_that_is_none(here: Nights, date: str) -> None:
    """A proxy's nonsense in place of the date is as good as no date, and no error."""
    handle = here.tenant.handle

    def dated(request: Any) -> Any:
        from attrs import evolve

        reply = handle(request)
        return evolve(reply, response=evolve(reply.response, headers={**reply.response.headers, "date": date}))

    here.tenant.handle = dated
    here.motion.rename(here.ids[-1], "renamed")
    here.clock.advance(60)
    assert here.ids[-1] in reread(here, days=0)
    assert here.ids[-1] in reread(here)


def test_update_time_that_is_none(here: Nights) -> None:
    """A row whose update time cannot be read vouches for nothing: its document is read each night."""
    ident = here.ids[-1]
    here.record(ident).updated_at = "just now"
    here.record(ident).touch()
    assert [ident in reread(here) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(("days", "all_"), [(6.9, False), (7, True), (8, True), (-1, True)])
def test_age(here: Nights, days: float, all_: bool) -> None:
    """After seven days without a backup nothing is taken over, nor when our clock is found to be set back."""
    if days < 0:
        here.skew = timedelta(days=days)
        days = 0
    assert reread(here, days=days) == (here.ids if all_ else here.ids[:2])


def test_full_reads_all_and_selections_too(here: Nights) -> None:
    """`full` takes nothing over; a partial backup needs the documents, and the next whole one does not build on it."""
    assert reread(here, full=True) == here.ids
    chosen = parse_selectors(["name=A1*"], [], lambda _: [])
    night = here.backup(days=1, selectors=chosen)
    assert night.saved == 0
    assert night.asked_of(here.ids) == sorted(here.ids[index] for index in (1, 10, 11, 12, 13))
    assert len(reread(here)) == 2


def test_another_identity_knows_nothing(here: Nights) -> None:
    """What the bot read is not taken over by a person, who may see it otherwise."""
    key = here.tenant.api_key(here.motion.stage.source.users["ben"])
    night = here.backup(days=1, key=key)
    assert (night.saved, night.asked_of(here.ids)) == (0, here.ids)
    assert len(reread(here)) == 2


@pytest.mark.parametrize("round_", [2, 3])
def test_edited_between_the_lists_is_read(here: Nights, round_: int) -> None:
    """A document that the second list no longer vouches for is read, so that it goes with its row."""
    ids = here.ids
    here.tick_s = 0.05
    if round_ == 3:
        here.motion.at_list(2, lambda: here.motion.create("new"))
    here.motion.at_list(round_, lambda: here.motion.rename(ids[-1], "renamed"))
    assert ids[-1] in here.backup(days=1).asked
    assert parse(here.shelf.taken[-1].details()[ids[-1]].raw)["name"] == "renamed"
    here.clock.advance(60)
    assert ids[-1] in reread(here)
    assert ids[-1] not in reread(here)


def test_edited_before_its_reading_is_read_once(here: Nights) -> None:
    """A document newer than its first row goes with the second one: the next night takes it over."""
    ids = here.ids
    here.limits = Limits(tier1_per_minute=1_000_000, concurrency=1)
    here.motion.at_detail(ids[0], lambda: here.motion.rename(ids[1], "renamed") or here.clock.advance(10))
    assert here.backup(days=1).asked.count(ids[1]) == 1
    assert reread(here) == ids[2:4]


def test_newer_than_its_row_and_changed_again(make_nights: Callable[..., Nights]) -> None:
    """A document newer than its first row goes with the second one only if that tells of the same in every respect."""
    here = make_nights(updates_on_state=False)
    ids = here.seed(14)
    here.limits = Limits(tier1_per_minute=1_000_000, concurrency=1)
    here.motion.at_detail(ids[-2], lambda: here.motion.rename(ids[-1], "renamed") or here.clock.advance(10))
    here.motion.at_list(2, lambda: here.act(ids[-1], "disable"))
    here.backup()
    assert ids[-1] in reread(here)


def test_older_than_its_row_is_read_again(here: Nights) -> None:
    """A document from a part of the service that has not heard of the last save yet is not taken for the new one."""
    ident = here.ids[-1]
    old = here.record(ident).detail()
    here.motion.rename(ident, "renamed")
    here.clock.advance(60)
    lagging = [True]
    here.motion.bend(f"*/{ident}", lambda body: old if lagging else body)
    here.backup(days=1)
    lagging.clear()
    assert ident in reread(here)
    assert ident not in reread(here)


@pytest.mark.parametrize("late", [False, True])
def test_state_changed_without_a_time_is_read_by_the_next(make_nights: Callable[..., Nights], late: bool) -> None:
    """A row that changed between the lists while its update time did not: the document is that of one of the rows."""
    here = make_nights(updates_on_state=False)
    ids = here.seed(14)
    if late:
        # Taken over: the second list is enough to notice.
        here.backup()
    here.motion.at_list(2, lambda: here.act(ids[-1], "disable"))
    night = here.backup(days=1)
    state = parse(night.taken.details()[ids[-1]].raw)["state"]
    assert state == ("disabled" if late else "available")
    assert (ids[-1] in reread(here)) is not late


def test_deleted_between_the_lists_is_vanished(here: Nights) -> None:
    """A document that was taken over leaves the snapshot with its automation."""
    ids = here.ids
    here.motion.at_list(2, lambda: here.motion.delete(ids[-1]))
    night = here.backup(days=1)
    assert [note.id for note in night.taken.manifest.vanished] == [ids[-1]]
    assert ids[-1] not in night.taken.details()
    assert night.taken.manifest.complete
    assert not night.taken.carried
    assert len(reread(here)) == 2


def test_gone_and_back_is_read(here: Nights) -> None:
    """Once the tenant denied an automation, its older document is no longer taken over, though its row is the same."""
    ids = here.ids
    here.motion.bend_rows("/api/*/automations", lambda row, number: row["id"] != ids[-1] or number != 2)
    here.tenant.faults.append(Fault(path=f"*/{ids[-1]}", effect=Status(code=404), times=1))
    night = here.backup(days=1)
    assert night.asked.count(ids[-1]) == 2
    assert ids[-1] not in night.taken.ids(night.taken.reused)
    assert night.taken.manifest.complete


def test_left_out_by_a_later_list_is_had_for_the_question(here: Nights) -> None:
    """The answer that shows it is still there is kept in place of the older document."""
    ids = here.ids
    here.motion.bend_rows("/api/*/automations", lambda row, number: row["id"] != ids[-1] or number != 2)
    night = here.backup(days=1)
    assert night.asked.count(ids[-1]) == 1
    assert ids[-1] not in night.taken.ids(night.taken.reused)
    assert night.taken.details()[ids[-1]].read_at > here.shelf.taken[0].details()[ids[-1]].read_at


@pytest.mark.parametrize("nth", [1, 2])
def test_short_lists_lose_nothing(here: Nights, nth: int) -> None:
    """Rows dropped from either list: the snapshot is whole, and later nights are as thrifty as ever."""
    here.tenant.faults.append(Fault(path="/api/*/automations", effect=DropRows(5), nth=nth))
    night = here.backup(days=1)
    assert night.taken.manifest.complete
    assert night.taken.content() == here.full().content()
    assert len(reread(here)) == 2


def test_unlisted_one_is_read_each_night(here: Nights) -> None:
    """What only the item list names has no row that could vouch for it."""
    ids = here.ids
    here.motion.bend_rows("/api/*/automations", lambda row, number: row["id"] != ids[-1])
    for _ in range(3):
        night = here.backup(days=1)
        assert ids[-1] in night.asked
        assert night.taken.details()[ids[-1]].read_at == here.clock.now()
        assert len(night.asked_of(ids[:-1])) == least(13)


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("status", [403, 404, 500])
def test_refused_ones_are_carried(here: Nights, status: int, accepted: bool) -> None:
    """Changed and not to be had: honestly missing, the last good version kept findable, asked for every night."""
    ids = here.ids
    here.motion.rename(ids[-1], "renamed")
    fault = Fault(path=f"*/{ids[-1]}", effect=Status(code=status), times=None)
    here.tenant.faults.append(fault)
    here.limits = Limits(tier1_per_minute=1_000_000, timeout_s=1)
    for _ in range(2):
        night = here.backup(days=1, accept_unreadable=frozenset(ids[-1:]) if accepted else frozenset())
        assert night.taken.manifest.complete is (accepted and status != 500)
        assert night.taken.ids(night.taken.carried) == {ids[-1]}
        assert ids[-1] in night.asked
    here.tenant.faults.remove(fault)
    assert ids[-1] in reread(here)
    assert not here.shelf.taken[-1].carried
    assert ids[-1] not in reread(here)


def test_refused_in_its_turn_is_unreadable(here: Nights) -> None:
    """One of the oldest seventh that is refused now is not papered over by its older document."""
    ids = here.ids
    here.tenant.faults.append(Fault(path=f"*/{ids[0]}", effect=Status(code=403), times=None))
    night = here.backup(days=1)
    assert [note.id for note in night.taken.manifest.unreadable] == [ids[0]]
    assert night.taken.ids(night.taken.carried) == {ids[0]}


def test_edited_and_refused_keeps_what_the_first_row_vouched_for(here: Nights) -> None:
    """As for a document that was read: a second reading that fails does not cost the first."""
    ids = here.ids

    def act() -> None:
        here.motion.rename(ids[-1], "renamed")
        here.tenant.faults.append(Fault(path=f"*/{ids[-1]}", effect=Status(code=403), times=1))

    here.motion.at_list(2, act)
    night = here.backup(days=1)
    assert parse(night.taken.details()[ids[-1]].raw)["name"] == "A13"
    here.clock.advance(60)
    assert ids[-1] in reread(here)


def connections(here: Nights, count: int = 14) -> list[str]:
    """Mail connections of Ben, and an hour of quiet."""
    ben = here.motion.stage.source.users["ben"]
    made = [here.tenant.add_connection(MAIL, f"mail {number}", ben, connected=number > 0) for number in range(count)]
    here.clock.advance(3600)
    return made


def test_connections(make_nights: Callable[..., Nights]) -> None:
    """Their documents are taken over by the same rule: the oldest seventh, and what a row tells of."""
    here = make_nights()
    made = connections(here)
    every = sorted(here.tenant.connections)
    here.backup()
    assert here.backup(days=1).asked == every[: least(len(every))]
    assert here.api("PUT", f"/api/v1/automation-connections/{made[-1]}", {"name": "other"}, "ben") == 200
    here.tenant.consent(made[0])
    here.clock.advance(60)
    night = here.backup(days=1)
    assert {made[-1], made[0]} <= set(night.asked)
    assert len(night.asked) == least(len(every), 2)
    assert night.taken.content() == here.full().content()


def test_withheld_connections_are_carried(make_nights: Callable[..., Nights]) -> None:
    """A connection whose details are refused now: its row stands in, its last good version stays findable."""
    here = make_nights()
    made = connections(here)
    here.backup()
    here.tenant.switches = Switches(bot_connections=BotConnections.LIST_ONLY)
    assert here.api("PUT", f"/api/v1/automation-connections/{made[-1]}", {"name": "other"}, "ben") == 200
    night = here.backup(days=1)
    carried = night.taken.ids(night.taken.carried, Kind.CONNECTION)
    assert made[-1] in carried
    assert carried == set(night.asked)
    assert night.taken.manifest.complete


def test_bare_ones_and_secrets_are_told_as_if_read(make_nights: Callable[..., Nights]) -> None:
    """What the manifest says of workspaces does not depend on which were read tonight."""
    here = make_nights()
    ids = here.seed(14)
    here.tenant.replace_workspace(ids[-1], workspace("Authorization: Bearer ghp_0123456789abcdefghijABCDEFGHIJ456789"))
    here.motion.bend(f"*/{ids[-2]}", lambda body: body.replace(b'"workspace":', b'"hidden":'))
    here.clock.advance(60)
    here.backup()
    night = here.backup(days=1)
    assert {ids[-1], ids[-2]} <= night.taken.ids(night.taken.reused)
    codes = {one.code: one.where for one in night.taken.manifest.problems}
    assert codes["secret-in-workspace"] == ids[-1]
    assert codes["workspace-withheld"] == ids[-2]
    assert night.taken.manifest == here.full().manifest


def test_silent_changes_are_found_within_a_week(here: Nights) -> None:
    """A schedule that changed without a trace in the list is captured by the seventh night at the latest."""
    for ident in here.ids:
        here.record(ident).max_runs = 1
        here.record(ident).workspace = b'{"blocks":[],"variables":[],"silent":true}'
    for night in range(1, 8):
        here.backup(days=1)
        stale = [i for i, one in here.shelf.taken[-1].details().items() if parse(one.raw) != here.stored(i)]
        assert len(stale) == 14 - 2 * night


def test_a_document_that_binds_connections(here: Nights) -> None:
    """Handing over nulls bindings in the document: it is read, not guessed from its row."""
    (first, *_) = connections(here, 1)
    ident = here.tenant.add_automation(
        document("bound", bound_block(1, first, MAIL)), here.motion.stage.source.users["ben"]
    )
    here.clock.advance(60)
    here.backup()
    here.act(ident, "change-owner", {"userId": here.motion.stage.source.users["cleo"]})
    here.clock.advance(60)
    assert ident in reread(here)


def test_rows_and_documents_tell_of_the_same_object(here: Nights) -> None:
    """What stands in both is the same in both: a row can vouch for its document."""
    taken = here.backup(days=1).taken
    for ident, one in taken.details().items():
        row = taken.documents[Kind.AUTOMATION, ident, "row"]  # type: ignore[index]
        assert entity(Kind.AUTOMATION, parse(row.raw)) == entity(Kind.AUTOMATION, parse(one.raw))
