"""How many calls a plan takes and how long the quota makes it last. Pure.

Writes are counted from the plan's own steps, so they are exact when all goes well; reads follow the lists' sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from qlikmigrate.api.endpoint import Endpoint, Limits, OAuthClient
from qlikmigrate.api.operation import OPERATIONS
from qlikmigrate.importer.plan import Action, ConnectionAction, Forecast, OwnerMode, Plan, Step, Verb
from qlikmigrate.importer.target import LISTS, Target
from qlikmigrate.model.kind import Kind

# A tenant and a user are asked for under `me`, which redirects: two requests each.
_HEAD_CALLS = 2 + 2
_SECONDS = 60.0


def forecast(plan: Plan, target: Target, endpoint: Endpoint) -> Forecast:
    """The calls of applying `plan` with an identity and limits such as `endpoint` has."""
    caller = target.caller.user_id
    reads: Counter[str] = Counter()
    writes: Counter[str] = Counter()
    reads[caller] += _HEAD_CALLS + _lists(target) + 1
    if plan.changes:
        reads[caller] += 2  # the server's clock
    writes[caller] += (1 if plan.settings else 0) + sum(one.writes for one in plan.spaces)
    ones: list[Action | ConnectionAction] = [*plan.connections, *plan.actions]
    for one in ones:
        writes[_writer(one, caller)] += len(one.steps)
    for action in plan.actions:
        reads[caller] += _reads_of(action)
    if plan.settings:
        reads[caller] += 1
    if any(action.verb is Verb.CREATE for action in plan.actions):
        reads[caller] += _pages(target, Kind.AUTOMATION, sum(one.verb is Verb.CREATE for one in plan.actions))
    owners = {one.owner_id for one in ones if one.owner_mode is OwnerMode.IMPERSONATE and one.steps}
    tokens = len(owners) + isinstance(endpoint.credentials, OAuthClient)
    return Forecast(
        tier1=reads.total(),
        tier2=writes.total(),
        token=tokens,
        writes=plan.writes,
        seconds=round(least_s(reads, writes, tokens, caller, endpoint.limits), 1),
    )


def least_s(reads: Mapping[str, int], writes: Mapping[str, int], tokens: int, caller: str, limits: Limits) -> float:
    """Seconds that the slowest bucket makes everybody wait: each starts full with one minute's share.

    `reads`, `writes`: by user. Tokens count against the caller's tier 2. Source: qlik.dev, rate limiting: limits are
    per user, tenant and tier.
    """
    waits = [0.0]
    for rate, calls in ((limits.tier1_per_minute, reads), (limits.tier2_per_minute, writes)):
        share = rate * limits.share
        for user, number in calls.items():
            extra = tokens if user == caller and calls is writes else 0
            waits.append((number + extra - max(share, 1.0)) / share * _SECONDS)
    return max(waits)


def _writer(one: Action | ConnectionAction, caller: str) -> str:
    return one.owner_id if one.owner_mode is OwnerMode.IMPERSONATE else caller


def _lists(target: Target) -> int:
    return sum(_pages(target, kind) for kind in LISTS)


def _pages(target: Target, kind: Kind, more: int = 0) -> int:
    size = OPERATIONS[LISTS[kind]].page_size or 100
    number = sum(1 for _ in target.inventory.of(kind)) + more
    return max(1, -(-number // size))


def _reads_of(action: Action) -> int:
    """Reading back, the read right before a PUT, and the look after a change of owner."""
    if action.verb not in (Verb.CREATE, Verb.UPDATE):
        return 0
    return 1 + action.steps.count(Step.PUT) + (action.armed and Step.CHANGE_OWNER in action.steps)
