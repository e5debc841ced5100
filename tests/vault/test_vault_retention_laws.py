"""Laws of retention, for all histories and policies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from attrs import evolve, fields_dict
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qlikmigrate.vault.retention import Candidate, Period, Policy, decide

ZONES = ["UTC", "Europe/Stockholm", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]
# Around changes of the clock, ends of months and years, week 53, a leap day, and the day that Samoa left out.
STARTS = [
    datetime(2011, 12, 28, tzinfo=UTC), datetime(2018, 2, 16, tzinfo=UTC), datetime(2020, 12, 27, tzinfo=UTC),
    datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 4, 3, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC),
    datetime(2028, 2, 27, tzinfo=UTC),
]  # fmt: skip
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")

numbers = st.integers(0, 4)
periods = st.builds(
    Period, years=st.integers(0, 1), months=st.integers(0, 3), days=st.integers(0, 40), hours=st.integers(0, 30)
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.builds(
    lambda start, minutes: start + timedelta(minutes=minutes),
    st.sampled_from(STARTS),
    st.one_of(st.integers(-6, 12 * 24 * 6).map(lambda tens: tens * 10), st.integers(-400, 400).map(lambda d: d * 1440)),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy that has a rule."""
    found: dict[str, Any] = {name: draw(numbers) for name in draw(st.sets(st.sampled_from(RULES)))}
    found["within"] = draw(st.one_of(st.none(), periods))
    assume(any(found.values()))
    return Policy(**found, zone=draw(zones))


@st.composite
def histories(draw: st.DrawFn, *, needs: bool = True) -> list[Candidate]:
    """Snapshots of two tenants; about every second one counts. Some share a moment."""
    times = draw(st.lists(moments, max_size=16))
    names = [f"{number:02}" for number in range(len(times))]
    usual = st.sampled_from([True, True, True, False])
    return [
        Candidate(
            id=name,
            tenant=draw(st.sampled_from("aab")),
            taken_at=time,
            complete=(complete := draw(usual)),
            damaged=not complete and draw(st.booleans()),
            partial=not draw(usual),
            verified=draw(usual),
            readable=draw(st.sampled_from([True] * 9 + [False])),
            needs=tuple(draw(st.lists(st.sampled_from(names), max_size=2))) if needs else (),
        )
        for name, time in zip(names, times, strict=True)
    ]


law = settings(max_examples=60, deadline=None, derandomize=True)
nows = st.one_of(st.just(datetime(2099, 1, 1, tzinfo=UTC)), moments)


def kept(ones: Iterable[Candidate], policy: Policy, now: datetime) -> set[str]:
    """Ids of what stays."""
    return {one.candidate.id for one in decide(ones, policy, now=now) if one.keep}


@law
@given(histories(), policies(), nows)
def test_pruning_again_removes_nothing_more(ones: list[Candidate], policy: Policy, now: datetime) -> None:
    """What stays stays when it is all that there is."""
    left = kept(ones, policy, now)
    assert kept([one for one in ones if one.id in left], policy, now) == left


@law
@given(histories(), policies(), policies(), nows)
def test_more_keep_never_keeps_less(ones: list[Candidate], policy: Policy, other: Policy, now: datetime) -> None:
    """Greater numbers, a longer period and further rules only add."""
    more: dict[str, Any] = {name: getattr(policy, name) + getattr(other, name) for name in RULES}
    longer = [one for one in (policy.within, other.within) if one]
    if longer:
        units = fields_dict(Period)
        more["within"] = Period(**{unit: sum(getattr(one, unit) for one in longer) for unit in units})
    assert kept(ones, policy, now) <= kept(ones, Policy(**more, zone=policy.zone), now)


@law
@given(histories(), policies(), nows)
def test_the_newest_good_one_always_stays(ones: list[Candidate], policy: Policy, now: datetime) -> None:
    """Of each tenant, by what has been and by all that there is; and where nothing counts, everything stays."""
    left = kept(ones, policy, now)
    for tenant in "ab":
        own = [one for one in ones if one.tenant == tenant]
        for counting in (
            [one for one in own if one.counts],
            [one for one in own if one.counts and one.taken_at <= now],
        ):
            if counting:
                assert max(counting, key=lambda one: (one.taken_at, one.id)).id in left
        if not [one for one in own if one.counts and one.taken_at <= now]:
            assert {one.id for one in own} <= left


@law
@given(histories(), policies(), nows)
def test_a_flawed_one_goes_only_for_a_newer_good_one(ones: list[Candidate], policy: Policy, now: datetime) -> None:
    """Whatever goes without counting leaves one of its tenant that counts, stays and is newer."""
    by_id = {one.id: one for one in ones}
    left = kept(ones, policy, now)
    for gone in (by_id[ident] for ident in by_id.keys() - left):
        assert gone.readable
        if not gone.counts:
            assert [
                one for ident in left
                if (one := by_id[ident]).counts and one.tenant == gone.tenant and gone.taken_at < one.taken_at <= now
            ]  # fmt: skip


