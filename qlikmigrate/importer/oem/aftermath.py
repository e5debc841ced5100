"""Looks at an OEM account after a run's writes: what was written, what ran, what is there that should not be. Reads
only, but for this: what is on and should not be is switched off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.api.error import ApiError, MissingError, UnauthorizedError, UnreachableError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.ledger import Entry, LedgerWriter
from qlikmigrate.importer.oem.face import settable, wanted_face
from qlikmigrate.importer.oem.readback import OemReading, Unverifiable, read_back
from qlikmigrate.importer.oem.run_book import RunBook
from qlikmigrate.importer.oem.target import list_automations, read_links
from qlikmigrate.importer.oem.window import WindowOpenError, persist, switch_off, whole
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.importer.result import ObjectError
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.event import Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import AVAILABLE, OemConnection, OemHolding, automation_of

# Between tries to switch off what was told to be off and is on.
_PAUSES_S = (0.25, 1.0, 5.0, 20.0)


@frozen(kw_only=True)
class Aftermath:
    """What looking back works with. `connections`: source id → target id of those of the run.

    `values`: source id → stored inputs by name. `run_name`: as ledgers have it.
    """

    _client: OemClient
    _book: RunBook
    _journal: Journal
    _ledger: LedgerWriter
    _holding: OemHolding = field(repr=False)
    _values: Mapping[str, Mapping[str, Any]] = field(repr=False)
    _connections: Mapping[str, str]
    _run_name: str
    _clock: Clock
    _sink: Sink
    _unverifiable: Unverifiable = field(factory=Unverifiable)

    @property
    def _account(self) -> str:
        return self._book.account

    @property
    def unverifiable(self) -> Unverifiable:
        """What was written and does not show."""
        return self._unverifiable

    async def look_for_runs(self) -> None:
        """What was installed has been off since; a run of it was started by the install itself."""
        if self._book.ended_before:
            return
        ones = [one for one in self._book.actions.values() if self._was_installed(one) and not self._book.is_on(one)]

        async def look(action: Action) -> None:
            ident = self._book.target_id(action)
            try:
                run = (await self._client.call("run.last", account=self._account, blend=ident)).json()
            except MissingError:
                return
            except (UnauthorizedError, UnreachableError):
                raise
            except ApiError as error:
                self._book.note(
                    "runs-unreadable",
                    Severity.WARNING,
                    f"nobody can tell whether `{action.name}` ran when it was installed: {error.message}",
                    f"automation {ident}",
                )
                return
            if isinstance(run, Mapping) and run.get("guid"):
                when = run.get("starttime") or run.get("created_at") or "at an unknown time"
                self._book.alarms.append(f"`{action.name}` ({ident}) ran when it was installed: {when}")
                self._book.note(
                    "ran-on-install",
                    Severity.WARNING,
                    f"`{action.name}` ran when it was installed ({when}, {run.get('status')})",
                    f"automation {ident}",
                    "look at what it did; the run is in its history",
                )

        await fan_out(ones, look, width=self._client.endpoint.limits.concurrency)

    def _was_installed(self, action: Action) -> bool:
        bundle = action.oem is not None and bool(action.oem.parts)
        done = self._book.steps(action)
        return action.verb is Verb.CREATE and Step.DISABLE in done and not bundle

    async def verify(self) -> dict[int, OemReading]:
        """Read back what was written, and remember it; what does not show is counted."""
        readings: dict[int, OemReading] = {}
        written = [
            one
            for one in self._book.actions.values()
            if one.verb in (Verb.CREATE, Verb.UPDATE)
            and one.seq not in self._book.failed
            and self._book.is_complete(one)
        ]

        async def read(action: Action) -> None:
            ident, steps = self._book.target_id(action), self._book.steps(action)
            try:
                reading = await read_back(
                    self._client, self._account, ident, action, self._values.get(action.source_id, {}), steps
                )
            except (UnauthorizedError, UnreachableError):
                raise
            except ApiError as error:
                self._book.fail(action, ObjectError(error.code, f"cannot be read back: {error.message}"))
                return
            readings[action.seq] = reading
            self._sink(Progress(phase="verify", done=len(readings), total=len(written), subject=action.name))

        await fan_out(written, read, width=self._client.endpoint.limits.concurrency)
        readings = await self._with_connections(readings)
        await whole(self._put_off_all(readings))
        for seq, reading in readings.items():
            self._judge(self._book.actions[seq], reading)
        for action in self._book.actions.values():
            if action.verb is Verb.ADOPT:
                self._record(action, None)
        return readings

    async def _with_connections(self, readings: Mapping[int, OemReading]) -> dict[int, OemReading]:
        """What connections show of the automations that are linked to them: their states, and that they are."""
        created = [seq for seq in readings if self._book.actions[seq].verb is Verb.CREATE]
        found = self._connections
        if not created or not found or self._book.ended_before:
            return dict(readings)
        states, there = await read_links(self._client, self._account, set(found.values()), sink=self._sink)
        for seq in created:
            self._check_links(self._book.actions[seq], there)
        return {
            seq: evolve(one, state=one.state or states.get(self._book.target_id(self._book.actions[seq]), ""))
            for seq, one in readings.items()
        }

    def _check_links(self, action: Action, there: Mapping[str, OemConnection]) -> None:
        """What was handed over at the install should be what it is linked to, of a bundle any of its parts."""
        assert action.oem is not None
        members = {self._book.target_id(self._book.by_source[one]) for one in (action.source_id, *action.oem.parts)}
        for source_id in action.oem.passes:
            one = there.get(self._connections.get(source_id, ""))
            if one is not None and not members & set(one.used_by):
                self._book.note(
                    "connection-unlinked",
                    Severity.WARNING,
                    f"`{action.name}` was installed with connection `{one.name}` and is not linked to it",
                    f"automation {self._book.target_id(action)}",
                    "look at its connections in the hub",
                )

    async def _put_off_all(self, readings: Mapping[int, OemReading]) -> None:
        """All that shows as on and should not be, several at a time: one that stays on holds up no other."""
        left_on: list[WindowOpenError] = []

        async def put_off(action: Action) -> None:
            ident = self._book.target_id(action)
            try:
                await self._put_off(action, ident)
            except WindowOpenError as error:
                left_on.append(error)
                return
            self._book.note(
                "armed-by-server",
                Severity.WARNING,
                f"`{action.name}` was found on, and is off again",
                f"automation {ident}",
            )

        ones = [
            action
            for seq, reading in readings.items()
            if (action := self._book.actions[seq]).verb is Verb.CREATE
            and reading.state == AVAILABLE
            and not self._book.is_on(action)
        ]
        await fan_out(ones, put_off, width=self._client.endpoint.limits.concurrency)
        if left_on:
            raise left_on[0]

    def _judge(self, action: Action, reading: OemReading) -> None:
        ident = self._book.target_id(action)
        where = f"automation {ident}"
        if reading.gone or reading.automation is None:
            self._book.fail(action, ObjectError("readback-missing", "it is not there when read back"))
            return
        created = action.verb is Verb.CREATE
        self._unverifiable.add((*reading.unseen, *(["state"] if created and not reading.state else [])))
        if reading.drift:
            self._book.drifted.add(action.seq)
            fields = ", ".join(reading.drift)
            self._book.note(
                "readback-differs", Severity.ERROR, f"`{action.name}` differs when read back: {fields}", where
            )
            return
        before = self._holding.automations[action.source_id].setup_complete
        if created and reading.automation.setup_complete is False and before:
            self._book.unfinished.add(action.seq)
        self._record(action, reading)
        if not self._book.ended_before:
            self._journal.seen(str(action.seq), reading.updated_at)

    async def look_for_doubles(self) -> None:
        """A last listing. What a lost install may have made after all is switched off; the rest is reported only."""
        installs = [one for one in self._book.actions.values() if Step.INSTALL in one.steps]
        if not installs or self._book.ended_before:
            return
        before = self._book.plan.target.fingerprint.get(Kind.AUTOMATION.value, {})
        ours = {one.target_id for one in self._journal.state.objects.values()}
        told = {ident for one in self._journal.state.objects.values() for ident in one.candidates}
        lost = {one.oem.template_id for one in installs if one.oem and self._journal.state.of(str(one.seq)).tries > 1}
        templates = {one.oem.template_id for one in installs if one.oem}
        found, parts = await list_automations(self._client, self._account)
        for ident, one in found.items():
            if ident in before or ident in ours or ident in told or ident in parts:
                continue
            if one.template_id not in templates:
                continue
            off = ""
            if one.template_id in lost:
                await self._switch_off(ident, one.name)
                off = "; it may be of a lost install, so it was switched off"
                self._book.alarms.append(f"`{one.name}` ({ident}) appeared during the run, and was switched off")
            self._book.note(
                "double-found",
                Severity.WARNING,
                f"`{one.name}` appeared during the run and is none of its automations{off}",
                f"automation {ident}",
            )

    async def _put_off(self, action: Action, ident: str) -> None:
        """Off, and seen to be: a service that answered and left it on once may do so again. The window was longer."""
        for pause_s in (*_PAUSES_S, None):
            await self._switch_off(ident, action.name)
            state = await self._state_of(ident, action.name)
            key = str(action.seq)
            if (opened := self._journal.state.of(key).opened) is not None:
                self._journal.window(key, max((self._clock.now() - opened).total_seconds(), 0.0))
            if state != AVAILABLE:
                return
            if pause_s is None:
                raise self._left_on(ident, action.name, "it is still on, whatever it was told")
            await self._clock.sleep(pause_s)

    async def _state_of(self, ident: str, name: str) -> str:
        """What shows of its state, be it in the answer of a connection; empty where it is gone, or nothing does."""

        async def read() -> str:
            value = (await self._client.call("blend.get", account=self._account, blend=ident)).json() or {}
            if state := automation_of(value).state:
                return state
            links = await read_links(self._client, self._account, set(self._connections.values()), sink=self._sink)
            return links[0].get(ident, "")

        try:
            return await persist(read, self._clock)
        except MissingError:
            return ""
        except ApiError as error:
            raise self._left_on(ident, name, error.message) from None

    async def _switch_off(self, ident: str, name: str) -> None:
        try:
            await switch_off(self._client, self._account, ident, self._clock)
        except ApiError as error:
            raise self._left_on(ident, name, error.message) from None

    def _left_on(self, ident: str, name: str, why: str) -> WindowOpenError:
        words = f"`{name}` ({ident}) is on and could not be switched off: {why}"
        self._book.alarms.append(words)
        return WindowOpenError(words, hint="switch it off in the hub at once; then --resume")

    def _record(self, action: Action, reading: OemReading | None) -> None:
        one = self._holding.automations[action.source_id]
        there = reading.automation if reading else None
        # A bundle has no inputs but those of its parts.
        names = () if one.is_bundle else settable(one, there)
        entry = Entry(
            kind=Kind.AUTOMATION,
            source_id=action.source_id,
            target_id=self._book.target_id(action),
            face=wanted_face(one, names),
            run=self._run_name,
        )
        self._ledger.record(entry)
