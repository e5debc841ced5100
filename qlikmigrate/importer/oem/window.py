"""The time between an install and its automation being off: nothing may cut it short, and it is always measured.

Installing a template starts its schedule, so that whatever was sent must be followed by what switches it off.
Source: the vendor's page "Install template".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from qlikmigrate.api.error import ApiError, MissingError, UnauthorizedError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import FailedError
from qlikmigrate.model.oem import DISABLED

T = TypeVar("T")

# Between tries, on top of those that the client itself makes.
_PAUSES_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
# When no further try is begun: each may last as long as a timeout, and nothing else goes on meanwhile.
_LONGEST_S = 300.0
# An identity that is no longer known will not be known again in a moment.
_TRIES_UNAUTHORIZED = 2


class WindowOpenError(FailedError):
    """Something that was installed may be on, and could not be switched off."""

    default_code: ClassVar[str] = "window-open"


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Carry out `work` to its end, whoever wants to stop meanwhile; they are heard when it is done.

    Raises:
        CancelledError: somebody wanted to stop. What `work` itself raises goes before that: it says what is left on.
    """
    task = asyncio.ensure_future(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            stopped = error
    result = task.result()
    if stopped is not None:
        raise stopped
    return result


async def persist(call: Callable[[], Awaitable[T]], clock: Clock, *, may_miss: bool = True) -> T:
    """Try again and again what must not fail. `may_miss`: that it is not there is an answer, and raised at once.

    Raises:
        ApiError: it failed every time, or for minutes.
    """
    refused, end = 0, clock.monotonic() + _LONGEST_S
    for pause in (*_PAUSES_S, None):
        try:
            return await call()
        except ApiError as error:
            refused += isinstance(error, UnauthorizedError)
            is_answer = may_miss and isinstance(error, MissingError)
            if pause is None or is_answer or refused >= _TRIES_UNAUTHORIZED or clock.monotonic() >= end:
                raise
            await clock.sleep(pause)
    raise AssertionError("the last try returns or raises")


async def switch_off(client: OemClient, account: str, ident: str, clock: Clock) -> None:
    """Switch one automation off, however often it takes; one that is not there is off.

    Raises:
        ApiError: it could not be done.
    """

    async def put() -> None:
        await client.call("blend.update", account=account, blend=ident, body={"state": DISABLED})

    try:
        await persist(put, clock)
    except MissingError:
        return
