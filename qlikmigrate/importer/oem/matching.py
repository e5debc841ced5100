"""Which object of an OEM account takes the place of which of the archive's, and by which rule. Pure; never a guess.

Order: the mapping file, the ledger, the same id, the natural key. Two candidates are a problem.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import define, field, frozen

from qlikmigrate.importer.ledger import Ledger
from qlikmigrate.importer.oem.source import OemSource
from qlikmigrate.importer.oem.target import OemTarget
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemAutomation, Template
from qlikmigrate.remap.mapping import UNMATCHED, Decision
from qlikmigrate.remap.mapping_file import Entry, MappingFile

AMBIGUOUS = "ambiguous"
EXPLICIT = "explicit"
LEDGER = "ledger"
SAME_ID = "same-id"


@frozen(kw_only=True)
class Match:
    """The counterpart of one object; `target_id` empty where there is none. `decision`: the mapping file's."""

    target_id: str = ""
    rule: str = UNMATCHED
    decision: Decision = Decision.MAP

    @property
    def is_known(self) -> bool:
        """Whether it was found before this time."""
        return self.rule in (LEDGER, SAME_ID)


_NONE = Match()


@frozen(kw_only=True)
class OemMatching:
    """All counterparts by source id. `part_templates`: template of a bundle's part → the target's."""

    templates: Mapping[str, Match] = field(factory=dict)
    connections: Mapping[str, Match] = field(factory=dict)
    automations: Mapping[str, Match] = field(factory=dict)
    problems: tuple[Problem, ...] = ()

    def template(self, ident: str) -> Match:
        """Of a template."""
        return self.templates.get(ident, _NONE)

    def connection(self, ident: str) -> Match:
        """Of a connection."""
        return self.connections.get(ident, _NONE)

    def automation(self, ident: str) -> Match:
        """Of an automation."""
        return self.automations.get(ident, _NONE)


def match(
    source: OemSource,
    target: OemTarget,
    *,
    decisions: MappingFile,
    ledger: Ledger,
    connectors: Mapping[str, str],
    copy: bool = False,
) -> OemMatching:
    """Match what is selected. `connectors`: guid at the source → at the target. `copy`: no automation is itself."""
    work = _Matcher(source, target, decisions, ledger, connectors, copy)
    work.match_templates()
    work.match_connections()
    work.match_automations()
    return OemMatching(
        templates=work.templates,
        connections=work.connections,
        automations=work.automations,
        problems=tuple(work.problems),
    )


def all_templates(templates: Iterable[Template]) -> Iterator[Template]:
    """Templates and what their bundles hold."""
    for one in templates:
        yield one
        yield from all_templates(one.children)


