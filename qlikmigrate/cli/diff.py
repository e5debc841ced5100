"""`diff`: what differs between two archives or live tenants, automation by automation and block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening, selectors
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.importer.diff import Diff, DiffRequest
    from qlikmigrate.importer.oem_diff import OemDiff
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.snapshot import Snapshot

_FORCED = "tenant:"


@command("diff", "Say what differs between two archives or tenants")
@click.argument("a")
@click.argument("b")
@click.option("--run", "run_path", metavar="RUN", help="Pair automations as this run did, and move ids by it.")
@click.option("--mapping", "mapping_path", metavar="FILE", help="The id mapping from A's tenant to B's.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "md"]),
    default="text",
    show_default=True,
    help="Lines for a terminal, or Markdown.",
)
@selectors
@opening
def diff_command(
    session: Session,
    a: str,
    b: str,
    run_path: str | None,
    mapping_path: str | None,
    shape: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> None:
    """Say what differs from A to B, each an archive or a tenant of the tenants file; ends with 5 where anything does.

    A file of that name wins; `tenant:NAME` always means the tenant, which is read with GETs only. Across tenants ids
    are moved first, so that only what differs besides is told. Secrets are masked.
    """
    from qlikmigrate.importer.diff import Diff
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.oem import is_oem

    if run_path and mapping_path:
        raise UsageError("--run and --mapping exclude each other", hint="a run knows the mapping that it was made with")
    request = _request(session, run_path, mapping_path, include, exclude, with_calls)
    with ExitStack() as stack:
        sides = [stack.enter_context(_opened(session, name)) for name in (a, b)]
        whole = all(one.manifest.complete for one in sides)
        if all(map(is_oem, sides)):
            found: Diff | OemDiff = _oem_diff(sides[0], sides[1], request)
        else:
            sides, request = _alike(sides, request)
            found = Diff(sides[0], sides[1], request)
        counts = _tell(session, found, title=f"{a} → {b}", shape=shape)
    _close(session, counts, whole=whole)
    session.report.update(a=a, b=b, run=run_path)


def _oem_diff(old: Snapshot, new: Snapshot, request: DiffRequest) -> OemDiff:
    """Raises: UsageError when a flag means nothing for OEM accounts."""
    from qlikmigrate.importer.oem_diff import OemDiff
    from qlikmigrate.kernel.error import UsageError

    if request.run or request.decisions is not None or request.with_calls:
        raise UsageError("--run, --mapping and --with-calls are for Qlik Cloud: OEM automations pair by guid or name")
    return OemDiff(old, new, request.selectors)


def _request(
    session: Session,
    run_path: str | None,
    mapping_path: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    with_calls: bool,
) -> DiffRequest:
    from qlikmigrate.cli.request import read_decisions, read_values
    from qlikmigrate.cli.tenant import selectors_of
    from qlikmigrate.importer.diff import DiffRequest
    from qlikmigrate.importer.run_view import RunView

    run = RunView.open(Path(run_path)) if run_path else None
    files = (mapping_path, None)
    if run is not None:
        options = run.plan.options
        # Its ids are in the plan already; the file is read for its `[values]` alone, if it is still there.
        files = (options.mapping_file if Path(options.mapping_file).is_file() else None, None)
    decisions, _ = read_decisions(*files)
    return DiffRequest(
        selectors=selectors_of(include, exclude),
        with_calls=with_calls,
        run=run,
        decisions=decisions if mapping_path else None,
        values=read_values(decisions, files[0], session.environ),
    )


@contextmanager
def _opened(session: Session, name: str) -> Iterator[Snapshot]:
    """An archive as it is, or a tenant as it is now, read into a private file that goes when all is told."""
    import tempfile

    from qlikmigrate.cli.archive import names_archive, open_snapshot
    from qlikmigrate.cli.backup import take_snapshot
    from qlikmigrate.cli.tenant import find_any_tenant, is_oem_account
    from qlikmigrate.kernel.event import Event, Problem, Severity
    from qlikmigrate.model.selection import Selectors
    from qlikmigrate.remap import input_value
    from qlikmigrate.remap.secret import CODE

    def tell(event: Event) -> None:
        # That is said to whoever keeps an archive; this one is gone in a moment.
        if not isinstance(event, Problem) or event.code not in (CODE, input_value.CODE):
            session.output(event)

    if not name.startswith(_FORCED) and names_archive(name) and not is_oem_account(session, name):
        with open_snapshot(session, name) as archive:
            if not archive.manifest.complete:
                for problem in archive.manifest.problems:
                    if problem.severity is Severity.ERROR:
                        session.output(problem)
            yield archive
        return
    tenant = find_any_tenant(session, name.removeprefix(_FORCED))
    with tempfile.TemporaryDirectory(prefix="qlikmigrate-") as place:
        path = Path(place) / "tenant.qma"
        take_snapshot(session, tenant, path, force=False, chosen=Selectors(), with_calls=False, sink=tell)
        with open_snapshot(session, path) as archive:
            yield archive


def _alike(sides: list[Snapshot], request: DiffRequest) -> tuple[list[Snapshot], DiffRequest]:
    """Both sides as of Qlik Cloud, an account as the run saw it or as the selection names it; and what is asked then.

    Raises:
        UsageError: which account is meant cannot be told, or nothing says what there stands for what here.
    """
    from attrs import evolve

    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.model.oem_view import as_cloud

    if not any(map(is_oem, sides)):
        return sides, request
    if request.run is None and request.decisions is None:
        raise UsageError(
            "an OEM account is compared with an OEM account, a tenant of Qlik Cloud with a tenant",
            hint="--run RUN of the restore, or --mapping FILE, says what stands for what",
        )
    named = request.selectors.of("account").include
    account, space = (named[0].value if named else ""), ""
    if request.run is not None:
        account, space = request.run.plan.archive.tenant_id, request.run.plan.options.default_space
    alike = [as_cloud(one, account, space=space) for one in sides]
    return alike, evolve(request, selectors=request.selectors.without("account"))


def _tell(session: Session, diff: Diff | OemDiff, *, title: str, shape: str) -> dict[Kind, Counter[str]]:
    """Tell each object that differs; how many there are, by kind and standing."""
    from qlikmigrate.cli.telling import tell_problems
    from qlikmigrate.importer.diff import Standing
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.report.difference import Teller, compared_markdown, compared_row

    old, new = diff.namings
    teller = Teller(old=old, new=new, token_hashes=diff.token_hashes)
    counts: dict[Kind, Counter[str]] = {}
    problems = list(diff.problems)
    output = session.output
    if shape == "md" and not output.json:
        output.item({}, f"# Differences: {title}", "")
    for one in diff:
        counts.setdefault(one.kind, Counter({each.value: 0 for each in Standing}))[one.standing.value] += 1
        problems += one.problems
        if one.standing in (Standing.SAME, Standing.UNKNOWN):
            continue
        row, lines = compared_row(one, teller)
        output.item(row, *(compared_markdown(one, teller) if shape == "md" else lines))
    problems += [one for one in diff.problems if one not in problems]
    tell_problems(session, problems)
    counts.setdefault(Kind.AUTOMATION, Counter({each.value: 0 for each in Standing}))
    return counts


def _close(session: Session, found: dict[Kind, Counter[str]], *, whole: bool) -> None:
    counts = sum(found.values(), Counter[str]())
    differ = counts["changed"] + counts["added"] + counts["removed"]
    told = {f"{kind.value}s": {"compared": one.total(), **one} for kind, one in found.items()}
    session.report.update(complete=whole, counts=told)
    words = [f"{counts[word]} {word}" for word in ("changed", "added", "removed", "unreadable") if counts[word]]
    same = f"{counts['same']} the same"
    unknown = f", {counts['unknown']} not comparable" if counts["unknown"] else ""
    session.closing.append(", ".join([*words, same]) + unknown)
    if not whole:
        session.closing.append("incomplete: a side could not be read as a whole")
    session.exit_code = 3 if not whole else 5 if differ else 0
