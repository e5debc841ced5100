"""Writes a mapping as a mapping file. What people wrote, comments included, stays; the tool's own lines are renewed."""

from __future__ import annotations

from collections.abc import Iterator

import tomlkit
from tomlkit.items import InlineTable, Table

from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision, Mapping, MappingRow
from qlikmigrate.remap.mapping_file import SECTIONS, parse

_HEAD = """\
Which object of the target takes the place of which object of the source.
A line with `rule` is a proposal and is renewed; delete `rule` to make it yours. An empty `to` is still open:
fill in an id, a name or an e-mail address, or write { decision = "keep" | "drop" | "null" }"""


def render(mapping: Mapping, previous: str | None = None) -> str:
    """The mapping file for `mapping`; `previous`: the file's text so far.

    Rows that a person decided in `previous` already are not repeated.

    Raises:
        UsageError: `previous` is malformed.
    """
    if previous is None:
        document = tomlkit.document()
        for line in _HEAD.splitlines():
            document.add(tomlkit.comment(line))
        document.add("format", tomlkit.item(1))
    else:
        parse(previous)
        document = tomlkit.parse(previous)
    for section, kind in SECTIONS.items():
        _render_section(document, section, mapping, kind or Kind.ITEM)
    hosts = {host: new for host, new in mapping.hosts.items() if host not in document.get("hosts", {})}
    if hosts:
        table = _table(document, "hosts")
        for host, new in hosts.items():
            table[host] = new
    return tomlkit.dumps(document)


def _render_section(document: tomlkit.TOMLDocument, section: str, mapping: Mapping, kind: Kind) -> None:
    present = document.get(section)
    written = {str(key).lower() for name in (section, "ids") for key in document.get(name, {})}
    rows = {row.source.id: row for row in _lines(mapping, kind, written)}
    if present is not None:
        for source in list(present):
            old = present[source]
            if not _is_proposed(old):
                rows.pop(source, None)
            elif source not in rows:
                present.remove(source)
    if not rows:
        return
    table = _table(document, section)
    for source, row in sorted(rows.items(), key=lambda item: (item[1].source.name, item[0])):
        new = _line(row)
        if source in table:
            old = table[source]
            if dict(old) == dict(new):
                continue
            new.trivia.comment_ws, new.trivia.comment = old.trivia.comment_ws, old.trivia.comment
            new.trivia.trail = old.trivia.trail
        table[source] = new


def _lines(mapping: Mapping, kind: Kind, written: set[str]) -> Iterator[MappingRow]:
    """The rows that belong into a section, but for decisions that the file has already."""
    for row in mapping.of(kind):
        if row.rule == "explicit":
            one = row.source
            if not written & {word.lower() for word in (one.id, one.name, one.email, one.subject) if word}:
                yield row
            continue
        settled = row.rule == "same-id" or (kind is Kind.CONNECTOR and row.rule == "id")
        # An automation without a counterpart will be created, an item is not ours to bring over: nothing to decide.
        is_nobodys = kind in (Kind.AUTOMATION, Kind.ITEM) and row.target_id is None
        if not settled and (not is_nobodys or row.rule == "ambiguous"):
            yield row


def _line(row: MappingRow) -> InlineTable:
    line = tomlkit.inline_table()
    if row.decision is Decision.MAP:
        line.append("to", row.target_id or "")
    else:
        line.append("decision", row.decision.value)
    if row.rule != "explicit":
        line.append("rule", row.rule)
    if note := row.source.name or row.source.email or row.source.subject:
        line.append("note", note)
    return line


def _is_proposed(value: object) -> bool:
    return isinstance(value, dict) and bool(value.get("rule"))


def _table(document: tomlkit.TOMLDocument, section: str) -> Table:
    if section not in document:
        document.add(tomlkit.nl())
        document.add(section, tomlkit.table())
    table: Table = document[section]
    return table
