"""One write at a time on one automation: intent, call, outcome. A lost create is looked for before anything else."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import define, evolve

from qlikmigrate.api.answer import Answer
from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    MissingError,
    OutcomeUnknownError,
    UnauthorizedError,
    UnreachableError,
)
from qlikmigrate.importer.binding import kept_bindings
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.importer.document_source import DocumentSource
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.lost_create import Wanted, find_created
from qlikmigrate.importer.own_text import own_body
from qlikmigrate.importer.plan import Action, OwnerMode, Step
from qlikmigrate.importer.result import ObjectError
from qlikmigrate.importer.run_folder import RunFolder
from qlikmigrate.importer.schedule_keeper import ScheduleKeeper
from qlikmigrate.importer.target import Target, list_rows, read_automation
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.model.document import cut_document
from qlikmigrate.model.inventory import entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule import is_armed
from qlikmigrate.model.snapshot import parse

_MAX_CREATES = 3
_GIVE_UP_AFTER = 3


def _stored(answer: object) -> Face | None:
    """The face of the document that an answer holds, as the server stored it."""
    return face_of(answer) if isinstance(answer, Mapping) and "workspace" in answer else None


def _runs(answer: object) -> int | None:
    runs = answer.get("maxConcurrentRuns") if isinstance(answer, Mapping) else None
    return runs if isinstance(runs, int) else None


@define
class _ServerClock:
    """The server's time, from the `Date` headers of its answers."""

    clock: Clock
    offset: timedelta = timedelta()

    def hear(self, answer: Answer) -> None:
        text = answer.headers.get("date")
        if text:
            try:
                self.offset = parsedate_to_datetime(text) - self.clock.now()
            except (TypeError, ValueError):
                return

    def now(self) -> datetime:
        return self.clock.now() + self.offset


