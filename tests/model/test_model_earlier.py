"""What counts as the same list row."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from qlikmigrate.model.document import Document, Part, cut_document
from qlikmigrate.model.earlier import Reading, row_hash
from qlikmigrate.model.kind import Kind

ROW = {
    "id": "a1",
    "name": "Nightly",
    "state": "available",
    "lastRun": {"id": "r1"},
    "ownerId": "u1",
    "lastRunAt": "2026-11-01T00:00:00.000000Z",
    "duration": 3,
    "updatedAt": "2026-10-01T00:00:00.000000Z",
    "lastRunStatus": "finished",
    "executionToken": "t" * 64,
    "maxConcurrentRuns": 1,
}


def hashed(row: dict[str, Any], kind: Kind = Kind.AUTOMATION) -> bytes:
    """The hash of a row as received."""
    kept, cuts = cut_document(kind, orjson.dumps(row))
    return row_hash(Document(kind=kind, id="a1", part=Part.ROW, raw=kept, cuts=cuts))


@pytest.mark.parametrize("name", ["lastRun", "lastRunAt", "duration", "lastRunStatus"])
def test_run_data_does_not_count(name: str) -> None:
    """Another run, or the first one ever, leaves the row what it was."""
    assert hashed(ROW | {name: {"id": "another"}}) == hashed(ROW)
    assert hashed({key: value for key, value in ROW.items() if key != name}) == hashed(ROW)


@pytest.mark.parametrize("name", ["name", "state", "ownerId", "updatedAt", "maxConcurrentRuns", "executionToken"])
def test_everything_else_counts(name: str) -> None:
    """A change of any other member shows, even of the token, which is cut out and of the same length."""
    assert hashed(ROW | {name: "x" * 64}) != hashed(ROW)
    assert hashed({key: value for key, value in ROW.items() if key != name}) != hashed(ROW)
    assert hashed({**ROW, "new": 1}) != hashed(ROW)


def test_the_kind_counts() -> None:
    """Rows of two kinds are never the same, though their bytes are."""
    assert hashed({"id": "a1"}, Kind.CONNECTION) != hashed({"id": "a1"})


def test_other_rules_of_cutting_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a new version cuts out more, documents that were cut by the old rules are not taken over."""
    from attrs import evolve

    from qlikmigrate.model import earlier

    before = hashed({"id": "a1"})
    facts = dict(earlier.FACTS)
    facts[Kind.AUTOMATION] = evolve(facts[Kind.AUTOMATION], secret_paths=(("executionToken",), ("webhookSecret",)))
    monkeypatch.setattr(earlier, "FACTS", facts)
    assert hashed({"id": "a1"}) != before


def test_a_reading_shows_no_hash() -> None:
    """What a row hashes to is for the vault, not for logs."""
    from datetime import UTC, datetime

    reading = Reading(row_hash=hashed(ROW), read_at=datetime(2026, 11, 1, tzinfo=UTC), settled=True)
    assert hashed(ROW).hex()[:8] not in repr(reading)
    assert "row_hash" not in repr(reading)
