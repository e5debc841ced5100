"""Pages, filters, sorting, people and tokens."""

from __future__ import annotations

import pytest
from tenant_world import Client, World

from qlikmigrate.kernel.message import Request
from qlikmigrate.sandbox.token import LIFETIME_S


@pytest.mark.parametrize("sort", ["id", "-id", "+name", "-name", "createdAt", "maxConcurrentRuns", "lastRunAt"])
@pytest.mark.parametrize("limit", [1, 3, 200])
def test_pages_give_each_object_once_in_order(world: World, sort: str, limit: int) -> None:
    """Following the links gives every object exactly once, sorted; hrefs are absolute on the host that was asked."""
    for index in range(7):
        world.create(name=f"N{index % 3}", maxConcurrentRuns=1 + index % 2)
    ann = world.client("ann")
    rows = ann.rows("@/automations", sort=sort, limit=limit)
    field = sort.lstrip("+-")
    if field != "lastRunAt":
        keys = [(row[field], row["id"]) for row in rows]
        assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert len({row["id"] for row in rows}) == len(rows) == 7


def test_pages_go_back_too_and_do_not_shift(world: World) -> None:
    """`prev` leads to the page before; what is made or deleted meanwhile moves no other row to another page."""
    ids = [world.create()["id"] for _ in range(6)]
    ann = world.client("ann")
    first = ann("GET", "@/automations", limit=2).json
    assert first["links"]["prev"]["href"] is None
    ann("DELETE", f"@/automations/{ids[0]}")
    second = ann("GET", first["links"]["next"]["href"].removeprefix(world.tenant.base_url)).json
    assert [row["id"] for row in second["data"]] == ids[2:4]
    third = ann("GET", second["links"]["next"]["href"].removeprefix(world.tenant.base_url)).json
    back = ann("GET", third["links"]["prev"]["href"].removeprefix(world.tenant.base_url)).json
    assert [row["id"] for row in back["data"]] == ids[2:4]
    assert third["links"]["next"]["href"] is None


def test_users_and_spaces_page_by_next(world: World) -> None:
    """These lists use `next`, leave missing links out, and have their own counts."""
    for index in range(25):
        world.tenant.add_space(f"Space {index:02d}", owner=world.ann_id)
        world.tenant.add_user(f"s{index}", f"User {index:02d}", f"u{index}@acme.example")
    admin = world.client("admin")
    answer = admin("GET", "/api/v1/spaces").json
    assert (len(answer["data"]), answer["meta"]["count"], set(answer["links"])) == (10, 26, {"self", "next"})
    assert len(admin.rows("/api/v1/spaces", limit=7)) == 26
    assert len(admin.rows("/api/v1/users")) == len(world.tenant.users)
    assert admin("GET", "/api/v1/users", limit=101).status == 400
    assert admin("GET", "/api/v1/users", totalResults="true").json["totalResults"] == len(world.tenant.users)
    assert {row["name"] for row in admin.rows("/api/v1/spaces", name="SPACE 0")} == {
        f"Space {i:02d}" for i in range(10)
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('name eq "a"', ["A"]),
        ('name eq "A" or name eq "B"', ["A", "B"]),
        ('name co "C" and runMode eq "manual"', ["C \"c\""]),
        ('(name eq "A" or name eq "B") and not name eq "B"', ["A"]),
        ('name eq "C \\"c\\""', ["C \"c\""]),
        ('spaceId eq ""', ["A", "B", "C \"c\""]),
        ('name eq "nobody"', []),
    ],
)  # fmt: skip
def test_filters(world: World, text: str, names: list[str]) -> None:
    """Filters in SCIM's language, without regard to case."""
    for name in ("A", "B", 'C "c"'):
        world.create(name=name)
    assert [row["name"] for row in world.client("ann").rows("@/automations", filter=text, sort="name")] == names


@pytest.mark.parametrize(
    "query",
    [
        {"filter": 'state eq "x"'}, {"filter": "name"}, {"filter": 'name like "x"'}, {"filter": '(name eq "x"'},
        {"filter": 'name eq "x" "y"'}, {"sort": "token"}, {"limit": "0"}, {"limit": "201"}, {"limit": "x"},
        {"cursor": "nonsense"}, {"cursor": "e30"}, {"listAll": "maybe"},
    ],
)  # fmt: skip
def test_bad_queries_are_refused(world: World, query: dict[str, str]) -> None:
    """What the list does not understand is 400, not ignored."""
    answer = world.client("ann")("GET", "@/automations", **query)
    assert answer.status == 400
    assert answer.json["errors"][0]["code"] == "HTTP-400"


