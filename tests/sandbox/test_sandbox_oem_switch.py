"""Each switch of the OEM service, on both answers."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from oem_world import MAIL_PARAMS, OemWorld

from qlikmigrate.sandbox.oem import (
    AccountIds,
    DuplicateAccount,
    Envelope,
    IntervalForm,
    LinkEnds,
    OemService,
    OemSwitches,
)

_LISTS = {
    "accounts_envelope": "/accounts",
    "blends_envelope": "{a}/blends",
    "runs_envelope": "{a}/blends/{b}/runs",
    "templates_envelope": "/templates",
    "datasources_envelope": "{a}/datasources",
    "connectors_envelope": "http://127.0.0.1/integrations",
}


@pytest.mark.parametrize("envelope", Envelope)
@pytest.mark.parametrize("switch", _LISTS)
def test_envelopes(oem: OemWorld, switch: str, envelope: Envelope) -> None:
    """Every list comes bare, under `data`, with links and counts, or in a shape that no page shows."""
    blend = oem.service.add_blend(oem.account, "A", template=oem.template)
    oem.set(**{switch: envelope})
    value = oem("GET", _LISTS[switch].replace("{a}", oem.a).replace("{b}", blend)).json
    found = {
        Envelope.BARE: isinstance(value, list),
        Envelope.DATA: set(value) == {"data"} if isinstance(value, dict) else False,
        Envelope.PAGED: set(value) == {"data", "links", "meta"} if isinstance(value, dict) else False,
        Envelope.OTHER: set(value) == {"items"} if isinstance(value, dict) else False,
    }
    assert [one for one, is_it in found.items() if is_it] == [envelope]


@pytest.mark.parametrize("envelope", [Envelope.BARE, Envelope.DATA, Envelope.PAGED])
def test_page_size(oem: OemWorld, envelope: Envelope) -> None:
    """Pages have as many rows as the switch says; the last is short, the one after it empty."""
    for number in range(6):
        oem.service.add_account(f"A{number}", f"a{number}")
    oem.set(accounts_envelope=envelope, page_size=3)
    pages = [oem.rows(f"/accounts?page={page}") for page in (1, 2, 3, 4)]
    assert [len(rows) for rows in pages] == [3, 3, 1, 0]
    assert len({row["guid"] for rows in pages for row in rows}) == 7
    assert oem("GET", "/accounts", page=0).status == 400
    if envelope is Envelope.PAGED:
        value = oem("GET", "/accounts", page=2).json
        expected = {"current_page": 2, "from": 4, "to": 6, "last_page": 3, "per_page": 3, "total": 7}
        assert {name: value["meta"][name] for name in expected} == expected
        assert value["links"]["next"] == f"{oem.service.base_url}/accounts?page=3"
        assert value["links"]["prev"] == f"{oem.service.base_url}/accounts?page=1"


def test_bare_pages(oem: OemWorld) -> None:
    """A bare array has pages, or is the whole list whatever page is asked for."""
    oem.service.add_account("B", "b")
    oem.set(page_size=1, bare_pages=True)
    assert [len(oem.rows(f"/accounts?page={page}")) for page in (1, 2, 3)] == [1, 1, 0]
    oem.set(page_size=1, bare_pages=False)
    assert [len(oem.rows(f"/accounts?page={page}")) for page in (1, 2)] == [2, 2]


@pytest.mark.parametrize("base", ["", "https://admin.blendr.io/api/v1"])
def test_links_base(oem: OemWorld, base: str) -> None:
    """Links lead to where the request went, or to another host."""
    oem.set(accounts_envelope=Envelope.PAGED, links_base=base)
    assert oem("GET", "/accounts").json["links"]["first"] == f"{base or oem.service.base_url}/accounts?page=1"


def test_link_ends(oem: OemWorld) -> None:
    """`prev` of the first and `next` of the last page are null, or not there."""
    oem.set(accounts_envelope=Envelope.PAGED)
    links = oem("GET", "/accounts").json["links"]
    assert (links["prev"], links["next"]) == (None, None)
    oem.set(accounts_envelope=Envelope.PAGED, link_ends=LinkEnds.ABSENT)
    assert set(oem("GET", "/accounts").json["links"]) == {"first", "last"}


def test_list_lag(oem: OemWorld) -> None:
    """An installed blend shows in its list at once, after some seconds, or after some calls; by guid at once."""
    oem.install()
    assert len(oem.rows(f"{oem.a}/blends")) == 1
    oem.set(list_lag_s=5)
    second = oem.install()
    assert len(oem.rows(f"{oem.a}/blends")) == 1
    assert oem("GET", f"{oem.a}/blends/{second}").status == 200
    oem.clock.advance(5)
    assert len(oem.rows(f"{oem.a}/blends")) == 2
    oem.set(list_lag_calls=2)
    oem.install()
    assert [len(oem.rows(f"{oem.a}/blends")) for _ in range(4)] == [2, 2, 3, 3]


@pytest.mark.parametrize(
    ("ids", "by_guid", "by_externalid"),
    [(AccountIds.BOTH, 200, 200), (AccountIds.GUID_ONLY, 200, 400), (AccountIds.EXTERNALID_ONLY, 400, 200)],
)
def test_account_ids(oem: OemWorld, ids: AccountIds, by_guid: int, by_externalid: int) -> None:
    """Paths, and the account of an install, take the guid, the externalid, or either."""
    oem.set(account_ids=ids)
    for ref, status in ((oem.account, by_guid), ("acme", by_externalid)):
        assert oem("GET", f"/accounts/{ref}/blends").status == status
        assert oem("POST", f"/templates/{oem.template}/install", {"account": ref}).status == status


@pytest.mark.parametrize("hidden", [False, True])
def test_hides_externalid(oem: OemWorld, hidden: bool) -> None:
    """`externalid` is shown, or null; a path still takes it."""
    oem.set(hides_externalid=hidden)
    assert oem("GET", "/accounts/acme").json["externalid"] == (None if hidden else "acme")


@pytest.mark.parametrize(
    ("how", "status", "count"),
    [(DuplicateAccount.REFUSED, 400, 1), (DuplicateAccount.SECOND, 200, 2), (DuplicateAccount.SAME, 200, 1)],
)
def test_duplicate_account(oem: OemWorld, how: DuplicateAccount, status: int, count: int) -> None:
    """Creating an account whose externalid exists is refused, makes a second one, or answers with the first."""
    oem.set(duplicate_account=how)
    answer = oem("POST", "/accounts", {"name": "Twice", "externalid": "acme"})
    assert answer.status == status
    assert len(oem.service.accounts) == count
    if how is DuplicateAccount.SAME:
        assert (answer.json["guid"], answer.json["name"]) == (oem.account, "Acme")


@pytest.mark.parametrize("status", [400, 404])
def test_missing_status(oem: OemWorld, status: int) -> None:
    """What is not there is a 400 with `{}`, or a 404."""
    oem.set(missing_status=status)
    for path in ("/accounts/x", f"{oem.a}/blends/x", f"{oem.a}/datasources/x", "/templates/x", "/connectors/x"):
        answer = oem("GET", path)
        assert (answer.status, answer.json) == (status, {})
    assert oem("DELETE", f"{oem.a}/datasources/x").status == status


@pytest.mark.parametrize("status", [401, 403, 400])
def test_bad_credentials_status(oem: OemWorld, status: int) -> None:
    """A wrong key pair, and a wrong execution token, have the status of the switch."""
    oem.set(bad_credentials_status=status)
    app_id, key = oem.service.key_pair()
    for headers in (
        {},
        {"x-app-id": app_id},
        {"x-app-id": app_id, "x-api-key": "wrong"},
        {"x-app-id": "1", "x-api-key": key},
    ):
        assert oem("GET", "/accounts", headers=headers).status == status
    blend = oem.service.add_blend(oem.account, "T", run_mode="triggered")
    assert oem("POST", f"/widgets/{blend}", headers={"x-execution-token": "wrong"}).status == status


def test_empty_400(oem: OemWorld) -> None:
    """A 400 without anything to say has `{}` or no body; one that says something is left alone."""
    source = oem.service.add_datasource(oem.account, "Mail", "M", MAIL_PARAMS)
    oem.service.add_blend(oem.account, "A", template=oem.template)
    assert oem("POST", "/accounts", {}).body == b"{}"
    oem.set(empty_400=True)
    answer = oem("POST", "/accounts", {})
    assert (answer.status, answer.body) == (400, b"")
    assert "error" in oem("DELETE", f"{oem.a}/datasources/{source}").json


@pytest.mark.parametrize("shown", [False, True])
def test_state_shown(oem: OemWorld, shown: bool) -> None:
    """`state` is in lists, in a blend's own answer, in the blends of a datasource, each by its switch."""
    source = oem.service.add_datasource(oem.account, "Mail", "M", MAIL_PARAMS)
    blend = oem.service.add_blend(oem.account, "A", template=oem.template, datasources=(source,), state="disabled")
    oem.set(state_in_list=shown, state_in_get=shown, state_in_nested=shown)
    found = (
        oem.rows(f"{oem.a}/blends")[0],
        oem("GET", f"{oem.a}/blends/{blend}").json,
        oem("GET", f"{oem.a}/datasources/{source}").json["blends"][0],
    )
    assert [one.get("state") for one in found] == ["disabled" if shown else None] * 3


