"""What an install starts: windows, runs in them, and what is armed outside them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from oem_world import HOURLY, MAIL_PARAMS, SHOP, OemWorld

from qlikmigrate.sandbox.oem import OemInput, OemSchedule

EVERY_30_S = OemSchedule(interval=30)


def _disable(oem: OemWorld, *blends: str) -> None:
    for blend in blends:
        assert oem("PUT", f"{oem.a}/blends/{blend}", {"state": "disabled"}).status == 200


def test_install_starts_the_schedule(oem: OemWorld) -> None:
    """An installed blend is enabled, has its template's schedule, inputs and connections, and runs when that is due."""
    source = oem.service.add_datasource(oem.account, "Mail", "M", MAIL_PARAMS)
    other = oem.service.add_datasource(oem.account, "API Key", "K")
    one = oem.service.blend(oem.install(inputs={"shop": "Gent"}, datasources=[source, other]))
    assert (one.state, one.schedule, one.values) == ("available", HOURLY, {"shop": "Gent"})
    assert (one.template, one.links) == (oem.template, {source})
    oem.clock.advance(3599)
    assert not oem.service.runs
    oem.clock.advance(1)
    assert [(run.context, run.status) for run in oem.service.runs] == [("scheduled", "finished")]


def test_window_lasts_until_disabled(oem: OemWorld) -> None:
    """A window is open from the install until its blend is disabled, whether the template has a schedule or not."""
    plain = oem.service.add_template("Plain")
    for template, seconds in ((oem.template, 0.25), (plain, 2)):
        blend = oem.install(template)
        assert oem.service.windows[-1].end is None
        assert oem.service.windows[-1].seconds is None
        oem.clock.advance(seconds)
        oem("PUT", f"{oem.a}/blends/{blend}", {"name": "Renamed"})
        assert oem.service.windows[-1].end is None
        _disable(oem, blend)
        oem.clock.advance(60)
    assert [one.seconds for one in oem.service.windows] == [0.25, 2]
    assert [(one.account, one.template) for one in oem.service.windows] == [
        (oem.account, oem.template),
        (oem.account, plain),
    ]
    assert not oem.service.runs_in_windows


def test_window_of_a_bundle(oem: OemWorld) -> None:
    """A bundle's window is open until each child is disabled; the bundle's own state closes nothing."""
    second = oem.service.add_template("Second", schedule=EVERY_30_S)
    bundle = oem.install(oem.service.add_template("B", parts=(oem.template, second)))
    first_child, second_child = (one.guid for one in oem.service.blend(bundle).children)
    oem.clock.advance(1)
    _disable(oem, bundle, first_child)
    assert oem.service.windows[0].end is None
    oem.clock.advance(29)
    _disable(oem, second_child)
    assert len(oem.service.windows) == 1
    assert oem.service.windows[0].seconds == 30
    (run,) = oem.service.runs_in_windows
    assert (run.window, run.blend, run.context) == (bundle, second_child, "scheduled")
    assert run.at == oem.service.windows[0].start.replace(second=30)


def test_run_in_a_window_is_recorded_whatever_started_it(oem: OemWorld) -> None:
    """A run that a call starts within a window is one of those recorded; one after it is not."""
    blend = oem.install()
    oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True})
    _disable(oem, blend)
    oem("PUT", f"{oem.a}/blends/{blend}", {"state": "available"})
    oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True})
    assert len(oem.service.runs) == 2
    assert [run.context for run in oem.service.runs_in_windows] == ["api_async"]


def test_armed_outside_windows(oem: OemWorld) -> None:
    """What a request leaves enabled and scheduled is seen in watched accounts, but not in its install window."""
    service = oem.service
    blend = oem.install()
    _disable(oem, blend)
    oem("PUT", f"{oem.a}/blends/{blend}", {"state": "available"})
    assert not service.armed_while_enabled
    service.watch(oem.account)
    oem("PUT", f"{oem.a}/blends/{blend}", {"name": "Still on"})
    service.add_account("Other", "other")
    oem("POST", f"/templates/{oem.template}/install", {"account": "other"})
    (stray,) = service.account("other").blends
    oem("PUT", f"/accounts/other/blends/{stray}", {"state": "disabled"})
    oem("PUT", f"/accounts/other/blends/{stray}", {"state": "available"})
    second = oem.install()
    _disable(oem, second)
    for harmless in ({"schedule_interval": -1}, {"schedule_interval": 0, "schedule_start_at": "2026-01-01 00:00:00"}):
        oem("PUT", f"{oem.a}/blends/{second}", {"state": "available"} | harmless)
    assert [one.automation_id for one in service.armed_while_enabled] == [blend]
    assert service.armed_while_enabled[0].how == "PUT /v1/accounts/{}/blends/{}"
    service.watch()
    oem("PUT", f"/accounts/other/blends/{stray}", {"name": "Seen now"})
    assert [one.automation_id for one in service.armed_while_enabled] == [blend, stray]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"account": "nobody"},
        {"account": 7},
        {"account": "acme", "inputs": {"unknown": 1}},
        {"account": "acme", "inputs": {"shop": None}},
        {"account": "acme", "inputs": {"hidden": 1}},
        {"account": "acme", "inputs": {"once": 1}},
        {"account": "acme", "inputs": ["shop"]},
        {"account": "acme", "datasources": ["no guid"]},
        {"account": "acme", "datasources": {"a": "b"}},
    ],
)
def test_install_refused(oem: OemWorld, body: dict[str, Any]) -> None:
    """What is wrong with an install is a 400, and nothing is made."""
    inputs = (
        SHOP, OemInput(field_name="hidden", is_top_input=False), OemInput(field_name="once", is_persisted=False),
    )  # fmt: skip
    template = oem.service.add_template("T", inputs=inputs)
    assert oem("POST", f"/templates/{template}/install", body).status == 400
    assert not oem.service.accounts[oem.account].blends
    assert not oem.service.windows


