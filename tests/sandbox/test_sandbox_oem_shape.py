"""Each documented operation answers with exactly the members and types that its page shows, and nothing else exists.

Source: the vendor's pages on the API, as data here, so that the service is not compared with itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from attrs import field, frozen
from oem_world import MAIL_PARAMS, SHOP, OemWorld

from qlikmigrate.sandbox.oem import OemSchedule

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BLEND_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
SOURCE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
LINK = re.compile(r"https?://\S+")


@frozen
class Maybe:
    """A value of this shape, or null."""

    shape: Any


@frozen
class Rows:
    """A list of at least one of this shape."""

    shape: Any


ACCOUNT = {"guid": UUID, "externalid": str, "name": str, "created_at": BLEND_TIME}
BLEND = {
    "guid": UUID, "name": str, "short_description": Maybe(str), "description": Maybe(str), "icon": Maybe(str),
    "icon2": Maybe(str), "icon3": Maybe(str), "status": re.compile("live|hidden|coming_soon"),
    "run_mode": re.compile("manual|scheduled|triggered|webhook"), "has_setup": bool, "has_settings": bool,
    "setup_complete": bool, "isbundle": bool, "template_guid": Maybe(UUID),
    "admin_url": re.compile(r"https://acme\.admin\.blendr\.io/widgets/" + UUID.pattern), "created_at": BLEND_TIME,
    "updated_at": BLEND_TIME, "last_run_at": Maybe(BLEND_TIME),
}  # fmt: skip
ROW = BLEND | {"admin_sso_url": LINK}
BUNDLE = ROW | {"sub_blends": Rows(ROW)}
INPUT = {
    "id": int, "block_id": re.compile(r"inputs\d*"), "label": re.compile("start|setup|settings"), "prompt": str,
    "field_name": str, "persisted_value": Maybe(str), "is_required": bool, "is_top_input": bool, "is_persisted": bool,
    "order": int, "created_at": BLEND_TIME, "updated_at": BLEND_TIME,
}  # fmt: skip
NESTED = BLEND | {
    "type": re.compile("widget"), "state": re.compile("available|disabled"), "created_at": SOURCE_TIME,
    "updated_at": SOURCE_TIME, "last_run_at": Maybe(SOURCE_TIME),
}  # fmt: skip
SOURCE_ROW = {
    "guid": UUID, "name": str, "connector": {"guid": UUID, "name": str}, "is_used": bool, "is_connected": bool,
    "created_at": SOURCE_TIME, "updated_at": SOURCE_TIME,
}  # fmt: skip
SOURCE = SOURCE_ROW | {"blends": Rows(NESTED)}
FRESH = SOURCE_ROW | {"blends": []}
PAGED = {
    "links": {"first": LINK, "last": LINK, "prev": None, "next": None},
    "meta": {"current_page": 1, "from": 1, "last_page": 1, "path": LINK, "per_page": 100, "to": int, "total": int},
}
TEMPLATE = {
    "guid": UUID, "name": str, "icon": Maybe(str), "icon2": Maybe(str), "icon3": Maybe(str), "description": Maybe(str),
    "short_description": Maybe(str), "status": re.compile("live|hidden|coming_soon"), "has_setup": bool,
    "has_settings": bool, "isbundle": bool, "groups": Rows({"group_name": str, "group_id": int}),
    "activation_url": LINK,
}  # fmt: skip
PARAM = {"guid": UUID, "name": str, "type": re.compile("string|password"), "example_value": str, "is_required": bool}
RUN = {
    "guid": UUID, "status": str, "context": str, "schedule_starttime": Maybe(BLEND_TIME), "starttime": BLEND_TIME,
    "stoptime": BLEND_TIME, "created_at": BLEND_TIME, "updated_at": BLEND_TIME,
}  # fmt: skip


def fits(value: Any, shape: Any, where: str = "$") -> str:
    """Where a value is not of the shape; nothing where it is."""
    if isinstance(shape, Maybe):
        return "" if value is None else fits(value, shape.shape, where)
    if isinstance(shape, Rows):
        if not isinstance(value, list) or not value:
            return f"{where}: no list, or empty"
        return next((told for i, one in enumerate(value) if (told := fits(one, shape.shape, f"{where}[{i}]"))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict) or set(value) != set(shape):
            return f"{where}: members {sorted(set(value) ^ set(shape)) if isinstance(value, dict) else value}"
        return next((told for name in shape if (told := fits(value[name], shape[name], f"{where}.{name}"))), "")
    if isinstance(shape, re.Pattern):
        return "" if isinstance(value, str) and shape.fullmatch(value) else f"{where}: {value!r}"
    if isinstance(shape, type):
        return "" if type(value) is shape else f"{where}: {value!r} is no {shape.__name__}"
    return "" if value == shape and type(value) is type(shape) else f"{where}: {value!r}, not {shape!r}"


@frozen(kw_only=True)
class Case:
    """An operation, and what its page shows. `{a}`, `{b}`, … in paths and texts are the fixture's guids."""

    name: str
    call: str
    status: int = 200
    shape: Any = None  # None: no body
    body: Any = None
    query: dict[str, Any] = field(factory=dict)