@pytest.mark.parametrize("shown", [False, True])
def test_schedule_in_get(oem: OemWorld, shown: bool) -> None:
    """The four members of a schedule are in a blend's own answer, or nowhere."""
    blend = oem.service.add_blend(oem.account, "A", template=oem.template)
    oem.set(schedule_in_get=shown)
    value = oem("GET", f"{oem.a}/blends/{blend}").json
    assert ("schedule_interval" in value) is shown
    if shown:
        assert (value["schedule_interval"], value["schedule_timezone"]) == (3600, "UTC")
    assert not any(name.startswith("schedule") for name in oem.rows(f"{oem.a}/blends")[0])


@pytest.mark.parametrize("member", ["", "workspace", "blocks"])
def test_workspace_member(oem: OemWorld, member: str) -> None:
    """A workspace is in no answer, or in those of blend and template under the name of the switch."""
    held = {"blocks": [], "variables": []}
    template = oem.service.add_template("W", workspace=held)
    blend = oem.service.add_blend(oem.account, "W", template=template)
    oem.set(workspace_member=member)
    for path in (f"{oem.a}/blends/{blend}", f"/templates/{template}"):
        value = oem("GET", path).json
        assert [name for name in ("workspace", "blocks") if name in value] == ([member] if member else [])
        assert not member or value[member] == held


