"""Edits as lines and as Markdown. Values are masked first and shortened then, so that no secret is shown in part."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from qlikmigrate.importer.comparison import NEW
from qlikmigrate.importer.diff import Compared, Standing
from qlikmigrate.importer.plan import Action
from qlikmigrate.model.difference import Change, Edit, Subject, labels_of
from qlikmigrate.model.inventory import Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.secret import mask
from qlikmigrate.report.archive import Row

_LONGEST = 100
_LEAD = 20
_SIGNS = {Standing.ADDED: "+", Standing.REMOVED: "-", Standing.CHANGED: "~", Standing.UNREADABLE: "?"}
_CHANGE_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.MOVED: ">", Change.CHANGED: "~"}

Quote = Callable[[str], str]


@frozen(kw_only=True)
class Teller:
    """Tells edits. `old`, `new`: where the ids in the values of either side have names, the first that knows one.

    `token_hashes`: SHA-256 of execution tokens, which are masked wherever they stand.
    """

    old: Sequence[Inventory]
    new: Sequence[Inventory]
    token_hashes: Collection[str] = ()

    def row(self, edit: Edit) -> dict[str, Any]:
        """An edit for machines."""
        here, there = self._values(edit)
        told = {
            "what": edit.subject.value, "change": edit.change.value, "id": mask(edit.id), "name": mask(edit.name),
            "block_type": edit.type, "place": mask(edit.place), "old": here, "new": there,
        }  # fmt: skip
        if edit.kind is not None:
            told |= {"old_name": self._name(self.old, edit, edit.old), "new_name": self._name(self.new, edit, edit.new)}
        return told

    def line(self, edit: Edit, quote: Quote = lambda text: f"`{text}`") -> str:
        """An edit for people."""
        words = [_CHANGE_SIGNS[edit.change], self._subject(edit, quote)]
        if edit.change is Change.MOVED:
            return " ".join((*words, f"moved ({edit.place})"))
        if edit.place:
            words.append(mask(edit.place))
        if edit.change is not Change.CHANGED:
            return " ".join(words)
        here, there = self._values(edit)
        if edit.kind is not None:
            here = self._name(self.old, edit, edit.old) or here
            there = self._name(self.new, edit, edit.new) or there
        told = [quote(one) if one is not None else "nothing" for one in (here, there)]
        same = " (what differs is masked)" if here == there else ""
        return f"{' '.join(words)}: {told[0]} → {told[1]}{same}"

    def _subject(self, edit: Edit, quote: Quote) -> str:
        if edit.subject is Subject.FIELD:
            return edit.id
        if edit.subject is Subject.WORKSPACE:
            return "workspace"
        kind = f" ({edit.type})" if edit.type else ""
        return f"{edit.subject.value} {quote(mask(edit.name or edit.id))}{kind}"

    def _values(self, edit: Edit) -> tuple[str | None, str | None]:
        here, there = (self._text(one, edit) for one in (edit.old, edit.new))
        if here is None or there is None:
            return _shortened(here, 0), _shortened(there, 0)
        same = next((at for at, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), 0)
        return _shortened(here, same), _shortened(there, same)

    def _text(self, value: Any, edit: Edit) -> str | None:
        if value is None:
            return None
        masked = _masked(value, (edit.name if edit.type == "VariableBlock" else "", *edit.labels), self.token_hashes)
        return masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False)

    @staticmethod
    def _name(inventories: Sequence[Inventory], edit: Edit, ident: object) -> str:
        if edit.kind is None or not isinstance(ident, str):
            return ""
        found = (one.get(edit.kind, ident.removeprefix(NEW)) for one in inventories)
        return next((mask(one.name) for one in found if one is not None and one.name), "")


def _masked(value: Any, labels: Iterable[str], hashes: Collection[str]) -> Any:
    if isinstance(value, str):
        for label in dict.fromkeys(("", *labels)):
            value = mask(value, label, hashes)
        return value
    if isinstance(value, Mapping):
        return {mask(key): _masked(item, labels_of(value, key), hashes) for key, item in value.items()}
    return [_masked(item, labels, hashes) for item in value] if isinstance(value, list) else value


def _shortened(text: str | None, at: int) -> str | None:
    """The part of a text around the place from which it differs."""
    if text is None or len(text) <= _LONGEST:
        return text
    start = max(0, at - _LEAD)
    end = start + _LONGEST
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def compared_row(one: Compared, teller: Teller) -> tuple[dict[str, Any], list[str]]:
    """One automation: an object for machines, lines for people."""
    row = {
        "kind": one.kind.value, "change": one.standing.value, "a_id": one.old.id if one.old else None,
        "b_id": one.new.id if one.new else None, "name": mask(one.name),
        "edits": [teller.row(edit) for edit in one.edits],
    }  # fmt: skip
    return row, [
        f"{_SIGNS[one.standing]} {one.standing.value:10} {_word(one)}{mask(one.name)}  ({_ids(one)})",
        *(f"    {teller.line(edit)}" for edit in one.edits),
    ]


def compared_markdown(one: Compared, teller: Teller) -> list[str]:
    """The same as items of a Markdown list."""
    return [
        f"- {one.standing.value}: {_word(one)}**{plain_text(mask(one.name))}** ({code_span(_ids(one))})",
        *(f"  - {edit_markdown(edit, teller)}" for edit in one.edits),
    ]


def edit_rows(action: Action, edits: Iterable[Edit], teller: Teller) -> Iterator[Row]:
    """What an update changes in one automation, edit by edit."""
    of = {"source_id": action.source_id, "target_id": action.target_id, "automation": mask(action.name)}
    for edit in edits:
        yield {"kind": "edit", **of, **teller.row(edit)}, f"    {teller.line(edit)}"


def _word(one: Compared) -> str:
    return "" if one.kind is Kind.AUTOMATION else f"{one.kind.value} "


def _ids(one: Compared) -> str:
    ids = [side.id for side in (one.old, one.new) if side is not None]
    return " → ".join(dict.fromkeys(ids))


def edit_markdown(edit: Edit, teller: Teller) -> str:
    """An edit as the text of a Markdown item."""
    sign, _, rest = teller.line(edit, code_span).partition(" ")
    words = {"~": "", "+": "added: ", "-": "removed: ", ">": ""}
    return words[sign] + rest


def code_span(text: str) -> str:
    """`text` as a code span, whatever it holds."""
    text = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def plain_text(text: str) -> str:
    """`text` on one line of Markdown, with nothing in it that means anything there."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))
