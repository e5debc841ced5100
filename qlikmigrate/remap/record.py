"""What one pass over a document writes down: edits, changes, findings. Nothing is applied before its end."""

from __future__ import annotations

from attrs import field, frozen

from qlikmigrate.kernel.event import Severity
from qlikmigrate.kernel.jsontext import Edit
from qlikmigrate.model.document import Path
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import Change, Finding
from qlikmigrate.remap.position import Scalar, Site, path_text


@frozen
class Region:
    """A part of the document that is walked as a whole: one block, the variables, or anything else.

    `prefix`: its path from the document's top. `block_index`: None outside blocks.
    """

    prefix: Path
    start: int
    end: int
    block_index: int | None = None


@frozen
class Walked:
    """A region with its strings and scalars; paths count from the region's top."""

    region: Region
    sites: list[Site]
    scalars: list[Scalar]
    fields: dict[Path, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The block's name."""
        return self.fields.get(("name",), "") if self.region.block_index is not None else ""


@frozen
class Record:
    """Everything that a pass has found so far."""

    edits: list[Edit] = field(factory=list)
    changes: list[Change] = field(factory=list)
    findings: list[Finding] = field(factory=list)
    pending: set[tuple[Kind, str]] = field(factory=set)

    def change(self, walked: Walked, path: Path, kind: Kind | None, old: str, new: str | None) -> None:
        """Note a replacement."""
        whole = path_text((*walked.region.prefix, *path))
        self.changes.append(Change(path=whole, kind=kind, old=old, new=new))

    def find(
        self,
        walked: Walked,
        path: Path,
        code: str,
        severity: Severity,
        message: str,
        *,
        kind: Kind | None = None,
        source_id: str = "",
        hint: str = "",
    ) -> None:
        """Note a finding, once a path and id."""
        one = Finding(
            code=code,
            severity=severity,
            path=path_text((*walked.region.prefix, *path)),
            block_name=walked.name,
            kind=kind,
            source_id=source_id,
            message=message,
            hint=hint,
        )
        if one not in self.findings[-20:]:
            self.findings.append(one)
