"""Two embedded tenants on real loopback servers, a tenants file, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from qlikmigrate.cli.app import run
from qlikmigrate.kernel.clock import Clock, ManualClock, SystemClock
from qlikmigrate.sandbox import CloudTenant, Server, Switches

QCS = "61a87510-c7a3-11ea-95da-0fb0c241e75c"
PLATFORM_OPERATIONS = "c7e48240-e0f2-11ec-ada1-d5ef75014b77"
MAIL = "05407a80-ccfd-11eb-b098-7140f6ac27f4"


@define
class Side:
    """One tenant with its server, its bot and its people by first name."""

    tenant: CloudTenant
    server: Server
    bot: tuple[str, str]
    web: tuple[str, str]
    users: dict[str, str] = field(factory=dict)
    spaces: dict[str, str] = field(factory=dict)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The automations of that name as they are stored."""
        return [one for one in self.tenant.automations.values() if one["name"] == name]

    def by_name(self) -> dict[str, dict[str, Any]]:
        """All automations; their names must differ."""
        found = {one["name"]: one for one in self.tenant.automations.values()}
        assert len(found) == len(self.tenant.automations)
        return found

    def one(self, name: str) -> dict[str, Any]:
        """The only automation of that name."""
        (found,) = self.named(name)
        return found


@define
class Ended:
    """How a command ended: its exit code, its summary and all JSON lines."""

    code: int
    lines: list[dict[str, Any]]

    @property
    def summary(self) -> dict[str, Any]:
        assert self.lines[-1]["type"] == "summary", self.lines[-1]
        return self.lines[-1]

    @property
    def error(self) -> dict[str, Any]:
        return self.summary["error"] or {}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one type."""
        return [line for line in self.lines if line["type"] == kind]

    def codes(self) -> set[str]:
        """The codes of all problems told."""
        return {line["code"] for line in self.of("problem")}

    @property
    def automations(self) -> dict[str, int]:
        """The summary's counts of automations, zeros left out."""
        return {key: value for key, value in self.summary["counts"]["automations"].items() if value}


@define
class Stage:
    """The whole scene. `toml`: further keys of the target's table."""

    folder: Path
    source: Side
    target: Side
    capture: Any
    api: str = "auto"
    owner_by: str = "impersonate"

    @property
    def config(self) -> Path:
        return self.folder / "tenants.toml"

    def write_config(self, *, target_access: str = "write", extra_source: str = "", extra_target: str = "") -> None:
        """The tenants file. `owner_by`: impersonate (bot and web client), transfer (bot), or key (an admin's key)."""
        here, there = self.source, self.target
        if self.owner_by == "key":
            credentials = f'api_key = "{there.tenant.api_key(there.users["ada"])}"'
        else:
            credentials = f'oauth = {{ client_id = "{there.bot[0]}", client_secret = "{there.bot[1]}" }}'
        if self.owner_by == "impersonate":
            credentials += f'\nimpersonation = {{ client_id = "{there.web[0]}", client_secret = "{there.web[1]}" }}'
        self.config.write_text(
            f'[tenants.source]\nurl = "{here.tenant.base_url}"\napi = "{self.api}"\n'
            f'oauth = {{ client_id = "{here.bot[0]}", client_secret = "{here.bot[1]}" }}\n'
            f"limits = {{ timeout_seconds = 5 }}\n{extra_source}\n"
            f'[tenants.target]\nurl = "{there.tenant.base_url}"\napi = "{self.api}"\naccess = "{target_access}"\n'
            f"{credentials}\n{extra_target}\n"
            + ("" if "limits" in extra_target else "limits = { timeout_seconds = 5 }\n"),
            encoding="utf-8",
        )
        self.config.chmod(0o600)

    def cli(self, *words: str | Path) -> Ended:
        """Run a command with `--json` and this stage's tenants file."""
        self.capture.readouterr()
        arguments = [str(word) for word in words] + ["--json", "--no-progress"]
        if words[0] not in ("list", "show", "cat", "verify"):
            arguments += ["--config", str(self.config)]
        code = run(arguments)
        lines = [json.loads(line) for line in self.capture.readouterr().out.splitlines()]
        ended = Ended(code, lines)
        assert ended.summary["exit_code"] == code
        return ended

    def backup(self, name: str = "a.qma", *words: str) -> Ended:
        """Back the source up into the stage's folder."""
        return self.cli("backup", "source", "-o", self.folder / name, "--force", *words)

    def restore(self, name: str = "a.qma", *words: str, run: str = "") -> Ended:
        """Restore into the target; each call has a run folder of its own unless named."""
        number = len(list(self.folder.glob("run-*")))
        place = self.folder / (run or f"run-{number}")
        return self.cli("restore", self.folder / name, "target", "--run", place, *words)