@law
@given(histories(needs=False), policies(), nows)
def test_what_does_not_count_changes_nothing(ones: list[Candidate], policy: Policy, now: datetime) -> None:
    """Which of those that count stay, and why, is the same with and without those that do not."""
    counting = [one for one in ones if one.counts]
    found = {one for one in decide(ones, policy, now=now) if one.candidate.counts}
    assert found == set(decide(counting, policy, now=now))


@law
@given(histories(), policies(), nows, st.randoms(use_true_random=False))
def test_order_does_not_count(ones: list[Candidate], policy: Policy, now: datetime, chance: random.Random) -> None:
    """Decisions are the same, and oldest first, in whatever order snapshots are listed."""
    shuffled = list(ones)
    chance.shuffle(shuffled)
    found = decide(ones, policy, now=now)
    assert decide(shuffled, policy, now=now) == found
    assert [one.candidate for one in found] == sorted(ones, key=lambda one: (one.taken_at, one.id))
    assert all(one.reasons for one in found)


@law
@given(histories(), policies(), nows)
def test_needs_only_hold(ones: list[Candidate], policy: Policy, now: datetime) -> None:
    """Exactly what stays without any need, and what that needs."""
    alone = kept([evolve(one, needs=()) for one in ones], policy, now)
    needed = {ident for one in ones if one.id in alone for ident in one.needs}
    assert kept(ones, policy, now) == alone | needed


@law
@given(histories(), policies())
def test_time_alone_removes_nothing(ones: list[Candidate], policy: Policy) -> None:
    """Once no snapshot is from the future, it does not matter how late it is."""
    newest = max((one.taken_at for one in ones), default=STARTS[0])
    assert decide(ones, policy, now=newest) == decide(ones, policy, now=newest + timedelta(days=9999))


@law
@given(histories(needs=False), policies(), nows)
def test_tenants_do_not_touch_each_other(ones: list[Candidate], policy: Policy, now: datetime) -> None:
    """The decisions are those of each tenant alone."""
    apart = [decide([one for one in ones if one.tenant == tenant], policy, now=now) for tenant in "ab"]
    assert set(decide(ones, policy, now=now)) == {decision for found in apart for decision in found}


BUCKETS: dict[str, Callable[[datetime], Any]] = {
    "last": lambda local: None,
    "hourly": lambda local: (local.date(), local.hour, local.utcoffset()),
    "daily": lambda local: local.date(),
    "weekly": lambda local: local.isocalendar()[:2],
    "monthly": lambda local: (local.year, local.month),
    "yearly": lambda local: local.year,
}


def _stays(one: Candidate, counting: Sequence[Candidate], name: str, policy: Policy) -> bool:
    """The rule said in another way: newest of its bucket, and not too many newer buckets."""
    newer = [other for other in counting if (other.taken_at, other.id) > (one.taken_at, one.id)]
    if name == "last":
        return len(newer) < policy.last
    buckets = [BUCKETS[name](other.taken_at.astimezone(policy.zone)) for other in newer]
    here = BUCKETS[name](one.taken_at.astimezone(policy.zone))
    return here not in buckets and len(set(buckets)) < getattr(policy, name)


@law
@given(histories(needs=False), policies())
def test_rules_as_they_are_defined(ones: list[Candidate], policy: Policy) -> None:
    """Each number's rule keeps what its definition says, and says so; what else counts stays only by `within`."""
    now = datetime(2099, 1, 1, tzinfo=UTC)
    for decision in decide(ones, policy, now=now):
        one = decision.candidate
        if one.counts:
            counting = [other for other in ones if other.counts and other.tenant == one.tenant]
            expected = {name for name in RULES if _stays(one, counting, name, policy)}
            told = {reason.split()[0] for reason in decision.reasons}
            assert told & set(RULES) == expected
            assert decision.keep == bool(expected or told & {"within", "the"})


@law
@given(st.lists(st.integers(0, 900), min_size=1, max_size=40), policies())
def test_pruning_every_night_is_pruning_once(days: list[int], policy: Policy) -> None:
    """Nothing that the whole history would keep in the end was removed on the way."""
    assume(not policy.within)
    start = datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
    whole = [
        Candidate(id=f"{day:03}", tenant="a", taken_at=start + timedelta(days=day, hours=day % 5),
                  complete=True, partial=False, verified=True)
        for day in sorted(set(days))
    ]  # fmt: skip
    left: list[Candidate] = []
    for one in whole:
        left.append(one)
        stays = kept(left, policy, one.taken_at)
        left = [other for other in left if other.id in stays]
    assert {one.id for one in left} == kept(whole, policy, whole[-1].taken_at)
