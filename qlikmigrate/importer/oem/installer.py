"""Installs templates, one at a time: what came of an install is found by what is in the account after and not before.

An install answers nothing, and starts the template's schedule. So the ids before are on the disk before it is sent, and
whatever appears after it with its template is switched off on sight, before anybody asks whose it is: what we may have
started never stays on. Two that could be ours are a problem, and both are off.
Source: the vendor's page "Install template": 200 with `{}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field

from qlikmigrate.api.error import (
    ApiError,
    MissingError,
    OutcomeUnknownError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.lost_create import parse_time
from qlikmigrate.importer.oem.target import list_automations
from qlikmigrate.importer.oem.window import WindowOpenError, persist, switch_off, whole
from qlikmigrate.importer.plan import Action, Step
from qlikmigrate.importer.result import ObjectError
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.model.oem import OemAutomation, automation_of, children_of
from qlikmigrate.model.snapshot import parse

_MAX_INSTALLS = 3
_PAGE_ROWS = 100
# A new automation may show in the list a while after its install: looked for ever more rarely.
_FIRST_PAUSE_S = 0.25
# What people installed themselves long after a lost install is not the run's. Generous: clocks differ.
_OURS_WITHIN = timedelta(hours=1)


@define
class _Sight:
    """What a look at the account's list showed. `new`: by id, with the template that is looked for, each off by now.

    `unmarked`: new as well, and naming no template; on, perhaps.
    """

    new: dict[str, OemAutomation] = field(factory=dict)
    unmarked: dict[str, OemAutomation] = field(factory=dict)
    seen: set[str] = field(factory=set)
    parts: dict[str, list[OemAutomation]] = field(factory=dict)


class Installer:
    """Carries out INSTALL and DISABLE of actions in one account. The target's lock must be held.

    `alarms`: sentences that nobody may overlook.
    """

    def __init__(
        self,
        client: OemClient,
        account: str,
        journal: Journal,
        actions: Iterable[Action],
        clock: Clock,
        *,
        alarms: list[str] | None = None,
    ) -> None:
        self._client = client
        self._account = account
        self._journal = journal
        self._actions = {one.source_id: one for one in actions}
        self._clock = clock
        self._listed: set[str] | None = None
        self.alarms: list[str] = alarms if alarms is not None else []

    async def install(self, action: Action, body: Mapping[str, Any]) -> None:
        """Install one and leave it off.

        Raises:
            ObjectError: this automation's work cannot go on.
            WindowOpenError: something may be on, and could not be found or switched off.
            CancelledError: somebody wants to stop; the window is closed.
        """
        for _ in range(_MAX_INSTALLS):
            if self._listed is None:
                self._listed = set((await list_automations(self._client, self._account))[0])
            # One more, as a list that says nothing of pages may need one to show its end.
            pages = 2 + len(self._listed) // _PAGE_ROWS
            turns = 2 + 2 * pages + len(action.oem.parts if action.oem else ()) + 1
            async with self._client.reserved(turns) as fast:
                if await whole(self._attempt(fast, action, body)):
                    return
        raise ObjectError("outcome-unknown", "the install was lost again and again")

    async def close(self, action: Action) -> None:
        """What an install that was cut short may have left on is switched off, before anything else is done.

        Looked for until a request timeout has passed; what does not show by then was not made, as far as can be seen.

        Raises:
            WindowOpenError: it may be on, and could not be found or switched off.
        """
        if self._journal.state.of(str(action.seq)).window_is_open:
            with suppress(ObjectError):
                # Ambiguous: told when its turn comes. All of them are off.
                await whole(self._close(action, self._client.endpoint.limits.timeout_s))

    async def settle(self, action: Action) -> bool:
        """Whether an earlier attempt has installed it; it is off then. `close` has looked for it before.

        Raises:
            ObjectError: more than one may be it.
            WindowOpenError: it was installed, and is nowhere to be seen.
        """
        done = self._journal.state.of(str(action.seq))
        if done.window_is_open:
            answered = done.answered
            if await whole(self._close(action, 0.0)):
                return True
            if answered:
                raise self._unseen(action)
        return Step.DISABLE in self._journal.state.of(str(action.seq)).steps

    async def _close(self, action: Action, patience_s: float) -> bool:
        done = self._journal.state.of(str(action.seq))
        if Step.INSTALL not in done.steps:
            return await self._take(self._client, action, patience_s)
        ident = str(done.target_id)
        self._closed(action, ident, await self._off(self._client, action, ident, []), done.first)
        return True

    async def _attempt(self, fast: OemClient, action: Action, body: Mapping[str, Any]) -> bool:
        """One install and what follows from it. Nothing interrupts this.

        Returns False where it was certainly, or as far as anybody can see, not carried out and may be sent again.
        """
        assert action.oem is not None
        key, timeout_s = str(action.seq), self._client.endpoint.limits.timeout_s
        self._journal.intend(key, Step.INSTALL, since=self._clock.now(), before=self._listed or ())
        try:
            await fast.call("template.install", template=action.oem.template_id, body=body)
        except OutcomeUnknownError:
            return await self._take(fast, action, timeout_s)
        except (UnreachableError, UnauthorizedError, ServerError) as error:
            # Refused before it was looked at.
            self._journal.fail(key, error.code)
            if isinstance(error, UnauthorizedError | UnreachableError):
                raise
            raise ObjectError(error.code, error.message) from None
        except ApiError as error:
            # An answer that says no is believed only after a look.
            if await self._take(fast, action, 0.0):
                return True
            self._journal.fail(key, error.code)
            raise ObjectError(error.code, error.message) from None
        try:
            self._journal.answered(key)
        except OSError:
            # The disk is full. What was installed is off before that is told; a resume finds it again.
            await self._find(fast, action, timeout_s)
            raise
        if not await self._take(fast, action, timeout_s):
            raise self._unseen(action)
        return True

    def _unseen(self, action: Action) -> WindowOpenError:
        assert action.oem is not None
        words = f"`{action.name}` was installed in the account, is nowhere to be seen and may be on"
        self.alarms.append(f"{words} (template {action.oem.template_id})")
        return WindowOpenError(words, hint="look for it in the hub and switch it off; then --resume")

    # Finding it

    async def _take(self, client: OemClient, action: Action, patience_s: float) -> bool:
        """Look for what the install in doubt made, switch it off, and note it; whether it was found."""
        key = str(action.seq)
        opened = self._journal.state.of(key).first
        sight = await self._find(client, action, patience_s)
        self._listed = sight.seen | (self._listed or set())
        found = sight.new or sight.unmarked
        if not found:
            return False
        if not sight.new:
            # No page says that an instance always names its template.
            for ident in found:
                await self._off(client, action, ident, sight.parts[ident])
        if len(found) > 1 or not sight.new:
            self._tell_ambiguous(action, found)
            raise ObjectError("create-ambiguous", f"any of these may be it, and all are off: {', '.join(found)}")
        (ident,) = sight.new
        self._journal.done(key, Step.INSTALL, ident)
        self._closed(action, ident, sight.parts.get(ident, []), opened)
        return True

    def _closed(self, action: Action, ident: str, parts: list[OemAutomation], opened: datetime | None) -> None:
        """It is off, and each of its parts: how long that took is on the disk before it is said to be so."""
        if opened is not None:
            seconds = (self._clock.now() - opened).total_seconds()
            self._journal.window(str(action.seq), max(seconds, 0.0))
        self._map_parts(action, parts)
        self._journal.done(str(action.seq), Step.DISABLE, ident)

    def _tell_ambiguous(self, action: Action, found: Mapping[str, OemAutomation]) -> None:
        key, named = str(action.seq), [f"`{one.name}` ({ident})" for ident, one in found.items()]
        self._journal.candidates(key, list(found))
        self._journal.fail(key, "create-ambiguous", in_doubt=True)
        self.alarms.append(
            f"installing `{action.name}`: {'one of ' * (len(named) > 1)}{', '.join(named)} "
            f"{'is' if any(one.template_id for one in found.values()) else 'names no template and may be'} ours; "
            "all of them were switched off, so switch on what is not"
        )

    async def _find(self, client: OemClient, action: Action, patience_s: float) -> _Sight:
        """Look at once, and again until one request timeout has passed; what is found is off when this returns."""
        waited, pause = 0.0, _FIRST_PAUSE_S
        while True:
            sight = await self._look(client, action)
            if sight.new or waited >= patience_s:
                return sight
            pause = min(pause, patience_s - waited)
            await self._clock.sleep(pause)
            waited += pause
            pause *= 2

    async def _look(self, client: OemClient, action: Action) -> _Sight:
        async def look() -> _Sight:
            sight = _Sight()
            inner: set[str] = set()
            async for raw in client.rows("blend.list", account=self._account):
                value = parse(raw)
                one, parts = automation_of(value), list(_descendants(value))
                inner |= {part.id for part in parts}
                sight.seen |= {one.id, *(part.id for part in parts)}
                if one.id not in sight.new and self._may_be_ours(action, one):
                    sight.new[one.id] = one
                    sight.parts[one.id] = await self._off(client, action, one.id, parts)
                elif not one.template_id and self._is_new(action, one):
                    sight.unmarked[one.id], sight.parts[one.id] = one, parts
            for ident in inner:
                # It came with another one that is new.
                sight.new.pop(ident, None)
                sight.unmarked.pop(ident, None)
            return sight

        try:
            # The account was there a moment ago: that its list is missing is no answer.
            return await persist(look, self._clock, may_miss=False)
        except ApiError as error:
            words = f"`{action.name}` may have been installed and be on: the account's list cannot be read"
            self.alarms.append(f"{words} ({error.message})")
            raise WindowOpenError(words, hint="look for it in the hub and switch it off; then --resume") from None

    def _may_be_ours(self, action: Action, one: OemAutomation) -> bool:
        assert action.oem is not None
        return one.template_id == action.oem.template_id and self._is_new(action, one)

    def _is_new(self, action: Action, one: OemAutomation) -> bool:
        done = self._journal.state.of(str(action.seq))
        ours = {each.target_id for key, each in self._journal.state.objects.items() if key != str(action.seq)}
        if one.id in done.before or one.id in ours:
            return False
        created = parse_time(one.created_at)
        return created is None or done.since is None or created <= done.since + _OURS_WITHIN

    # Switching it off

    async def _off(
        self, client: OemClient, action: Action, ident: str, parts: list[OemAutomation]
    ) -> list[OemAutomation]:
        """Switch off an automation, of a bundle each part as well: nobody knows whether its state is theirs."""
        assert action.oem is not None
        try:
            await switch_off(client, self._account, ident, self._clock)
            if action.oem.parts and not parts:
                parts = await self._read_parts(client, ident)
            for part in parts:
                await switch_off(client, self._account, part.id, self._clock)
        except ApiError as error:
            words = f"`{action.name}` ({ident}) was installed and could not be switched off"
            self.alarms.append(f"{words}: {error.message}")
            raise WindowOpenError(
                f"{words}: {error.message}", hint="switch it off in the hub at once; then --resume"
            ) from None
        return parts

    async def _read_parts(self, client: OemClient, ident: str) -> list[OemAutomation]:
        """The parts of a bundle as its own answer has them.

        Raises:
            ApiError: it cannot be read.
        """

        async def read() -> list[OemAutomation]:
            value = (await client.call("blend.get", account=self._account, blend=ident)).json() or {}
            return list(_descendants(value))

        try:
            return await persist(read, self._clock)
        except MissingError:
            return []

    def _map_parts(self, action: Action, parts: list[OemAutomation]) -> None:
        """Which part is which: by template, among several by name, then in order. A part without one is left open."""
        assert action.oem is not None
        known = {self._journal.state.of(str(self._actions[one].seq)).target_id for one in action.oem.parts}
        left = [one for one in parts if one.id not in known]
        for source_id in action.oem.parts:
            part = self._actions[source_id]
            key = str(part.seq)
            if Step.DISABLE in self._journal.state.of(key).steps or part.oem is None:
                continue
            same = [one for one in left if one.template_id == part.oem.template_id]
            named = [one for one in same if one.name == part.name] or same
            if named:
                left.remove(named[0])
                self._journal.done(key, Step.DISABLE, named[0].id)


def _descendants(value: Mapping[str, Any]) -> Iterable[OemAutomation]:
    for child in children_of(value):
        yield automation_of(child)
        yield from _descendants(child)
