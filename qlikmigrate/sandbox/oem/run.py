"""Runs of blends: asked for, called by token, or due. They start and end as the clock moves, before each request.

Source: the pages on executing, runs, the trigger URL, and platform limits (one run of a blend and five of an account
at a time, the rest queued). Assumed: the words of `status` and `context`; newest first; `{}` for no last run.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from qlikmigrate.kernel.message import Response
from qlikmigrate.sandbox.oem import schedule, shape
from qlikmigrate.sandbox.oem.page import list_response
from qlikmigrate.sandbox.oem.realm import OemRealm
from qlikmigrate.sandbox.oem.record import Account, Blend, Run
from qlikmigrate.sandbox.oem.window import Windows
from qlikmigrate.sandbox.oem.wire import TIMES, OemCall, OemRoute, RefusalError
from qlikmigrate.sandbox.wire import answer, reply_json

_AT_ONCE = 5
_KEPT = 5000
_MOMENT = "%Y-%m-%d %H:%M:%S"


class Runs:
    """The runs of all accounts, and what is due."""

    def __init__(self, realm: OemRealm, windows: Windows) -> None:
        self._realm = realm
        self._windows = windows
        self._events: list[tuple[datetime, int, Blend, Run | None]] = []
        self._order = itertools.count()

    def settle(self) -> None:
        """Let everything happen that is due by now, in the order of time."""
        if not self._events:
            return
        now = self._realm.now()
        while self._events and self._events[0][0] <= now:
            at, _, blend, run = heapq.heappop(self._events)
            if run is not None:
                self._end(run, at)
            elif blend.due == at:
                self._fire(blend, at, now)

    def arm(self, blend: Blend) -> None:
        """Reckon anew when a blend is due, after its state or schedule has changed."""
        now = self._realm.now()
        if blend.state != "available" or not blend.is_scheduled or blend.account.expired:
            blend.due = blend.activated_at = None
            return
        blend.activated_at = now
        self._expect(blend, schedule.next_start(blend.schedule, now, now))

    def _expect(self, blend: Blend, due: datetime | None) -> None:
        blend.due = due
        if due is not None:
            heapq.heappush(self._events, (due, next(self._order), blend, None))

    def _fire(self, blend: Blend, at: datetime, now: datetime) -> None:
        if blend.account.expired or blend.activated_at is None:
            return
        self.start(blend, "scheduled", at, scheduled_for=at)
        if blend.schedule.interval == 0:
            blend.due = None
            return
        # Of a long time that passed at once, no more runs are made than would be kept.
        after = max(at, now - timedelta(seconds=blend.schedule.interval * _KEPT))
        self._expect(blend, schedule.next_start(blend.schedule, blend.activated_at, after))

    def start(
        self,
        blend: Blend,
        context: str,
        at: datetime,
        *,
        inputs: dict[str, Any] | None = None,
        scheduled_for: datetime | None = None,
    ) -> Run | None:
        """Run a blend, or queue it; None when the queue is full."""
        account = blend.account
        limit = self._realm.switches.queue_limit
        if limit == 0 or len(account.queue) >= limit:
            return None
        run = Run(
            guid=self._realm.mint.time_id(), blend=blend, context=context, status="queued", created_at=at,
            scheduled_for=scheduled_for, inputs=inputs or {},
        )  # fmt: skip
        blend.runs.append(run)
        if self._may_start(run):
            self._begin(run, at)
        else:
            account.queue.append(run)
        return run

    @staticmethod
    def _may_start(run: Run) -> bool:
        running = run.blend.account.running
        return len(running) < _AT_ONCE and all(one.blend is not run.blend for one in running.values())

    def _begin(self, run: Run, at: datetime) -> None:
        run.status = "running"
        run.started_at = run.blend.last_run_at = at
        self._windows.started(run, at)
        seconds = self._realm.switches.run_seconds
        run.blend.account.running[run.guid] = run
        if seconds <= 0:
            self._end(run, at)
        else:
            heapq.heappush(self._events, (at + timedelta(seconds=seconds), next(self._order), run.blend, run))

    def _end(self, run: Run, at: datetime) -> None:
        run.status = "finished"
        run.stopped_at = at
        account = run.blend.account
        del account.running[run.guid]
        for waiting in list(account.queue):
            if self._may_start(waiting):
                account.queue.remove(waiting)
                self._begin(waiting, at)

    def routes(self) -> Iterator[OemRoute]:
        """Executing, the lists of runs, and the trigger URL."""
        base = "/v1/accounts/{}/blends/{}"
        yield OemRoute(
            "POST", f"{base}/run", self._run, query=frozenset({"async"}), body=frozenset({"async", "inputs"}),
            takes_account=True,
        )  # fmt: skip
        names = frozenset({"page", "finishedOnly"}) | TIMES
        yield OemRoute("GET", f"{base}/runs", self._list, query=names, takes_account=True)
        yield OemRoute("GET", f"{base}/runs/{{}}", self._get, takes_account=True)
        yield OemRoute("GET", f"{base}/lastrun", self._last, takes_account=True)
        for method in ("GET", "POST"):
            yield OemRoute(
                method, "/v1/widgets/{}", self._trigger, public=True, query=frozenset({"X-Execution-Token"}), body=None
            )

    @staticmethod
    def _named(account: Account, ref: str) -> Blend | None:
        return account.blends.get(ref) or next((one for one in account.blends.values() if one.name == ref), None)

    def _run(self, call: OemCall, account_ref: str, ref: str) -> Response:
        account = self._realm.account(call, account_ref)
        given = call.members()
        later = call.boolean("async", given.get("async"))
        inputs = given.get("inputs") or {}
        if not isinstance(inputs, dict):
            raise RefusalError("inputs is no object")
        blend = self._named(account, ref)
        if blend is None:
            raise self._realm.missing("blend")
        run = self._start_asked(blend, "api_async" if later else "api_sync", inputs)
        if not later:
            call.delay_s += self._realm.switches.run_seconds
            return answer(blend.response)
        return reply_json({"guid": run.guid} if self._realm.switches.async_names_run else {})

    def _start_asked(self, blend: Blend, context: str, inputs: dict[str, Any]) -> Run:
        """Assumed: what is disabled or expired does not run."""
        if blend.state != "available" or blend.account.expired or blend.is_bundle:
            raise RefusalError("the blend does not run")
        run = self.start(blend, context, self._realm.now(), inputs=inputs)
        if run is None:
            raise RefusalError("queue full", body={"error": "The queue is full: too many jobs are waiting"})
        return run

    def _runs(self, call: OemCall, account_ref: str, guid: str) -> list[Run]:
        """Newest first; a bundle has none."""
        return list(reversed(self._realm.blend(self._realm.account(call, account_ref), guid).runs))

    def _list(self, call: OemCall, account_ref: str, guid: str) -> Response:
        runs = self._runs(call, account_ref, guid)
        if call.boolean("finishedOnly"):
            runs = [run for run in runs if run.status == "finished"]
        for name, text in call.query.items():
            if name not in TIMES:
                continue
            try:
                limit = datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
            except ValueError:
                raise RefusalError(f"{name} is not YYYY-MM-DD HH:MM:SS") from None
            runs = [run for run in runs if _fits(run.created_at.replace(microsecond=0), name, limit)]
        return list_response(
            self._realm, call, self._realm.switches.runs_envelope, runs, lambda run: shape.run(self._realm, run)
        )

    def _get(self, call: OemCall, account_ref: str, guid: str, run_guid: str) -> Response:
        for run in self._runs(call, account_ref, guid):
            if run.guid == run_guid:
                return reply_json(shape.run(self._realm, run))
        raise self._realm.missing("run")

    def _last(self, call: OemCall, account_ref: str, guid: str) -> Response:
        runs = self._runs(call, account_ref, guid)
        return reply_json(shape.run(self._realm, runs[0]) if runs else {})

    def _trigger(self, call: OemCall, ref: str) -> Response:
        token = call.headers.get("x-execution-token") or call.query.get("X-Execution-Token")
        for account in self._realm.accounts.values():
            blend = self._named(account, ref)
            if blend is not None and token == blend.token:
                break
        else:
            raise RefusalError("wrong execution token", self._realm.switches.bad_credentials_status)
        call.account = account.guid
        if blend.run_mode != "triggered":
            raise RefusalError("the blend is not triggered")
        self._start_asked(blend, "triggered", {"body": orjson.loads(call.body)} if _is_json(call.body) else {})
        call.delay_s += self._realm.switches.run_seconds
        return answer(blend.response)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _fits(created: datetime, name: str, limit: datetime) -> bool:
    match name:
        case "created_at[gt]":
            return created > limit
        case "created_at[gte]":
            return created >= limit
        case "created_at[lt]":
            return created < limit
        case _:
            return created <= limit
