"""Faults: each effect, which calls it hits, and that the tenant's state stays right."""

from __future__ import annotations

import orjson
import pytest
from tenant_world import Client, World

from qlikmigrate.sandbox import (
    Delay,
    DropRows,
    ExpireCursor,
    ExpireToken,
    Fault,
    ForeignLink,
    HtmlOk,
    RepeatPage,
    ResetAfterCommit,
    ResetBefore,
    Status,
    Truncate,
)


def _strike(world: World, effect: object, **where: object) -> None:
    world.tenant.faults.append(Fault(effect=effect, **where))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("effect", "lost", "status", "stored"),
    [
        (Status(code=503), False, 503, 0),
        (Status(code=500, commit=True), False, 500, 1),
        (Status(code=429, retry_after=7), False, 429, 0),
        (ResetBefore(), True, 0, 0),
        (ResetAfterCommit(), True, 0, 1),
        (HtmlOk(), False, 200, 1),
        (Truncate(), False, 201, 1),
        (Delay(3), False, 201, 1),
    ],
)
def test_a_create_goes_wrong(world: World, effect: object, lost: bool, status: int, stored: int) -> None:
    """Each effect on a create: how the answer arrives, and whether the automation exists. The next one is well."""
    _strike(world, effect, method="POST", path="/api/*/automations")
    ann = world.client("ann")
    reply = ann.reply("POST", "@/automations", {"name": "A"})
    assert (reply.lost, reply.response.status) == (lost, status)
    assert len(world.tenant.automations) == stored
    assert world.tenant.seen[-1].status == status
    assert reply.delay_s == (3 if isinstance(effect, Delay) else 0)
    if isinstance(effect, Status) and effect.retry_after:
        assert reply.response.headers["retry-after"] == "7"
    if isinstance(effect, HtmlOk):
        assert reply.response.headers["content-type"].startswith("text/html")
    if isinstance(effect, Truncate):
        assert len(reply.response.body) < int(reply.response.headers["content-length"])
        with pytest.raises(ValueError, match="unexpected end"):
            orjson.loads(reply.response.body)
    assert ann("POST", "@/automations", {"name": "B"}).status == 201


def test_which_calls_are_hit(world: World) -> None:
    """`nth` and `times` count matching calls; method, glob, expression and identity choose them."""
    _strike(world, Status(code=503), nth=2, times=2, path="/api/v1/users")
    ann = world.client("ann")
    assert [ann("GET", "/api/v1/users").status for _ in range(5)] == [200, 503, 503, 200, 200]
    _strike(world, Status(code=502), path="re:/api/v1/(roles|groups)", times=None, identity=world.bob_id)
    assert [ann("GET", "/api/v1/roles").status for _ in range(2)] == [200, 200]
    assert [world.client("bob")("GET", f"/api/v1/{kind}").status for kind in ("roles", "groups", "users")] == [
        502, 502, 200,
    ]  # fmt: skip


def test_two_faults_add_up(world: World) -> None:
    """A delay and a failure on one call both happen."""
    _strike(world, Delay(2))
    _strike(world, Status(code=500))
    reply = world.client("ann").reply("GET", "@/automations")
    assert (reply.delay_s, reply.response.status) == (2, 500)


def test_lists_go_wrong(world: World) -> None:
    """Rows missing, a page that repeats, a link to another host, a cursor that is gone."""
    ids = [world.create()["id"] for _ in range(4)]
    ann = world.client("ann")
    _strike(world, DropRows(1))
    assert [row["id"] for row in ann.rows("@/automations", limit=2)] == ids[1:]
    _strike(world, RepeatPage(), nth=2)
    first = ann("GET", "@/automations", limit=2).json["links"]["next"]["href"].removeprefix(world.tenant.base_url)
    again = ann("GET", first.replace("limit=2", "limit=1")).json["links"]["next"]["href"]
    assert again == world.tenant.base_url + first.replace("limit=2", "limit=1")
    _strike(world, ForeignLink("evil.example"))
    assert ann("GET", "@/automations", limit=2).json["links"]["next"]["href"].startswith("https://evil.example/api/")
    _strike(world, ExpireCursor(), times=2)
    assert [ann("GET", path).status for path in ("@/automations?limit=2", first, first)] == [200, 400, 200]


def test_a_token_ends_early(world: World) -> None:
    """A minted token is 401 from then on; a new one works."""
    bot = world.client("bot")
    _strike(world, ExpireToken(), nth=2)
    assert [bot("GET", "@/automations").status for _ in range(3)] == [200, 401, 401]
    assert Client(world.tenant, world.token("m2m"))("GET", "@/automations").status == 200
