"""One stored automation: its members, the bytes of its answers, and whether it is armed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from attrs import define, field

from qlikmigrate.sandbox.schedule import is_real
from qlikmigrate.sandbox.wire import dumps, loads
from qlikmigrate.sandbox.workspace import derived_ids, start_mode

Recipe = Callable[[], bytes]


@define(eq=False)
class Automation:
    """A stored automation. `workspace` is JSON, or the recipe that makes it anew each time.

    `version` counts saves, `readers` the version that each caller has read last. `listed_from` and `listed_call`: when
    lists begin to show it, in monotonic seconds and list calls.
    """

    id: str
    name: str
    owner_id: str
    space_id: str
    created_at: str
    updated_at: str
    token: str
    description: str = ""
    state: str = "available"
    schedules: list[dict[str, Any]] = field(factory=list)
    start: str = "manual"
    max_runs: int = 1
    workspace: bytes | Recipe = b"{}"
    derived: Mapping[str, list[str]] = field(factory=dict)
    runs: list[dict[str, Any]] = field(factory=list)
    version: int = 1
    readers: dict[str, int] = field(factory=dict)
    listed_from: float = float("-inf")
    listed_call: int = 0
    _row: bytes | None = None

    @property
    def is_scheduled(self) -> bool:
        """Whether a real schedule would start it."""
        return any(map(is_real, self.schedules))

    @property
    def run_mode(self) -> str:
        """A real schedule wins, else what the StartBlock asks for."""
        if self.is_scheduled:
            return "scheduled"
        return self.start

    @property
    def is_armed(self) -> bool:
        """Whether it could start without a person, were it enabled."""
        return self.is_scheduled or self.start != "manual"

    def workspace_bytes(self) -> bytes:
        """The workspace as JSON."""
        return self.workspace if isinstance(self.workspace, bytes) else self.workspace()

    def workspace_value(self) -> Any:
        """The workspace as a value."""
        return loads(self.workspace_bytes())

    def set_workspace(self, value: Mapping[str, Any]) -> None:
        """Store a workspace, already spelled as the service does, and what follows from it."""
        self.workspace = dumps(value)
        self.start = start_mode(value)
        self.derived = derived_ids(value)
        self.touch()

    def touch(self) -> None:
        """Forget the row that lists show."""
        self._row = None

    def get(self, name: str) -> Any:
        """A member that lists filter and sort by."""
        if name == "lastRunAt":
            return self.runs[-1]["startTime"] if self.runs else None
        if name == "lastRunStatus":
            return self.runs[-1]["status"] if self.runs else None
        if name == "id":
            return self.id
        return getattr(self, _ATTRIBUTES[name])

    def _members(self) -> dict[str, Any]:
        last = self.runs[-1] if self.runs else None
        members: dict[str, Any] = {"id": self.id, "name": self.name, "state": self.state}
        if last is not None:
            members["lastRun"] = last
        members |= {"ownerId": self.owner_id, "runMode": self.run_mode, "spaceId": self.space_id}
        members["createdAt"] = self.created_at
        if last is not None:
            members["lastRunAt"] = last["startTime"]
        return members

    def _tail(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "snippetIds": self.derived.get("snippetIds", []),
            "description": self.description,
            "endpointIds": self.derived.get("endpointIds", []),
            "connectorIds": self.derived.get("connectorIds", []),
        }
        if self.runs:
            made["lastRunStatus"] = self.runs[-1]["status"]
        return made | {"executionToken": self.token, "maxConcurrentRuns": self.max_runs}

    def detail(self) -> bytes:
        """Its own answer. Source: openapi/workflows-automations.json, AutomationDetailObject."""
        return orjson.dumps(
            self._members()
            | {
                "schedules": self.schedules,
                "updatedAt": self.updated_at,
                "workspace": orjson.Fragment(self.workspace_bytes()),
            }
            | self._tail()
        )

    def row(self, *, with_workspace: bool) -> bytes:
        """Its row in a list: no schedules, and a duration."""
        if with_workspace:
            return self._render_row({"workspace": orjson.Fragment(self.workspace_bytes())})
        if self._row is None:
            self._row = self._render_row({})
        return self._row

    def _render_row(self, extra: dict[str, Any]) -> bytes:
        duration = self.runs[-1].get("duration", 0) if self.runs else 0
        members = self._members() | {"duration": duration, "updatedAt": self.updated_at}
        return orjson.dumps(members | extra | self._tail())


_ATTRIBUTES = {
    "name": "name",
    "state": "state",
    "ownerId": "owner_id",
    "runMode": "run_mode",
    "spaceId": "space_id",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "maxConcurrentRuns": "max_runs",
}


class AutomationView(Mapping[str, dict[str, Any]]):
    """What is stored, for assertions: id → the automation's answer as a value, made on look-up."""

    def __init__(self, records: Mapping[str, Automation]) -> None:
        self._records = records

    def __getitem__(self, ident: str) -> dict[str, Any]:
        value: dict[str, Any] = loads(self._records[ident].detail())
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
