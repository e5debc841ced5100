"""Reads back what a run wrote, as far as the API shows it. What cannot be read is said, once for each kind of field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import define, field, frozen

from qlikmigrate.api.error import MissingError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.importer.plan import Action, Step, Verb
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.canonical import canonical_hash
from qlikmigrate.model.oem import OemAutomation, automation_of, schedule_of

_WORDS = {
    "state": "whether it is on",
    "schedule": "its schedule",
    "inputs": "its inputs",
}


@frozen(kw_only=True)
class OemReading:
    """One automation as it is now. `drift`: fields that differ; `unseen`: fields that were written and do not show.

    `state` is empty where nothing shows it.
    """

    automation: OemAutomation | None = None
    drift: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    state: str = ""
    updated_at: str = ""

    @property
    def gone(self) -> bool:
        """Whether it is not there."""
        return self.automation is None


async def read_back(
    client: OemClient, account: str, ident: str, action: Action, values: Mapping[str, Any], steps: Collection[Step]
) -> OemReading:
    """Compare an automation with what was to be written. `values`: stored inputs of the source; `steps`: carried out.

    Raises:
        ApiError: it cannot be read at all.
    """
    try:
        value = (await client.call("blend.get", account=account, blend=ident)).json() or {}
    except MissingError:
        return OemReading()
    one = automation_of(value)
    drift, unseen = compare(action, one, values, steps)
    updated_at = value.get("updated_at")
    return OemReading(
        automation=one,
        drift=drift,
        unseen=unseen,
        state=one.state,
        updated_at=updated_at if isinstance(updated_at, str) else "",
    )


def compare(
    action: Action, one: OemAutomation, values: Mapping[str, Any], steps: Collection[Step]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What differs from what was written, and what of it does not show."""
    assert action.oem is not None
    drift: list[str] = []
    unseen: list[str] = []
    if Step.RENAME in steps and one.name != action.name:
        drift.append("name")
    if action.verb is Verb.CREATE and one.template_id != action.oem.template_id:
        drift.append("template")
    if Step.INPUTS in steps:
        there = {each.name: each.value for each in one.inputs if each.is_writable}
        wrong = (
            name
            for name in action.oem.inputs
            if name in there and canonical_hash(values.get(name)) != canonical_hash(there[name])
        )
        drift += [f"input {name}" for name in wrong]
        unseen += [] if one.inputs else ["inputs"]
    if Step.SCHEDULE in steps and action.oem.schedule is not None:
        shown = schedule_of(one.schedule)
        wanted = action.oem.schedule
        if shown.interval_s is None:
            unseen.append("schedule")
        elif (shown.interval_s, shown.start_at, shown.stop_at) != (
            wanted.interval_s, wanted.start_at or shown.start_at, wanted.stop_at,
        ):  # fmt: skip
            drift.append("schedule")
    return tuple(drift), tuple(unseen)


@define
class Unverifiable:
    """What was written and cannot be read back, counted by kind of field."""

    counts: Counter[str] = field(factory=Counter)

    def add(self, fields: Iterable[str]) -> None:
        """The fields of one automation that do not show."""
        self.counts.update(fields)

    def problems(self, *, parameters: int) -> list[Problem]:
        """One line for each kind. `parameters`: connections that were created with values."""
        lines = [f"{_WORDS[name]}: {many} automations" for name, many in sorted(self.counts.items())]
        lines += [f"the parameters of connections: {parameters}"] if parameters else []
        return [
            Problem(
                code="unverifiable",
                severity=Severity.INFO,
                message=f"written, and not to be read back ({line})",
                where="the service does not show it",
            )
            for line in lines
        ]