def people(side: Side) -> None:
    """The same three people and two spaces in each tenant, with ids of its own."""
    tenant = side.tenant
    for first in ("ada", "ben", "cleo"):
        roles = ("TenantAdmin", "AutomationCreator") if first == "ada" else None
        side.users[first] = tenant.add_user(
            f"corp\\{first}", f"{first.title()} Example", f"{first}@example.com", roles=roles
        )
    for name in ("Sales", "Ops"):
        side.spaces[name] = tenant.add_space(name, owner=side.users["ada"])
        for first in side.users:
            tenant.add_member(side.spaces[name], side.users[first], ("producer", "facilitator"))


def make_side(name: str, seed: int, switches: Switches, clock: Clock | None = None) -> Side:
    """A tenant that is being served."""
    tenant = CloudTenant(name, switches=switches, seed=seed, clock=clock)
    server = Server(tenant.handle).start()
    tenant.base_url = server.url
    side = Side(tenant, server, tenant.oauth_client("m2m"), tenant.oauth_client("impersonation"))
    people(side)
    return side


@contextmanager
def staged(folder: Path, capture: Any, *, clock: Clock | None = None, **switches: Any) -> Iterator[Stage]:
    """A stage whose tenants answer as `switches` say. `clock`: the tenants', else the machine's."""
    chosen = Switches(**switches)
    source, target = make_side("acme", 1, chosen, clock), make_side("acme-dr", 2, chosen, clock)
    try:
        stage = Stage(folder, source, target, capture)
        stage.write_config()
        yield stage
    finally:
        source.server.stop()
        target.server.stop()


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    """From now on every command goes by `clock`, and no wait takes time."""

    async def sleep(self: SystemClock, seconds: float) -> None:
        await clock.sleep(seconds)

    monkeypatch.setattr(SystemClock, "now", lambda self: clock.now())
    monkeypatch.setattr(SystemClock, "monotonic", lambda self: clock.monotonic())
    monkeypatch.setattr(SystemClock, "pause", lambda self, seconds: clock.pause(seconds))
    monkeypatch.setattr(SystemClock, "sleep", sleep)


def start_block(mode: str = "manual", **inputs: str) -> dict[str, Any]:
    """A StartBlock."""
    fields = {"run_mode": mode, **inputs}
    return {
        "id": "5E0B7A52-0001-4D0C-9F4B-000000000001",
        "type": "StartBlock",
        "disabled": False,
        "name": "Start",
        "displayName": "Start",
        "comment": "",
        "childId": None,
        "inputs": [{"id": key, "value": value, "type": "select", "structure": {}} for key, value in fields.items()],
        "settings": [],
        "collapsed": [{"name": "loop", "isCollapsed": False}],
        "x": 0,
        "y": 200,
    }


def bound_block(number: int, connection: str | None, connector: str = PLATFORM_OPERATIONS) -> dict[str, Any]:
    """A connector block bound to a connection."""
    return {
        **start_block(),
        "id": f"5E0B7A52-0002-4D0C-9F4B-{number:012d}",
        "type": "EndpointBlock",
        "name": f"rawApi{number}",
        "datasourcetype_guid": connector,
        "endpoint_guid": "7b5d4040-c463-11f0-9b81-e7987de54c81",
        "inputs": [],
        "settings": [{"id": "datasource", "value": connection, "type": "select", "structure": {}}],
    }


def call_block(number: int, automation: str) -> dict[str, Any]:
    """A Call Automation block."""
    return {
        **start_block(),
        "id": f"5E0B7A52-0003-4D0C-9F4B-{number:012d}",
        "type": "CallWidgetBlock",
        "name": f"callAutomation{number}",
        "inputs": [
            {"id": "guid", "value": automation, "type": "api-search", "structure": {}, "displayValue": "the callee"}
        ],
    }


def text_block(number: int, text: str) -> dict[str, Any]:
    """An Output block that shows `text`."""
    return {
        **start_block(),
        "id": f"5E0B7A52-0004-4D0C-9F4B-{number:012d}",
        "type": "ShowBlock",
        "name": f"output{number}",
        "inputs": [{"id": "input", "value": text, "type": "string", "structure": {}}],
    }


def document(name: str, *blocks: dict[str, Any], mode: str = "manual", **fields: Any) -> dict[str, Any]:
    """An automation's document."""
    return {
        "name": name,
        "description": f"{name}, described",
        "schedules": [],
        "workspace": {"blocks": [start_block(mode), *blocks], "variables": []},
        **fields,
    }


DAILY = {
    "startAt": "2026-01-05 07:00:00",
    "stopAt": None,
    "timezone": "Europe/Stockholm",
    "recurrence": "RRULE:FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0",
}
EVERY_HOUR = {"startAt": "2026-01-05 07:00:00", "stopAt": None, "timezone": "Europe/Stockholm", "interval": 3600}
