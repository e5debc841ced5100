"""Lists that lie: short, repeating, expired, broken. None ends 0 with something missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from motion import LIST, Motion, balanced, names_in
from test_exporter_living import write_key

from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import DropRows, ExpireCursor, HtmlOk, RepeatPage, Status, Truncate

Hides = Callable[[dict[str, Any], int], bool]


def seed(motion: Motion, count: int = 5) -> list[str]:
    """Automations A0, A1, …"""
    return [motion.create(f"A{index}") for index in range(count)]


@pytest.mark.parametrize("count", [1, 3, 100])
@pytest.mark.parametrize("nth", [1, 2])
def test_one_short_list_loses_nothing(motion: Motion, nth: int, count: int) -> None:
    """Rows dropped from the first or the second list, even all of them, are found by the others."""
    seed(motion)
    motion.tenant.faults.append(Fault(path=LIST, effect=DropRows(count), nth=nth))
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert len(names_in(motion.stage)) == 5
    balanced(motion.stage)


def test_list_that_is_always_short_is_found_by_the_items(motion: Motion) -> None:
    """What no list of automations names and the item list does is captured, row and document, and told."""
    idents = seed(motion)
    motion.bend_rows(LIST, lambda row, number: row["id"] != idents[2])
    ended = motion.stage.backup()
    assert ended.code == 0
    assert names_in(motion.stage) == [f"A{index}" for index in range(5)]
    assert [line["where"] for line in ended.of("problem") if line["code"] == "list-was-short"] == [idents[2]]
    assert [row["name"] for row in motion.stage.cli("list", motion.stage.folder / "a.qma").of("item")].count("A2") == 1


@pytest.mark.parametrize("first", [2, 3, 4])
def test_lists_short_from_then_on_lose_nothing(motion: Motion, first: int) -> None:
    """An automation that later lists leave out, but that is there when asked for, stays captured."""
    idents = seed(motion)
    for number in range(2, first):
        motion.at_list(number, lambda: motion.create("stays") and None)
    motion.bend_rows(LIST, lambda row, number: row["id"] != idents[2] or number < first)
    ended = motion.stage.backup()
    assert ended.code == 0
    assert "A2" in names_in(motion.stage)
    assert "vanished" not in balanced(motion.stage)


HIDES: list[Hides] = [
    lambda row, number: number != 1,
    lambda row, number: number != 2,
    lambda row, number: number < 2,
    lambda row, number: number < 3,
    lambda row, number: number % 2 == 0,
    lambda row, number: number % 2 == 1,
]


@pytest.mark.parametrize("hides", HIDES, ids=["first", "second", "from-second", "from-third", "odd", "even"])
@pytest.mark.parametrize("foreign", [403, 404])
def test_unreadable_one_in_a_short_list_is_no_vanished_one(
    make_motion: Callable[..., Motion], hides: Hides, foreign: int
) -> None:
    """What exists and cannot be read is missing from the archive, so no list that leaves it out makes that exit 0."""
    motion = make_motion(foreign_status=foreign)
    idents = seed(motion)
    motion.tenant.faults.append(Fault(path=f"*/automations/{idents[2]}", effect=Status(code=foreign), times=None))
    motion.bend_rows(LIST, lambda row, number: row["id"] != idents[2] or hides(row, number))
    ended = motion.stage.backup()
    if foreign == 404 and hides is HIDES[2]:
        # Listed once and then never again, and 404: nobody can tell it from a deletion. It is named all the same.
        assert "vanished" in ended.codes()
        return
    assert (ended.code, ended.summary["complete"]) == (3, False)
    assert idents[2] in {line["where"] for line in ended.of("problem") if line["code"] == "unreadable"}
    assert balanced(motion.stage) == {"listed": 5, "captured": 4, "unreadable": 1}


def test_unlisted_unreadable_item_is_named(motion: Motion) -> None:
    """An automation that only the item list names and that answers 403 makes the snapshot incomplete."""
    idents = seed(motion)
    motion.bend_rows(LIST, lambda row, number: row["id"] != idents[2])
    motion.tenant.faults.append(Fault(path=f"*/automations/{idents[2]}", effect=Status(code=403), times=None))
    ended = motion.stage.backup()
    assert ended.code == 3
    assert any(line["where"] == idents[2] and "A2" in line["message"] for line in ended.of("problem"))


def test_item_of_a_deleted_automation_is_no_loss(motion: Motion) -> None:
    """An item list that lags behind deletions does not spoil a backup."""
    seed(motion)
    ben = motion.stage.source.users["ben"]
    motion.tenant.add_item("automation", "long gone", ben, resource_id="0f0f0f0f-0000-4000-8000-000000000000")
    assert motion.stage.backup().code == 0
    assert balanced(motion.stage) == {"listed": 5, "captured": 5}


def test_short_list_of_a_partial_backup_is_found_by_the_items(motion: Motion) -> None:
    """The second count serves a selection, too."""
    idents = seed(motion)
    motion.bend_rows(LIST, lambda row, number: row["id"] != idents[2])
    assert motion.stage.backup("a.qma", "--include", "name=A[12]").code == 0
    assert names_in(motion.stage) == ["A1", "A2"]


@pytest.mark.parametrize(
    "effect",
    [RepeatPage(), ExpireCursor(), Truncate(0.5), HtmlOk(), Status(code=403), Status(code=401), Status(code=500)],
    ids=["repeat", "expire", "truncate", "html", "403", "401", "500"],
)
@pytest.mark.parametrize("nth", [1, 2, 4, 6])
@pytest.mark.parametrize("times", [1, None])
def test_broken_page(motion: Motion, effect: Any, nth: int, times: int | None) -> None:
    """A page that goes wrong once is read anew or ends the backup; one that stays wrong ends it. Nothing is lost."""
    seed(motion)
    motion.page_size = 2
    motion.tenant.faults.append(Fault(method="GET", path=LIST, effect=effect, nth=nth, times=times))
    ended = motion.stage.backup()
    if ended.code == 0:
        # Cursors that expire are none on a first page; a last page has no link to bend.
        assert times == 1 or (nth == 6 and isinstance(effect, RepeatPage | ExpireCursor))
        assert balanced(motion.stage) == {"listed": 5, "captured": 5}
        return
    assert not (motion.stage.folder / "a.qma").exists()
    expected = {403: 20, 401: 20, 500: 1}.get(getattr(effect, "code", 0), 1)
    assert ended.code == (3 if isinstance(effect, RepeatPage | ExpireCursor) else expected)
    assert ended.error["message"]


@pytest.mark.parametrize(
    "kind", ["automation-connections", "automation-connectors", "spaces", "users"], ids=lambda kind: kind
)
@pytest.mark.parametrize(("status", "code"), [(401, 20), (403, 20), (500, 1)])
def test_inventory_that_cannot_be_listed_ends_the_backup(motion: Motion, kind: str, status: int, code: int) -> None:
    """A list that a restore needs is whole or there is no archive."""
    seed(motion, 1)
    motion.tenant.faults.append(Fault(path=f"/api/*/{kind}", effect=Status(code=status), times=None))
    assert motion.stage.backup().code == code
    assert not (motion.stage.folder / "a.qma").exists()


def test_items_that_cannot_be_listed_are_a_warning(motion: Motion) -> None:
    """Without items ids have no names; the automations are captured all the same."""
    seed(motion)
    motion.tenant.faults.append(Fault(path="/api/v1/items", effect=Status(code=403), times=None))
    ended = motion.stage.backup()
    assert (ended.code, "items-unreadable" in ended.codes()) == (0, True)


def test_connectors_that_do_not_exist_are_a_warning(motion: Motion) -> None:
    """A tenant without a list of connectors (404) is backed up: connectors are known by their ids."""
    seed(motion)
    motion.tenant.faults.append(Fault(path="/api/*/automation-connectors", effect=Status(code=404), times=None))
    ended = motion.stage.backup()
    assert (ended.code, "connectors-unreadable" in ended.codes()) == (0, True)


@pytest.mark.parametrize("row", [{"name": "nameless"}, {"id": 7}, {"id": ""}, "text", None])
def test_row_without_an_id_makes_it_incomplete(motion: Motion, row: Any) -> None:
    """A row that nobody can name may be an automation that is not captured."""
    seed(motion)

    def bend(body: bytes) -> bytes:
        page = json.loads(body)
        return json.dumps(page | {"data": [*page["data"], row]}).encode()

    motion.bend(LIST, bend)
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"], "row-without-id" in ended.codes()) == (3, False, True)


def test_empty_tenant_is_complete(motion: Motion) -> None:
    """No automations: an archive of none."""
    assert motion.stage.backup().code == 0
    assert balanced(motion.stage) == {}


def test_ordinary_user_is_not_tenant_wide(motion: Motion) -> None:
    """Their list is silently partial: scope identity, and a warning; what they own is complete."""
    motion.create("hers", "cleo")
    motion.create("his", "ben")
    write_key(motion, "cleo")
    ended = motion.stage.backup()
    assert (ended.code, ended.codes() & {"not-tenant-wide"}) == (0, {"not-tenant-wide"})
    assert names_in(motion.stage) == ["hers"]
    assert scope_in(motion) == "identity"


def test_bot_is_tenant_wide(motion: Motion) -> None:
    """The bot with `admin.automations` sees all, and says so."""
    seed(motion)
    ended = motion.stage.backup()
    assert "not-tenant-wide" not in ended.codes()
    assert scope_in(motion) == "tenant"


def test_bot_without_the_scope_is_not_tenant_wide(motion: Motion) -> None:
    """A bot is an administrator by role, but its lists hold what its token's scopes say."""
    seed(motion)
    here = motion.stage.source
    here.bot = here.tenant.oauth_client("m2m", scopes=("user_default", "admin_classic", "automations"))
    motion.stage.write_config()
    ended = motion.stage.backup()
    assert "not-tenant-wide" in ended.codes()
    assert scope_in(motion) == "identity"


def scope_in(motion: Motion) -> str:
    """The scope that the archive's manifest states."""
    from motion import archive_of

    with archive_of(motion.stage) as archive:
        return archive.manifest.scope.value
