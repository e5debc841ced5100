"""A run of an OEM automation, as the API shows it: whether it is over, and whether it came to a good end.

Source: help.qlik.com, blendr, "Get run of an integration in an account".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

# Assumed: no page lists the values of `status`; these are Qlik Cloud's, and what else the word may be.
_SUCCEEDED = frozenset({"finished", "finished with warnings", "success", "succeeded", "completed"})
_ENDED = _SUCCEEDED | {"failed", "error", "stopped", "aborted", "cancelled", "timeout"}


@frozen(kw_only=True)
class AutomationRun:
    """A run as the API shows it; times as they came. `context`: what began it."""

    id: str
    status: str = ""
    context: str = ""
    created_at: str = ""
    started_at: str = ""
    stopped_at: str = ""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return bool(self.stopped_at) or self.status.lower() in _ENDED

    @property
    def succeeded(self) -> bool:
        """Whether it came to a good end; of a word that nobody knows, nobody can say so."""
        return self.ended and self.status.lower() in _SUCCEEDED


def run_of(value: Mapping[str, Any]) -> AutomationRun:
    """The typed view of a run; what it lacks is empty."""

    def text(key: str) -> str:
        found = value.get(key)
        return found if isinstance(found, str) else ""

    return AutomationRun(
        id=text("guid"),
        status=text("status"),
        context=text("context"),
        created_at=text("created_at"),
        started_at=text("starttime"),
        stopped_at=text("stoptime"),
    )
