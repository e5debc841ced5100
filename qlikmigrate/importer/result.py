"""What a run came to: outcomes, problems, counts that add up, and what is left for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from attrs import field, frozen

from qlikmigrate.importer.plan import COUNTED, Action, ConnectionAction, Verb
from qlikmigrate.kernel.error import QlikmigrateError
from qlikmigrate.kernel.event import Outcome, Problem

K = TypeVar("K")


class ObjectError(Exception):
    """One object's work cannot go on; the others' can. `code` is a stable word."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@frozen(kw_only=True)
class Task:
    """Something only a person can do. `person`: a user's name; `where`: the object at the target."""

    code: str
    person: str
    message: str
    where: str = ""
    hint: str = ""


@frozen(kw_only=True)
class Result:
    """The end of a run. `ids`: (kind, source id, target id) of everything that has a counterpart now.

    `windows`: id of an automation that was installed → seconds that it may have been on. `alarms`: what nobody may
    overlook, one sentence each. `fatal`: why the run could not go on, where there is a result all the same.
    """

    outcomes: tuple[Outcome, ...]
    problems: tuple[Problem, ...]
    tasks: tuple[Task, ...]
    ids: tuple[tuple[str, str, str], ...]
    counts: Mapping[str, Mapping[str, int]]
    failed: int
    differing: int
    windows: Mapping[str, float] = field(factory=dict)
    alarms: tuple[str, ...] = ()
    fatal: QlikmigrateError | None = None


def count(actions: Mapping[K, Action] | Mapping[K, ConnectionAction], outcomes: Mapping[K, Outcome]) -> dict[str, int]:
    """`selected = created + updated + unchanged + adopted + skipped + failed`."""
    counts = {"selected": len(actions)} | dict.fromkeys((*COUNTED.values(), "failed"), 0)
    for key, action in actions.items():
        failed = outcomes[key].status == "failed"
        counts["failed" if failed else COUNTED[action.verb]] += 1
    return counts


def outcome_of(
    action: Action | ConnectionAction, *, target_id: str | None, code: str = "", reason: str = ""
) -> Outcome:
    """The outcome of an action that is done (no `code`) or failed; a skipped one keeps its own reason."""
    words = {Verb.NONE: "none"}
    if action.verb is Verb.SKIP:
        status = "skipped"
        code, reason = code or action.code, reason or action.reason
    else:
        status = "failed" if code else "done"
    return Outcome(
        kind="automation" if isinstance(action, Action) else "connection",
        source_id=action.source_id,
        target_id=target_id,
        name=action.name,
        action=words.get(action.verb, action.verb.value),
        status=status,
        code=code,
        reason=reason or action.reason,
    )