CASES = (
    Case(name="account.list", call="GET /accounts", shape=Rows(ACCOUNT)),
    Case(name="account.get", call="GET /accounts/{a}", shape=ACCOUNT),
    Case(name="account.get by externalid", call="GET /accounts/acme", shape=ACCOUNT),
    Case(name="account.create", call="POST /accounts", shape=ACCOUNT, body={
        "name": "New", "externalid": "new", "send_invite": False,
        "user": {"externalid": "u", "name": "U", "email": "u@x.example", "locale": "nl-BE"}, "datasource": {"k": "v"},
    }),
    Case(name="account.update", call="PUT /accounts/{a}", shape=ACCOUNT, body={"name": "Acme 2"}),
    Case(name="account.expire", call="PUT /accounts/{a}/expire"),
    Case(name="blend.list", call="GET /accounts/{a}/blends", shape={"data": Rows(ROW)}),
    Case(name="blend.get", call="GET /accounts/{a}/blends/{b}", shape=BLEND | {"inputs": Rows(INPUT)}),
    Case(name="blend.get bundle", call="GET /accounts/{a}/blends/{bundle}",
         shape=BLEND | {"sub_blends": Rows(ROW), "inputs": []}),
    Case(name="blend.update", call="PUT /accounts/{a}/blends/{b}", shape={}, body={
        "name": "B", "state": "disabled", "schedule_start_at": "2026-01-01 00:00:00", "schedule_stop_at": None,
        "schedule_interval": 900, "schedule_timezone": "Europe/Brussels",
    }),
    Case(name="blend.update-from-template", call="PUT /accounts/{a}/blends/{t}/{b}", shape={}),
    Case(name="blend.set-inputs", call="POST /accounts/{a}/blends/{b}/set-persisted-inputs", status=204,
         body={"shop": "Gent"}),
    Case(name="blend.run", call="POST /accounts/{a}/blends/{b}/run", shape={},
         body={"async": True, "inputs": {"x": "y"}}),
    Case(name="blend.run by name", call="POST /accounts/{a}/blends/Sync/run", shape={}, query={"async": "true"}),
    Case(name="blend.run synchronous", call="POST /accounts/{a}/blends/{b}/run", shape={"done": 3}),
    Case(name="run.list", call="GET /accounts/{a}/blends/{b}/runs", shape=Rows(RUN),
         query={"finishedOnly": "true", "created_at[gte]": "2020-01-01 00:00:00"}),
    Case(name="run.list bundle", call="GET /accounts/{a}/blends/{bundle}/runs", shape=[]),
    Case(name="run.get", call="GET /accounts/{a}/blends/{b}/runs/{run}", shape=RUN),
    Case(name="run.last", call="GET /accounts/{a}/blends/{b}/lastrun", shape=RUN),
    Case(name="run.last bundle", call="GET /accounts/{a}/blends/{bundle}/lastrun", shape={}),
    Case(name="template.list", call="GET /templates", shape=Rows(TEMPLATE)),
    Case(name="template.get", call="GET /templates/{t}", shape={
        "guid": UUID, "externalid": str, "name": str, "inputs": Rows(INPUT), "created_at": BLEND_TIME,
    }),
    Case(name="template.install", call="POST /templates/{t}/install", shape={},
         body={"account": "acme", "inputs": {"shop": "Gent"}, "datasources": ["{d}"]},
         query={"template_prevent_duplicates": "true"}),
    Case(name="datasource.list", call="GET /accounts/{a}/datasources", shape={"data": Rows(SOURCE_ROW)} | PAGED),
    Case(name="datasource.get", call="GET /accounts/{a}/datasources/{d}", shape=SOURCE),
    Case(name="datasource.get oauth", call="GET /accounts/{a}/datasources/{o}", shape=FRESH | {"link": LINK}),
    Case(name="datasource.create", call="POST /accounts/{a}/datasources", shape=FRESH,
         body={"name": "M", "connector_guid": "{mail}", "params": MAIL_PARAMS}),
    Case(name="datasource.create oauth", call="POST /accounts/{a}/datasources",
         shape=FRESH | {"additional": {"message": str, "link": LINK}},
         body={"name": "G", "connector_guid": "{github}", "redirect_url": "https://acme.example/done"}),
    Case(name="datasource.update", call="PUT /accounts/{a}/datasources/{d}", shape=SOURCE,
         body={"name": "M2", "params": MAIL_PARAMS}),
    Case(name="datasource.delete", call="DELETE /accounts/{a}/datasources/{o}", status=204),
    Case(name="datasource.delete in use", call="DELETE /accounts/{a}/datasources/{d}", status=400,
         shape={"error": str, "blends": Rows(NESTED)}),
    Case(name="connector.get", call="GET /connectors/{mail}", shape={
        "guid": UUID, "name": str, "description": str, "authentication_type": str, "params": list,
    }),
    Case(name="refused", call="POST /accounts", status=400, shape={}, body={"name": "without externalid"}),
    Case(name="missing", call="GET /accounts/{b}", status=400, shape={}),
)  # fmt: skip


