"""One run of an OEM automation that a person decided on: started once, never again, and found by what is new since.

The API does not say which run a start made, so those that were there before are listed first. Two new ones, of which
one may be a schedule's, are told and not chosen from.
Source: help.qlik.com, blendr, "Execute an integration", "List runs".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import field, frozen

from qlikmigrate.api.answer import Answer
from qlikmigrate.api.error import ApiError, OutcomeUnknownError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import PartialError, UsageError
from qlikmigrate.kernel.event import Problem, Progress, Severity, Sink
from qlikmigrate.model.oem import Account, OemAutomation, account_of, automation_of, children_of, choose_account
from qlikmigrate.model.oem_run import AutomationRun, run_of
from qlikmigrate.model.snapshot import parse

# Source: "List runs": UTC. Runs that began so long before the start are looked at, too: clocks differ.
_MOMENT = "%Y-%m-%d %H:%M:%S"
_MARGIN = timedelta(hours=1)
# How long a run that was started may take to be listed.
_LISTED_WITHIN_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0


@frozen(kw_only=True)
class RunWish:
    """What is to be started. `automation`: guid or name."""

    automation: str
    inputs: Mapping[str, Any] = field(factory=dict, repr=False)


async def find_account(client: OemClient, word: str) -> Account:
    """The account of that guid or externalid.

    Raises:
        UsageError: there is none.
        ApiError: the list cannot be read.
    """
    accounts = [account_of(parse(raw)) async for raw in client.rows("account.list")]
    account = choose_account(accounts, word)
    client.know_account(account.id, account.external_id)
    return account


async def find_automation(client: OemClient, account: Account, word: str) -> OemAutomation:
    """The automation of that guid or name, parts of bundles included, as its own answer shows it.

    Raises:
        UsageError: there is none, several are called so, or it is a bundle.
        ApiError: the account cannot be read.
    """
    found: dict[str, OemAutomation] = {}
    async for raw in client.rows("blend.list", account=account.id):
        value = parse(raw)
        for each in (value, *children_of(value)):
            one = automation_of(each)
            found[one.id] = one
    hits = [one for one in found.values() if one.id.lower() == word.lower()]
    hits = hits or [one for one in found.values() if one.name == word]
    if len(hits) > 1:
        listed = ", ".join(sorted(one.id for one in hits))
        raise UsageError(f"{len(hits)} automations are called `{word}`: {listed}", hint="name it by its guid")
    if not hits:
        raise UsageError(f"no automation of `{account.label}` has the guid or name `{word}`")
    if hits[0].is_bundle:
        parts = ", ".join(f"`{found[ident].name}`" for ident in hits[0].children if ident in found)
        raise UsageError(f"`{word}` is a bundle, which does not run itself", hint=f"name one of its parts: {parts}")
    detail = (await client.call("blend.get", account=account.id, blend=hits[0].id)).json()
    return automation_of(detail) if isinstance(detail, Mapping) else hits[0]


def unknown_inputs(automation: OemAutomation, wish: RunWish) -> tuple[Problem, ...]:
    """Inputs that the automation does not show to have, where it shows any."""
    known = {one.name for one in automation.inputs}
    return tuple(
        Problem(
            code="input-unknown",
            severity=Severity.WARNING,
            message=f"`{automation.name}` shows no input `{name}`",
            where=f"automation {automation.id}",
            hint="it has: " + ", ".join(sorted(known)),
        )
        for name in wish.inputs
        if known and name not in known
    )


class Starter:
    """Starts one automation of one account and follows what comes of it."""

    def __init__(self, client: OemClient, account: Account, automation: OemAutomation, *, clock: Clock, sink: Sink):
        self._client = client
        self._clock = clock
        self._sink = sink
        self._automation = automation
        self._account = account.id
        self._blend = automation.id

    async def start(self, wish: RunWish, *, look: bool) -> AutomationRun | None:
        """Start it, and with `look` find out which run that made.

        Raises:
            QueueFullError: as many jobs are waiting as may be; nothing was started.
            OutcomeUnknownError: the answer was lost, and no new run shows.
            PartialError: it was started, and which run it is cannot be told.
            ApiError: the service does not take it.
        """
        before, since = await self._before() if look else (frozenset[str](), "")
        named = ""
        lost: OutcomeUnknownError | None = None
        try:
            answer = await self._client.call(
                "blend.run", body={"async": True, "inputs": dict(wish.inputs)}, account=self._account, blend=self._blend
            )
            named = _named(answer)
        except OutcomeUnknownError as error:
            # Never sent again: whether it was carried out is to be seen in the list.
            if not look:
                raise
            lost = error
        if not look:
            return AutomationRun(id=named) if named else None
        return await self._find(before, since, named, lost)

    async def end_of(self, run: AutomationRun) -> AutomationRun:
        """Wait until a run is over.

        Raises:
            ApiError: it can no longer be read.
        """
        pause_s = _FIRST_PAUSE_S
        while not run.ended:
            self._sink(Progress(phase=f"wait for run {run.id}", done=0, subject=run.status))
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
            value = (await self._client.call("run.get", run=run.id, account=self._account, blend=self._blend)).json()
            run = run_of(value) if isinstance(value, Mapping) else run
        return run

    async def _before(self) -> tuple[frozenset[str], str]:
        """The runs that are there already, and from when on runs are looked at, by the service's clock if it tells."""
        last = await self._client.call("run.last", account=self._account, blend=self._blend)
        since = (_date(last) or self._clock.now()) - _MARGIN
        moment = since.astimezone(UTC).strftime(_MOMENT)
        known = {one.id async for one in self._runs(moment)}
        value = last.json()
        if isinstance(value, Mapping) and (run := run_of(value)).id:
            known.add(run.id)
        return frozenset(known), moment

    async def _runs(self, since: str) -> AsyncIterator[AutomationRun]:
        async for raw in self._client.rows(
            "run.list", query={"created_at[gte]": since}, account=self._account, blend=self._blend
        ):
            value = parse(raw)
            if isinstance(value, Mapping) and (run := run_of(value)).id:
                yield run

    async def _find(
        self, before: frozenset[str], since: str, named: str, lost: OutcomeUnknownError | None
    ) -> AutomationRun:
        until_s = self._clock.monotonic() + _LISTED_WITHIN_S
        pause_s = _FIRST_PAUSE_S
        while True:
            fresh = [one async for one in self._runs(since) if one.id not in before]
            if mine := [one for one in fresh if one.id == named]:
                return mine[0]
            if len(fresh) == 1 and not named:
                return fresh[0]
            if len(fresh) > 1 and not named:
                listed = ", ".join(sorted(one.id for one in fresh))
                raise PartialError(
                    f"`{self._automation.name}` was started, and {len(fresh)} runs began since: {listed}",
                    hint="a schedule or somebody else started it as well: look at each of them",
                    code="run-unclear",
                )
            if self._clock.monotonic() >= until_s:
                break
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        if lost is not None:
            lost.hint = "no new run shows: look again in a while before you start it once more"
            raise lost
        raise PartialError(
            f"`{self._automation.name}` was started, and no new run is listed after {_LISTED_WITHIN_S:.0f} s",
            hint="it may be waiting behind others: look at its runs before you start it once more",
            code="run-not-listed",
        )


async def expire(client: OemClient, account: Account) -> None:
    """Suspend an account.

    Raises:
        ApiError: it cannot be.
    """
    await client.call("account.expire", account=account.id)


def _named(answer: Answer) -> str:
    """The run's guid, where an answer tells it. No page says that it does, and what a run answers may be anything."""
    try:
        value = answer.json()
    except (ApiError, ValueError):
        return ""
    found = value.get("guid") if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def _date(answer: Answer) -> datetime | None:
    try:
        found = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