class Writer:
    """Carries out the steps of actions and keeps the journal true."""

    def __init__(
        self,
        client: CloudClient,
        target: Target,
        documents: DocumentSource,
        journal: Journal,
        folder: RunFolder,
        clock: Clock,
        sink: Sink,
        *,
        before: Collection[str],
    ) -> None:
        """`before`: ids that were at the target when the plan was made."""
        self._client = client
        self._target = target
        self._documents = documents
        self._journal = journal
        self._folder = folder
        self._clock = clock
        self._sink = sink
        self._server = _ServerClock(clock)
        self._before = before
        self._tries: dict[str, int] = {}
        self._unreachable_in_a_row = 0
        self._schedules = ScheduleKeeper()
        self.faces: dict[int, Face] = {}
        self.problems: list[Problem] = []

    async def greet(self) -> None:
        """Learn the server's time."""
        self._server.hear(await self._client.call("tenant.me"))

    def server_now(self) -> datetime:
        """The server's time, as far as its answers tell."""
        return self._server.now()

    async def take(self, action: Action, step: Step, space_id: str) -> None:
        """Carry out one step, unless the journal says that it was.

        Raises:
            ObjectError: this automation's work cannot go on.
        """
        done = self._journal.state.of(str(action.seq))
        if step in done.steps:
            return
        try:
            await self._keep_before(action)
            match step:
                case Step.SHELL | Step.CREATE:
                    await self._create(action, step, space_id)
                case Step.PUT:
                    await self._put(action, self._id_of(action))
                case Step.CHANGE_OWNER:
                    owner = action.new_owner or action.owner_id
                    await self._simple(action, step, "automation.change-owner", {"userId": owner})
                    await self._check_off(action)
                case Step.CHANGE_SPACE:
                    await self._simple(action, step, "automation.change-space", {"spaceId": space_id})
                    await self._check_off(action)
                case Step.DISABLE:
                    await self._simple(action, step, "automation.disable", None)
                case Step.ENABLE:
                    await self._simple(action, step, "automation.enable", None)
            self._unreachable_in_a_row = 0
        except ApiError as error:
            self._journal.fail(str(action.seq), error.code, in_doubt=isinstance(error, OutcomeUnknownError))
            self._give_up_on(error)
            raise ObjectError(error.code, error.message) from None
        except ObjectError as error:
            self._journal.fail(str(action.seq), error.code, in_doubt=error.code == "create-ambiguous")
            raise

    def _give_up_on(self, error: ApiError) -> None:
        """Where it is the tenant or the identity that fails, and not the object, the run stops; it can be resumed."""
        if isinstance(error, UnauthorizedError) and error.status == 401:
            raise error
        if isinstance(error, UnreachableError):
            self._unreachable_in_a_row += 1
            if self._unreachable_in_a_row >= _GIVE_UP_AFTER:
                raise error

    def _id_of(self, action: Action) -> str:
        return self._journal.state.of(str(action.seq)).target_id or action.target_id or ""

    def _owner_of(self, action: Action) -> str:
        """Whose it is by now."""
        moved = Step.CHANGE_OWNER in self._journal.state.of(str(action.seq)).steps
        return action.new_owner if moved and action.new_owner else action.owner_id

    async def _client_of(self, action: Action, step: Step | None = None) -> CloudClient:
        """As whom it is written. An administrator moves what is somebody else's."""
        caller = self._target.caller
        moves = step is Step.CHANGE_OWNER or (step is Step.CHANGE_SPACE and (caller.bot or caller.sees_all))
        owner = self._owner_of(action)
        if moves or action.owner_mode is not OwnerMode.IMPERSONATE or owner == caller.user_id:
            return self._client
        return await self._client.as_user(owner)

    async def _keep_before(self, action: Action) -> None:
        """The version that people may have to go back to, before anything but the document is changed."""
        ident = self._id_of(action)
        if not action.synced or self._folder.pre_image(ident) is not None:
            return
        raw, value = await read_automation(
            self._client, entity(Kind.AUTOMATION, {"id": ident, "ownerId": action.owner_id})
        )
        if face_of(value).core != action.target_core:
            raise ObjectError("changed-meanwhile", "the target's version changed since the plan was made")
        self._folder.keep_pre_image(ident, cut_document(Kind.AUTOMATION, raw)[0])

    # Creates

    def marker(self, action: Action) -> str:
        """What a shell of this run carries as its description until it is completed."""
        return f"[qlikmigrate {self._journal.run_id}-{action.seq}]"

    async def _create(self, action: Action, step: Step, space_id: str) -> None:
        key = str(action.seq)
        state = self._journal.state.of(key)
        client = await self._client_of(action)
        if state.in_doubt is step and state.since is not None:
            found = await self._look(action, step, space_id, state.since, state.by, wait=True)
            if found:
                self._created(action, step, found)
                return
        creator = action.owner_id if action.owner_mode is OwnerMode.IMPERSONATE else self._target.caller.user_id
        if step is Step.SHELL:
            body = self._documents.shell(action, space_id, self.marker(action))
        else:
            body = self._documents.whole(action, space_id)
        sent = face_of(parse(body))
        while True:
            since = self._server.now()
            self._journal.intend(key, step, since=since, by=creator, face=sent)
            try:
                answer = await client.call("automation.create", body=body)
            except OutcomeUnknownError:
                found = await self._look(action, step, space_id, since, creator, wait=True)
                if not found:
                    # Twice looked for and not there: it was not carried out.
                    self._again(action)
                    continue
                self._created(action, step, found)
                return
            self._server.hear(answer)
            value = answer.json()
            ident = value.get("id") if isinstance(value, Mapping) else None
            if not isinstance(ident, str) or not ident:
                found = await self._look(action, step, space_id, since, creator, wait=True)
                if not found:
                    raise ObjectError("broken-answer", "the answer to the create holds no id")
                self._created(action, step, found)
                return
            self._created(action, step, ident, value)
            await self._check_answer(action, value, ident)
            return

    def _again(self, action: Action) -> None:
        key = str(action.seq)
        self._tries[key] = self._tries.get(key, 0) + 1
        if self._tries[key] >= _MAX_CREATES:
            raise ObjectError("outcome-unknown", "the create was lost again and again")

    async def _look(
        self, action: Action, step: Step, space_id: str, since: datetime, creator: str, *, wait: bool
    ) -> str:
        wanted = Wanted(
            name=action.name,
            space_id=space_id,
            creator_id=creator,
            marker=self.marker(action) if step is Step.SHELL else "",
            since=since,
        )
        ours = {one.target_id for one in self._journal.state.objects.values() if one.target_id}
        found = await find_created(self._client, wanted, before=self._before, ours=ours, clock=self._clock, wait=wait)
        if len(found) > 1:
            raise ObjectError("create-ambiguous", "a lost create may have made any of: " + ", ".join(found))
        return found[0] if found else ""

    def _created(self, action: Action, step: Step, ident: str, answer: object = None) -> None:
        self._journal.done(str(action.seq), step, ident, face=_stored(answer), runs=_runs(answer))
        self._documents.learn(Kind.AUTOMATION, action.source_id, ident)
        if step is Step.CREATE:
            face = self._documents.face(action.source_id)
            # What goes to another owner is written without its bindings.
            self.faces[action.seq] = evolve(face, bindings={}) if action.bind_last else face

    # Other writes

    async def _simple(self, action: Action, step: Step, operation: str, body: Mapping[str, Any] | None) -> None:
        ident = self._id_of(action)
        key = str(action.seq)
        client = await self._client_of(action, step)
        self._journal.intend(key, step, since=self._server.now())
        answer = await client.call(operation, body=body, id=ident)
        self._server.hear(answer)
        self._journal.done(key, step, ident)

    async def _put(self, action: Action, ident: str) -> None:
        key = str(action.seq)
        client, owner = await self._client_of(action), self._owner_of(action)
        raw, value = await read_automation(client, entity(Kind.AUTOMATION, {"id": ident, "ownerId": owner}))
        now = face_of(value)
        updates = action.target_core is not None
        if updates:
            if now.core not in self._journal.state.of(key).may_be(action.target_core):
                raise ObjectError("changed-meanwhile", "the target's version changed since the plan was made")
            self._folder.keep_pre_image(ident, cut_document(Kind.AUTOMATION, raw)[0])
        elif action.armed and value.get("state") != "disabled":
            await client.call("automation.disable", id=ident)
        present: dict[str, str] = {}
        if updates:
            present = kept_bindings(action, now.bindings, self._folder.pre_image(ident), self._target.inventory)
        if action.own_text:
            answer, face = await self._send_own(client, action, ident, raw, present, now)
        else:
            answer, face = await self._send(client, action, ident, present, now)
        self._server.hear(answer)
        written = answer.json()
        self._journal.done(key, Step.PUT, ident, face=_stored(written), runs=_runs(written))
        self.faces[action.seq] = face
        if not isinstance(written, Mapping):
            return
        if updates and value.get("state") == "disabled" and written.get("state") not in (None, "disabled"):
            # An update never changes the state; where the server does, it is set back.
            await client.call("automation.disable", id=ident)
        elif not updates or action.held:
            await self._check_answer(action, written, ident)

    async def _send_own(
        self, client: CloudClient, action: Action, ident: str, raw: bytes, present: Mapping[str, str], before: Face
    ) -> tuple[Answer, Face]:
        """The target's own document with what is meant to change."""
        calls: dict[str, str] = {}
        for old in action.repoint:
            new = self._documents.made_of(old)
            if new is None:
                raise ObjectError("callee-missing", f"what it calls was not made: {old}")
            calls[old.lower()] = new
        bindings: dict[str, str] = {}
        if action.moves and self._binds(action):
            wanted = self._documents.face(action.source_id).bindings if action.new_owner else {}
            bindings = {**wanted, **present}
        body, face = own_body(raw, calls=calls, bindings=bindings, max_concurrent_runs=action.max_concurrent_runs)
        self._journal.intend(str(action.seq), Step.PUT, since=self._server.now(), face=face)
        try:
            return await client.call("automation.update", body=body, id=ident), face
        except ConflictError:
            return await self._settle_conflict(client, ident, body, before, face), face

    async def _send(
        self, client: CloudClient, action: Action, ident: str, present: Mapping[str, str], before: Face
    ) -> tuple[Answer, Face]:
        """The full document; a schedule in the form that the target keeps."""
        schedule = self._documents.schedule(action.source_id)
        form = self._schedules.first(schedule)

        async def put(form: Mapping[str, Any] | None) -> tuple[Answer, Face]:
            bind = self._binds(action)
            body, face = self._documents.update(action, bind=bind, present=present, schedule=form)
            self._journal.intend(str(action.seq), Step.PUT, since=self._server.now(), face=face)
            try:
                return await client.call("automation.update", body=body, id=ident), face
            except ConflictError:
                return await self._settle_conflict(client, ident, body, before, face), face

        try:
            answer, face = await put(form)
        except InvalidError:
            other = self._schedules.after_refusal(schedule) if form is None else None
            if other is None:
                raise
            form = other
            answer, face = await put(form)
        if form is None and (other := self._schedules.after_answer(schedule, answer.json())) is not None:
            with contextlib.suppress(InvalidError):
                answer, face = await put(other)
            form = other
        if not self._schedules.is_kept(schedule, answer.json()):
            self._tell(
                "schedule-lost",
                Severity.ERROR,
                f"the target does not keep the schedule of `{action.name}`, in neither form",
                f"automation {ident}",
            )
        elif form is not None:
            self._tell(
                "schedule-converted",
                Severity.INFO,
                f"the schedule of `{action.name}` is written as {form.get('recurrence') or 'an interval'}",
                f"automation {ident}",
            )
        return answer, face

    async def _settle_conflict(
        self, client: CloudClient, ident: str, body: bytes, before: Face, wanted: Face
    ) -> Answer:
        """409 on a PUT: ours is done, the old version is tried once more, anything else is somebody's edit."""
        answer = await client.call("automation.get", id=ident)
        now = face_of(answer.json() or {})
        if now == wanted:
            return answer
        if now.core == before.core:
            try:
                return await client.call("automation.update", body=body, id=ident)
            except ConflictError:
                raise ObjectError("conflict", "the tenant keeps answering 409: is it open in an editor?") from None
        raise ObjectError("changed-meanwhile", "somebody changed it while it was being written")

    def _binds(self, action: Action) -> bool:
        return not action.bind_last or self._target.caller.bot

    # Nothing starts by itself

    async def _check_answer(self, action: Action, value: Mapping[str, Any], ident: str) -> None:
        """If the server says that it is both enabled and armed, it is off again at once."""
        if value.get("state") == "disabled" or not is_armed(value) or not action.armed:
            return
        client = await self._client_of(action)
        await client.call("automation.disable", id=ident)
        self._tell(
            "armed-by-server",
            Severity.WARNING,
            f"`{action.name}` was enabled and armed by the server, and is off again",
            f"automation {ident}",
        )

    async def _check_off(self, action: Action) -> None:
        """A move may have enabled it; what could fire by now, or was off before, is switched off at once."""
        ident = self._id_of(action)
        if action.target_core is not None:
            was = parse(self._folder.pre_image(ident) or b"{}").get("state")
            if was != "disabled" and Step.DISABLE not in action.steps:
                return
        elif not action.armed:
            return
        value = await self._row_or_document(action, ident)
        if value.get("state") != "disabled":
            await self._client.call("automation.disable", id=ident)
            if is_armed(value):
                self._tell(
                    "armed-by-server",
                    Severity.WARNING,
                    f"`{action.name}` was enabled by its move, and is off again",
                    f"automation {ident}",
                )

    async def _row_or_document(self, action: Action, ident: str) -> Mapping[str, Any]:
        """An automation as far as this identity sees it: its document, else its list row, else nothing."""
        try:
            one = entity(Kind.AUTOMATION, {"id": ident, "ownerId": self._owner_of(action)})
            return (await read_automation(self._client, one))[1]
        except (ForbiddenError, MissingError):
            query = {"filter": f'ownerId eq "{self._owner_of(action)}"'}
            async for row in list_rows(self._client, "automation.list", query):
                if row["id"] == ident:
                    return row
        return {}

    def _tell(self, code: str, severity: Severity, message: str, where: str) -> None:
        problem = Problem(code=code, severity=severity, message=message, where=where)
        self.problems.append(problem)
        self._sink(problem)
