"""What a snapshot says of itself. Everything in it follows from the documents and how they were asked for, never
from the moment of capture: times are in `Capture`, which an archive keeps in a member of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from qlikmigrate.kernel.event import Problem
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import Kind

CLOUD = "cloud"
"""What `source_kind` calls a tenant of Qlik Cloud."""


class Scope(StrEnum):
    """Whose view a snapshot is: the whole tenant's, or one identity's."""

    TENANT = "tenant"
    IDENTITY = "identity"


class Restorable(StrEnum):
    """What could be recreated from it, apart from completeness."""

    FULL = "full"
    PARTIAL = "partial"
    METADATA = "metadata"


@frozen(kw_only=True)
class Note:
    """An object that a snapshot names without holding it, and why."""

    kind: Kind
    id: str
    name: str = ""
    reason: str = ""


@frozen(kw_only=True)
class Selection:
    """The selectors of a partial backup, as given."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    with_calls: bool = False

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)


@frozen(kw_only=True)
class Counts:
    """Objects of one kind. `listed` = `captured` + `unreadable` + `vanished` + `missing`.

    `missing` is the unexplained rest; a snapshot with any is incomplete.
    """

    listed: int = 0
    captured: int = 0
    unreadable: int = 0
    vanished: int = 0
    missing: int = 0


@frozen(kw_only=True)
class Manifest:
    """The head of a snapshot. `identity`: the caller's user id. `api`: the path family used (`workflows` or `v1`)."""

    tool_version: str
    source_kind: str = CLOUD
    tenant: TenantFacts
    identity: str = ""
    api: str = ""
    scope: Scope = Scope.TENANT
    complete: bool = True
    restorable: Restorable = Restorable.FULL
    selection: Selection | None = None
    counts: Mapping[str, Counts] = field(factory=dict)
    unreadable: tuple[Note, ...] = ()
    vanished: tuple[Note, ...] = ()
    missing: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


@frozen(kw_only=True)
class Capture:
    """When and at what cost a snapshot was taken. `requests`: tier1, tier2, token, retried, throttled.

    With `saved` where earlier snapshots were looked up: as many documents were taken over without a request.
    """

    started_at: datetime
    finished_at: datetime
    requests: Mapping[str, int] = field(factory=dict)
