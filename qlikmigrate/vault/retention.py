"""Which snapshots stay and why, decided on values alone; what is not whole never takes the place of what is.

Nothing here depends on how late it is: where good backups have stopped, time alone removes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from attrs import Attribute, evolve, field, frozen
from attrs.validators import ge
from dateutil.relativedelta import relativedelta

from qlikmigrate.kernel.error import UsageError

_PERIOD = re.compile(r"(?:(\d{1,9})y)?(?:(\d{1,9})m)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?")
_SHORT_ID_CHARS = 8
_NAMED_DEPENDENTS = 3


def _utc(moment: datetime) -> datetime:
    # Two times of one zone are compared by their clock faces, which an hour that comes twice would mix up.
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


@frozen(kw_only=True)
class Period:
    """A length of time as a calendar counts it: months differ in length, and a day may have 23 hours."""

    years: int = field(default=0, validator=ge(0))
    months: int = field(default=0, validator=ge(0))
    days: int = field(default=0, validator=ge(0))
    hours: int = field(default=0, validator=ge(0))

    @classmethod
    def parse(cls, text: str) -> Period:
        """From text such as `30d`, `30d12h` or `1y6m`: years, months, days and hours, in this order.

        Raises:
            UsageError: it is written in another way.
        """
        match = _PERIOD.fullmatch(text.strip())
        if match is None or not match.group():
            raise UsageError(
                f"not a period: `{text}`", hint="years, months, days and hours in this order: `30d12h`, `1y6m`"
            )
        years, months, days, hours = (int(digits or 0) for digits in match.groups())
        return cls(years=years, months=months, days=days, hours=hours)

    def before(self, moment: datetime, zone: tzinfo) -> datetime:
        """The time that lies this long before `moment`, in UTC.

        Years, months and days go by the calendar of `zone` at the same time of day, then the hours as they pass. A day
        that a month lacks is its last one: a month before 31 March is 28 or 29 February.
        """
        step = relativedelta(years=self.years, months=self.months, days=self.days)
        try:
            return (moment.astimezone(zone) - step).astimezone(UTC) - timedelta(hours=self.hours)
        except (OverflowError, ValueError):  # before the year 1
            return datetime.min.replace(tzinfo=UTC)

    def __bool__(self) -> bool:
        """Whether it is longer than nothing."""
        return any((self.years, self.months, self.days, self.hours))

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0d"


@frozen(kw_only=True)
class Candidate:
    """What the rules know of one snapshot; `id` is that of no other.

    `partial`: it was taken of a selection. `verified`: its hashes were found right. `damaged`: it is incomplete because
    damage to the vault took something of it. `needs`: ids of the snapshots that
    hold the last good version of what was unreadable in this one. `readable`: its header is, so that all this is known.
    """

    id: str
    tenant: str
    taken_at: datetime = field(converter=_utc)
    complete: bool
    partial: bool
    verified: bool
    damaged: bool = False
    needs: tuple[str, ...] = ()
    readable: bool = True

    @property
    def flaws(self) -> tuple[str, ...]:
        """What keeps it from counting, in words."""
        told = (
            (not self.readable, "unreadable header"),
            (not self.complete, "damaged" if self.damaged else "incomplete"),
            (self.partial, "partial"),
            (not self.verified, "not verified"),
        )
        return tuple(word for flawed, word in told if flawed)

    @property
    def was_good(self) -> bool:
        """Whether only damage to the vault keeps it from counting."""
        return self.readable and not self.partial and (self.damaged or (self.complete and not self.verified))

    @property
    def counts(self) -> bool:
        """Whether it may be the one that a rule keeps."""
        return not self.flaws


def _hour(local: datetime) -> str:
    # With the offset, because an hour that comes twice is two hours.
    return f"{local:%Y-%m-%d %H}:00 {local:%z}"


def _week(local: datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"{year}-W{week:02}"


# A rule's name → what two snapshots of one bucket have in common. Every snapshot is a bucket of its own to `last`.
_BUCKETS: Mapping[str, Callable[[datetime], str] | None] = {
    "last": None,
    "hourly": _hour,
    "daily": lambda local: f"{local:%Y-%m-%d}",
    "weekly": _week,
    "monthly": lambda local: f"{local:%Y-%m}",
    "yearly": lambda local: f"{local:%Y}",
}


def _not_negative(_policy: Any, attribute: Attribute[int], number: int) -> None:
    if number < 0:
        raise UsageError(f"--keep-{attribute.name} cannot be negative: {number}")


@frozen(kw_only=True)
class Policy:
    """How many snapshots each keep rule keeps; 0 and an empty period mean that there is no such rule.

    `zone` is the one whose hours, days, weeks (ISO 8601), months and years are meant.

    Raises:
        UsageError: a number is negative, or there is no rule at all (`empty-policy`).
    """

    last: int = field(default=0, validator=_not_negative)
    hourly: int = field(default=0, validator=_not_negative)
    daily: int = field(default=0, validator=_not_negative)
    weekly: int = field(default=0, validator=_not_negative)
    monthly: int = field(default=0, validator=_not_negative)
    yearly: int = field(default=0, validator=_not_negative)
    within: Period | None = None
    zone: tzinfo = UTC

    def __attrs_post_init__(self) -> None:
        if not self.numbers and not self.within:
            raise UsageError(
                "no keep rule is given, so nothing would be kept",
                hint="give at least one, such as --keep-daily 7",
                code="empty-policy",
            )

    @property
    def numbers(self) -> dict[str, int]:
        """The rules that keep a number, by name."""
        return {name: number for name in _BUCKETS if (number := getattr(self, name))}


@frozen(kw_only=True)
class Decision:
    """What becomes of one snapshot. `reasons`, at least one, say why it stays, or why nothing keeps it."""

    candidate: Candidate
    keep: bool
    reasons: tuple[str, ...]


def decide(candidates: Iterable[Candidate], policy: Policy, *, now: datetime) -> tuple[Decision, ...]:
    """What becomes of each snapshot, oldest first. Each tenant is decided on its own.

    A rule keeps the newest snapshot that counts of each of its newest buckets (hours, days …), and knows nothing of the
    other rules: one snapshot may serve several of them. `within` is measured from the newest snapshot that counts, not
    from `now`, so that it removes nothing while no good backup comes in. What does not count goes only when one that
    counts is newer, which always stays; and what damage alone keeps from counting, only when no rule would keep it.
    Later than `now` means a clock is wrong: such a snapshot stays and does not count until then. What a snapshot that
    stays by this needs, stays with it.

    Raises:
        ValueError: two candidates have one id, or `now` has no zone.
    """
    moment = _utc(now)
    ordered = sorted(candidates, key=lambda one: (one.taken_at, one.id))
    if len({one.id for one in ordered}) != len(ordered):
        raise ValueError("two snapshots of one id")
    by_tenant: dict[str, list[Candidate]] = {}
    for one in ordered:
        by_tenant.setdefault(one.tenant, []).append(one)
    own: dict[str, Decision] = {}
    for ones in by_tenant.values():
        own |= {decision.candidate.id: decision for decision in _of_tenant(ones, policy, moment)}
    dependents = _dependents(own[one.id] for one in reversed(ordered))
    return tuple(_with_dependents(own[one.id], dependents.get(one.id, ())) for one in ordered)


def _of_tenant(ones: Sequence[Candidate], policy: Policy, now: datetime) -> Iterator[Decision]:
    """Each of one tenant's, oldest first, without regard to what others need."""
    counting = [one for one in reversed(ones) if one.counts and one.taken_at <= now]
    newest = counting[0] if counting else None
    since = policy.within.before(newest.taken_at, policy.zone) if newest and policy.within else None
    reasons = _reasons(counting, policy, since)
    # Beside those that are good, so that damage to one thing does not cost the history of all others.
    due = [one for one in reversed(ones) if (one.counts or one.was_good) and one.taken_at <= now]
    unhurt = _reasons(due, policy, since)
    for one in ones:
        if one.readable and one.taken_at > now:
            yield Decision(candidate=one, keep=True, reasons=("taken in the future: a clock is wrong",))
        elif one.counts:
            kept_by = tuple(reasons.get(one.id, ()))
            yield Decision(candidate=one, keep=bool(kept_by), reasons=kept_by or ("no rule keeps it",))
        else:
            keep, reason = _fate_of_flawed(one, newest, since, policy)
            if not keep and one.was_good and one.id in unhurt:
                keep, reason = True, f"whole it would be {'; '.join(unhurt[one.id])}"
            told = f"does not count: {', '.join(one.flaws)}; {reason}"
            yield Decision(candidate=one, keep=keep, reasons=(told,))


