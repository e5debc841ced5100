"""What the library tells while it works. It prints nothing: events go to a sink that the caller gives."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from attrs import frozen


class Severity(StrEnum):
    """How much a problem matters. `todo`: left for people; `info`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    TODO = "todo"
    INFO = "info"


@frozen(kw_only=True)
class Log:
    """A line for the curious. Never holds a body, token or secret."""

    message: str
    level: str = "info"


@frozen(kw_only=True)
class Progress:
    """`done` of `total` (None: not known yet) in `phase`; `subject` is what was just worked on."""

    phase: str
    done: int
    total: int | None = None
    subject: str = ""


@frozen(kw_only=True)
class Problem:
    """Something a person should know. `code` is a stable word, `where` names object and path."""

    code: str
    severity: Severity
    message: str
    where: str = ""
    hint: str = ""


@frozen(kw_only=True)
class Outcome:
    """What happened, or would happen, to one object.

    `action`: create | update | adopt | none | skip | enable | disable | delete.
    `status`: planned | done | skipped | failed.
    """

    kind: str
    source_id: str | None
    target_id: str | None
    name: str
    action: str
    status: str
    code: str = ""
    reason: str = ""


Event = Log | Progress | Problem | Outcome
Sink = Callable[[Event], None]


def discard(event: Event) -> None:
    """The sink of a caller who does not listen."""