@pytest.fixture
def guids(oem: OemWorld) -> dict[str, str]:
    """The objects that the cases name."""
    service, account = oem.service, oem.account
    service.templates[oem.template].groups = ("All",)
    mail = service.add_datasource(account, "Mail", "Mail", MAIL_PARAMS)
    blend = service.add_blend(account, "Sync", template=oem.template, datasources=(mail,))
    service.blend(blend).response = b'{"done": 3}'
    part = service.add_template("Part", inputs=(SHOP,), groups=("All",))
    pair = service.add_template("Pair", parts=(part, oem.template), groups=("All",))
    bundle = service.add_blend(account, "Pair", template=pair, schedule=OemSchedule(), state="disabled")
    service.remove_template(pair)
    oem.clock.advance(3600)
    return {
        "a": account, "b": blend, "t": oem.template, "d": mail, "bundle": bundle,
        "o": service.add_datasource(account, "GitHub", "Git", connected=False), "run": service.runs[0].guid,
        "mail": service.connector("Mail"), "github": service.connector("GitHub"),
    }  # fmt: skip


def _filled(value: Any, guids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: guids[match[1]], value)
    if isinstance(value, dict):
        return {name: _filled(one, guids) for name, one in value.items()}
    return [_filled(one, guids) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_documented_operation(oem: OemWorld, guids: dict[str, str], case: Case) -> None:
    """The answer is what the page shows, with the limit's headers, and the call counts as documented."""
    if case.name == "blend.list":
        oem.service.add_blend(oem.account, "By hand")
        oem.service.accounts[oem.account].blends.pop(guids["bundle"])
    method, path = _filled(case.call, guids).split()
    answer = oem(method, path, _filled(case.body, guids), **case.query)
    assert answer.status == case.status, oem.service.refusals
    if case.shape is None:
        assert answer.body == b""
    else:
        assert not fits(answer.json, case.shape)
        assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-ratelimit-limit"] == "300"
    assert answer.headers["x-ratelimit-remaining"] == "299"
    assert not oem.service.undocumented


def test_bundle_rows(oem: OemWorld, guids: dict[str, str]) -> None:
    """A bundle, instance or template, holds its parts in `sub_blends`, and they are no rows of their own."""
    rows = {row["guid"]: row for row in oem.rows(f"{oem.a}/blends")}
    assert set(rows) == {guids["b"], guids["bundle"]}
    assert not fits(rows[guids["bundle"]], BUNDLE)
    oem.service.add_template("Again", parts=(oem.template,), groups=("All",))
    row = next(one for one in oem.rows("/templates") if one["isbundle"])
    assert not fits(row, TEMPLATE | {"sub_blends": Rows(TEMPLATE)})


def test_connector_params(oem: OemWorld) -> None:
    """A connector names its params and how it is connected; only a choice has options."""
    found = oem("GET", f"/connectors/{oem.service.connector('Mail')}").json["params"]
    for param in found:
        more = {"options": Rows(str)} if param["type"] == "select" else {}
        assert not fits(param, PARAM | more | ({"type": str} if more else {}))
    assert {param["type"] for param in found} == {"string", "password", "select"}
    github = oem("GET", f"/connectors/{oem.service.connector('GitHub')}").json
    assert github["authentication_type"] == "oAuth2 3-legged"


def test_public_connectors(oem: OemWorld) -> None:
    """The public list wants no credentials, counts for no limit, and says so when it gets some."""
    bare = {"accept": "application/json"}
    answer = oem("GET", oem.service.connectors_url, headers=bare)
    assert {row["name"] for row in answer.json} > {"Mail", "GitHub"}
    assert "x-ratelimit-limit" not in answer.headers
    assert not oem.service.undocumented
    assert oem("GET", oem.service.connectors_url, headers={}).headers["content-type"].startswith("text/html")
    oem("GET", oem.service.connectors_url)
    assert [one.what for one in oem.service.undocumented] == ["credentials"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "{a}/blends"),
        ("POST", "{a}/blends/{b}/copy"),
        ("DELETE", "{a}/blends/{b}"),
        ("DELETE", "{a}"),
        ("PUT", "{a}/unexpire"),
        ("GET", "{a}/blends/{b}/workspace"),
        ("GET", "{a}/blends/{b}/export"),
        ("GET", "{a}/users"),
        ("POST", "{a}/blends/{b}/runs/x/stop"),
        ("POST", "/templates"),
        ("PUT", "/templates/{t}"),
        ("DELETE", "/templates/{t}"),
        ("GET", "/connectors"),
        ("GET", "/usage"),
        ("GET", "{a}//blends"),
    ],
)
def test_undocumented_path(oem: OemWorld, guids: dict[str, str], method: str, path: str) -> None:
    """What no page knows answers 404, changes nothing, and is counted."""
    before = len(oem.service.accounts[oem.account].blends)
    filled = path.replace("{a}", oem.a).replace("{b}", guids["b"]).replace("{t}", oem.template)
    assert oem(method, filled).status == 404
    assert [(one.method, one.what) for one in oem.service.undocumented] == [(method, "path")]
    assert len(oem.service.accounts[oem.account].blends) == before


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda oem, b: oem("GET", f"{oem.a}/blends", limit=10), ("query", "limit")),
        (lambda oem, b: oem("GET", f"{oem.a}/blends/{b}/runs", sort="x"), ("query", "sort")),
        (lambda oem, b: oem("PUT", f"{oem.a}/blends/{b}", {"name": "B", "description": "x"}), ("body", "description")),
        (lambda oem, b: oem("PUT", f"{oem.a}/expire", {"force": True}), ("body", "force")),
        (lambda oem, b: oem("PUT", oem.a, {"send_invite": True}), ("body", "send_invite")),
        (lambda oem, b: oem("POST", f"{oem.a}/blends/{b}/run", {"Inputs": {}}), ("body", "Inputs")),
        (
            lambda oem, b: oem("POST", f"/templates/{oem.template}/install", {"account": "acme", "name": "N"}),
            ("body", "name"),
        ),
        (
            lambda oem, b: oem("GET", f"https://admin.blendr.io/v1/accounts/{oem.account}/blends"),
            ("host", "admin.blendr.io"),
        ),
    ],
)
def test_undocumented_words(
    oem: OemWorld, guids: dict[str, str], call: Callable[[OemWorld, str], Any], expected: tuple[str, str]
) -> None:
    """Names in query and body that no page has, and calls to another host, are counted; the call goes on."""
    assert call(oem, guids["b"]).status == 200
    assert [(one.what, one.name) for one in oem.service.undocumented] == [expected]
