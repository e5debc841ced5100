"""The typed views of OEM objects read both spellings of the vendor's pages, and never fail on what is missing."""

from __future__ import annotations

import pytest

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.oem import (
    Account,
    account_of,
    automation_of,
    choose_account,
    connection_of,
    schedule_of,
)


def test_both_spellings_of_a_bundle_are_read() -> None:
    """`sub_blends` and `sub_automations` are the same thing."""
    for word in ("sub_blends", "sub_automations"):
        bundle = automation_of({"guid": "b", "isbundle": True, word: [{"guid": "x"}, {"guid": ""}, "odd"]})
        assert (bundle.is_bundle, bundle.children) == (True, ("x",))


def test_only_what_may_be_written_counts_as_stored_input() -> None:
    """An input that is not both a top input and persisted is not written back, an empty one neither."""
    flags = {"is_top_input": True, "is_persisted": True}
    blend = automation_of(
        {
            "guid": "b",
            "inputs": [
                {"field_name": "kept", "persisted_value": {"deep": [1]}, **flags},
                {"field_name": "inner", "persisted_value": "x", "is_top_input": False, "is_persisted": True},
                {"field_name": "empty", "persisted_value": None, **flags},
            ],
        }
    )
    assert blend.stored_inputs() == {"kept": {"deep": [1]}}


def test_a_blend_without_state_or_schedule_says_nothing_of_them() -> None:
    """What the API does not show is empty, never a guess."""
    blend = automation_of({"guid": "b", "name": "B", "template_guid": None})
    assert (blend.state, blend.template_id, blend.schedule, blend.run_mode) == ("", "", {}, "")


def test_a_datasource_names_whom_it_serves_under_either_name() -> None:
    """`blends` and `automations` are the same thing; a missing connector is empty."""
    for word in ("blends", "automations"):
        assert connection_of({"guid": "d", word: [{"guid": "x"}, {"guid": "x"}]}).used_by == ("x",)
    assert connection_of({"guid": "d", "connector": None}).connector_id == ""


@pytest.mark.parametrize(
    ("interval", "seconds", "fires"),
    [(30, 30, True), ("30", 30, True), (0, 0, True), (-1, -1, False), ("odd", None, False)],
)
def test_an_interval_is_read_as_text_and_as_number(interval: object, seconds: int | None, fires: bool) -> None:
    """The vendor's page shows both; what is neither is unknown, and an unknown schedule writes nothing."""
    schedule = schedule_of({"schedule_interval": interval})
    assert (schedule.interval_s, schedule.fires) == (seconds, fires)
    assert bool(schedule.body()) is (seconds is not None)


def test_an_account_is_meant_by_guid_or_external_id_alone() -> None:
    """A name may belong to several accounts, so it chooses none."""
    acme = account_of({"guid": "A1", "externalid": "acme", "name": "Acme"})
    other = Account(id="b2", external_id="other", name="Acme")
    assert choose_account([acme, other], "a1") == choose_account([acme, other], "acme") == acme
    for word in ("Acme", ""):
        with pytest.raises(UsageError):
            choose_account([acme, other], word)
