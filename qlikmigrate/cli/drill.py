"""`drill`: a restore tried in earnest, compared, and dated evidence of it."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import define, evolve

from qlikmigrate.cli.option import command, opening, recipients, selectors
from qlikmigrate.cli.session import Session
from qlikmigrate.report.plan import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from qlikmigrate.config.tenants import Tenant
    from qlikmigrate.importer.counterpart import PlanRequest
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.kernel.event import Event
    from qlikmigrate.model.selection import Selectors
    from qlikmigrate.model.snapshot import Snapshot
    from qlikmigrate.ops.cabinet import Cabinet
    from qlikmigrate.ops.drill import Drill, Verdict
    from qlikmigrate.ops.evidence import Drilled, Evidence
    from qlikmigrate.ops.rehearsal import Rehearsal


@command("drill", "Try a restore, compare, and write dated evidence")
@click.argument("archive_path", metavar="ARCHIVE")
@click.option("--into", metavar="TENANT", help="A real tenant, from which everything is removed again.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N automations, those drilled longest ago.")
@click.option("--evidence", "evidence_path", metavar="FILE", help="The evidence; else ARCHIVE.drill-UTC.json.")
@click.option("--run", "run_path", metavar="DIR", help="With --into: the run folder.")
@click.option("--mapping", "mapping_path", metavar="FILE", help="With --into: the id mapping to use.")
@click.option(
    "--owner",
    type=click.Choice(["auto", "impersonate", "transfer", "importer"]),
    default="auto",
    show_default=True,
    help="With --into: how automations come to their owners.",
)
@click.option(
    "--default-owner",
    "--fallback-owner",
    "fallback_owner",
    metavar="WHO",
    help="With --into: owner in place of those without a counterpart.",
)
@click.option("--create-spaces", is_flag=True, help="With --into: create spaces that the tenant lacks.")
@click.option("--allow", multiple=True, metavar="CODE", help="With --into: waive one kind of preflight error.")
@click.option("--same-tenant", type=click.Choice(["copy"]), help="With --into: drill in the source tenant itself.")
@click.option("--allow-incomplete", is_flag=True, help="Use an incomplete snapshot.")
@click.option("--dry-run", is_flag=True, help="Say what would be restored; send nothing but GETs.")
@selectors
@recipients
@opening
def drill_command(
    session: Session,
    archive_path: str,
    into: str | None,
    sample: int | None,
    evidence_path: str | None,
    run_path: str | None,
    allow_incomplete: bool,
    dry_run: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
    recipients: tuple[str, ...],
    **flags: Any,
) -> None:
    """Restore ARCHIVE into an embedded tenant, read back, compare, and write dated evidence of it.

    With --into the same in a real tenant: what could fire is held, nothing that is there is touched, and exactly what
    was created is removed again, also after a failure. Ends with 0 where everything came back equal, with 5 where not.
    """
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.cli.tenant import find_tenant, require_write, selectors_of
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.oem import is_oem

    _check_flags(into, run_path, flags)
    target = find_tenant(session, into) if into else None
    if target is not None and not dry_run:
        require_write(target, "drilling")
    chosen = selectors_of(include, exclude)
    with open_snapshot(session, archive_path, allow_incomplete=allow_incomplete) as archive:
        if is_oem(archive):
            raise UsageError(
                "a drill restores into a tenant of Qlik Cloud: the snapshot is of OEM accounts",
                hint="restore it into an account of its own, which `--create-account` makes, and look there",
                code="not-for-oem",
            )
        cabinet = _cabinet(session, archive_path, evidence_path, archive, recipients)
        if not dry_run:
            cabinet.check()
        given = _Given(session, archive, archive_path, target, cabinet, sample, chosen, with_calls, dry_run)
        session.report.update(archive=archive_path, complete=archive.manifest.complete)
        if target is None:
            _drill_embedded(given)
        else:
            _drill_into(given, target, run_path, flags)


def _check_flags(into: str | None, run_path: str | None, flags: dict[str, Any]) -> None:
    from qlikmigrate.kernel.error import UsageError

    given = [name for name, value in flags.items() if value and not (name == "owner" and value == "auto")]
    given += ["run_path"] if run_path else []
    if into is None and given:
        word = given[0].removesuffix("_path").replace("_", "-")
        raise UsageError(f"--{word} is for a real tenant", hint="add --into TENANT")


def _cabinet(
    session: Session, archive_path: str, evidence_path: str | None, snapshot: Snapshot, recipients: tuple[str, ...]
) -> Cabinet:
    """Where the evidence goes: the one place to decide it."""
    from qlikmigrate.cli.vault import open_vault, split_address
    from qlikmigrate.ops.cabinet import FileCabinet, VaultCabinet
    from qlikmigrate.vault import VaultSnapshot

    address = split_address(archive_path)
    if address is not None and evidence_path is None and isinstance(snapshot, VaultSnapshot):
        vault = open_vault(session, address[0], recipients, writes=True)
        return VaultCabinet(vault, snapshot.info.id)
    return FileCabinet(Path(archive_path), Path(evidence_path) if evidence_path else None)


@define
class _Given:
    """What both kinds of drill are given."""

    session: Session
    archive: Snapshot
    archive_path: str
    target: Tenant | None
    cabinet: Cabinet
    sample: int | None
    chosen: Selectors
    with_calls: bool
    dry_run: bool
    ids: tuple[str, ...] = ()

    def selectors(self) -> Selectors:
        """Of what is drilled; `ids` are then those of a part.

        Raises:
            UsageError: the selection is empty.
            CorruptError: a document is damaged.
        """
        from qlikmigrate.ops.sample import select_drilled

        wanted, self.ids = select_drilled(
            self.archive,
            self.chosen,
            with_calls=self.with_calls,
            sample=self.sample,
            earlier=self.cabinet.earlier(),
            place=self.target.endpoint.name if self.target else "",
            now=self.session.clock.now(),
        )
        return wanted


def _drill_embedded(given: _Given) -> None:
    from qlikmigrate.cli.archive import lasting_name
    from qlikmigrate.importer.run_folder import RunFolder
    from qlikmigrate.ops.drill import Drill
    from qlikmigrate.ops.rehearsal import Rehearsal

    session = given.session
    began = session.clock.monotonic()

    def hear(event: Event) -> None:
        from qlikmigrate.kernel.event import Log, Progress

        # What is done to a tenant that is gone in a moment is no news.
        if isinstance(event, Log | Progress):
            session.output(event)

    def make(stack: ExitStack) -> Drill:
        rehearsal: Rehearsal = stack.enter_context(Rehearsal.lay_out(given.archive, clock=session.clock))
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qlikmigrate-")))
        folder = RunFolder(place / "run")
        name = lasting_name(given.archive_path, given.archive)
        request = rehearsal.request(given.archive, name, given.selectors(), place / "ledger.jsonl")
        laid = round(session.clock.monotonic() - began, 3)
        return Drill(
            connect=rehearsal.connect, snapshot=given.archive, request=request, folder=folder, clock=session.clock,
            sink=hear, rehearsal=rehearsal, phases={"lay out": laid}, abort_on_error=session.on_error == "abort",
        )  # fmt: skip

    _carry_out(given, make)


def _drill_into(given: _Given, target: Tenant, run_path: str | None, flags: dict[str, Any]) -> None:
    from qlikmigrate.importer.run_folder import RunFolder, default_run
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.ops.drill import Drill

    session = given.session
    path = Path(run_path) if run_path else default_run(session.clock.now(), f"{target.endpoint.name}-drill")
    folder = RunFolder(path)
    if folder.started:
        raise UsageError(
            f"a run was begun in {path}", hint="`rollback` removes what a drill left there; --run names another"
        )

    def make(stack: ExitStack) -> Drill:
        return Drill(
            connect=lambda access: session.connect(target, access),
            snapshot=given.archive,
            request=_request(given, folder, flags),
            folder=folder,
            clock=session.clock,
            sink=session.output,
            abort_on_error=session.on_error == "abort",
        )

    _carry_out(given, make)


def _request(given: _Given, folder: RunFolder, flags: dict[str, Any]) -> PlanRequest:
    """A plan request by which nothing that the tenant has is adopted or updated."""
    from qlikmigrate.cli.request import request_of

    request = request_of(
        given.archive,
        given.archive_path,
        given.session.environ,
        {
            **flags,
            "repoint_callers": False, "ids_path": None, "secrets_path": None, "connections": "match", "start": "held",
            "on_conflict": "fail", "settings": False, "sync": (), "include": (), "exclude": (), "with_calls": False,
            "match_items": False, "default_space": None, "create_account": False, "account_name": None,
            "ledger": str(folder.path.absolute() / "ledger.jsonl"),
        },
    )  # fmt: skip
    chosen = given.selectors()
    told = tuple(f"{one.key}={one.value}" for one in chosen.include)
    return evolve(request, selectors=chosen, options=evolve(request.options, drill=True, include=told))


def _carry_out(given: _Given, make: Callable[[ExitStack], Drill]) -> None:
    """Plan, drill, and file what came of it.

    Raises:
        RefusedError, PartialError, MismatchError: it did not pass, or something is left at a real tenant.
        CorruptError: the archive is damaged, which the evidence says.
    """
    from qlikmigrate.kernel.error import CorruptError
    from qlikmigrate.ops.evidence import Where, drilled_of
    from qlikmigrate.ops.testimony import damaged

    session = given.session
    started = session.clock.now()
    drilled = drilled_of(given.archive, Path(given.archive_path))
    try:
        with ExitStack() as stack:
            _run(given, make(stack), drilled, started)
    except CorruptError as error:
        if not given.dry_run:
            endpoint = given.target.endpoint if given.target else None
            where = Where(kind="tenant", name=endpoint.name, host=endpoint.host) if endpoint else Where(kind="embedded")
            _file(given, damaged(drilled, where, error, started, session.clock.now()), started)
        raise


def _run(given: _Given, drill: Drill, drilled: Drilled, started: datetime) -> None:
    from qlikmigrate.api.endpoint import Limits
    from qlikmigrate.cli.execution import check_refused
    from qlikmigrate.cli.telling import tell_plan_problems, tell_planned, tell_problems
    from qlikmigrate.kernel.event import Severity
    from qlikmigrate.ops.testimony import testify

    session = given.session
    plan = session.run(drill.plan)
    if given.target is None and not given.dry_run:
        tell_problems(session, plan.errors)
    elif given.dry_run or session.output.json or session.output.verbose:
        tell_plan_problems(session, plan)
    else:
        # What is left for people after a restore is none of a drill's.
        pressing = [one for one in plan.problems if one.severity in (Severity.ERROR, Severity.WARNING)]
        tell_plan_problems(session, evolve(plan, problems=tuple(pressing)))
    if given.dry_run:
        check_refused(plan)
        tell_planned(session, plan)
        return
    verdict = None if plan.refused else _attempt(given, drill, plan)
    evidence = testify(
        drill,
        plan,
        verdict,
        archive=drilled,
        ids=given.ids,
        limits=given.target.endpoint.limits if given.target else Limits(),
        started=started,
        finished=session.clock.now(),
    )
    _file(given, evidence, started)
    check_refused(plan)
    assert verdict is not None
    _tell(given, drill, verdict, evidence)


def _attempt(given: _Given, drill: Drill, plan: Plan) -> Verdict:
    """Carry the drill out; whatever stops it says what is left of it."""
    from contextlib import nullcontext

    from qlikmigrate.importer.lock import target_lock
    from qlikmigrate.kernel.error import QlikmigrateError

    session = given.session
    try:
        with target_lock(plan.target.tenant_id) if given.target else nullcontext():
            return session.run(lambda: drill.carry_out(plan))
    except QlikmigrateError as error:
        if drill.removal is not None:
            left = drill.removal.left
            session.closing.append("what the drill had created is removed again" if not left else _left(left))
            error.hint = f"`rollback {drill.folder.path}` removes what is left" if left else error.hint
        raise
    finally:
        if given.target is not None:
            _write_run(session, drill, plan)


def _left(left: Sequence[str]) -> str:
    return f"left at the tenant: {', '.join(left)}"


def _write_run(session: Session, drill: Drill, plan: Plan) -> None:
    """The reports of the run of a real tenant."""
    from qlikmigrate.report.rollback import write_rollback
    from qlikmigrate.report.run import write_reports

    if drill.folder.started:
        session.report["run"] = str(drill.folder.path)
    if drill.result is not None:
        write_reports(drill.folder, plan, drill.result)
    if drill.rolled_back is not None:
        write_rollback(drill.folder, plan, drill.rolled_back)


def _file(given: _Given, evidence: Evidence, moment: datetime) -> None:
    place = given.cabinet.file(evidence, moment)
    given.session.report["drill"] = {
        "result": evidence.result,
        "evidence": place,
        "where": evidence.where.kind,
        "tenant": evidence.where.name,
        "share": round(evidence.share, 4),
    }
    given.session.closing.append(f"evidence: {place}")


def _tell(given: _Given, drill: Drill, verdict: Verdict, evidence: Evidence) -> None:
    """Raises: PartialError or MismatchError where the drill came to less than it should."""
    from attrs import asdict

    from qlikmigrate.kernel.error import MismatchError, PartialError

    session, counts = given.session, verdict.counts
    for problem in verdict.problems:
        session.output(problem)
    session.report["counts"] = {"automations": asdict(counts)}
    place = "an embedded tenant" if given.target is None else f"`{given.target.endpoint.name}`"
    told = f"{counts.equal} of {number(counts.selected, 'automation')} came back equal from {place}"
    session.closing.insert(0, f"{evidence.result}: {told}")
    if (full := evidence.full_restore) is not None:
        session.closing.insert(1, f"a full restore takes at least {full.seconds:.0f} s by the quota, {full.basis}")
    removal = drill.removal
    if removal is not None:
        session.closing.insert(1, f"removed again: {number(removal.removed, 'automation')}")
        if removal.left:
            raise PartialError(
                _left(removal.left),
                hint=f"`rollback {drill.folder.path}` removes what is left, with --force also what was changed since",
                code="drill-left",
            )
    if counts.failed or counts.unreadable:
        missing = counts.failed + counts.unreadable
        raise PartialError(f"{missing} of {number(counts.selected, 'automation')} could not be restored or read again")
    if not verdict.passed:
        raise MismatchError("the drill did not pass: what came back is not what the archive holds", code="drill-failed")
