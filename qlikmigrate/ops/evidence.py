"""The dated evidence of a drill: what was restored where, what was compared, how long it took, and what it proves not.

It holds ids, names, counts and hashes; no document, no secret.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cattrs
import orjson
from attrs import field, frozen
from cattrs.preconf.orjson import make_converter

from qlikmigrate import __version__
from qlikmigrate.archive.codec import library_version
from qlikmigrate.kernel.clock import rfc3339
from qlikmigrate.kernel.event import Problem
from qlikmigrate.model.snapshot import Snapshot

FORMAT = "qlikmigrate-drill"
FORMAT_VERSION = "1.0"
PASSED, FAILED = "passed", "failed"
_CHUNK_BYTES = 1 << 20


@frozen(kw_only=True)
class Drilled:
    """The snapshot that was drilled. `digest` stands for all its documents; `sha256`: of the file, where it is one.

    `captured`, `unreadable`: automations that it holds, and that it lists without holding them.
    """

    path: str
    digest: str
    sha256: str = ""
    size_bytes: int = 0
    tenant_id: str = ""
    tenant_name: str = ""
    host: str = ""
    taken_at: str = ""
    complete: bool = True
    partial: bool = False
    captured: int = 0
    unreadable: int = 0


@frozen(kw_only=True)
class Where:
    """The tenant it was restored into. `kind`: `embedded` or `tenant`."""

    kind: str
    name: str = ""
    host: str = ""
    tenant_id: str = ""


@frozen(kw_only=True)
class Counts:
    """Automations. `selected` = `equal` + `different` + `unreadable` + `failed` + `left_out`.

    `created`: at the other tenant; `left_out`: because the mapping file says so.
    """

    selected: int = 0
    created: int = 0
    equal: int = 0
    different: int = 0
    unreadable: int = 0
    failed: int = 0
    left_out: int = 0


@frozen(kw_only=True)
class Removal:
    """What became of what was created. `left`: ids that are still there; `run`: the folder to go on from."""

    removed: int = 0
    left: tuple[str, ...] = ()
    run: str = ""


@frozen(kw_only=True)
class FullRestore:
    """What restoring the whole snapshot takes. `seconds`: the least that the quota allows. `basis`: how it is known.

    `measured_s`: as long as it took here for each automation, times their number; 0 where nothing was created.
    """

    automations: int
    tier1: int
    tier2: int
    seconds: float
    measured_s: float = 0.0
    basis: str = ""


@frozen(kw_only=True)
class Evidence:
    """One drill. `ids`: the source ids of a sample; empty where all were drilled. `phases`: seconds, in order."""

    started_at: str
    finished_at: str
    result: str
    where: Where
    archive: Drilled
    counts: Counts
    ids: tuple[str, ...] = ()
    removal: Removal | None = None
    phases: Mapping[str, float] = field(factory=dict)
    full_restore: FullRestore | None = None
    findings: Mapping[str, int] = field(factory=dict)
    stood_in: Mapping[str, int] = field(factory=dict)
    problems: tuple[Problem, ...] = ()
    not_proven: tuple[str, ...] = ()
    tool_version: str = __version__
    python_version: str = field(factory=platform.python_version)
    libzstd_version: str = field(factory=library_version)
    format: str = FORMAT
    format_version: str = FORMAT_VERSION

    @property
    def share(self) -> float:
        """The part of the snapshot's automations that was drilled, 0 to 1."""
        return self.counts.selected / self.archive.captured if self.archive.captured else 1.0

    def covers(self, ident: str) -> bool:
        """Whether an automation was among those drilled."""
        return ident in self.ids if self.ids else self.share >= 1.0


_CONVERTER = make_converter()


def dump(evidence: Evidence) -> bytes:
    """The evidence as JSON, the same bytes for the same evidence."""
    value = _CONVERTER.unstructure(evidence) | {"share": round(evidence.share, 4)}
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def load(raw: bytes) -> Evidence | None:
    """The evidence of a file; None where it is none, or of a newer major format."""
    try:
        value = orjson.loads(raw)
        if value.get("format") != FORMAT or str(value.get("format_version")).partition(".")[0] != "1":
            return None
        return _CONVERTER.structure(value, Evidence)
    except (orjson.JSONDecodeError, AttributeError, cattrs.BaseValidationError):
        return None


