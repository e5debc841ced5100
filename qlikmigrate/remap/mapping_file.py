"""The mapping file as a value: what people decided, and proposals that they may change. Reading never guesses."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision

SECTIONS: Mapping[str, Kind | None] = {
    "users": Kind.USER,
    "spaces": Kind.SPACE,
    "connectors": Kind.CONNECTOR,
    "connections": Kind.CONNECTION,
    "automations": Kind.AUTOMATION,
    "templates": Kind.TEMPLATE,
    "ids": None,
}
_OTHER_SECTIONS = ("format", "hosts", "values", "mail_domains", "rules", "rewrite")
_RULE_FIELDS = {Kind.USER: ("subject", "email", "name"), Kind.SPACE: ("name",)}


@frozen(kw_only=True)
class Entry:
    """One line: `source` and `target` are an id, a name or an e-mail address. `kind` None: a line of `[ids]`.

    `rule` is set on lines that the tool proposed and nobody has taken over by deleting it.
    """

    kind: Kind | None
    source: str
    target: str = ""
    decision: Decision = Decision.MAP
    rule: str = ""
    note: str = ""


@frozen(kw_only=True)
class RenameRule:
    """Rewrites a field of source objects before natural keys are compared."""

    kind: Kind
    field: str
    pattern: re.Pattern[str]
    replacement: str


@frozen(kw_only=True)
class ValueSource:
    """Where a `@@KEY@@` value comes from; the caller resolves `env` and `file`."""

    kind: str
    text: str = field(repr=False)


@frozen(kw_only=True)
class MappingFile:
    """All decisions of one mapping file. `hosts`: source host → target host, None: kept knowingly."""

    entries: tuple[Entry, ...] = ()
    hosts: Mapping[str, str | None] = field(factory=dict)
    values: Mapping[str, ValueSource] = field(factory=dict)
    mail_domains: Mapping[str, str] = field(factory=dict)
    renames: tuple[RenameRule, ...] = ()
    rewrite_code: bool = False
    rewrite_prose: bool = False

    def handmade(self) -> MappingFile:
        """Without the tool's own proposals: what a new proposal starts from."""
        return evolve(self, entries=tuple(entry for entry in self.entries if not entry.rule))

    def with_ids(self, entries: Iterable[Entry]) -> MappingFile:
        """With further lines, such as those of `read_ids`; lines of the file come first."""
        return evolve(self, entries=(*self.entries, *entries))

    def renamed(self, one: Entity) -> Entity:
        """`one` with the rename rules applied to it."""
        for rule in self.renames:
            if rule.kind is one.kind:
                old = getattr(one, rule.field)
                new = rule.pattern.sub(rule.replacement, old)
                if new != old:
                    changed: dict[str, Any] = {rule.field: new}
                    one = evolve(one, **changed)
        return one

    def literal_values(self) -> dict[str, str]:
        """The `@@KEY@@` values that stand in the file itself."""
        return {key: value.text for key, value in self.values.items() if value.kind == "literal"}


class _Reader:
    """Reads one file; every complaint names the line."""

    def __init__(self, text: str, name: str) -> None:
        self._lines = text.splitlines()
        self._name = name

    def error(self, message: str, *, section: str, key: str = "", hint: str = "") -> UsageError:
        where = f"{self._name}:{self._line_of(section, key)}"
        return UsageError(f"{where}: {message}", hint=hint, code="mapping-file")

    def _line_of(self, section: str, key: str) -> int:
        inside = not section
        at = 1
        for number, line in enumerate(self._lines, 1):
            stripped = line.strip()
            if stripped.startswith("["):
                inside = stripped.strip("[] ").split("#")[0].rstrip("] ") == section
                at = number if inside else at
            if inside and key and re.match(rf"""["']?{re.escape(key)}["']?\s*=""", stripped):
                return number
        if not section and key:
            pattern = re.compile(rf"""\[*["']?{re.escape(key)}["']?\s*[\]=.]""")
            return next((number for number, line in enumerate(self._lines, 1) if pattern.match(line.strip())), 1)
        return at

    def table(self, data: Mapping[str, Any], section: str) -> Mapping[str, Any]:
        found = data.get(section, {})
        if not isinstance(found, dict):
            raise self.error(f"`{section}` is no table", section="", key=section, hint=f"write `[{section}]`")
        return found

    def entry(self, section: str, source: str, value: Any) -> Entry:
        kind = SECTIONS[section]
        if isinstance(value, str):
            value = {"to": value}
        hint = 'write "source" = "target", or { to = "target" }, or { decision = "keep" | "drop" | "null" }'
        if not isinstance(value, dict) or not all(isinstance(word, str) for word in value.values()):
            raise self.error(f"`{source}` has no target", section=section, key=source, hint=hint)
        unknown = sorted(value.keys() - {"to", "decision", "rule", "note"})
        if unknown:
            raise self.error(f"unknown word: `{unknown[0]}`", section=section, key=source, hint=hint)
        try:
            decision = Decision(value.get("decision", "map"))
        except ValueError:
            raise self.error(
                f"unknown decision: `{value['decision']}`", section=section, key=source, hint=hint
            ) from None
        if decision is not Decision.MAP and value.get("to"):
            raise self.error(f"`{source}` has both a target and `{decision}`", section=section, key=source, hint=hint)
        return Entry(
            kind=kind, source=source, target=value.get("to", ""), decision=decision,
            rule=value.get("rule", ""), note=value.get("note", ""),
        )  # fmt: skip

    def host(self, source: str, value: Any) -> str | None:
        if value == {"decision": "keep"}:
            return None
        if isinstance(value, str) and value and "/" not in value:
            return value
        hint = 'write "source.example" = "target.example", or { decision = "keep" }'
        raise self.error(f"`{source}` has no host name", section="hosts", key=source, hint=hint)

    def value(self, key: str, value: Any) -> ValueSource:
        if isinstance(value, str):
            return ValueSource(kind="literal", text=value)
        if isinstance(value, dict) and len(value) == 1:
            ((kind, text),) = value.items()
            if kind in ("env", "file") and isinstance(text, str):
                return ValueSource(kind=kind, text=text)
        hint = 'write KEY = "text", KEY = { env = "NAME" } or KEY = { file = "path" }'
        raise self.error(f"`{key}` has no value", section="values", key=key, hint=hint)

    def rules(self, data: Mapping[str, Any]) -> Iterable[RenameRule]:
        tables = self.table(data, "rules")
        for section, found in tables.items():
            kind = SECTIONS.get(section)
            if kind not in _RULE_FIELDS or not isinstance(found, list):
                raise self.error(
                    f"unknown rules: `{section}`", section=f"rules.{section}",
                    hint="write `[[rules.users]]` or `[[rules.spaces]]`",
                )  # fmt: skip
            for rule in found:
                yield self._rule(section, kind, rule)

    def _rule(self, section: str, kind: Kind, rule: Any) -> RenameRule:
        fields = _RULE_FIELDS[kind]
        where = f"rules.{section}"
        if not isinstance(rule, dict) or rule.keys() != {"field", "from", "to"}:
            raise self.error("a rule has `field`, `from` and `to`", section=where)
        if rule["field"] not in fields:
            raise self.error(f"unknown field: `{rule['field']}`", section=where, key="field",
                             hint=f"one of {', '.join(fields)}")  # fmt: skip
        try:
            pattern = re.compile(rule["from"])
            # A replacement is checked only when something matches, so here the empty text does.
            re.compile(rule["from"] + "|").sub(rule["to"], "")
        except (re.error, TypeError, IndexError) as error:
            raise self.error(f"no regular expression: {error}", section=where, key="from") from None
        return RenameRule(kind=kind, field=rule["field"], pattern=pattern, replacement=rule["to"])


