"""`oem`: what there is for OEM accounts alone. Its commands are loaded with it; what they work with, when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from qlikmigrate.cli.guide import Guided
from qlikmigrate.cli.option import command, read_text
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.model.oem import Account, OemAutomation
    from qlikmigrate.model.oem_run import AutomationRun
    from qlikmigrate.ops.smoke_run import RunWish
    from qlikmigrate.report.provider import Row


class _Group(Guided, click.Group):
    """A group whose help is that of every command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`--json` belongs to its commands; beside a call for help it says where help is to be told."""
        asked = bool(args) and args[0].startswith("-") and any(one in args for one in self.get_help_option_names(ctx))
        return super().parse_args(ctx, [one for one in args if one != "--json"] if asked else args)


oem_command = _Group(
    "oem",
    help="What there is for OEM accounts alone: run an automation, list accounts and templates, expire an account.",
    short_help="Run, list and expire in OEM accounts",
    no_args_is_help=False,
)


@command("oem run", "Start an automation of an OEM account")
@click.argument("account", metavar="PARTNER/ACCOUNT")
@click.argument("automation")
@click.option("--input", "pairs", multiple=True, metavar="KEY=VALUE", help="An input of the run; no secrets here.")
@click.option("--inputs", "file", metavar="FILE", help="Inputs as a JSON object: secrets go here.")
@click.option("--async", "blind", is_flag=True, help="Start it and be done: do not look which run that made.")
@click.option("--wait", is_flag=True, help="Wait for its end: 0 if it succeeded, 3 if not.")
@click.option("--dry-run", is_flag=True, help="Say what would be started; send nothing but GETs.")
def run_command(
    session: Session,
    account: str,
    automation: str,
    pairs: tuple[str, ...],
    file: str | None,
    blind: bool,
    wait: bool,
    dry_run: bool,
) -> None:
    """Start AUTOMATION, by guid or name, of an OEM account once, and say which run that made.

    For a smoke test that a person decides on. It is never sent twice; what became of a lost answer is looked for in the
    list of runs.
    """
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.tenant import find_oem_account, require_write
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.ops.smoke_run import RunWish, Starter, find_account, find_automation, unknown_inputs

    if blind and wait:
        raise UsageError("--async and --wait exclude each other", hint="one looks for nothing, the other for the end")
    tenant = find_oem_account(session, account)
    wish = RunWish(automation=automation, inputs=_inputs(pairs, file))
    if not dry_run:
        require_write(tenant, "starting a run")

    async def look() -> tuple[Account, OemAutomation]:
        async with session.connect_oem(tenant, Access.READ) as client:
            found = await find_account(client, tenant.account)
            return found, await find_automation(client, found, wish.automation)

    async def start(found: Account, chosen: OemAutomation) -> AutomationRun | None:
        async with session.connect_oem(tenant, Access.WRITE) as client:
            client.know_account(found.id, found.external_id)
            starter = Starter(client, found, chosen, clock=session.clock, sink=session.output)
            run = await starter.start(wish, look=not blind)
            if run is not None and wait:
                session.output.say(f"run {run.id} of `{chosen.name}` began")
                return await starter.end_of(run)
            return run

    found, chosen = session.run(look)
    for problem in unknown_inputs(chosen, wish):
        session.output(problem)
    if dry_run:
        _tell_wish(session, found, chosen, wish)
        return
    _tell_run(session, session.run(lambda: start(found, chosen)), chosen, wait=wait)


def _inputs(pairs: tuple[str, ...], file: str | None) -> dict[str, Any]:
    """The inputs of the command line and of the file.

    Raises:
        UsageError: one is malformed, given twice, or a secret that everybody on the machine could read.
    """
    import json

    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.remap.secret import mask

    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError("an --input is KEY=VALUE")
        if key in given:
            raise UsageError(f"the input `{key}` is given twice")
        if mask(value, key) != value:
            raise UsageError(
                f"the value of --input {key} looks like a secret, and others see a command line",
                hint="put it into a JSON file and say --inputs FILE",
            )
        given[key] = value
    if file is not None:
        try:
            found = json.loads(read_text(file, "inputs file"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UsageError(f"the inputs file {file} holds no JSON object", hint='write {"name": "value"}')
        if twice := sorted(given.keys() & found.keys()):
            raise UsageError(f"the input `{twice[0]}` is given twice")
        given |= found
    return given


def _tell_wish(session: Session, account: Account, chosen: OemAutomation, wish: RunWish) -> None:
    names = sorted(wish.inputs)
    row = {"kind": "run", "automation": chosen.name, "automation_id": chosen.id, "status": "planned", "inputs": names}
    told = f" with {', '.join(names)}" if names else ""
    session.output.item(row, f"would start {chosen.name} ({chosen.id}) of {account.label}{told}")


def _tell_run(session: Session, run: AutomationRun | None, chosen: OemAutomation, *, wait: bool) -> None:
    """Raises: PartialError when it did not succeed and somebody waited for that."""
    from qlikmigrate.kernel.error import PartialError
    from qlikmigrate.report.provider import run_row

    if run is None:
        session.closing.append(f"`{chosen.name}` was started")
        return
    row, text = run_row(run, name=chosen.name, automation_id=chosen.id)
    session.output.item(row, text)
    if wait and not run.succeeded:
        raise PartialError(f"run {run.id} of `{chosen.name}` ended as `{run.status}`", code="run-failed")


@command("oem accounts", "List a partner's accounts")
@click.argument("partner")
def accounts_command(session: Session, partner: str) -> None:
    """List the accounts of PARTNER: guid, externalid and name. Sends GETs only."""
    from qlikmigrate.report.provider import account_row

    _list(session, _provider(session, partner), "account.list", account_row, "account")


@command("oem templates", "List a partner's templates")
@click.argument("partner")
def templates_command(session: Session, partner: str) -> None:
    """List the templates of PARTNER with the parts of bundles, as mapping files name them. Sends GETs only."""
    from qlikmigrate.report.provider import template_row

    _list(session, _provider(session, partner), "template.list", template_row, "template")


@command("oem expire", "Suspend an OEM account")
@click.argument("account", metavar="PARTNER/ACCOUNT")
@click.option("--dry-run", is_flag=True, help="Say what would be suspended; send nothing but GETs.")
def expire_command(session: Session, account: str, dry_run: bool) -> None:
    """Suspend an OEM account. Asks for its externalid first: no call is known that takes it back."""
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.cli.confirm import confirm_word
    from qlikmigrate.cli.tenant import find_oem_account, require_write
    from qlikmigrate.ops.smoke_run import expire, find_account

    tenant = find_oem_account(session, account)
    if not dry_run:
        require_write(tenant, "expiring an account")

    async def look() -> Account:
        async with session.connect_oem(tenant, Access.READ) as client:
            return await find_account(client, tenant.account)

    async def do(found: Account) -> None:
        async with session.connect_oem(tenant, Access.WRITE) as client:
            client.know_account(found.id, found.external_id)
            await expire(client, found)

    found = session.run(look)
    row = {"kind": "account", "id": found.id, "externalid": found.external_id, "name": found.name}
    what = f"account {found.label} ({found.id}, {found.name})"
    if dry_run:
        session.output.item({**row, "status": "planned"}, f"would expire {what}")
        return
    confirm_word(session, f"{what} is suspended; no call is known that takes it back. Type its name", found.label)
    session.run(lambda: do(found))
    session.output.item({**row, "status": "done"}, f"expired {what}")


def _provider(session: Session, name: str) -> OemTenant:
    """Raises: UsageError when it is a tenant of Qlik Cloud."""
    from qlikmigrate.cli.tenant import find_any_tenant
    from qlikmigrate.config.tenants import OemTenant
    from qlikmigrate.kernel.error import UsageError

    tenant = find_any_tenant(session, name)
    if not isinstance(tenant, OemTenant):
        raise UsageError(
            f"`{name}` is a tenant of Qlik Cloud: `{session.command}` is for OEM accounts", code="only-for-oem"
        )
    return tenant


def _list(
    session: Session, tenant: OemTenant, operation: str, shape: Callable[[Mapping[str, Any]], Row], word: str
) -> None:
    from qlikmigrate.api.endpoint import Access
    from qlikmigrate.model.snapshot import parse
    from qlikmigrate.report.plan import number

    async def work() -> list[Row]:
        async with session.connect_oem(tenant, Access.READ) as client:
            found = {
                row["id"]: (row, text) async for raw in client.rows(operation) for row, text in (shape(parse(raw)),)
            }
            return sorted(found.values(), key=lambda one: (one[0]["name"], one[0]["id"]))

    rows = session.run(work)
    for row, text in rows:
        session.output.item(row, text)
    session.closing.append(number(len(rows), word))


for _word, _made in {
    "run": run_command,
    "accounts": accounts_command,
    "templates": templates_command,
    "expire": expire_command,
}.items():
    oem_command.add_command(_made, _word)
