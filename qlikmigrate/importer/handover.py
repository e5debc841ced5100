"""Handing one automation from a side to the other: off here, running jobs done, on there. Never on at both.

The second is switched on only after the first was seen off. Where switching on fails for good, the first comes back,
and that only after the second was seen off.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from qlikmigrate.api.error import ApiError, UnauthorizedError
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.plan import Step
from qlikmigrate.importer.running_job import Running, StillRunningError, active_runs, settle_runs
from qlikmigrate.importer.side import Leg, Standing, switch, turn
from qlikmigrate.kernel.clock import Clock

_UNSEEN = (403, 404)


@frozen(kw_only=True)
class Window:
    """When an automation was off at both sides, by this machine's clock. `since` None: it was not."""

    since: datetime | None
    until: datetime


class HandoverError(Exception):
    """One pair was not handed over.

    `fatal`: nothing else can be, either, and why. `window`: while it was tried, it was off at both sides.
    """

    def __init__(
        self, code: str, reason: str, *, fatal: UnauthorizedError | None = None, window: Window | None = None
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.fatal = fatal
        self.window = window


@frozen(kw_only=True)
class Handover:
    """How pairs are handed over. `waiting` hears name and number of running jobs."""

    journal: Journal
    clock: Clock
    running: Running
    limit_s: float
    waiting: Callable[[str, int], None]

    def did(self, leg: Leg, step: Step) -> bool:
        """Whether this run's last write on a leg, or the one in doubt, was that step."""
        done = self.journal.state.objects.get(leg.key)
        if done is None:
            return False
        return done.in_doubt is step or (bool(done.steps) and done.steps[-1] is step)

    async def carry_out(self, name: str, here: Leg, there: Leg) -> Window:
        """Hand over from `here` to `there`.

        Raises:
            HandoverError: it could not be done; what was on before is on again, or the reason says that it is not.
        """
        await self.off(here)
        try:
            await self._settle_runs(name, here)
            await self._check_off(here)
            await self._on(there)
        except StillRunningError as error:
            reason = f"{error.count} jobs were still running at the {here.side.word} after {self.limit_s:g} s"
            raise await self._back(here, there, HandoverError("jobs-running", reason)) from None
        except ApiError as error:
            raise await self._back(here, there, _failure(error)) from None
        except HandoverError as error:
            if error.code != "missing":
                raise
            raise await self._back(here, there, error) from None
        return Window(since=self._since(here), until=self.clock.now())

    def _since(self, here: Leg) -> datetime | None:
        done = self.journal.state.objects.get(here.key)
        return done.since if done and self.did(here, Step.DISABLE) else None

    async def off(self, leg: Leg) -> None:
        """Switch off, if it is on.

        Raises:
            HandoverError: it is as it was.
        """
        try:
            await self._off(leg)
        except ApiError as error:
            raise _failure(error) from None

    async def _off(self, leg: Leg) -> None:
        standing = await leg.standing()
        if standing is Standing.ON:
            try:
                # Whoever cannot see running jobs cannot wait for them: nothing is switched off then.
                await active_runs(leg)
            except ApiError as error:
                if error.status not in _UNSEEN:
                    raise
                raise HandoverError(
                    "runs-unreadable", f"its running jobs at the {leg.side.word} cannot be seen: {error.message}"
                ) from None
            await switch(leg, False, journal=self.journal, clock=self.clock)
        elif standing is Standing.UNKNOWN:
            raise HandoverError("state-unknown", f"nobody can tell whether it is on at the {leg.side.word}")
        elif self.did(leg, Step.DISABLE):
            self._note_done(leg, Step.DISABLE)

    async def _settle_runs(self, name: str, leg: Leg) -> None:
        ours = self.did(leg, Step.DISABLE)
        try:
            if await leg.standing() is not Standing.GONE:
                await settle_runs(
                    leg,
                    self.running,
                    limit_s=self.limit_s,
                    clock=self.clock,
                    waiting=lambda count: self.waiting(name, count),
                )
        except ApiError as error:
            # Who may not see the runs of what somebody else switched off goes on without.
            if ours or error.status not in _UNSEEN:
                raise

    async def _check_off(self, leg: Leg) -> None:
        standing = await leg.standing()
        if standing is Standing.ON:
            raise HandoverError("changed-meanwhile", f"somebody switched it on again at the {leg.side.word}")
        if standing is Standing.UNKNOWN:
            raise HandoverError("state-unknown", f"nobody can tell whether it is on at the {leg.side.word}")

    async def _on(self, leg: Leg) -> None:
        standing = await leg.standing()
        if standing is Standing.ON:
            if self.did(leg, Step.ENABLE):
                self._note_done(leg, Step.ENABLE)
            return
        if standing is Standing.GONE:
            raise HandoverError("missing", f"it is not there any more at the {leg.side.word}")
        await switch(leg, True, journal=self.journal, clock=self.clock)

    def _note_done(self, leg: Leg, step: Step) -> None:
        """An earlier process was killed between the call and its line."""
        if self.journal.state.of(leg.key).in_doubt is step:
            self.journal.done(leg.key, step, leg.id)

    async def _back(self, here: Leg, there: Leg, failure: HandoverError) -> HandoverError:
        """Switch on again here what this run switched off; only when it is certainly off there."""
        since = self._since(here)
        if since is None:
            return failure
        try:
            standing = await self._called_back(there)
            if standing in (Standing.OFF, Standing.GONE):
                await switch(here, True, journal=self.journal, clock=self.clock)
                end = f"it is on again at the {here.side.word}"
            else:
                end = f"it is off at the {here.side.word}, and {standing.value} at the {there.side.word}"
        except ApiError as error:
            end = f"it stays off at the {here.side.word}: {error.message}"
        window = Window(since=since, until=self.clock.now())
        return HandoverError(failure.code, f"{failure.reason}; {end}", fatal=failure.fatal, window=window)

    async def _called_back(self, leg: Leg) -> Standing:
        """How the other side stands. A call whose answer was lost may still arrive, so it is taken back first."""
        done = self.journal.state.objects.get(leg.key)
        if done is not None and done.in_doubt is Step.ENABLE and await leg.standing() is not Standing.GONE:
            await turn(leg, False, journal=self.journal, clock=self.clock)
        try:
            return await leg.standing()
        except ApiError:
            if done is None or not (done.failed or done.in_doubt or done.steps[-1:] == [Step.ENABLE]):
                # Nothing was sent that could have switched it on, so it is as it was when the side was read.
                return leg.side.listed(leg.id)
            raise


def _failure(error: ApiError) -> HandoverError:
    fatal = error if isinstance(error, UnauthorizedError) and error.status == 401 else None
    return HandoverError(error.code, error.message, fatal=fatal)
