"""`doctor`: each kind of identity is told what it is, what it may do, and what it lacks; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from stage import Side, Stage, document

from qlikmigrate.sandbox import Families, Fault, Status


def examine(stage: Stage, credentials: str, *, side: Side | None = None, more: str = "") -> dict[str, dict[str, Any]]:
    """The checks by name."""
    url = (side or stage.source).server.url
    stage.config.write_text(f'[tenants.x]\nurl = "{url}"\n{credentials}\n{more}\n')
    ended = stage.cli("doctor", "x")
    assert ended.code == 0, ended.error
    assert all(item["hint"] for item in ended.of("item") if item["ok"] is False)
    assert not [seen for seen in stage.source.tenant.writes if seen.path != "/oauth/token"]
    return {item["check"]: item for item in ended.of("item")}


def client(pair: tuple[str, str], key: str = "oauth") -> str:
    """A line of the tenants file."""
    return f'{key} = {{ client_id = "{pair[0]}", client_secret = "{pair[1]}" }}'


def key_of(stage: Stage, name: str) -> str:
    """The line with that user's key."""
    return f'api_key = "{stage.source.tenant.api_key(stage.source.users[name])}"'


@pytest.fixture
def busy(stage: Stage) -> Stage:
    """A source where two people own something."""
    for name in ("ada", "ben"):
        stage.source.tenant.add_automation(document(name), stage.source.users[name])
    return stage


def test_a_bot_lacks_nothing(busy: Stage) -> None:
    """Everything that a backup needs is there."""
    checks = examine(busy, client(busy.source.bot))
    assert not [name for name, check in checks.items() if check["ok"] is False]
    assert "OAuth client" in checks["identity"]["message"]
    assert checks["read other people's automations"]["ok"] is True
    assert 'access = "write"' in checks["access"]["hint"]
    assert "owners" not in checks


def test_ways_to_an_owner(busy: Stage) -> None:
    """Who may write is told how automations come to their owners."""
    bot, web = client(busy.source.bot), client(busy.source.web, "impersonation")
    write = 'access = "write"'
    assert "impersonate" in examine(busy, bot, more=f"{web}\n{write}")["owners"]["message"]
    assert "then bound" in examine(busy, bot, more=write)["owners"]["message"]
    assert "by hand" in examine(busy, key_of(busy, "ada"), more=write)["owners"]["message"]
    assert "only the identity itself" in examine(busy, key_of(busy, "ben"), more=write)["owners"]["message"]


def test_an_administrator_sees_lists_but_not_definitions(busy: Stage) -> None:
    """An admin's key lists everything and reads nobody else's automation: said, with the way out."""
    checks = examine(busy, key_of(busy, "ada"))
    assert checks["list automations"]["ok"] is True
    assert checks["read other people's automations"]["ok"] is False
    assert "admin.automations" in checks["read other people's automations"]["hint"]


def test_an_ordinary_user_sees_a_part(busy: Stage) -> None:
    """A list that is silently partial is told as what it is."""
    checks = examine(busy, key_of(busy, "ben"))
    assert checks["list automations"]["ok"] is False
    assert "own part" in checks["list automations"]["message"]


def test_v1_only(make_stage: Callable[..., Stage]) -> None:
    """An older tenant is told as one; what does not exist there is no lack."""
    stage = make_stage(families=Families.V1_ONLY)
    checks = examine(stage, client(stage.source.bot))
    assert (checks["api"]["ok"], checks["api"]["message"]) == (None, "/api/v1")
    assert checks["settings"]["ok"] is None


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("/api/*/automations", "list automations"),
        ("/api/*/automation-connections", "list connections"),
        ("/api/v1/spaces", "list spaces"),
        ("/api/v1/users", "list users"),
        ("/api/v1/items", "list items"),
    ],
)
def test_missing_rights_on_lists(busy: Stage, path: str, check: str) -> None:
    """A list that is refused is named, and the rest is examined all the same."""
    busy.source.tenant.faults.append(Fault(effect=Status(code=403), path=path, times=None))
    checks = examine(busy, client(busy.source.bot))
    assert checks[check]["ok"] is False
    assert "403" in checks[check]["message"]
    assert "access" in checks


def test_a_wrong_key(busy: Stage) -> None:
    """Nobody can be examined: 20."""
    busy.config.write_text(f'[tenants.x]\nurl = "{busy.source.server.url}"\napi_key = "k3"\n')
    assert busy.cli("doctor", "x").code == 20
