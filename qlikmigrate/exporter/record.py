"""What one backup takes down: documents without their secrets, problems without doubles, and how long it bears silence.

Everything that reaches the writer passes `cut_document` here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from attrs import define, field

from qlikmigrate.api.error import ApiError, UnreachableError
from qlikmigrate.kernel.clock import Clock
from qlikmigrate.kernel.error import FailedError
from qlikmigrate.kernel.event import Problem, Severity, Sink
from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.kind import FACTS, Kind, KindFacts
from qlikmigrate.model.snapshot import SnapshotWriter, parse

Client = TypeVar("Client")

_GIVE_UP_AFTER = 4


@define
class Record(Generic[Client]):
    """The notes of one backup. `probe`: the smallest question that the source must answer.

    `id_member`: what a row calls its id; `facts`: what is cut out of each kind.
    """

    client: Client
    writer: SnapshotWriter
    clock: Clock
    sink: Sink
    probe: Callable[[], Awaitable[object]]
    id_member: str = "id"
    facts: Mapping[Kind, KindFacts] = field(default=FACTS, repr=False)
    problems: list[Problem] = field(factory=list)
    _silent: int = 0

    def note(self, code: str, severity: Severity, message: str, *, where: str = "", hint: str = "") -> None:
        """Take down a problem, once."""
        problem = Problem(code=code, severity=severity, message=message, where=where, hint=hint)
        if problem not in self.problems:
            self.problems.append(problem)
            self.sink(problem)

    def row(self, kind: Kind, raw: bytes) -> Mapping[str, Any] | None:
        """The value of a list row; None, and a problem, for one that nobody could name."""
        row = parse(raw)
        if isinstance(row, Mapping) and isinstance(row.get(self.id_member), str) and row[self.id_member]:
            return row
        severity = Severity.WARNING if kind is Kind.ITEM else Severity.ERROR
        self.note("row-without-id", severity, f"a list of {kind.value}s holds a row without an id")
        return None

    def add(self, kind: Kind, ident: str, part: Part, raw: bytes, read_at: datetime | None = None) -> Document:
        """Hand a document to the writer, read now if nothing else is said; what the writer was given.

        Raises:
            ValueError: it cannot be taken apart.
            FailedError: it cannot be written.
        """
        kept, cuts = cut_document(kind, raw, self.facts[kind])
        document = Document(kind=kind, id=ident, part=part, raw=kept, cuts=cuts, read_at=read_at or self.clock.now())
        self.writer.add(document)
        return document

    def add_detail(self, kind: Kind, ident: str, raw: bytes, read_at: datetime | None = None) -> str:
        """Hand an object's own document to the writer; why it cannot be stored, or nothing.

        Raises:
            FailedError: the disk is full, or the like.
        """
        try:
            self.add(kind, ident, Part.DETAIL, raw, read_at)
        except ValueError as error:
            return f"the document cannot be taken apart: {error}"
        except FailedError as error:
            if error.code != "document-too-large":
                raise
            return error.message
        return ""

    def answered(self) -> None:
        """The tenant is there."""
        self._silent = 0

    async def bear(self, error: ApiError) -> None:
        """Go on after one object that failed, unless the identity is refused or the tenant itself is gone.

        Raises:
            ApiError: it is.
        """
        if error.status == 401:
            raise error
        if not isinstance(error, UnreachableError):
            self._silent = 0
            return
        self._silent += 1
        if self._silent >= _GIVE_UP_AFTER:
            await self.probe()
            self._silent = 0
