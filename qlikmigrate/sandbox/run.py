"""Runs of automations: asked for over the API, or by an execution token. A run ends when its time is over.

Source: openapi/workflows-automations.json; Qlik's public action-button code for the execute URL.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox import schedule
from qlikmigrate.sandbox.automation import Automation
from qlikmigrate.sandbox.mint import stamp
from qlikmigrate.sandbox.page import Paging, ascending_keys, cut_page, page_response
from qlikmigrate.sandbox.realm import ADMIN_ROLES, Realm
from qlikmigrate.sandbox.scim import compile_filter
from qlikmigrate.sandbox.shelf import Shelf
from qlikmigrate.sandbox.wire import (
    ApiError,
    Call,
    Route,
    answer,
    bad_request,
    dumps,
    forbidden,
    no_content,
    not_found,
    reply_json,
)

_PAGING = Paging(
    default_limit=10, max_limit=200, cursor=True, sorts=("id", "status", "startTime", "createdAt"), default_sort="id"
)
_USAGE = ("runs", "scheduledRun", "triggeredRun", "webhookRuns", "duration", "bandwidthIn", "bandwidthOut")


class Runs:
    """The runs of all automations."""

    def __init__(self, realm: Realm, shelf: Shelf) -> None:
        self._realm = realm
        self._shelf = shelf
        self._running: dict[str, tuple[Automation, dict[str, Any]]] = {}

    def settle(self) -> None:
        """End the runs whose time is over."""
        latest = stamp(self._realm.now() - timedelta(seconds=self._realm.switches.run_seconds))
        for one, run in list(self._running.values()):
            if run["startTime"] <= latest:
                self._end(one, run, "finished")

    def start(self, one: Automation, context: str, executed_by: str) -> dict[str, Any]:
        """Run an automation now.

        Raises:
            ApiError: 403, it is not available; 422, too many runs at once.
        """
        if one.state != "available":
            raise forbidden("The automation is not available")
        if sum(run["status"] == "running" for run in one.runs) >= one.max_runs:
            raise ApiError(422, "HTTP-422", "Unprocessable", "Too many concurrent runs")
        now = self._realm.now()
        moment = stamp(now)
        run: dict[str, Any] = {
            "id": self._realm.mint.time_id(),
            "error": [],
            "title": "",
            "status": "running",
            "context": context,
            "ownerId": one.owner_id,
            "spaceId": one.space_id,
            "testRun": False,
            "archived": False,
            "duration": 0,
            "stopTime": None,
            "createdAt": moment,
            "isTestRun": False,
            "startTime": moment,
            "updatedAt": moment,
            "isArchived": False,
            "executedById": executed_by,
            "scheduledStartTime": None,
        }
        one.runs.append(run)
        self._running[run["id"]] = (one, run)
        self.settle()
        if context == "api_async" and one.is_scheduled:
            schedule.started(one.schedules, now)
        one.touch()
        self._realm.changed()
        return run

    def _end(self, one: Automation, run: dict[str, Any], status: str) -> None:
        moment = stamp(self._realm.now())
        run.update(status=status, stopTime=moment, updatedAt=moment)
        del self._running[run["id"]]
        one.touch()
        self._realm.changed()

    def routes(self) -> Iterator[Route]:
        """Operations on runs, under both families; the debug log and usage as the service has them."""
        for family in ("v1", "workflows"):
            base = f"/api/{family}/automations"
            yield Route("GET", f"{base}/usage", self._usage)
            yield Route("GET", f"{base}/{{}}/runs", self._list)
            yield Route("POST", f"{base}/{{}}/runs", self._create, 2)
            yield Route("GET", f"{base}/{{}}/runs/{{}}", self._get)
            yield Route("POST", f"{base}/{{}}/runs/{{}}/actions/export", self._export, 2)
            yield Route("POST", f"{base}/{{}}/runs/{{}}/actions/retry", self._retry, 2)
            yield Route("POST", f"{base}/{{}}/runs/{{}}/actions/stop", self._stop, 2)
            yield Route("POST", f"{base}/{{}}/actions/execute", self._execute, 2, public=True)
        yield Route("GET", "/api/workflows/automations/{}/runs/{}/debug", self._debug)

    def _one(self, call: Call, ident: str, run_id: str, *, admin: bool = True) -> tuple[Automation, dict[str, Any]]:
        one = self._shelf.reach(call, ident, write=False, admin=admin)
        for run in one.runs:
            if run["id"] == run_id:
                return one, run
        raise not_found("Run not found")

    def _list(self, call: Call, ident: str) -> Response:
        one = self._shelf.reach(call, ident, write=False, admin=True)
        runs = {run["id"]: run for run in one.runs}
        if text := call.query.get("filter"):
            test = compile_filter(text, ("status", "context", "startTime", "executedById"))
            runs = {ident: run for ident, run in runs.items() if test(run.get)}
        page = cut_page(_PAGING, call, ascending_keys(_PAGING, call, runs, lambda ident, name: runs[ident][name]))
        rows = []
        for run_id in page.ids:
            row = dict(runs[run_id])
            if row["stopTime"] is None:
                del row["stopTime"]
            rows.append(dumps(row))
        return page_response(_PAGING, call, page, rows)

    def _create(self, call: Call, ident: str) -> Response:
        one = self._shelf.reach(call, ident)
        if call.fields().get("context") != "api":
            raise ApiError(422, "HTTP-422", "Unprocessable", "context must be api")
        who = call.identity
        # Source: Qlik community 2522960; running takes a part in the space even with admin.automations.
        if one.space_id and one.owner_id != who.user_id and not self._realm.member_of(who.user_id, one.space_id):
            raise forbidden("Insufficient permissions in this space")
        return reply_json(self.start(one, "api_sync", who.user_id), 201)

    def _get(self, call: Call, ident: str, run_id: str) -> Response:
        return reply_json(self._one(call, ident, run_id)[1])

    def _export(self, call: Call, ident: str, run_id: str) -> Response:
        self._one(call, ident, run_id)
        return reply_json({"url": f"{call.origin}/api/workflows/automations/{ident}/runs/{run_id}/debug"})

    def _retry(self, call: Call, ident: str, run_id: str) -> Response:
        one, run = self._one(call, ident, run_id)
        self.start(one, run["context"], call.identity.user_id)
        return no_content()

    def _stop(self, call: Call, ident: str, run_id: str) -> Response:
        one, run = self._one(call, ident, run_id)
        if run["status"] == "running":
            self._end(one, run, "stopped")
        return no_content()

    def _debug(self, call: Call, ident: str, run_id: str) -> Response:
        one, run = self._one(call, ident, run_id)
        text = f"{run['startTime']} {one.name}: {run['status']}\n"
        return answer(text.encode(), content_type="text/plain; charset=utf-8")

    def _execute(self, call: Call, ident: str) -> Response:
        token = call.headers.get("x-execution-token") or call.query.get("X-Execution-Token")
        one = self._shelf.records.get(ident)
        if one is None or token != one.token:
            raise ApiError(401, "HTTP-401", "Unauthorized", "Wrong execution token")
        if one.run_mode != "triggered":
            raise forbidden("The automation is not triggered")
        run = self.start(one, "webhook", one.owner_id)
        return reply_json({"id": run["id"], "status": run["status"]})

    def _usage(self, call: Call) -> Response:
        who = call.identity
        if self._realm.roles_of(who.user_id).isdisjoint(ADMIN_ROLES):
            raise forbidden("TenantAdmin or AnalyticsAdmin is required")
        wanted = {"runs"}
        if text := call.query.get("filter"):
            test = compile_filter(text, ("name", "date"))
            wanted = {
                name for name in _USAGE if test({"name": name, "date": self._realm.now().strftime("%Y-%m-%d")}.get)
            }
        breakdown = call.query.get("breakdownBy")
        if breakdown not in (None, "automation"):
            raise bad_request("breakdownBy must be automation")
        rows: list[dict[str, Any]] = []
        for name in sorted(wanted):
            values = [(one, len(one.runs) if name == "runs" else 0) for one in self._shelf.records.values()]
            base = {"date": self._realm.now().strftime("%Y-%m-%d"), "name": name}
            if breakdown is None:
                rows.append(base | {"value": sum(value for _, value in values)})
                continue
            rows += [
                base | {"value": value, "automation": {"guid": one.id, "name": one.name, "ownerId": one.owner_id}}
                for one, value in values
                if value
            ]
        return reply_json({"data": rows})