def test_prevent_duplicates(oem: OemWorld) -> None:
    """With the flag an instance of the same inputs is updated, and armed again; other inputs make another instance."""
    path, body = f"/templates/{oem.template}/install", {"account": "acme", "inputs": {"shop": "Gent"}}
    blends = oem.service.accounts[oem.account].blends
    for more, count in (({}, 1), ({"template_prevent_duplicates": "true"}, 1), ({}, 2)):
        assert oem("POST", path, body, **more).status == 200
        assert len(blends) == count
    first = next(iter(blends.values()))
    _disable(oem, first.guid)
    other = body | {"inputs": {"shop": "Lund"}}
    oem("POST", path, other, template_prevent_duplicates="true")
    assert (len(blends), first.state) == (3, "disabled")
    oem("POST", path, body, template_prevent_duplicates="true")
    assert (len(blends), first.state) == (3, "available")
    assert len(oem.service.windows) == 4


def test_inputs_of_a_bundle(oem: OemWorld) -> None:
    """Inputs given to a bundle reach the children that define them; one that none has is refused."""
    second = oem.service.add_template("Second", inputs=(SHOP, OemInput(field_name="days")))
    bundle = oem.install(
        oem.service.add_template("B", parts=(oem.template, second)), inputs={"shop": "Gent"}
    )  # fmt: skip
    path = f"{oem.a}/blends/{bundle}/set-persisted-inputs"
    assert oem("POST", path, {"days": 3}).status == 204
    assert [one.values for one in oem.service.blend(bundle).children] == [
        {"shop": "Gent"},
        {"shop": "Gent", "days": 3},
    ]
    for wrong in ({"unknown": 1}, {"shop": None}, {"inputs": {"days": 4}}, [1]):
        assert oem("POST", path, wrong).status == 400


def test_update_from_another_template(oem: OemWorld) -> None:
    """Only the template that an instance was made from can be pushed onto it."""
    other = oem.service.add_template("Other")
    assert oem("PUT", f"{oem.a}/blends/{other}/{oem.install()}").status == 400


@pytest.mark.parametrize(
    ("schedule", "starts"),
    [
        (OemSchedule(interval=30), ["12:00:30", "12:01:00", "12:01:30"]),
        (OemSchedule(interval=60, start_at="2026-10-01 00:00:05"), ["12:00:05", "12:01:05"]),
        (OemSchedule(interval=60, start_at="2026-11-01 12:01:00"), ["12:01:00"]),
        (OemSchedule(interval=30, stop_at="2026-11-01 12:01:00"), ["12:00:30", "12:01:00"]),
        (OemSchedule(interval=0, start_at="2026-11-01 13:01:10", timezone="Europe/Paris"), ["12:01:10"]),
        (OemSchedule(interval=0, start_at="2026-11-01 11:00:00"), []),
        (OemSchedule(interval=0), ["12:00:00"]),
        (OemSchedule(), []),
    ],
)
def test_schedules_fire(oem: OemWorld, schedule: OemSchedule, starts: list[str]) -> None:
    """A schedule starts its blend at its moments by the clock, once where it says so, and not after its end."""
    oem.install(oem.service.add_template("T", schedule=schedule))
    for _ in range(10):
        oem.clock.advance(10)
        oem("GET", "/accounts")
    assert [f"{run.created_at:%H:%M:%S}" for run in oem.service.runs] == starts
    assert all(run.scheduled_for == run.created_at for run in oem.service.runs)


def test_schedules_fire_however_late_they_are_looked_at(oem: OemWorld) -> None:
    """Time that passes at once starts the same runs; of very many only those that are kept."""
    oem.install(oem.service.add_template("T", schedule=EVERY_30_S))
    oem.clock.advance(100)
    assert [run.created_at.second for run in oem.service.runs] == [30, 0, 30]
    oem.clock.advance(400 * 86_400)
    assert len(oem.service.runs) == 5000
    last: datetime | None = oem.service.runs[-1].started_at
    assert last is not None
    assert 0 <= (oem.clock.now() - last).total_seconds() < 30


def test_nothing_fires_disabled_or_expired(oem: OemWorld) -> None:
    """A disabled blend, and one of an expired account, does not start; enabled again it goes on."""
    blend = oem.install()
    _disable(oem, blend)
    oem.clock.advance(7200)
    assert not oem.service.runs
    assert oem("POST", f"{oem.a}/blends/{blend}/run").status == 400
    oem("PUT", f"{oem.a}/blends/{blend}", {"state": "available"})
    oem.clock.advance(3600)
    assert len(oem.service.runs) == 1
    assert oem("PUT", f"{oem.a}/expire").status == 200
    oem.clock.advance(7200)
    assert len(oem.service.runs) == 1
    assert oem("GET", f"{oem.a}/blends/{blend}/runs").status == 200
