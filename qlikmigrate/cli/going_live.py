"""What `activate` and `cutover` share: the run, its source tenant, and telling how it went."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qlikmigrate.kernel.error import PartialError, UsageError
from qlikmigrate.kernel.event import Outcome
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from qlikmigrate.api.cloud.client import CloudClient
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.activation import LiveResult
    from qlikmigrate.importer.run_view import RunView
    from qlikmigrate.importer.side import Side


def open_view(session: Session, run_path: str) -> RunView:
    """The run that the command line names.

    Raises:
        NotFoundError: no run was begun there.
        UsageError: it is a drill's.
    """
    from qlikmigrate.importer.run_view import RunView

    view = RunView.open(Path(run_path))
    view.plan.check_lasting(view.folder.path)
    session.report["run"] = run_path
    session.report["archive"] = view.plan.archive.path
    return view


def find_source(session: Session, view: RunView, name: str | None, *, needed: bool) -> Tenant | None:
    """The tenant that the archive is of: the one named, else the one of the tenants file that has its host.

    Raises:
        UsageError: it is unknown; or there is none, or several, and it is `needed`.
    """
    from qlikmigrate.cli.archive import open_planned
    from qlikmigrate.cli.tenant import find_tenant
    from qlikmigrate.config.tenants import tenant_by_host

    plan = view.plan
    if name is None and not plan.archive.is_cloud:
        if needed:
            raise UsageError(
                f"the source is an OEM account, `{plan.archive.tenant_name}`: nothing there is switched from here",
                hint="switch off there what is to start here, then `activate RUN --allow source-unchecked`",
            )
        return None
    if name is None:
        with open_planned(session, plan) as archive:
            hosts = archive.manifest.tenant.all_hosts()
        other = plan.archive.tenant_id != plan.target.tenant_id
        name = tenant_by_host(hosts, session.config, session.environ, apart_from=plan.target.name if other else "")
        if name is None and needed:
            raise UsageError(
                f"no single tenant of the tenants file is the archive's source: {', '.join(hosts)}",
                hint="name it with --source TENANT",
            )
    return find_tenant(session, name) if name is not None else None


async def check_source(client: CloudClient, view: RunView) -> None:
    """Raises: UsageError when the tenant is not the one that the archive is of."""
    facts = await client.tenant()
    if facts.id != view.plan.archive.tenant_id:
        raise UsageError(
            f"`{client.endpoint.name}` is not the tenant that the archive is of: `{view.plan.archive.tenant_name}`",
            hint="name another with --source",
        )


async def read_source_or_why(client: CloudClient, view: RunView, *, named: bool) -> tuple[Side | None, str]:
    """The source as it is, or why it cannot be read.

    Raises:
        UsageError: the tenant was named, and is another one.
    """
    from qlikmigrate.api.error import ApiError
    from qlikmigrate.importer.side import read_side

    try:
        await check_source(client, view)
        return await read_side(client, "source"), ""
    except UsageError as error:
        if named:
            raise
        return None, error.message
    except ApiError as error:
        return None, error.message


def tell_outcomes(session: Session, outcomes: Iterable[Outcome], *, word: str, preview: bool = False) -> None:
    """What would be done: outcomes with `--json`, lines to people."""
    counts = {"selected": 0, word: 0, "unchanged": 0, "skipped": 0, "failed": 0}
    for one in outcomes:
        counts["selected"] += 1
        counts["skipped" if one.status == "skipped" else "unchanged" if one.action == "none" else word] += 1
        if session.output.json:
            if not preview:
                session.output(one)
        else:
            note = f"  ({one.reason})" if one.reason else ""
            session.output.item({}, f"{one.action:7} {one.name}{note}")
    if not preview:
        session.report["counts"] = {"automations": counts}
        session.closing.append(_sum(counts))


def _sum(counts: dict[str, int]) -> str:
    told = ", ".join(f"{number} {word}" for word, number in counts.items() if word != "selected" and number)
    return f"{number(counts['selected'], 'automation')}: {told or 'nothing to do'}"


def report_live(session: Session, result: LiveResult, *, unit: str) -> None:
    """How it went.

    Raises:
        PartialError: some were not done.
    """
    for problem in result.problems:
        if problem not in session.output.told:
            session.output(problem)
    session.report["counts"] = {"automations": dict(result.counts)}
    if not session.output.json:
        for one in result.outcomes:
            note = f"  ({one.reason})" if one.reason else ""
            session.output.item({}, f"{one.status:7} {one.action:7} {one.name}{note}")
    session.closing.append(_sum(dict(result.counts)))
    if result.failed:
        raise PartialError(
            f"{result.failed} of {result.counts['selected']} {unit} were not switched", hint="run it again to go on"
        )