def parse(text: str, *, name: str = "mapping file") -> MappingFile:
    """Read a mapping file. `name` is what errors call it.

    Raises:
        UsageError: it is malformed; the message names the line.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found.group(1)) if found else max(1, len(text.splitlines()))
        raise UsageError(
            f"{name}:{line}: no TOML: {error}", hint="the file is TOML: text in quotes", code="mapping-file"
        ) from None
    reader = _Reader(text, name)
    for section in data:
        if section not in SECTIONS and section not in _OTHER_SECTIONS:
            known = ", ".join(sorted([*SECTIONS, *_OTHER_SECTIONS]))
            raise reader.error(f"unknown section: `{section}`", section="", key=section, hint=f"known: {known}")
    if data.get("format", 1) != 1:
        raise reader.error(f"format {data['format']} is newer than this tool", section="", key="format",
                           hint="update qlikmigrate")  # fmt: skip
    entries = []
    for section in SECTIONS:
        for source, value in reader.table(data, section).items():
            entry = reader.entry(section, source, value)
            # A line that was proposed without a target decides nothing.
            if entry.target or entry.decision is not Decision.MAP:
                entries.append(entry)
    mail_domains = reader.table(data, "mail_domains")
    for domain, new in mail_domains.items():
        if not isinstance(new, str) or not new:
            raise reader.error(f"`{domain}` has no domain", section="mail_domains", key=domain)
    rewriting = reader.table(data, "rewrite")
    for word, on in rewriting.items():
        if word not in ("code", "prose") or not isinstance(on, bool):
            raise reader.error(f"unknown switch: `{word}`", section="rewrite", key=word, hint="code or prose: true")
    return MappingFile(
        entries=tuple(entries),
        hosts={host.lower(): reader.host(host, new) for host, new in reader.table(data, "hosts").items()},
        values={key: reader.value(key, value) for key, value in reader.table(data, "values").items()},
        mail_domains={domain.lower(): new for domain, new in mail_domains.items()},
        renames=tuple(reader.rules(data)),
        rewrite_code=rewriting.get("code", False),
        rewrite_prose=rewriting.get("prose", False),
    )


def read_ids(text: str, *, name: str = "id list") -> tuple[Entry, ...]:
    """The lines of another tool's id list: CSV with the header `kind,source_id,target_id`.

    Raises:
        UsageError: a line is malformed; the message names it.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    header = [word.strip().lower() for word in next(reader, [])]
    wanted = ["kind", "source_id", "target_id"]
    hint = f"the first line is `{','.join(wanted)}`"
    if missing := [word for word in wanted if word not in header]:
        raise UsageError(f"{name}:1: no column `{missing[0]}`", hint=hint, code="mapping-file")
    columns = [header.index(word) for word in wanted]
    entries = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(columns):
            raise UsageError(f"{name}:{reader.line_num}: too few columns", hint=hint, code="mapping-file")
        kind, source, target = (row[column].strip() for column in columns)
        if not source or not target:
            raise UsageError(f"{name}:{reader.line_num}: an id is missing", hint=hint, code="mapping-file")
        known = SECTIONS.get(f"{kind.lower()}s")
        entries.append(Entry(kind=known, source=source, target=target))
    return tuple(entries)
