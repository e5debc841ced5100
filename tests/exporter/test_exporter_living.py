"""A tenant that lives while it is backed up: by the bot, over loopback, to exit 0 and complete."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from motion import Motion, archive_of, balanced, names_in, requests_by_path

from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import Status


def seed(motion: Motion, count: int = 5) -> list[str]:
    """Automations A0, A1, …"""
    return [motion.create(f"A{index}") for index in range(count)]


def test_quiet_tenant_takes_the_least_requests(motion: Motion) -> None:
    """Two readings of the list, one detail an automation, each inventory once: no request more."""
    motion.tenant.add_synthetic(403, 500, owners=(motion.stage.source.users["ben"],))
    ended = motion.stage.backup()
    assert ended.code == 0
    assert ended.summary["complete"] is True
    assert balanced(motion.stage) == {"listed": 403, "captured": 403}
    assert requests_by_path(motion.tenant) == {
        "/oauth/token": 1,
        "/api/v1/tenants/me": 1,
        f"/api/v1/tenants/{motion.tenant.id}": 1,
        "/api/v1/users/me": 1,
        "/api/v1/users/{}": 1,
        "/api/workflows/automations": 3 * 2,
        "/api/workflows/automations/{}": 403,
        "/api/workflows/automation-connections": 1,
        "/api/workflows/automation-connections/{}": len(motion.tenant.connections),
        "/api/workflows/automation-connectors": 1,
        "/api/workflows/automations/settings": 1,
        "/api/v1/spaces": 1,
        "/api/v1/spaces/{}/assignments": 2,
        "/api/v1/users": 1,
        "/api/v1/items": 5,
    }
    assert all(one.query.get("listAll") == "true" for one in motion.tenant.seen if one.path.endswith("/automations"))
    assert not motion.tenant.writes


@pytest.mark.parametrize("round_", [2, 3, 4])
def test_newcomers_of_each_round_are_fetched(motion: Motion, round_: int) -> None:
    """What is created before any of the three later lists is in the archive."""
    seed(motion)
    for number in range(2, round_ + 1):
        motion.at_list(number, lambda number=number: motion.create(f"new {number}"))  # type: ignore[misc]
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert names_in(motion.stage)[5:] == [f"new {number}" for number in range(2, round_ + 1)]
    assert balanced(motion.stage)["captured"] == 5 + round_ - 1
    assert motion.lists == min(round_ + 1, 4)


def test_rounds_end(motion: Motion) -> None:
    """A tenant that never rests is listed four times in all, and what was listed is captured."""
    seed(motion)
    for number in range(2, 20):
        motion.at_list(number, lambda number=number: motion.create(f"new {number}"))  # type: ignore[misc]
    assert motion.stage.backup().code == 0
    assert motion.lists == 4
    assert balanced(motion.stage) == {"listed": 8, "captured": 8}


@pytest.mark.parametrize("foreign", [403, 404])
@pytest.mark.parametrize("round_", [1, 2, 3, 4])
def test_deleted_between_list_and_detail_is_vanished(
    make_motion: Callable[..., Motion], round_: int, foreign: int
) -> None:
    """A 404 on a detail that the next list does not name is no loss, whichever list named it last."""
    motion = make_motion(foreign_status=foreign)
    seed(motion)

    def fleeting() -> None:
        ident = motion.create("fleeting")
        motion.at_detail(ident, lambda: motion.delete(ident))

    for number in range(2, round_):
        motion.at_list(number, lambda: motion.create("stays") and None)
    motion.at_list(round_, fleeting)
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True), ended.of("problem")
    assert "fleeting" not in names_in(motion.stage)
    assert balanced(motion.stage)["vanished"] == 1
    assert "unreadable" not in balanced(motion.stage)
    assert "vanished" in ended.codes()


@pytest.mark.parametrize("round_", [2, 3, 4])
def test_deleted_after_its_document_was_read_is_vanished(motion: Motion, round_: int) -> None:
    """A captured automation that is gone at the end leaves the archive, its row too, and is named."""
    idents = seed(motion)
    for number in range(2, round_):
        motion.at_list(number, lambda: motion.create("stays") and None)
    motion.at_list(round_, lambda: motion.delete(idents[0]))
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert "A0" not in names_in(motion.stage)
    with archive_of(motion.stage) as archive:
        assert [note.id for note in archive.manifest.vanished] == [idents[0]]
        assert archive.manifest.vanished[0].name == "A0"
        from qlikmigrate.model.kind import Kind

        assert idents[0] not in {row.id for row in archive.rows(Kind.AUTOMATION)}
    balanced(motion.stage)


@pytest.mark.parametrize("round_", [2, 3, 4])
def test_edited_after_its_document_was_read_is_read_again(motion: Motion, round_: int) -> None:
    """Row and document of an automation that was saved meanwhile tell of the same save."""
    idents = seed(motion)
    for number in range(2, round_):
        motion.at_list(number, lambda: motion.create("stays") and None)
    motion.at_list(round_, lambda: motion.rename(idents[0], "renamed"))
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert "renamed" in names_in(motion.stage)
    assert "A0" not in names_in(motion.stage)
    balanced(motion.stage)


def test_edited_before_its_document_was_read_is_read_once(motion: Motion) -> None:
    """A document that is newer than its first row is not fetched twice."""
    idents = seed(motion)
    motion.at_detail(idents[0], lambda: motion.rename(idents[0], "renamed"))
    assert motion.stage.backup().code == 0
    assert "renamed" in names_in(motion.stage)
    asked = [one for one in motion.tenant.seen if one.method == "GET" and one.path.endswith(idents[0])]
    assert len(asked) == 1


def test_a_run_meanwhile_is_no_edit(motion: Motion) -> None:
    """Run data in a list row changes all night; no document is read again for it."""
    idents = seed(motion)
    motion.at_list(2, lambda: motion.tenant.run(idents[0]) and None)
    assert motion.stage.backup().code == 0
    assert requests_by_path(motion.tenant)["/api/workflows/automations/{}"] == 5


def test_edited_and_then_unreadable_keeps_the_older_document(motion: Motion) -> None:
    """A second reading that fails does not cost what is captured."""
    idents = seed(motion)

    def act() -> None:
        motion.rename(idents[0], "renamed")
        motion.tenant.faults.append(Fault(path=f"*/{idents[0]}", effect=Status(code=403), times=None))

    motion.at_list(2, act)
    assert motion.stage.backup().code == 0
    assert "A0" in names_in(motion.stage)
    assert balanced(motion.stage) == {"listed": 5, "captured": 5}


def test_everything_at_once(motion: Motion) -> None:
    """Creations, edits and deletions in every round and between lists and details end 0 and complete."""
    idents = seed(motion, 12)
    motion.at_detail(idents[0], lambda: motion.delete(idents[0]))
    for number in range(2, 5):

        def act(number: int = number) -> None:
            motion.create(f"new {number}")
            motion.rename(idents[number], f"renamed {number}")
            motion.delete(idents[number + 4])

        motion.at_list(number, act)
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True), ended.of("problem")
    assert names_in(motion.stage) == sorted(one["name"] for one in motion.tenant.automations.values())
    assert balanced(motion.stage) == {"listed": 15, "captured": 11, "vanished": 4}


def test_handed_over_meanwhile_keeps_what_was_read(make_motion: Callable[..., Motion]) -> None:
    """An automation that an ordinary user lost to somebody else after it was read stays in their snapshot."""
    motion = make_motion()
    stage = motion.stage
    ident = motion.create("mine")
    motion.create("other")
    write_key(motion, "ben")
    motion.at_list(2, lambda: hand_over(motion, ident, "cleo"))
    ended = stage.backup()
    assert ended.code == 0
    assert names_in(stage) == ["mine", "other"]
    balanced(stage)


def write_key(motion: Motion, first: str) -> None:
    """The tenants file with an API key of one person for the source."""
    stage = motion.stage
    stage.write_config()
    text = stage.config.read_text(encoding="utf-8")
    here = stage.source
    old = f'oauth = {{ client_id = "{here.bot[0]}", client_secret = "{here.bot[1]}" }}'
    assert old in text
    stage.config.write_text(text.replace(old, f'api_key = "{here.tenant.api_key(here.users[first])}"'), "utf-8")


def hand_over(motion: Motion, ident: str, first: str) -> None:
    """An administrator gives an automation to somebody else."""
    import json

    from qlikmigrate.kernel.message import Request

    here = motion.stage.source
    key = here.tenant.api_key(here.users["ada"])
    url = f"{here.tenant.base_url}/api/v1/automations/{ident}/actions/change-owner"
    body = json.dumps({"userId": here.users[first]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    reply = here.tenant.handle(Request(method="POST", url=url, headers=headers, body=body))
    assert reply.response.status == 204
