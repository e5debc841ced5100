"""Which form of a schedule a target takes, learned from its answers: the source's first, the other one where that is
lost. What one automation has shown is not tried again with the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.model.schedule_form import is_minutely, other_form, schedule_meaning

Schedule = Mapping[str, Any]


class ScheduleKeeper:
    """Chooses forms during one run."""

    def __init__(self) -> None:
        self._lost: set[str] = set()

    def first(self, schedule: Schedule | None) -> Schedule | None:
        """The form to send first where it is not the source's own; None: the source's own."""
        if schedule is not None and _form(schedule) in self._lost:
            return other_form(schedule)
        return None

    def after_refusal(self, schedule: Schedule | None) -> Schedule | None:
        """The form to try after the save was refused: only a rule that counts minutes may be why."""
        if schedule is None or not is_minutely(schedule):
            return None
        self._lost.add(_form(schedule))
        return other_form(schedule)

    def after_answer(self, schedule: Schedule | None, written: object) -> Schedule | None:
        """The form to try because the answer `written` no longer has what was sent."""
        if schedule is None or self.is_kept(schedule, written):
            return None
        self._lost.add(_form(schedule))
        return other_form(schedule)

    @staticmethod
    def is_kept(schedule: Schedule | None, written: object) -> bool:
        """Whether the answer says the same as the schedule; an answer without any says nothing."""
        if schedule is None or not isinstance(written, Mapping) or "schedules" not in written:
            return True
        return schedule_meaning(written["schedules"]) == schedule_meaning([schedule])


def _form(schedule: Schedule) -> str:
    if not schedule.get("recurrence"):
        return "interval"
    return "minutely" if is_minutely(schedule) else "recurrence"
