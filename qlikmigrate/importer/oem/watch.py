"""The automations of a run as the account shows them by now, for what is done with a run afterwards. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from qlikmigrate.api.error import MissingError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.oem.restore import account_of_run
from qlikmigrate.importer.oem.target import find_account, read_states
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.importer.run_view import RunView
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.event import Progress, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.oem import DISABLED, OemAutomation, OemConnection, automation_of, connection_of
from qlikmigrate.model.snapshot import parse


@frozen(kw_only=True)
class Seen:
    """One automation now. None: it is not there. `state`: empty where nothing shows it."""

    automation: OemAutomation | None = None
    state: str = ""
    updated_at: str = ""

    @property
    def gone(self) -> bool:
        """Whether it is not there any more."""
        return self.automation is None


@frozen(kw_only=True)
class OemWatch:
    """A run and its account. `seen`: by action number, of those that have a counterpart."""

    view: RunView
    account: str
    seen: Mapping[int, Seen]
    connections: Mapping[str, OemConnection]

    def changed(self, action: Action) -> bool:
        """Whether somebody changed it since the run read it back, or nobody can tell."""
        done = self.view.state.objects.get(str(action.seq))
        moved = self.view.state.objects.get(f"activate:{action.seq}")
        known = (moved.seen if moved else "") or (done.seen if done else "")
        return not known or self.seen[action.seq].updated_at != known

    def is_on_by_us(self, action: Action) -> bool:
        """Whether the run, or `activate`, switched it on, and a rollback has not switched it off since."""
        objects = self.view.state.objects
        undone = objects.get(f"rollback:{action.seq}")
        on = any(
            one is not None and (Step.ENABLE in one.steps or one.in_doubt is Step.ENABLE)
            for one in (objects.get(str(action.seq)), objects.get(f"activate:{action.seq}"))
        )
        return on and not (undone is not None and Step.DISABLE in undone.steps)

    def state_of(self, action: Action) -> str:
        """Its state as shown; where nothing shows it, as the run left it and nobody has changed it since."""
        shown = self.seen[action.seq].state
        if shown or action.verb is not Verb.CREATE or self.changed(action):
            return shown
        return "available" if self.is_on_by_us(action) else DISABLED


async def check_account(client: OemClient, view: RunView) -> str:
    """The guid of the run's account.

    Raises:
        UsageError: the run never came to it, or the key pair does not reach it.
    """
    ident = account_of_run(view)
    if not ident:
        raise UsageError(f"the run in {view.folder.path} has not made its account", hint="--resume of the run goes on")
    found, _ = await find_account(client, ident)
    if found is None:
        raise UsageError(
            f"`{client.endpoint.name}` does not have the run's account: {ident}",
            hint="name the right provider in the tenants file",
        )
    return ident


async def open_watch(client: OemClient, view: RunView, *, sink: Sink) -> OemWatch:
    """Read what the run has to do with.

    Raises:
        UsageError: the account is not there.
        ApiError: it cannot be read.
    """
    account = await check_account(client, view)
    idents = {one.seq: ident for one in view.plan.actions if (ident := view.target_of(one.seq))}
    seen: dict[int, Seen] = {}

    async def read(seq: int) -> None:
        try:
            value = (await client.call("blend.get", account=account, blend=idents[seq])).json() or {}
            seen[seq] = _seen(value)
        except MissingError:
            seen[seq] = Seen()
        sink(Progress(phase="read", done=len(seen), total=len(idents)))

    await fan_out(idents, read, width=client.endpoint.limits.concurrency)
    rows = [connection_of(parse(raw)) async for raw in client.rows("datasource.list", account=account)]
    if any(not one.state and not one.gone for one in seen.values()):
        states = await read_states(client, account, {one.id for one in rows}, sink=sink)
        seen = {seq: evolve(one, state=one.state or states.get(idents[seq], "")) for seq, one in seen.items()}
    return OemWatch(view=view, account=account, seen=seen, connections={one.id: one for one in rows})


def _seen(value: Mapping[str, Any]) -> Seen:
    one = automation_of(value)
    updated_at = value.get("updated_at")
    return Seen(automation=one, state=one.state, updated_at=updated_at if isinstance(updated_at, str) else "")


async def states_now(
    client: OemClient, account: str, idents: Iterable[str], connections: Collection[str], *, sink: Sink
) -> dict[str, str]:
    """What shows of the states of automations by now, be it in the answers of `connections`; nothing of those gone.

    Raises:
        ApiError: they cannot be read.
    """
    states: dict[str, str] = {}
    hidden = False

    async def read(ident: str) -> None:
        nonlocal hidden
        try:
            one = automation_of((await client.call("blend.get", account=account, blend=ident)).json() or {})
        except MissingError:
            return
        states[ident] = one.state
        hidden = hidden or not one.state

    await fan_out(idents, read, width=client.endpoint.limits.concurrency)
    shown = await read_states(client, account, connections, sink=sink) if hidden else {}
    return {ident: state or shown.get(ident, "") for ident, state in states.items()}


async def ran(client: OemClient, account: str, ident: str) -> bool:
    """Whether it has a run."""
    try:
        value = (await client.call("run.last", account=account, blend=ident)).json()
    except MissingError:
        return False
    return isinstance(value, Mapping) and bool(value.get("guid"))