@pytest.mark.parametrize("other", [False, True])
def test_other_spellings(oem: OemWorld, other: bool) -> None:
    """Three members have a second name."""
    bundle = oem.service.add_template("B", parts=(oem.template,))
    blend = oem.service.add_blend(oem.account, "B", template=bundle)
    source = oem.service.add_datasource(oem.account, "Mail", "M", MAIL_PARAMS)
    oem.set(other_spellings=other)
    value = oem("GET", f"{oem.a}/blends/{blend}").json | oem("GET", f"{oem.a}/datasources/{source}").json
    first, second = (
        {"sub_blends", "blends", "short_description"},
        {"sub_automations", "automations", "short description"},
    )
    assert (second if other else first) <= set(value)
    assert (first if other else second).isdisjoint(value)


@pytest.mark.parametrize("extra", [False, True])
def test_extra_fields(oem: OemWorld, extra: bool) -> None:
    """Objects have members that no page knows, or none."""
    oem.set(extra_fields=extra)
    blend = oem.service.add_blend(oem.account, "A", template=oem.template)
    for path in (
        oem.a,
        f"{oem.a}/blends/{blend}",
        f"/templates/{oem.template}",
        f"/connectors/{oem.service.connector('Mail')}",
    ):
        assert any(name.startswith("x_") for name in oem("GET", path).json) is extra


@pytest.mark.parametrize("replaces", [False, True])
def test_put_blend_replaces(oem: OemWorld, replaces: bool) -> None:
    """A PUT of the name alone leaves state and schedule, or resets them; what it says counts in both."""
    blend = oem.service.add_blend(oem.account, "A", template=oem.template, state="disabled")
    oem.set(put_blend_replaces=replaces)
    assert oem("PUT", f"{oem.a}/blends/{blend}", {"name": "B"}).status == 200
    one = oem.service.blend(blend)
    assert (one.name, one.state, one.is_scheduled) == ("B", "available" if replaces else "disabled", not replaces)
    oem("PUT", f"{oem.a}/blends/{blend}", {"state": "disabled"})
    assert one.state == "disabled"


@pytest.mark.parametrize("replaces", [False, True])
def test_put_params_replaces(oem: OemWorld, replaces: bool) -> None:
    """A PUT of one param leaves the others, or drops them and the connection with them."""
    source = oem.service.add_datasource(oem.account, "Mail", "M", MAIL_PARAMS)
    oem.set(put_params_replaces=replaces)
    value = oem("PUT", f"{oem.a}/datasources/{source}", {"params": {"Port": "25"}}).json
    kept = {} if replaces else MAIL_PARAMS
    assert oem.service.stored_params(source) == kept | {"Port": "25"}
    assert value["is_connected"] is not replaces
    oem("PUT", f"{oem.a}/datasources/{source}", {"name": "N"})
    assert oem.service.stored_params(source) == kept | {"Port": "25"}