def _reasons(counting: Sequence[Candidate], policy: Policy, since: datetime | None) -> dict[str, list[str]]:
    """Why which stay of those that count, newest first."""
    found: dict[str, list[str]] = {}
    for name, number in policy.numbers.items():
        bucket_of = _BUCKETS[name]
        buckets: set[str] = set()
        for one in counting:
            if len(buckets) == number:
                break
            bucket = bucket_of(one.taken_at.astimezone(policy.zone)) if bucket_of else one.id
            if bucket not in buckets:
                buckets.add(bucket)
                place = f" ({bucket})" if bucket_of else ""
                found.setdefault(one.id, []).append(f"{name} {len(buckets)} of {number}{place}")
    if since is not None:
        for one in counting:
            if one.taken_at > since:
                found.setdefault(one.id, []).append(f"within {policy.within}")
    if counting:
        # Only `within` may miss it: a day before may be the same moment where a zone has left a day out.
        found.setdefault(counting[0].id, ["the newest that counts"])
    return found


def _fate_of_flawed(
    one: Candidate, newest: Candidate | None, since: datetime | None, policy: Policy
) -> tuple[bool, str]:
    """Whether one that does not count stays, and why."""
    if not one.readable:
        # What it needs, and even whose it is, may be unknown.
        return True, "`repair` comes first"
    if newest is None:
        return True, "there is none of its tenant that does"
    if one.taken_at >= newest.taken_at:
        return True, "none that does is newer"
    if since is not None and one.taken_at > since:
        return True, f"within {policy.within}"
    return False, "one that does is newer"


def _dependents(decisions: Iterable[Decision]) -> dict[str, list[str]]:
    """Snapshot → those that need it and stay.

    Need is not passed on: each snapshot names all that it needs itself.
    """
    found: dict[str, list[str]] = {}
    for decision in decisions:
        one = decision.candidate
        for needed in dict.fromkeys(one.needs) if decision.keep else ():
            if needed != one.id:
                found.setdefault(needed, []).append(one.id)
    return found


def _with_dependents(decision: Decision, dependents: Sequence[str]) -> Decision:
    if not dependents:
        return decision
    named = ", ".join(ident[:_SHORT_ID_CHARS] for ident in dependents[:_NAMED_DEPENDENTS])
    more = f" and {len(dependents) - _NAMED_DEPENDENTS} more" if len(dependents) > _NAMED_DEPENDENTS else ""
    reason = f"holds the last good version of what is unreadable in {named}{more}"
    if decision.keep:
        return evolve(decision, reasons=(*decision.reasons, reason))
    return evolve(decision, keep=True, reasons=(f"{'; '.join(decision.reasons)}, but it {reason}",))
