"""The account that a run works in: the one that is there, or one that is made, once.

Whether the service refuses a second account of one externalid is not documented: it is looked for before and after.
Source: the vendor's page "Create account".
"""

from __future__ import annotations

from collections.abc import Sequence

from qlikmigrate.api.error import ApiError, InvalidError, OutcomeUnknownError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.journal import Journal
from qlikmigrate.importer.oem.action import AccountAction
from qlikmigrate.importer.plan import Step
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import FailedError
from qlikmigrate.model.oem import Account, account_of
from qlikmigrate.model.snapshot import parse

ACCOUNT_KEY = "account"
_MAX_CREATES = 3


async def settle_account(client: OemClient, wanted: AccountAction, journal: Journal, clock: Clock) -> str:
    """The guid of the account. One that has appeared since the plan was made is taken as it is.

    Raises:
        ApiError, FailedError: there is none, and none could be made; resumable.
    """
    if wanted.id:
        client.know_account(wanted.id, wanted.external_id)
        return wanted.id
    done = journal.state.of(ACCOUNT_KEY)
    if done.target_id:
        client.know_account(done.target_id, wanted.external_id)
        return done.target_id
    ident = await _settle(client, wanted, journal, clock)
    client.know_account(ident, wanted.external_id)
    return ident


async def _settle(client: OemClient, wanted: AccountAction, journal: Journal, clock: Clock) -> str:
    done = journal.state.of(ACCOUNT_KEY)
    listed = await _list(client)
    if done.in_doubt is Step.CREATE:
        if ident := await _look(client, wanted, journal, clock):
            journal.done(ACCOUNT_KEY, Step.CREATE, ident)
            return ident
    elif found := _meant(listed, wanted):
        journal.done(ACCOUNT_KEY, Step.CHECK, found)
        return found
    body = {"name": wanted.name, "externalid": wanted.external_id, "send_invite": False}
    for _ in range(_MAX_CREATES):
        journal.intend(ACCOUNT_KEY, Step.CREATE, since=clock.now(), before={one.id for one in listed})
        ident = ""
        try:
            ident = account_of((await client.call("account.create", body=body)).json() or {}).id
        except OutcomeUnknownError:
            pass
        except InvalidError as error:
            # It may have come into being meanwhile.
            journal.fail(ACCOUNT_KEY, error.code)
            if found := _meant(await _list(client), wanted):
                journal.done(ACCOUNT_KEY, Step.CHECK, found)
                return found
            raise
        except ApiError as error:
            journal.fail(ACCOUNT_KEY, error.code)
            raise
        if ident := ident or await _look(client, wanted, journal, clock):
            journal.done(ACCOUNT_KEY, Step.CREATE, ident)
            return ident
    raise FailedError("the account could not be made: its answer was lost again and again", code="outcome-unknown")


async def _list(client: OemClient) -> list[Account]:
    return [account_of(parse(raw)) async for raw in client.rows("account.list")]


def _meant(accounts: Sequence[Account], wanted: AccountAction) -> str:
    """The one that is called as wanted.

    Raises:
        FailedError: several are.
    """
    found = [one.id for one in accounts if one.is_meant_by(wanted.external_id)]
    if len(found) > 1:
        raise FailedError(
            f"{len(found)} accounts are called `{wanted.external_id}`: {', '.join(sorted(found))}",
            hint="name the one that is meant by its guid",
            code="create-ambiguous",
        )
    return found[0] if found else ""


async def _look(client: OemClient, wanted: AccountAction, journal: Journal, clock: Clock) -> str:
    """What the create in doubt made: at once, and again one request timeout later."""
    for pause in (0.0, client.endpoint.limits.timeout_s):
        await clock.sleep(pause)
        before = journal.state.of(ACCOUNT_KEY).before
        fresh = [one for one in await _list(client) if one.id not in before]
        unnamed = [one for one in fresh if not one.external_id and one.name == wanted.name]
        if found := _meant(fresh, wanted) or (unnamed[0].id if len(unnamed) == 1 else ""):
            return found
    return ""
