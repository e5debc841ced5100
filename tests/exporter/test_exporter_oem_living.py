"""An OEM account that lives while it is backed up: to exit 0 and complete, in any round."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import define, field
from oem_stage import OemStage

from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import read_holding
from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import DropRows, Status

Act = Callable[[], object]


@define
class Motion:
    """Something happens right before the model account's automations are listed for the nth time, or one is read."""

    stage: OemStage
    lists: int = 0
    at_list: dict[int, Act] = field(factory=dict)
    at_detail: dict[str, Act] = field(factory=dict)

    def hook(self, method: str, path: str) -> None:
        """Called before each request is answered."""
        parts = path.split("/")
        if parts[-1] == "blends" and parts[3] == self.stage.partner.model:
            self.lists += 1
            self.at_list.pop(self.lists, lambda: None)()
        elif parts[-2] == "blends":
            self.at_detail.pop(parts[-1], lambda: None)()

    def add(self, name: str) -> str:
        """A new automation in the model account."""
        return self.stage.service.add_blend(self.stage.partner.model, name)

    def remove(self, ident: str) -> None:
        """An automation of the model account goes."""
        del self.stage.service.account("model").blends[ident]


@pytest.fixture
def motion(make_oem_stage: Callable[..., OemStage]) -> Motion:
    """The service as its pages have it: a list is one request."""
    stage = make_oem_stage()
    motion = Motion(stage)
    stage.before = motion.hook
    return motion


@pytest.mark.parametrize("round_", [2, 3, 4])
def test_newcomers_of_each_round_are_fetched(motion: Motion, round_: int) -> None:
    """What comes before any of the three later lists is in the archive."""
    made: list[str] = []
    for number in range(2, round_ + 1):
        motion.at_list[number] = lambda number=number: made.append(motion.add(f"new {number}"))  # type: ignore[misc]
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert len(made) == round_ - 1
    assert set(made) <= motion.stage.ids(Kind.AUTOMATION)
    assert ended.automations == {"listed": 21 + round_, "captured": 21 + round_}


def test_rounds_end(motion: Motion) -> None:
    """An account that never rests is listed four times in all."""
    for number in range(2, 20):
        motion.at_list[number] = lambda number=number: motion.add(f"new {number}")  # type: ignore[misc]
    assert motion.stage.backup().code == 0
    assert motion.lists == 4


@pytest.mark.parametrize("round_", [2, 3, 4])
def test_what_goes_is_vanished(motion: Motion, round_: int) -> None:
    """Captured and then gone: it leaves the archive, its row and its place in the account too, and is named."""
    ident = motion.stage.partner.automations["Status board"]
    for number in range(2, round_):
        motion.at_list[number] = lambda number=number: motion.add(f"new {number}")  # type: ignore[misc]
    motion.at_list[round_] = lambda: motion.remove(ident)
    ended = motion.stage.backup()
    assert (ended.code, ended.summary["complete"], "vanished" in ended.codes()) == (0, True, True)
    with motion.stage.archive() as archive:
        assert [note.id for note in archive.manifest.vanished] == [ident]
        assert ident not in {row.id for row in archive.rows(Kind.AUTOMATION)}
        assert ident not in read_holding(archive).automations


def test_gone_between_list_and_detail_is_vanished(motion: Motion) -> None:
    """A 400 on a detail that the next list does not name is no loss."""
    ident = motion.stage.partner.automations["Status board"]
    motion.at_detail[ident] = lambda: motion.remove(ident)
    ended = motion.stage.backup()
    assert (ended.code, ended.automations) == (0, {"listed": 22, "captured": 21, "vanished": 1})


def test_changed_after_it_was_read_is_read_again(motion: Motion) -> None:
    """Row and document tell of the same save."""
    ident = motion.stage.partner.automations["Status board"]

    def rename() -> None:
        motion.stage.service.blend(ident).name = "renamed"

    motion.at_list[2] = rename
    assert motion.stage.backup().code == 0
    with motion.stage.archive() as archive:
        assert read_holding(archive).automations[ident].name == "renamed"


def test_a_list_that_is_short_is_not_believed(motion: Motion) -> None:
    """What a later list leaves out and what exists all the same stays, with a warning."""
    # The list before it takes two requests: twenty rows may be a full page.
    motion.stage.service.faults.append(Fault(path="*/blends", effect=DropRows(2), nth=3, times=1))
    ended = motion.stage.backup()
    assert (ended.code, ended.automations) == (0, {"listed": 22, "captured": 22})
    assert "list-was-short" in ended.codes()


def test_children_that_only_their_bundle_names_are_read(motion: Motion) -> None:
    """Where the list says nothing of a bundle's children, its own answer does."""

    def bend(path: str, value: object) -> object:
        rows = value.get("data") if isinstance(value, dict) and path.endswith("/blends") else None
        for row in rows or ():
            row.pop("sub_blends", None)
        return value

    motion.stage.bend = bend
    ended = motion.stage.backup()
    assert (ended.code, ended.automations) == (0, {"listed": 22, "captured": 22})
    assert "list-was-short" not in ended.codes()


def test_an_account_that_comes_or_goes(motion: Motion) -> None:
    """Of all accounts: a new one is taken in with what it holds, one that is gone leaves no trace but a note."""
    service = motion.stage.service
    gone = service.account("rad-hamburg")

    def change() -> None:
        made = service.add_account("Fresh", "fresh")
        service.add_blend(made, "Of the new account")
        service._realm.accounts.pop(gone.guid)

    lists = iter(range(100))

    def before(method: str, path: str) -> None:
        # The second time that accounts are listed, all that they held has been read.
        if path == "/v1/accounts" and next(lists) == 1:
            change()

    motion.stage.before = before
    ended = motion.stage.backup(account="")
    assert (ended.code, ended.summary["complete"]) == (0, True), ended.lines
    assert {"account-vanished", "vanished"} <= ended.codes()
    with motion.stage.archive() as archive:
        accounts = set(archive.ids(Kind.ACCOUNT))
        assert accounts == set(service.accounts)
        assert [one.name for one in read_holding(archive, "fresh").automations.values()] == ["Of the new account"]
        held = {ident for account in accounts for ident in read_holding(archive, account).connections}
        assert held == set(archive.ids(Kind.CONNECTION))


def test_a_service_that_goes_away_is_not_asked_for_ever(motion: Motion) -> None:
    """After some automations in a row without an answer the service itself is asked, and the backup ends: 1."""
    motion.stage.service.faults.append(Fault(path="*", effect=Status(code=503), nth=8, times=None))
    assert motion.stage.backup().code == 1
    assert not (motion.stage.folder / "a.qma").exists()
    assert len(motion.stage.service.seen) < 400


@pytest.mark.parametrize("code", [500, 503])
def test_abort_on_error(motion: Motion, code: int) -> None:
    """The first document that cannot be had ends it: 3, and no file."""
    ident = motion.stage.partner.automations["Status board"]
    motion.stage.service.faults.append(Fault(path=f"*/blends/{ident}", effect=Status(code=code), times=None))
    assert motion.stage.backup("--on-error", "abort").code == 3
    assert not (motion.stage.folder / "a.qma").exists()
    ended = motion.stage.backup()
    assert (ended.code, "not-captured" in ended.codes()) == (3, True)
