"""The history of an automation as rows, lines and Markdown. Values are masked as in a difference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from qlikmigrate.kernel.clock import rfc3339, to_the_second
from qlikmigrate.model.difference import Change, Edit, Subject
from qlikmigrate.model.history import Absence, Arrival, Entry, Version
from qlikmigrate.remap.secret import mask
from qlikmigrate.report.archive import owner_name, space_name
from qlikmigrate.report.difference import Teller, code_span, edit_markdown, plain_text
from qlikmigrate.report.plan import number

# Fields whose values say enough on one line; of the others only that they changed is summed up.
_SHORT = ("name", "state", "owner", "space", "maxConcurrentRuns")
_COUNTED = {Subject.BLOCK: "block", Subject.VARIABLE: "variable"}


@frozen(kw_only=True)
class HistoryTeller:
    """Tells the history of the automation `ident`. `token_hashes`: as a `Teller` takes them."""

    ident: str
    token_hashes: Collection[str] = field(default=(), repr=False)

    def row(self, entry: Entry) -> dict[str, Any]:
        """An entry for machines."""
        head = {
            "kind": "history", "id": self.ident, "what": what(entry), "snapshot": entry.first.id,
            "taken_at": rfc3339(entry.first.taken_at), "last_snapshot": entry.last.id,
            "last_taken_at": rfc3339(entry.last.taken_at), "snapshots": entry.snapshots,
        }  # fmt: skip
        if isinstance(entry, Absence):
            return head | {"reason": entry.why, "successors": list(entry.successors)}
        one, teller = entry.automation, self._teller(entry)
        return head | {
            "name": mask(one.name), "state": one.state, "run_mode": one.run_mode, "owner": owner_name(entry.names, one),
            "owner_id": one.owner_id, "space": space_name(entry.names, one), "space_id": one.space_id,
            "updated_at": one.updated_at, "blocks": entry.blocks, "changes": _changes(entry.edits),
            "edits": [teller.row(edit) for edit in entry.edits],
        }  # fmt: skip

    def lines(self, entry: Entry, *, each_edit: bool) -> list[str]:
        """An entry for people; with `each_edit` block by block."""
        lines = [f"{to_the_second(entry.first.taken_at)}  {what(entry):10} {entry.first.id}  {self._summary(entry)}"]
        if each_edit and isinstance(entry, Version):
            teller = self._teller(entry)
            lines += [f"    {teller.line(edit)}" for edit in entry.edits]
        return lines

    def markdown(self, entry: Entry) -> list[str]:
        """The same as a section of a page, always block by block."""
        lines = [f"## {to_the_second(entry.first.taken_at)}: {what(entry)}", ""]
        stay = f", last in {code_span(entry.last.id)}" if entry.snapshots > 1 else ""
        lines.append(f"- snapshot {code_span(entry.first.id)}{stay}")
        if isinstance(entry, Absence):
            lines += [f"- {plain_text(text)}" for text in _absence_words(entry)]
        else:
            teller = self._teller(entry)
            if not entry.edits:
                lines.append(f"- {plain_text(_place(entry))}")
            lines += [f"- {edit_markdown(edit, teller)}" for edit in entry.edits]
        return [*lines, ""]

    def _teller(self, version: Version) -> Teller:
        before = version.names_before
        return Teller(
            # What one side does not list the other may.
            old=(before, version.names) if before else (version.names,),
            new=(version.names,),
            token_hashes=self.token_hashes,
        )

    def _summary(self, entry: Entry) -> str:
        if isinstance(entry, Absence):
            return "; ".join(_absence_words(entry))
        if entry.edits:
            return "; ".join(_edit_words(entry.edits, self._teller(entry)))
        return "as it was" if entry.arrival is Arrival.RETURNED else _place(entry)


def what(entry: Entry) -> str:
    """How an entry came about, in a word: seen, appeared, changed, returned, unreadable, gone."""
    return entry.arrival.value if isinstance(entry, Version) else entry.reason.value


def title(entries: Iterable[Entry], ident: str) -> str:
    """What the automation was last called, with its id, newest entry first."""
    name = next((mask(one.automation.name) for one in entries if isinstance(one, Version)), "")
    return f"History: {plain_text(name)} ({code_span(ident)})" if name else f"History: {code_span(ident)}"


def _place(version: Version) -> str:
    one = version.automation
    where = mask(one.name)
    if one.owner_id:
        # OEM accounts have neither owners nor spaces.
        where = f"{space_name(version.names, one)} / {owner_name(version.names, one)} / {where}"
    return f"{where}, {one.state or '-'}, {one.run_mode or '-'}, {number(version.blocks, 'block')}"


def _absence_words(absence: Absence) -> Iterator[str]:
    stay = f"{number(absence.snapshots, 'snapshot')}, last {to_the_second(absence.last.taken_at)}"
    yield f"{absence.why}, in {stay}" if absence.why else f"in {stay}"
    if absence.successors:
        yield f"since then of the same name: {', '.join(absence.successors)}"


def _edit_words(edits: Collection[Edit], teller: Teller) -> Iterator[str]:
    """What changed, summed up: short fields with their values, blocks and variables by number."""
    for edit in edits:
        if edit.subject is Subject.FIELD and edit.id in _SHORT:
            yield teller.line(edit).partition(" ")[2]
    changes = _changes(edits)
    yield from (word for word in changes["fields"] if word not in _SHORT)
    for word in _COUNTED.values():
        counts: Mapping[str, int] = changes[f"{word}s"]
        told = [f"{count} {change}" for change, count in counts.items()]
        if told:
            yield f"{word}s: {', '.join(told)}"
    if changes["workspace"]:
        yield "workspace"


def _changes(edits: Collection[Edit]) -> dict[str, Any]:
    """Fields by word, blocks and variables by number, each counted once for each thing that happened to it."""
    found: dict[str, Any] = {
        "fields": list(dict.fromkeys(edit.id for edit in edits if edit.subject is Subject.FIELD)),
        "workspace": sum(1 for edit in edits if edit.subject is Subject.WORKSPACE),
    }
    for subject, word in _COUNTED.items():
        hit = {(edit.change, edit.id, edit.name) for edit in edits if edit.subject is subject}
        counts = {change.value: sum(1 for one in hit if one[0] is change) for change in Change}
        found[f"{word}s"] = {change: count for change, count in counts.items() if count}
    return found
