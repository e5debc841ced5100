"""From what a drill did to its evidence: pure but for asking the drill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from qlikmigrate.api.endpoint import Limits
from qlikmigrate.importer.forecast import least_s
from qlikmigrate.importer.plan import Plan
from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.kernel.error import CorruptError
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.ops.drill import Drill, Verdict
from qlikmigrate.ops.evidence import FAILED, PASSED, Counts, Drilled, Evidence, FullRestore, Where

_MEASURED = ("restore",)
_NEVER = (
    "that connections work: their secrets are in no snapshot",
    "that automations do their work: none was started",
    "that the apps and files which they name exist: a snapshot holds no content of them",
)
_EMBEDDED = (
    "that a real tenant has the owners, spaces, connectors and connections: the embedded one was laid out from the "
    "snapshot's own lists",
    "that the service takes every document as the embedded tenant does, which knows the documented rules only",
)

_LEFT = {
    "connection-unbound": "connections left empty",
    "call-unresolved": "calls left empty",
    "source-id-left": "ids left as they were",
}


def embedded_place(drill: Drill) -> Where:
    """The embedded tenant."""
    assert drill.rehearsal is not None
    tenant = drill.rehearsal.tenant
    return Where(kind="embedded", name=tenant.name, host=tenant.hostnames[0], tenant_id=tenant.id)


def real_place(plan: Plan) -> Where:
    """The tenant of a plan."""
    return Where(kind="tenant", name=plan.target.name, host=plan.target.host, tenant_id=plan.target.tenant_id)


def damaged(archive: Drilled, where: Where, error: CorruptError, started: datetime, finished: datetime) -> Evidence:
    """The evidence of a drill that found the snapshot damaged before it could restore anything."""
    return Evidence(
        started_at=rfc3339(started),
        finished_at=rfc3339(finished),
        result=FAILED,
        where=where,
        archive=archive,
        counts=Counts(selected=archive.captured, failed=archive.captured),
        problems=(Problem(code=error.code, severity=Severity.ERROR, message=error.message, where=archive.path),),
        not_proven=_NEVER,
    )


def testify(
    drill: Drill,
    plan: Plan,
    verdict: Verdict | None,
    *,
    archive: Drilled,
    ids: tuple[str, ...],
    limits: Limits,
    started: datetime,
    finished: datetime,
) -> Evidence:
    """The evidence of a drill. `verdict` None: the plan was refused. `ids`: of a part. `limits`: of a full restore."""
    rehearsal, result = drill.rehearsal, drill.result
    refused = Verdict(counts=Counts(selected=len(plan.actions), failed=len(plan.actions)), problems=plan.errors)
    found = verdict or refused
    findings = Counter(one.code for one in (result.problems if result else plan.problems))
    return Evidence(
        started_at=rfc3339(started),
        finished_at=rfc3339(finished),
        result=PASSED if found.passed else FAILED,
        where=embedded_place(drill) if rehearsal else real_place(plan),
        archive=archive,
        counts=found.counts,
        ids=ids,
        removal=drill.removal,
        phases=dict(drill.phases),
        full_restore=_full_restore(drill, plan, found.counts, archive, limits),
        findings=dict(sorted(findings.items())),
        stood_in={word: number for word, number in rehearsal.stood_in.items() if number} if rehearsal else {},
        problems=found.problems,
        not_proven=_not_proven(found.counts, archive, drill, findings),
    )


def _full_restore(drill: Drill, plan: Plan, counts: Counts, archive: Drilled, limits: Limits) -> FullRestore | None:
    if plan.forecast is None or not counts.selected:
        return None
    whole = counts.selected >= archive.captured
    scale = archive.captured / counts.selected
    tier1, tier2 = round(plan.forecast.tier1 * scale), round(plan.forecast.tier2 * scale)
    # As one identity: where owners are impersonated, each has a quota of its own and it goes faster.
    seconds = least_s({"": tier1}, {"": tier2}, round(plan.forecast.token * scale), "", limits)
    took = sum(drill.phases.get(phase, 0.0) for phase in _MEASURED)
    return FullRestore(
        automations=archive.captured,
        tier1=tier1,
        tier2=tier2,
        seconds=round(seconds, 1),
        measured_s=round(took / counts.created * archive.captured, 1) if counts.created else 0.0,
        basis="from the plan" if whole else f"from a sample of {counts.selected}",
    )


def _not_proven(counts: Counts, archive: Drilled, drill: Drill, findings: Mapping[str, int]) -> tuple[str, ...]:
    told = list(_NEVER)
    if drill.rehearsal is not None:
        told = [*_EMBEDDED, *told]
        if any(drill.rehearsal.stood_in.values()):
            told.append("that what the snapshot does not hold is to be had: it was stood in for")
    left = [f"{findings[code]} {words}" for code, words in _LEFT.items() if findings.get(code)]
    if left:
        told.append(f"what has no counterpart at this tenant, and is no difference therefore: {', '.join(left)}")
    if counts.selected < archive.captured:
        told.append(f"anything of the {archive.captured - counts.selected} automations that were not drilled")
    if archive.unreadable:
        told.append(f"anything of the {archive.unreadable} automations that the snapshot lists without holding them")
    return tuple(told)