@pytest.mark.parametrize(
    ("form", "integer", "string"),
    [(IntervalForm.ANY, 200, 200), (IntervalForm.INTEGER_ONLY, 200, 400), (IntervalForm.STRING_ONLY, 400, 200)],
)
def test_interval_form(oem: OemWorld, form: IntervalForm, integer: int, string: int) -> None:
    """`schedule_interval` may be an integer, a string, or either; never a number that is not listed."""
    blend = oem.service.add_blend(oem.account, "A")
    oem.set(interval_form=form)
    for value, status in ((900, integer), ("900", string), (7, 400), ("7", 400), (True, 400), (None, 400)):
        assert oem("PUT", f"{oem.a}/blends/{blend}", {"schedule_interval": value}).status == status, value
    assert oem.service.blend(blend).schedule.interval == 900


@pytest.mark.parametrize("named", [False, True])
def test_names_template(oem: OemWorld, named: bool) -> None:
    """An instance says of which template it is, or does not."""
    guid = oem.install(oem.template)
    oem.set(names_template=named)
    shown = [oem("GET", f"{oem.a}/blends/{guid}").json, oem.rows(f"{oem.a}/blends")[0]]
    assert [one["template_guid"] for one in shown] == [oem.template if named else None] * 2


def test_ignored_states(oem: OemWorld) -> None:
    """A PUT that is answered 200 takes the name and leaves the state; the next one is heard."""
    blend = oem.service.add_blend(oem.account, "A")
    oem.set(ignored_states=1)
    body = {"name": "B", "state": "disabled"}
    assert oem("PUT", f"{oem.a}/blends/{blend}", body).status == 200
    assert (oem.service.blend(blend).name, oem.service.blend(blend).state) == ("B", "available")
    oem("PUT", f"{oem.a}/blends/{blend}", body)
    assert oem.service.blend(blend).state == "disabled"


@pytest.mark.parametrize("cascades", [False, True])
def test_bundle_state_cascades(oem: OemWorld, cascades: bool) -> None:
    """Disabling a bundle disables its children, or they go on."""
    bundle = oem.service.add_template("B", parts=(oem.template,))
    guid = oem.install(bundle)
    oem.set(bundle_state_cascades=cascades)
    oem("PUT", f"{oem.a}/blends/{guid}", {"state": "disabled"})
    (child,) = oem.service.blend(guid).children
    assert child.state == ("disabled" if cascades else "available")
    assert (oem.service.windows[0].end is not None) is cascades
    oem.clock.advance(3600)
    assert len(oem.service.runs) == (0 if cascades else 1)


@pytest.mark.parametrize("listed", [False, True])
def test_sub_blends_listed(oem: OemWorld, listed: bool) -> None:
    """Children of a bundle are in their bundle only, or rows as well."""
    bundle = oem.service.add_template("B", parts=(oem.template,))
    oem.service.add_blend(oem.account, "B", template=bundle)
    oem.set(sub_blends_listed=listed)
    assert [row["isbundle"] for row in oem.rows(f"{oem.a}/blends")] == ([True, False] if listed else [True])


@pytest.mark.parametrize("suffix", ["", " 2"])
def test_installed_suffix(oem: OemWorld, suffix: str) -> None:
    """An installed blend has its template's name, or that with something more."""
    oem.set(installed_suffix=suffix)
    assert oem.service.blend(oem.install()).name == f"Sync{suffix}"


@pytest.mark.parametrize("at_once", [False, True])
def test_install_starts_run(oem: OemWorld, at_once: bool) -> None:
    """Installing a scheduled template starts nothing before the first interval, or a run at once."""
    oem.set(install_starts_run=at_once)
    oem.install()
    assert len(oem.service.runs_in_windows) == len(oem.service.runs) == at_once


@pytest.mark.parametrize("kept", [False, True])
def test_update_keeps(oem: OemWorld, kept: bool) -> None:
    """An update from the template keeps inputs, name and schedule of the instance, or resets them."""
    blend = oem.service.add_blend(oem.account, "Own name", template=oem.template, values={"shop": "Gent"})
    one = oem.service.blend(blend)
    oem("PUT", f"{oem.a}/blends/{blend}", {"schedule_interval": -1})
    oem.set(update_keeps_inputs=kept, update_keeps_name=kept, update_keeps_schedule=kept)
    assert oem("PUT", f"{oem.a}/blends/{oem.template}/{blend}").status == 200
    expected = ("Own name", {"shop": "Gent"}, -1) if kept else ("Sync", {"shop": "Berlin"}, 3600)
    assert (one.name, one.values, one.schedule.interval) == expected


