"""What failed for a moment is tried again, what must happen once is not: stamina counts, the injected clock waits."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import stamina
from attrs import define, evolve, field, frozen

from qlikmigrate.api.answer import examine
from qlikmigrate.api.count import RequestCounts
from qlikmigrate.api.endpoint import Place
from qlikmigrate.api.error import ApiError, BrokenAnswerError, OutcomeUnknownError, UnreachableError
from qlikmigrate.api.operation import Operation
from qlikmigrate.api.operation import Retry as Rule
from qlikmigrate.api.transport.exchange import Call, ExchangeError, Transport
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.message import Response

_PASSING = frozenset({429, 500, 502, 503, 504})
_ATTEMPTS = 5
# A throttled request was not carried out and waits as long as the server says, so it may be more patient.
_ATTEMPTS_THROTTLED = 12
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0

# stamina warns of each retry through `logging`; whoever sets up no logging shall not see it on stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())


class _SetbackError(Exception):
    """An attempt that did not succeed: an answer to try again on, a success with a flaw, or no whole answer."""

    def __init__(self, *, response: Response | None = None, flaw: str = "", lost: ExchangeError | None = None) -> None:
        super().__init__(flaw or (lost.reason if lost else f"status {response.status if response else 0}"))
        self.response = response
        self.flaw = flaw
        self.lost = lost

    @property
    def throttled(self) -> bool:
        return self.response is not None and self.response.status == 429


@define
class _Trial:
    """One call's attempts."""

    rule: Rule
    jitter: Callable[[], float]
    setbacks: int = 0
    wait_s: float = 0.0
    last: _SetbackError | None = None

    def decide(self, error: Exception) -> bool | float:
        """stamina's hook: False to give up; 0.0 to go on at once, as the wait is the clock's, not stamina's."""
        if not isinstance(error, _SetbackError):
            return False
        self.last = error
        spread = 0.5 + self.jitter() / 2
        if error.throttled:
            # The gate keeps the whole tier waiting; this only spreads those who wait.
            self.wait_s = _FIRST_WAIT_S * spread
            return 0.0
        self.setbacks += 1
        lasting = error.lost is not None and error.lost.lasting
        if self.rule is not Rule.SAFE or lasting or self.setbacks >= _ATTEMPTS:
            return False
        self.wait_s = min(_FIRST_WAIT_S * 2 ** (self.setbacks - 1), _LONGEST_WAIT_S) * spread
        return 0.0


@frozen
class Retry:
    """Tries again what may be tried again; turns what stays lost into the user's error.

    `gone`: whether the answer to a DELETE says that there is nothing to delete. `jitter`: a number from 0 to 1, fresh
    each time.
    """

    inner: Transport
    counts: RequestCounts
    clock: Clock
    place: Place
    gone: Callable[[Response], bool] = lambda response: response.status == 404
    jitter: Callable[[], float] = field(default=random.random)

    async def send(self, call: Call) -> Response:
        """The answer: a success (`Sound`), a redirect, a 4xx, or a 5xx or 429 that stayed.

        Raises:
            UnreachableError, BrokenAnswerError: after all retries.
            OutcomeUnknownError: the call must not be repeated, and whether it was carried out is not known.
        """
        trial = _Trial(call.operation.retry, self.jitter)
        setback: _SetbackError | None = None
        try:
            return await self._attempt(call, trial)
        except _SetbackError as error:
            setback = error
        try:
            # The first attempt stands outside: nearly all calls need no more, and the loop costs 50 us to set up.
            async for attempt in stamina.retry_context(on=trial.decide, attempts=_ATTEMPTS_THROTTLED, timeout=None):
                with attempt:
                    if trial.last is None:
                        raise setback
                    self.counts.retried += 1
                    await self.clock.sleep(trial.wait_s)
                    return await self._attempt(call, trial)
        except _SetbackError as error:
            setback = error
        return self._give_up(call.operation, setback)

    async def _attempt(self, call: Call, trial: _Trial) -> Response:
        lost: ExchangeError | None = None
        try:
            response = await self.inner.send(call)
        except ExchangeError as error:
            lost = error
        if lost is not None:
            raise _SetbackError(lost=lost)
        # After any 5xx a call that must happen once is as lost as after a reset.
        if response.status in _PASSING or (response.status >= 500 and trial.rule is not Rule.SAFE):
            raise _SetbackError(response=response)
        if 200 <= response.status < 300:
            examined = examine(call.operation, response)
            if isinstance(examined, str):
                raise _SetbackError(response=response, flaw=examined)
            return examined
        if call.request.method == "DELETE" and trial.setbacks and self.gone(response):
            # An earlier attempt may have deleted it; gone is what was asked for.
            return evolve(response, status=204, body=b"")
        return response

    def _give_up(self, operation: Operation, setback: _SetbackError) -> Response:
        response, lost = setback.response, setback.lost
        unsent = setback.throttled or (lost is not None and not lost.sent)
        if operation.retry is not Rule.SAFE and not unsent:
            raise OutcomeUnknownError(
                f"the answer to `{operation.name}` on `{self.place.name}` was lost: {_words(setback)}",
                operation=operation.name,
                status=_status(setback),
            )
        if lost is not None:
            raise self._lost(operation, lost)
        assert response is not None
        if setback.flaw:
            raise self._broken(operation, f"{response.status} with {setback.flaw}", response.status)
        return response

    def _lost(self, operation: Operation, lost: ExchangeError) -> ApiError:
        if lost.status is not None and 200 <= lost.status < 300:
            return self._broken(operation, lost.reason, lost.status)
        return UnreachableError(
            f"`{operation.name}` on `{self.place.name}` got no answer: {lost.reason}",
            operation=operation.name,
            hint=lost.hint or f"check `url` of `[tenants.{self.place.table}]`, the network and the proxy",
        )

    def _broken(self, operation: Operation, what: str, status: int) -> ApiError:
        return BrokenAnswerError(
            f"`{operation.name}` on `{self.place.name}` was answered with something else than Qlik's API does: {what}",
            operation=operation.name,
            status=status,
            hint=f"is `url` of `[tenants.{self.place.table}]` {self.place.service}?",
        )


def _words(setback: _SetbackError) -> str:
    if setback.lost is not None:
        return setback.lost.reason
    status = setback.response.status if setback.response else 0
    return f"{status} with {setback.flaw}" if setback.flaw else f"status {status}"


def _status(setback: _SetbackError) -> int | None:
    return setback.response.status if setback.response else setback.lost.status if setback.lost else None
