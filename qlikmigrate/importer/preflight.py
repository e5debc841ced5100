"""What would go wrong, told before the first write. Pure: the few things that must be tried were tried by `probe`.

Where a fact is not known, nothing is said: preflight refuses for reasons, not for doubts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from attrs import frozen

from qlikmigrate.importer.plan import Action, ConnectionAction, OwnerMode, SettingsAction, Step, Verb
from qlikmigrate.importer.source import Source
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.schedule_form import is_over, other_form, step_s

# Source: openapi/workflows-automations.json, the access rules of `createAutomation`; Qlik's changelog 63 for the role.
_CREATOR_ROLES = frozenset({"AutomationCreator", "TenantAdmin"})
# Source: openapi/workflows-automations.json, `updateAutomation`; Qlik's changelog 241 for the bot.
_BOT_SCOPES = frozenset({"admin.automations", "admin.automations:strict"})
_USER_SCOPES = _BOT_SCOPES | {"automations", "automations.private", "automations.shared", "user_default"}


@frozen(kw_only=True)
class Probes:
    """What harmless requests have shown. Scopes: of the tokens in use, None where nobody says.

    `refused`: why the impersonation client got no token for a first owner; empty: it did, or nobody asked.
    """

    caller_scopes: frozenset[str] | None = None
    owner_scopes: frozenset[str] | None = None
    refused: str = ""


@frozen(kw_only=True)
class PreflightInput:
    """What preflight looks at: a plan in the making."""

    source: Source
    target: Target
    actions: tuple[Action, ...]
    connections: tuple[ConnectionAction, ...]
    settings: SettingsAction | None
    now: datetime


def check(given: PreflightInput) -> list[Problem]:
    """Everything that is known to go wrong, and what people should know about schedules."""
    return [*_creators(given), *_names(given), *_schedules(given), *_settings(given)]


def first_impersonated(actions: Iterable[Action], connections: Iterable[ConnectionAction]) -> str | None:
    """An owner whose token would be needed: what holds for the client is seen on any of them."""
    ones: list[Action | ConnectionAction] = [*actions, *connections]
    found = {
        one.owner_id
        for one in ones
        if one.owner_mode is OwnerMode.IMPERSONATE and one.verb in (Verb.CREATE, Verb.UPDATE)
    }
    return min(found, default=None)


def check_probes(probes: Probes, given: PreflightInput) -> list[Problem]:
    """Rights that the tokens turned out not to have."""
    problems = []
    if probes.refused:
        problems.append(
            _error(
                f"the `impersonation` client may not act as an owner: {probes.refused}",
                "tenant " + given.target.inventory.tenant.id,
                "tick its machine-to-machine impersonation box, set its consent method to Trusted, or use --owner",
                code="impersonation-refused",
            )
        )
    if probes.owner_scopes is not None and not probes.owner_scopes & _USER_SCOPES:
        problems.append(_scope("impersonation", "automations", given))
    foreign = [one for one in given.actions if _writes_foreign(one, given.target.caller.user_id)]
    bot = given.target.caller.bot
    if bot and foreign and probes.caller_scopes is not None and not probes.caller_scopes & _BOT_SCOPES:
        problems.append(_scope("oauth", "admin.automations", given))
    return problems


def _writes_foreign(action: Action, caller: str) -> bool:
    """Whether the caller itself writes what belongs to somebody else by then."""
    if action.verb is Verb.UPDATE:
        return action.owner_mode is OwnerMode.CALLER and action.owner_id != caller
    after = action.steps[action.steps.index(Step.CHANGE_OWNER) + 1 :] if Step.CHANGE_OWNER in action.steps else ()
    return bool(after)


def _scope(client: str, scope: str, given: PreflightInput) -> Problem:
    return _error(
        f"the tokens of the `{client}` client do not have the scope `{scope}`",
        "tenant " + given.target.inventory.tenant.id,
        f"give the client the scope `{scope}`",
        code="scope-missing",
    )


def _creators(given: PreflightInput) -> Iterator[Problem]:
    """Whoever creates or is to own something needs the role."""
    target = given.target
    owners: dict[str, int] = {}
    for action in given.actions:
        if action.verb is Verb.CREATE:
            creators = {action.owner_id}
            if action.owner_mode is not OwnerMode.IMPERSONATE:
                creators.add(target.caller.user_id)
            for one in creators:
                owners[one] = owners.get(one, 0) + 1
    for owner, number in sorted(owners.items()):
        user = target.inventory.get(Kind.USER, owner)
        if user is None or user.roles is None or user.roles & _CREATOR_ROLES:
            continue
        yield _error(
            f"`{user.name or user.subject}` would own or create {number} automation{'s' if number > 1 else ''}"
            " and lacks the role AutomationCreator",
            f"user {owner}",
            "give the user the role in the target's administration",
            code="creator-role-missing",
        )


def _names(given: PreflightInput) -> Iterator[Problem]:
    for action in given.actions:
        if action.verb is Verb.CREATE and not action.name.strip():
            yield _error(
                "the service takes no automation without a name",
                f"automation {action.source_id}",
                "name it at the source and back it up again, or leave it out",
                code="name-refused",
            )


def _schedules(given: PreflightInput) -> Iterator[Problem]:
    for action in given.actions:
        if action.verb not in (Verb.CREATE, Verb.UPDATE):
            continue
        schedule = given.source.automations[action.source_id].schedule
        if schedule is None:
            continue
        where = f"automation {action.source_id}"
        if is_over(schedule, given.now):
            yield Problem(
                code="schedule-past",
                severity=Severity.WARNING,
                message=f"the schedule of `{action.name}` ended at {schedule.get('stopAt')}: it will never start",
                where=where,
                hint="give it a new end, or none, at the target",
            )
        every_s = step_s(schedule)
        if not schedule.get("recurrence") and every_s is not None:
            other = other_form(schedule) or {}
            yield Problem(
                code="schedule-interval",
                severity=Severity.INFO,
                message=f"`{action.name}` starts every {_spoken(every_s)} from {schedule.get('startAt') or 'its start'}"
                f": written as an interval, and as {other.get('recurrence')} where the target no longer keeps one",
                where=where,
            )


def _spoken(seconds: int) -> str:
    for word, size in (("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0:
            number = seconds // size
            return word if number == 1 else f"{number} {word}s"
    return f"{seconds} seconds"


def _settings(given: PreflightInput) -> Iterator[Problem]:
    caller = given.target.caller
    if given.settings is not None and not caller.may_transfer:
        yield _error(
            "this identity may not raise maxConcurrentRunsPerAutomation",
            "settings",
            "use a tenant administrator's identity, or leave --settings out",
            code="settings-not-writable",
        )


def _error(message: str, where: str, hint: str, *, code: str) -> Problem:
    return Problem(code=code, severity=Severity.ERROR, message=message, where=where, hint=hint)
