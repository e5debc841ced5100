"""Undoes a run, last things first: every object is looked at right before its write, and every write journalled.

What is not proven ours, or was changed, enabled or run by people since, stays and is listed. Nothing is ever forced
out of a tenant: a connection or space in use is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from attrs import evolve

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    MissingError,
    UnauthorizedError,
    UnreachableError,
)
from qlikmigrate.importer.body import full_body
from qlikmigrate.importer.comparison import face_of
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.ledger import LedgerWriter, read_ledger
from qlikmigrate.importer.plan import Action, SettingsAction, SpaceAction, Step, Verb
from qlikmigrate.importer.rollback_book import RollbackBook, RollbackResult
from qlikmigrate.importer.run_folder import run_name
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.importer.settings_writer import lower_settings, read_max_runs
from qlikmigrate.importer.undo import Undo, Way, undo_of_settings
from qlikmigrate.importer.watch import Look, Watch, check_tenant, reach
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Progress, Severity, Sink
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse

_STOPPED = Undo(way=Way.KEEP, code="not-started", reason="stopped before its turn")


async def preview_rollback(
    client: CloudClient, view: RunView, *, force: bool, clock: Clock, sink: Sink
) -> RollbackResult:
    """What a rollback would do. Sends GETs only.

    Raises:
        UsageError: the tenant is not the run's.
        AuthError, FailedError: the tenant cannot be read.
    """
    await check_tenant(client, view.plan)
    watch = Watch(view=view, client=client, clock=clock, force=force)
    await watch.open()
    book = RollbackBook(view, sink)
    actions = view.plan.actions[::-1]
    for number, action in enumerate(actions, start=1):
        look = await watch.look(action)
        book.take(action, look.undo, done=False, value=look.sighting.value)
        sink(Progress(phase="compare", done=number, total=len(actions), subject=action.name))
    if (settings := view.plan.settings) is not None:
        now = await read_max_runs(client)
        run, undone = watch.done("settings"), watch.done("rollback:settings")
        undo = undo_of_settings(settings, run, undone, now, highest=book.highest_runs)
        book.take_settings(undo, done=False)
    created = watch.created_connections()
    if created:
        await watch.open_connections()
    for key, source_id in created:
        undo = watch.look_at_connection(key, book.used)
        book.deleted |= {undo.target_id} if undo.way is Way.DELETE and undo.target_id else set()
        book.take_connection(source_id, watch.name_of_connection(key, source_id), undo, done=False)
    for space in view.plan.spaces[::-1]:
        book.take_space(space, await watch.look_at_space(space, book.deleted), done=False)
    return book.result()


async def roll_back(
    client: CloudClient, view: RunView, *, force: bool, abort_on_error: bool, clock: Clock, sink: Sink
) -> RollbackResult:
    """Undo the run, or go on with undoing it.

    Raises:
        UsageError: the tenant is not the run's.
        AuthError, FailedError: the tenant cannot be used any more; go on by rolling back again.
    """
    await check_tenant(client, view.plan)
    with ExitStack() as stack:
        journal = Journal(view.folder.journal_path, run_id=view.folder.path.name, clock=clock)
        stack.callback(journal.close)
        view = evolve(view, state=journal.state)
        watch = Watch(view=view, client=client, clock=clock, force=force, patient=True)
        await watch.open()
        rollback = _Rollback(watch, journal, stack, clock, RollbackBook(view, sink))
        return await rollback.run(sink, abort_on_error=abort_on_error)


class _Rollback:
    def __init__(self, watch: Watch, journal: Journal, stack: ExitStack, clock: Clock, book: RollbackBook) -> None:
        self._watch = watch
        self._journal = journal
        self._stack = stack
        self._clock = clock
        self._book = book
        archive, target = watch.plan.archive, watch.plan.target
        self._pair = {"source_tenant": archive.tenant_id, "target_tenant": target.tenant_id}
        self._ledger_path = Path(watch.plan.options.ledger)
        self._ledger = read_ledger(self._ledger_path, **self._pair)
        self._writer: LedgerWriter | None = None
        self._run = run_name(watch.view.folder, watch.plan)

    async def run(self, sink: Sink, *, abort_on_error: bool) -> RollbackResult:
        plan = self._watch.plan
        total, stopped = len(plan.actions) + len(plan.spaces), False
        for number, action in enumerate(plan.actions[::-1], start=1):
            if stopped:
                self._book.take(action, _STOPPED, done=True)
            else:
                stopped = await self._take(action) and abort_on_error
            sink(Progress(phase="roll back", done=number, total=total, subject=action.name))
        if plan.settings is not None and not stopped:
            stopped = await self._take_settings(plan.settings) and abort_on_error
        created = self._watch.created_connections()
        if created:
            await self._watch.open_connections()
        for key, source_id in created:
            if not stopped:
                stopped = await self._take_connection(key, source_id) and abort_on_error
        for space in plan.spaces[::-1]:
            if stopped:
                self._book.take_space(space, _STOPPED, done=True)
            else:
                stopped = await self._take_space(space) and abort_on_error
        return self._book.result()

    async def _take(self, action: Action) -> bool:
        """Undo one automation; whether that failed."""
        key = f"rollback:{action.seq}"
        look = await self._watch.look(action)
        try:
            if look.undo.way is Way.DELETE:
                await self._delete(key, "automation.delete", str(look.undo.target_id), look.reach.client)
            elif look.undo.way is Way.RESTORE:
                await self._restore(key, action, look)
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._journal.fail(key, error.code)
            if action.repoint and isinstance(error, InvalidError):
                # Source: Qlik's editor: a Call Automation block without a valid automation cannot be saved.
                reason = "the service does not take its former document, which calls what is gone"
                kept = evolve(look.undo, way=Way.KEEP, code="former-call-gone", reason=reason)
                self._book.take(action, kept, done=True, value=look.sighting.value)
                return False
            self._book.take(action, look.undo, done=True, value=look.sighting.value, error=error)
            return True
        if look.undo.settled or look.undo.way in (Way.DELETE, Way.RESTORE):
            gone = action.verb is Verb.CREATE
            self._settle(Kind.AUTOMATION, action.source_id, str(look.undo.target_id), gone=gone)
        self._book.take(action, look.undo, done=True, value=look.sighting.value)
        return False

    async def _delete(self, key: str, operation: str, ident: str, client: CloudClient) -> None:
        self._begin(key, Step.DELETE)
        # Gone is what was asked for.
        with suppress(MissingError):
            await client.call(operation, id=ident)
        self._journal.done(key, Step.DELETE, ident)

    async def _restore(self, key: str, action: Action, look: Look) -> None:
        ident, client = str(look.undo.target_id), look.reach.client
        value, before = look.sighting.value or {}, look.sighting.pre_image or {}
        look = await self._move_back(key, ident, look)
        client = look.reach.client
        if look.undo.put:
            self._begin(key, Step.PUT)
            written = await self._put(action, ident, look)
            if value.get("state") == "disabled" and not look.undo.enable and written.get("state") != "disabled":
                # A document never changes the state; where the server does, it is set back.
                await client.call("automation.disable", id=ident)
            self._journal.done(key, Step.PUT, ident)
        if look.undo.enable:
            self._begin(key, Step.ENABLE)
            await client.call("automation.enable", id=ident)
            self._journal.done(key, Step.ENABLE, ident)
        if look.undo.disable:
            self._begin(key, Step.DISABLE)
            await client.call("automation.disable", id=ident)
            self._journal.done(key, Step.DISABLE, ident)
        if look.undo.put:
            now = (await client.call("automation.get", id=ident)).json() or {}
            if face_of(now) != face_of(before):
                self._book.differing += 1
                self._book.note(
                    "readback-differs",
                    Severity.ERROR,
                    f"`{action.name}` differs from its pre-image when read back",
                    f"automation {ident}",
                )

    async def _move_back(self, key: str, ident: str, look: Look) -> Look:
        """Back to the space and the owner of the pre-image; from there on it is written as that owner."""
        undo, client, before = look.undo, self._watch.client, look.sighting.pre_image or {}
        owner = str(before.get("ownerId") or "")
        moves = [(undo.space, Step.CHANGE_SPACE, {"spaceId": str(before.get("spaceId") or "")})]
        moves.append((undo.owner, Step.CHANGE_OWNER, {"userId": owner}))
        for wanted, step, body in moves:
            if wanted:
                self._begin(key, step)
                try:
                    await client.call(f"automation.{step.value}", body=body, id=ident)
                except ForbiddenError:
                    if step is Step.CHANGE_OWNER or look.reach.client is client:
                        raise
                    await look.reach.client.call(f"automation.{step.value}", body=body, id=ident)
                self._journal.done(key, step, ident)
        if not undo.owner and not undo.space:
            return look
        found = await reach(client, ident, owner, listed=True)
        off = (look.sighting.value or {}).get("state") == "disabled"
        if off and (found.value or {}).get("state") != "disabled":
            # Only what is said to be switched on is; a move may do it by itself.
            await found.client.call("automation.disable", id=ident)
        return evolve(look, reach=found)

    async def _put(self, action: Action, ident: str, look: Look) -> Mapping[str, Any]:
        raw = self._watch.view.folder.pre_image(ident) or b"{}"
        runs = parse(raw).get("maxConcurrentRuns")
        body = full_body(raw, space_id=None, max_concurrent_runs=runs if isinstance(runs, int) else None)
        try:
            answer = await look.reach.client.call("automation.update", body=body, id=ident)
        except ConflictError:
            again = await self._watch.look(action)
            if not again.undo.put:
                # Somebody changed it in between, unless an earlier attempt has done it after all.
                if again.undo.way is Way.KEEP:
                    raise
                return again.sighting.value or {}
            answer = await again.reach.client.call("automation.update", body=body, id=ident)
        value = answer.json()
        return value if isinstance(value, Mapping) else {}

    async def _take_settings(self, settings: SettingsAction) -> bool:
        key = "rollback:settings"
        undo = undo_of_settings(
            settings,
            self._watch.done("settings"),
            self._watch.done(key),
            await read_max_runs(self._watch.client),
            highest=self._book.highest_runs,
        )
        try:
            if undo.way is Way.RESTORE:
                self._begin(key, Step.PUT)
                await lower_settings(self._watch.client, settings)
                self._journal.done(key, Step.PUT, "")
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._journal.fail(key, error.code)
            self._book.take_settings(undo, done=True, error=error)
            return True
        self._book.take_settings(undo, done=True)
        return False

    async def _take_connection(self, key: str, source_id: str) -> bool:
        undo = self._watch.look_at_connection(key, self._book.used)
        name = self._watch.name_of_connection(key, source_id)
        try:
            if undo.way is Way.DELETE:
                await self._delete_connection(f"rollback:{key}", str(undo.target_id))
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._journal.fail(f"rollback:{key}", error.code)
            if isinstance(error, ConflictError):
                kept = Undo(way=Way.KEEP, target_id=undo.target_id, code="in-use", reason="the server says: in use")
                self._book.take_connection(source_id, name, kept, done=True)
                return False
            self._book.take_connection(source_id, name, undo, done=True, error=error)
            return True
        if undo.settled or undo.way is Way.DELETE:
            self._settle(Kind.CONNECTION, source_id, str(undo.target_id), gone=True)
        self._book.deleted |= {str(undo.target_id)} if undo.way is Way.DELETE else set()
        self._book.take_connection(source_id, name, undo, done=True)
        return False

    async def _delete_connection(self, key: str, ident: str) -> None:
        """As the caller, else as its owner: a bot may not delete what is somebody else's. Never with `forced`."""
        client = self._watch.client
        owner = str(self._watch.connections[ident].get("ownerId") or "")
        self._begin(key, Step.DELETE)
        try:
            await client.call("connection.delete", query={"forced": False}, id=ident)
        except (ForbiddenError, MissingError):
            if client.endpoint.impersonation is None or not owner:
                raise
            with suppress(MissingError):
                await (await client.as_user(owner)).call("connection.delete", query={"forced": False}, id=ident)
        self._journal.done(key, Step.DELETE, ident)

    async def _take_space(self, space: SpaceAction) -> bool:
        key = f"rollback:space:{space.source_id}"
        undo = await self._watch.look_at_space(space, self._book.deleted)
        try:
            if undo.way is Way.DELETE:
                await self._delete(key, "space.delete", str(undo.target_id), self._watch.client)
        except (UnauthorizedError, UnreachableError):
            raise
        except ApiError as error:
            self._journal.fail(key, error.code)
            if error.status == 412:
                # Source: openapi/spaces.json: a space that is in use is not deleted.
                kept = Undo(way=Way.KEEP, target_id=undo.target_id, code="not-empty", reason="the server says: in use")
                self._book.take_space(space, kept, done=True)
                return False
            self._book.take_space(space, undo, done=True, error=error)
            return True
        self._book.take_space(space, undo, done=True)
        return False

    def _begin(self, key: str, step: Step) -> None:
        self._journal.undo()
        self._journal.intend(key, step, since=self._clock.now())

    def _settle(self, kind: Kind, source_id: str, ident: str, *, gone: bool) -> None:
        """What the run told the ledger no longer holds. `gone`: the object of the target does not exist any more."""
        entry = self._ledger.get(kind, source_id)
        if entry is None or entry.target_id.lower() != ident.lower():
            return
        ours = entry.run == self._run
        if not ours and not gone:
            return
        if self._writer is None:
            self._writer = self._stack.enter_context(LedgerWriter(self._ledger_path, **self._pair))
        same = entry.before is not None and entry.before.target_id.lower() == entry.target_id.lower()
        if gone and (same or not ours):
            self._writer.forget(entry)
        else:
            self._writer.revert(entry)