@define
class _Matcher:
    source: OemSource
    target: OemTarget
    decisions: MappingFile
    ledger: Ledger
    connectors: Mapping[str, str]
    copy: bool
    templates: dict[str, Match] = field(factory=dict)
    connections: dict[str, Match] = field(factory=dict)
    automations: dict[str, Match] = field(factory=dict)
    problems: list[Problem] = field(factory=list)

    # Templates

    def match_templates(self) -> None:
        offered = {one.id: one.name for one in all_templates(self.target.templates.values())}
        listed = {one.id: one.name for one in self.target.templates.values()}
        parts: set[str] = set()
        for ident in self.source.chosen:
            one = self.source.automation(ident)
            if one.template_id and ident in self.source.parents:
                parts.add(one.template_id)
        for ident in self.source.chosen:
            one = self.source.automation(ident)
            if not one.template_id or one.template_id in self.templates:
                continue
            known = self.source.holding.templates.get(one.template_id)
            name = known.name if known else ""
            # Parts of bundles are never listed alone; one that has the name of a listed one is another template.
            names = offered if one.template_id in parts else listed
            self.templates[one.template_id] = self._find(Kind.TEMPLATE, one.template_id, name, offered, names)

    def _find(self, kind: Kind, ident: str, name: str, there: Mapping[str, str], named: Mapping[str, str]) -> Match:
        """By mapping, id, and exact unique name."""
        if (found := self._explicit(kind, ident, name, there)) is not None:
            return found
        if ident in there:
            return Match(target_id=ident, rule=SAME_ID)
        hits = sorted(key for key, one in named.items() if name and one == name)
        if len(hits) > 1:
            self._ambiguous(kind, ident, name, hits)
            return Match(rule=AMBIGUOUS)
        return Match(target_id=hits[0], rule="name") if hits else _NONE

    # Connections

    def match_connections(self) -> None:
        there = {ident: one.name for ident, one in self.target.connections.items()}
        keys: dict[tuple[str, str], list[str]] = defaultdict(list)
        for ident, one in self.target.connections.items():
            keys[one.connector_id, one.name].append(ident)
        for one in self.source.connections():
            if (found := self._explicit(Kind.CONNECTION, one.id, one.name, there)) is None:
                found = self._known(Kind.CONNECTION, one.id, there)
            if found is None:
                connector = self.connectors.get(one.connector_id, one.connector_id)
                found = self._by_key(
                    Kind.CONNECTION, one.id, one.name, keys.get((connector, one.name), []), "connector"
                )
            self.connections[one.id] = found
        self._settle_rivals(Kind.CONNECTION, self.connections)

    # Automations

    def match_automations(self) -> None:
        there = {ident: one.name for ident, one in self.target.automations.items()}
        left: list[OemAutomation] = []
        for ident in self.source.chosen:
            one = self.source.automation(ident)
            if (found := self._explicit(Kind.AUTOMATION, ident, one.name, there)) is None:
                found = self._known(Kind.AUTOMATION, ident, there, same=not self.copy)
            if found is not None:
                self.automations[ident] = found
            elif ident not in self.source.parents:
                left.append(one)
        taken = {one.target_id for one in self.automations.values()}
        self._pair(left, [one for ident, one in self._tops() if ident not in taken])
        for ident in self.source.chosen:
            if ident not in self.automations:
                self.automations[ident] = self._part(ident)
        self._settle_rivals(Kind.AUTOMATION, self.automations)

    def _tops(self) -> Iterator[tuple[str, OemAutomation]]:
        """What may be a counterpart by its name: no part of a bundle, and of a copy nothing of the source itself."""
        mine = self.source.holding.automations if self.copy else {}
        passed = {*self.target.parts, *mine}
        return ((ident, one) for ident, one in self.target.automations.items() if ident not in passed)

    def _pair(self, here: Sequence[OemAutomation], there: Sequence[OemAutomation]) -> None:
        """By name and template; as many here as there are paired by their times of creation."""
        mine: dict[tuple[str, str], list[OemAutomation]] = defaultdict(list)
        theirs: dict[tuple[str, str], list[OemAutomation]] = defaultdict(list)
        for one in here:
            if one.template_id and not self.templates[one.template_id].target_id:
                self.automations[one.id] = _NONE
                continue
            template = self.templates[one.template_id].target_id if one.template_id else ""
            mine[one.name, template].append(one)
        for one in there:
            theirs[one.name, one.template_id].append(one)
        for key, ones in mine.items():
            hits = theirs.get(key, [])
            if len(hits) == len(ones):
                rule = "name+template" if len(ones) == 1 else "created-at"
                for one, hit in zip(sorted(ones, key=_age), sorted(hits, key=_age), strict=True):
                    self.automations[one.id] = Match(target_id=hit.id, rule=rule)
                continue
            for one in ones:
                self.automations[one.id] = _NONE
                if hits:
                    self._ambiguous(Kind.AUTOMATION, one.id, one.name, sorted(hit.id for hit in hits))
                    self.automations[one.id] = Match(rule=AMBIGUOUS)

    def _part(self, ident: str) -> Match:
        """A part of a bundle, among the parts of the bundle's counterpart: by template, then name."""
        bundle = self.automations.get(self.source.parents[ident], _NONE)
        if not bundle.target_id:
            return Match(rule=bundle.rule) if bundle.rule == AMBIGUOUS else _NONE
        one = self.source.automation(ident)
        parts = [self.target.automations[part] for part in self._parts(bundle.target_id)]
        template = self.templates[one.template_id].target_id if one.template_id else ""
        hits = [part for part in parts if part.template_id == template] or parts
        hits = hits if len(hits) == 1 and hits[0].template_id == template else [p for p in hits if p.name == one.name]
        if len(hits) > 1:
            self._ambiguous(Kind.AUTOMATION, ident, one.name, [hit.id for hit in hits])
            return Match(rule=AMBIGUOUS)
        return Match(target_id=hits[0].id, rule="bundle+template") if hits else _NONE

    def _parts(self, ident: str) -> Iterator[str]:
        for part in self.target.automations[ident].children:
            if part in self.target.automations:
                yield part
                yield from self._parts(part)

    # Rules that all kinds share

    def _explicit(self, kind: Kind, ident: str, name: str, there: Mapping[str, str]) -> Match | None:
        """What the mapping file says: a line that names the id goes before one that names the name."""
        by_id = [one for one in self.decisions.entries if _names_id(one, kind, ident)]
        found = by_id or [one for one in self.decisions.entries if one.kind is kind and one.source == name]
        if not found:
            return None
        if len({(one.target, one.decision) for one in found}) > 1:
            self._tell(
                "ambiguous-mapping", kind, ident, f"two lines of the mapping file are about `{name}`", "keep one"
            )
            return Match(rule=AMBIGUOUS, decision=found[0].decision)
        entry = found[0]
        if entry.decision is not Decision.MAP:
            return Match(rule=EXPLICIT, decision=entry.decision)
        wanted = entry.target
        hits = [key for key in there if key.lower() == wanted.lower()]
        hits = hits or sorted(key for key, one in there.items() if one == wanted)
        if len(hits) == 1:
            return Match(target_id=hits[0], rule=EXPLICIT)
        code = "ambiguous-mapping" if hits else "mapping-target-missing"
        what = f"{len(hits)} {kind.value}s are" if hits else f"no {kind.value} is"
        self._tell(code, kind, ident, f"{what} called `{wanted}` at the target, to which `{name}` is mapped",
                   "name it by its id")  # fmt: skip
        return Match(rule=AMBIGUOUS) if hits else _NONE

    def _known(self, kind: Kind, ident: str, there: Mapping[str, str], *, same: bool = True) -> Match | None:
        entry = self.ledger.get(kind, ident)
        if entry is not None and entry.target_id in there:
            return Match(target_id=entry.target_id, rule=LEDGER)
        return Match(target_id=ident, rule=SAME_ID) if same and ident in there else None

    def _by_key(self, kind: Kind, ident: str, name: str, hits: Sequence[str], rule: str) -> Match:
        if len(hits) > 1:
            self._ambiguous(kind, ident, name, sorted(hits))
            return Match(rule=AMBIGUOUS)
        return Match(target_id=hits[0], rule=f"name+{rule}") if hits else _NONE

    def _settle_rivals(self, kind: Kind, found: dict[str, Match]) -> None:
        """Two that ask for one: neither gets it."""
        askers: dict[str, list[str]] = defaultdict(list)
        for ident, one in found.items():
            if one.target_id:
                askers[one.target_id].append(ident)
        for target_id, idents in askers.items():
            if len(idents) < 2:
                continue
            for ident in idents:
                message = f"{len(idents)} {kind.value}s would become {target_id}: {', '.join(sorted(idents))}"
                self._tell("ambiguous-match", kind, ident, message, f"say which in `[{kind.value}s]` of a mapping file")
                found[ident] = Match(rule=AMBIGUOUS)

    def _ambiguous(self, kind: Kind, ident: str, name: str, hits: Sequence[str]) -> None:
        message = f"{len(hits)} candidates for {kind.value} `{name}`: {', '.join(hits)}"
        self._tell("ambiguous-match", kind, ident, message, f"choose one in `[{kind.value}s]` of a mapping file")

    def _tell(self, code: str, kind: Kind, ident: str, message: str, hint: str) -> None:
        where = f"{kind.value} {ident}"
        problem = Problem(code=code, severity=Severity.ERROR, message=message, where=where, hint=hint)
        if problem not in self.problems:
            self.problems.append(problem)


def _names_id(entry: Entry, kind: Kind, ident: str) -> bool:
    return entry.kind in (kind, None) and entry.source.lower() == ident.lower()


def _age(one: OemAutomation) -> tuple[str, str]:
    return one.created_at, one.id
