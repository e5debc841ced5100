"""A document as it came, and how late the tenant may have looked it up: what that says of saves that come after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from attrs import frozen

from qlikmigrate.api.answer import Answer
from qlikmigrate.kernel.clock import Clock

_SETTLED_AFTER = timedelta(seconds=2)
# Assumed: a backup host's own clock is off by less than an hour. Wrong where a document stays old although its row's
# `updatedAt` lies before our reading of it and the tenant's answers carry no `Date`.
_CLOCK_ERROR = timedelta(hours=1)


@frozen
class Fetched:
    """An answer, and when it came by our clock. `looked_up`: the tenant looked no earlier than that, by its own."""

    answer: Answer
    read_at: datetime
    looked_up: datetime

    def is_settled(self, updated_at: str) -> bool:
        """Whether a save that the answer does not hold must have a later `updatedAt` than this one."""
        try:
            moment = datetime.fromisoformat(updated_at)
            return moment + _SETTLED_AFTER <= self.looked_up
        except (ValueError, TypeError, OverflowError):
            # No time, or one without a zone.
            return False


async def fetch(ask: Callable[[], Awaitable[Answer]], clock: Clock) -> Fetched:
    """Carry out a GET of one object, which `ask` sends.

    Raises:
        ApiError: as the client.
    """
    sent_at, started = clock.now(), clock.monotonic()
    answer = await ask()
    told = _date(answer)
    if told is None:
        return Fetched(answer, clock.now(), sent_at - _CLOCK_ERROR)
    # The date is written when the answer leaves; what it tells was looked up since we began to ask.
    return Fetched(answer, clock.now(), told - timedelta(seconds=clock.monotonic() - started))


def _date(answer: Answer) -> datetime | None:
    """The server's clock. Source: RFC 9110, section 6.6.1: whole seconds, cut off, so it never runs ahead."""
    try:
        moment = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