def drilled_of(snapshot: Snapshot, path: Path) -> Drilled:
    """What a drill says of its snapshot, which `path` names.

    Raises:
        CorruptError: it is damaged.
    """
    manifest, counts = snapshot.manifest, snapshot.manifest.counts.get("automations")
    file = path.is_file()
    return Drilled(
        path=str(path.absolute()) if file else str(path),
        digest=snapshot.digest,
        sha256=_sha256(path) if file else "",
        size_bytes=path.stat().st_size if file else 0,
        tenant_id=manifest.tenant.id,
        tenant_name=manifest.tenant.name or manifest.tenant.host,
        host=manifest.tenant.host,
        taken_at=rfc3339(snapshot.capture.finished_at),
        complete=manifest.complete,
        partial=manifest.selection is not None,
        captured=counts.captured if counts else 0,
        unreadable=counts.unreadable if counts else 0,
    )


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


# For people


def shown(last: Evidence | None) -> tuple[dict[str, Any] | None, str]:
    """The last drill of a snapshot as a member of its row, and as words at the end of its line."""
    if last is None:
        return None, ""
    where = last.where.name if last.where.kind == "tenant" else last.where.kind
    row = {"at": last.started_at, "result": last.result, "share": round(last.share, 4), "where": where}
    part = "" if last.share >= 1.0 else f", {last.share:.0%} of it"
    return row, f"  drill {last.result} {last.started_at[:10]} ({where}{part})"


def markdown(evidence: Evidence) -> str:
    """The evidence as auditors read it."""
    archive, where, counts = evidence.archive, evidence.where, evidence.counts
    place = "an embedded tenant" if where.kind == "embedded" else f"the tenant `{where.name}` ({where.host})"
    rows: list[tuple[str, object]] = [
        ("result", f"**{evidence.result}**"),
        ("restored into", place),
        ("started", evidence.started_at),
        ("finished", evidence.finished_at),
        ("archive", f"`{archive.path}`"),
        ("digest of its documents", f"`{archive.digest}`"),
        ("SHA-256 of the file", f"`{archive.sha256}`" if archive.sha256 else "no file"),
        ("tenant", f"{archive.tenant_name} ({archive.tenant_id}), {archive.host}"),
        ("snapshot taken", archive.taken_at),
        ("snapshot complete", "yes" if archive.complete else "NO"),
        ("share drilled", f"{evidence.share:.1%} ({counts.selected} of {archive.captured} automations)"),
        ("program", f"qlikmigrate {evidence.tool_version}, Python {evidence.python_version}, "
                    f"libzstd {evidence.libzstd_version}"),
    ]  # fmt: skip
    lines = ["# Restore drill", "", "| | |", "|---|---|"]
    lines += [f"| {word} | {_cell(str(value))} |" for word, value in rows]
    lines += ["", "## Automations", "", "| | |", "|---|---|"]
    lines += [f"| {word.replace('_', ' ')} | {number} |" for word, number in _CONVERTER.unstructure(counts).items()]
    if evidence.removal is not None:
        left = evidence.removal.left
        lines += ["", f"Removed again: {evidence.removal.removed}. Still there: {', '.join(left) if left else 'none'}."]
    lines += ["", "## Durations", "", "| phase | seconds |", "|---|---|"]
    lines += [f"| {phase} | {seconds} |" for phase, seconds in evidence.phases.items()]
    if (full := evidence.full_restore) is not None:
        lines += [
            "",
            f"A full restore of {full.automations} automations takes {full.tier2} writes and {full.tier1} reads: "
            f"at least {full.seconds:.0f} s by the quota ({full.basis}).",
        ]
    for title, counted in (("Findings", evidence.findings), ("Stood in for", evidence.stood_in)):
        if counted:
            lines += ["", f"## {title}", "", "| | |", "|---|---|"]
            lines += [f"| {word} | {number} |" for word, number in counted.items()]
    lines += ["", "## Problems", ""]
    lines += [f"- `{one.code}` {_cell(one.message)} ({one.where})" for one in evidence.problems] or ["None."]
    lines += ["", "## What this drill does not prove", "", *(f"- {text}" for text in evidence.not_proven)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