@pytest.mark.parametrize("named", [False, True])
def test_async_names_run(oem: OemWorld, named: bool) -> None:
    """An asynchronous run answers nothing, or the run's guid."""
    blend = oem.service.add_blend(oem.account, "A")
    oem.set(async_names_run=named)
    value = oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True}).json
    assert value == ({"guid": oem.service.runs[0].guid} if named else {})


def test_own_connector_guids() -> None:
    """Connectors have the same guids at all providers, or others at each."""
    same = [OemService(name).connector("Mail") for name in ("a", "b")]
    other = [OemService(name, switches=OemSwitches(own_connector_guids=True)).connector("Mail") for name in ("a", "b")]
    assert len(set(same)) == 1
    assert len({*same, *other}) == 3


@pytest.mark.parametrize("per_account", [False, True])
def test_rate_limit(oem: OemWorld, per_account: bool) -> None:
    """So many calls a minute, of the provider or of each account; then 429 until the next minute of the clock."""
    other = oem.service.add_account("Other", "other")
    oem.clock.advance(17)
    oem.set(per_minute=3, limit_per_account=per_account)
    answers = [oem("GET", oem.a) for _ in range(4)]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert [one.headers["x-ratelimit-remaining"] for one in answers] == ["2", "1", "0", "0"]
    assert {one.headers["x-ratelimit-limit"] for one in answers} == {"3"}
    assert "retry-after" not in answers[3].headers
    assert oem("GET", f"/accounts/{other}").status == (200 if per_account else 429)
    oem.clock.advance(42.9)
    assert oem("GET", oem.a).status == 429
    oem.clock.advance(0.1)
    assert oem("GET", oem.a).status == 200
    assert oem.service.calls_over_limit == (2 if per_account else 3)
    oem.set(per_minute=None)
    assert {oem("GET", oem.a).status for _ in range(400)} == {200}


def test_limit_headers(oem: OemWorld) -> None:
    """Answers tell what is left, or nothing; 429 as well; `Retry-After` comes where the switch says so."""
    oem.set(per_minute=1, limit_headers=False)
    for status in (200, 429):
        answer = oem("GET", oem.a)
        assert answer.status == status
        assert not {name for name in answer.headers if "ratelimit" in name or "retry" in name}
    oem.set(per_minute=1, retry_after=True)
    assert oem("GET", oem.a).headers["retry-after"] == "60"


def test_run_seconds_and_queue_limit(oem: OemWorld) -> None:
    """Runs take their time, one of a blend after the other; more than the queue holds are refused with a text."""
    blend = oem.service.add_blend(oem.account, "A")
    oem.set(run_seconds=10, queue_limit=1)
    answers = [oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True}) for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 400]
    assert "queue" in answers[2].json["error"]
    assert [run.status for run in oem.service.runs] == ["running", "queued"]
    oem.clock.advance(10)
    assert [run.status for run in oem.service.runs] == ["finished", "running"]
    oem.clock.advance(10)
    assert [run.status for run in oem.service.runs] == ["finished", "finished"]
    assert oem.reply("POST", f"{oem.a}/blends/{blend}/run").delay_s == 10
    oem.set(queue_limit=0)
    assert oem("POST", f"{oem.a}/blends/{blend}/run", {"async": True}).status == 400


@pytest.mark.parametrize("dates", [False, True])
def test_dates(oem: OemWorld, dates: bool) -> None:
    """Answers carry the server's clock, or do not."""
    oem.set(dates=dates)
    assert ("date" in oem("GET", oem.a).headers) is dates


def test_hostile_is_none_of_the_documented() -> None:
    """The documented mode is the default; the hostile one turns what a client must live with, and no third envelope."""
    assert OemSwitches.documented() == OemSwitches()
    hostile = attrs.asdict(OemSwitches.hostile())
    assert sum(value != getattr(OemSwitches(), name) for name, value in hostile.items()) >= 20
    assert Envelope.OTHER not in hostile.values()


def test_every_switch_has_a_test() -> None:
    """No switch is without a test of both its answers."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert not [
        one.name for one in attrs.fields(OemSwitches) if f"{one.name}=" not in text and f'"{one.name}"' not in text
    ]
