"""Writes a mapping as a mapping file. What people wrote, comments included, stays; the tool's own lines are renewed."""

from __future__ import annotations

from collections.abc import Iterator

import tomlkit
from tomlkit.items import InlineTable, Table

from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import UNMATCHED, Decision, Mapping, MappingRow
from qlikmigrate.remap.mapping_file import SECTIONS, parse

_HEAD = """\
Which object of the target takes the place of which object of the source.
A line with `rule` is a proposal and is renewed; delete `rule` to make it yours. An empty `to` is still open:
fill in an id, a name or an e-mail address, or write { decision = "keep" | "drop" | "null" }"""


def render(mapping: Mapping, previous: str | None = None) -> str:
    """The mapping file for `mapping`; `previous`: the file's text so far.

    Rows that a person decided are in `previous` already and are not repeated.

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
        if kind is not None:
            _render_section(document, section, mapping, kind)
    hosts = {host: new for host, new in mapping.hosts.items() if host not in document.get("hosts", {})}
    if hosts:
        table = _table(document, "hosts")
        for host, new in hosts.items():
            table[host] = new
    return tomlkit.dumps(document)


def _render_section(document: tomlkit.TOMLDocument, section: str, mapping: Mapping, kind: Kind) -> None:
    rows = {row.source.id: row for row in _proposals(mapping, kind)}
    present = document.get(section)
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


def _proposals(mapping: Mapping, kind: Kind) -> Iterator[MappingRow]:
    for row in mapping.of(kind):
        settled = row.rule == "same-id" or (kind is Kind.CONNECTOR and row.rule == "id")
        # An automation without a counterpart will be created: nothing to decide.
        is_new = kind is Kind.AUTOMATION and row.rule == UNMATCHED
        if row.rule != "explicit" and row.decision is Decision.MAP and not settled and not is_new:
            yield row


def _line(row: MappingRow) -> InlineTable:
    line = tomlkit.inline_table()
    line.append("to", row.target_id or "")
    line.append("rule", row.rule)
    line.append("note", row.source.name or row.source.email or row.source.subject)
    return line


def _is_proposed(value: object) -> bool:
    return isinstance(value, dict) and bool(value.get("rule"))


def _table(document: tomlkit.TOMLDocument, section: str) -> Table:
    if section not in document:
        document.add(tomlkit.nl())
        document.add(section, tomlkit.table())
    table: Table = document[section]
    return table