def test_users_are_found_by_filter(world: World) -> None:
    """By subject, part of a name, role, and a bot by its client id; `fields` cuts the rows down."""
    admin = world.client("admin")
    client_id, _ = world.tenant.oauth_client("m2m")
    for text, subject in (
        ('subject eq "acme\\\\ANN"', "ACME\\ann"),
        ('name co "oo"', "ACME\\root"),
        ('assignedRoles.name eq "TenantAdmin" and email co "acme"', "ACME\\root"),
        (f'clientId eq "{client_id}"', f"qlikbot\\{client_id}"),
    ):
        assert [row["subject"] for row in admin.rows("/api/v1/users", filter=text)] == [subject]
    assert admin.rows("/api/v1/users", filter='name eq "Ann"', fields="id,email") == [
        {"id": world.ann_id, "email": "ann@acme.example"}
    ]


def test_spaces_are_seen_by_their_people(world: World) -> None:
    """A space shows to its owner, members, administrators and the bot; names are unique and have rules."""
    bob = world.client("bob")
    assert bob.rows("/api/v1/spaces") == []
    assert bob("GET", f"/api/v1/spaces/{world.sales}").status == 404
    world.tenant.add_member(world.sales, world.bob_id, ("consumer",))
    for who in ("ann", "bob", "admin", "bot"):
        assert [row["id"] for row in world.client(who).rows("/api/v1/spaces")] == [world.sales]
    assert bob("PUT", f"/api/v1/spaces/{world.sales}", {"name": "Mine"}).status == 403
    for name, status in (("Sales", 409), ("a/b", 400), ("", 400), ("x" * 257, 400), ("New", 201)):
        assert bob("POST", "/api/v1/spaces", {"name": name, "type": "shared"}).status == status


@pytest.mark.parametrize("form", [False, True])
def test_tokens_by_json_and_by_form(world: World, form: bool) -> None:
    """Both encodings give a token for six hours; then it is 401 until a new one is asked for."""
    ident, secret = world.tenant.oauth_client("impersonation")
    grant = "urn:qlik:oauth:user-impersonation"
    client = Client(world.tenant)
    if form:
        body = (
            f"client_id={ident}&client_secret={secret}&grant_type={grant}"
            f"&user_lookup[field]=userId&user_lookup[value]={world.ann_id}"
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = world.tenant.base_url + "/oauth/token"
        raw = world.tenant.handle(Request(method="POST", url=url, headers=headers, body=body.encode())).response.body
    else:
        lookup = {"field": "userId", "value": world.ann_id}
        raw = client(
            "POST",
            "/oauth/token",
            {"client_id": ident, "client_secret": secret, "grant_type": grant, "user_lookup": lookup},
        ).body
    bearer = raw.split(b'"access_token":"')[1].split(b'"')[0].decode()
    ann = Client(world.tenant, bearer)
    assert ann("GET", "/api/v1/users/me").headers["location"].endswith(world.ann_id)
    world.clock.advance(LIFETIME_S)
    assert ann("GET", "/api/v1/users/me").status == 401


def test_tokens_are_refused(world: World) -> None:
    """Wrong secret, wrong grant, a client that is not trusted, a scope it lacks, a user who is not there."""
    m2m, secret = world.tenant.oauth_client("m2m")
    untrusted, other = world.tenant.oauth_client("m2m", trusted=False)
    web, key = world.tenant.oauth_client("impersonation")
    user = {"grant_type": "urn:qlik:oauth:user-impersonation", "client_id": web, "client_secret": key}
    plain = {"grant_type": "client_credentials", "client_id": m2m, "client_secret": secret}
    call = world.client("nobody")
    for form, status in (
        (plain | {"client_secret": "x"}, 401),
        (plain | {"grant_type": "password"}, 400),
        (plain | {"scope": "admin.users"}, 400),
        (plain | {"client_id": untrusted, "client_secret": other}, 403),
        (user, 400),
        (user | {"user_lookup": {"field": "subject", "value": "nobody"}}, 401),
        (plain | {"scope": "user_default"}, 200),
    ):
        assert call("POST", "/oauth/token", form).status == status
    assert call("GET", "@/automations").status == 401


def test_product_info_needs_no_credentials(world: World) -> None:
    """Qlik's own client asks for it before it signs in."""
    answer = world.client("nobody")("GET", "/resources/autogenerated/product-info.json")
    assert answer.json["composition"]["provider"] == "cloud"


def test_requests_are_seen(world: World) -> None:
    """Every request is recorded with who sent it and what came of it, and writes can be told from reads."""
    ann = world.client("ann")
    ann("GET", "@/automations", limit=5)
    world.client("nobody")("GET", "/api/v1/users/me")
    assert world.tenant.writes == []
    world.create()
    seen = [(one.method, one.path, dict(one.query), one.status, one.identity) for one in world.tenant.seen]
    assert seen == [
        ("GET", "/api/workflows/automations", {"limit": "5"}, 200, world.ann_id),
        ("GET", "/api/v1/users/me", {}, 401, ""),
        ("POST", "/api/workflows/automations", {}, 201, world.ann_id),
    ]
    assert [one.method for one in world.tenant.writes] == ["POST"]
