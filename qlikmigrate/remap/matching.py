"""Finds each source object's counterpart by ordered rules. Two candidates are a problem, never a guess."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from attrs import evolve, field, frozen

from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap import mapping as names
from qlikmigrate.remap.decision import Chosen, explicit_choices
from qlikmigrate.remap.mapping import Decision, MappingRow
from qlikmigrate.remap.mapping_file import MappingFile
from qlikmigrate.remap.pairing import Contents, Found, pair

__all__ = ["QLIK_CLOUD_SERVICES", "Contents", "contested", "match"]

QLIK_CLOUD_SERVICES = "61a87510-c7a3-11ea-95da-0fb0c241e75c"
"""The connector whose connection every user gets from the system. Source: Qlik's automation-builder skill; it is one
guid in all public workspaces."""

SYSTEM_RULE = "connector+owner"
# Users first: spaces do not need them, but connections and automations do; connectors before connections.
ORDER = (Kind.TENANT, Kind.USER, Kind.SPACE, Kind.CONNECTOR, Kind.CONNECTION, Kind.AUTOMATION, Kind.ITEM)

Key = tuple[Kind, str]


@frozen
class _Matcher:
    source: Inventory
    target: Inventory
    decisions: MappingFile
    ledger: Mapping[Key, str]
    needed: frozenset[Key] | None
    contents: Contents | None
    owner_override: str | None
    fallback_owner: str | None
    fallback_space: str | None
    copy: bool
    match_items: bool
    rows: dict[Key, MappingRow] = field(factory=dict, init=False)
    problems: list[Problem] = field(factory=list, init=False)

    # -- what any rule may ask

    def target_of(self, kind: Kind, source_id: str) -> str | None:
        row = self.rows.get((kind, source_id.lower()))
        return row.target_id if row else None

    @property
    def knows_connectors(self) -> bool:
        """Every tenant has some: where the target shows none, they could not be listed."""
        return any(True for _ in self.target.of(Kind.CONNECTOR))

    def is_needed(self, kind: Kind, source_id: str) -> bool:
        return self.needed is None or (kind, source_id.lower()) in self.needed

    def problem(self, one: Entity, code: str, message: str, hint: str) -> None:
        if self.is_needed(one.kind, one.id):
            where = f"{one.kind} {one.id}"
            self.problems.append(Problem(code=code, severity=Severity.ERROR, message=message, where=where, hint=hint))

    def owner_of(self, one: Entity) -> str | None:
        return self.owner_override or self.target_of(Kind.USER, one.owner_id)

    def space_of(self, one: Entity) -> str | None:
        """The mapped space; empty for a personal one, None where the space has no counterpart."""
        return self.target_of(Kind.SPACE, one.space_id) if one.space_id else ""

    def place_of(self, one: Entity) -> str | None:
        """The space where an automation belongs: the mapped one, else the one that takes the place of lost ones.

        A place, and no mapping: a text that names the lost space does not mean the other.
        """
        row = self.rows.get((Kind.SPACE, one.space_id.lower()))
        found = self.space_of(one)
        open_row = row is None or (row.rule == names.UNMATCHED and row.decision is Decision.MAP)
        return self.fallback_space if found is None and open_row else found

    # -- one kind after the other

    def run(self) -> None:
        chosen = explicit_choices(self.source, self.target, self.decisions)
        for told in chosen.problems:
            self.problem(*told)
        self._match_tenant()
        for kind in ORDER[1:]:
            left = [one for one in self.source.of(kind) if not self._settled(one, chosen.choices)]
            if kind is Kind.AUTOMATION:
                found = self._find_automations(left)
            else:
                found = [(one, self._find(one)) for one in left]
            self._accept(kind, found)
        self._check_connectors()
        for choice in chosen.extra:
            key = (choice.source.kind, choice.source.id.lower())
            if key not in self.rows:
                self.rows[key] = _explicit(choice)

    def _check_connectors(self) -> None:
        """A connection can only stand for one of the same connector, whoever says so."""
        for row in self.rows.values():
            there = self.target.get(Kind.CONNECTION, row.target_id) if row.kind is Kind.CONNECTION else None
            if there is None or row.decision is not Decision.MAP or not row.source.connector_id:
                continue
            connector = self.target_of(Kind.CONNECTOR, row.source.connector_id) or row.source.connector_id
            if there.connector_id and there.connector_id.lower() != connector.lower():
                message = f"connection {_named(row.source)} cannot become {_named(there)}: another connector"
                self.problem(row.source, "connector-mismatch", message, "choose a connection of the same connector")

    def _match_tenant(self) -> None:
        mine, theirs = self.source.tenant, self.target.tenant
        if mine.id and theirs.id:
            one = Entity(kind=Kind.TENANT, id=mine.id, name=mine.name)
            self.rows[Kind.TENANT, mine.id.lower()] = MappingRow(
                kind=Kind.TENANT, source=one, target_id=theirs.id, target_name=theirs.name, rule="tenant"
            )

    def _settled(self, one: Entity, choices: Mapping[Key, Chosen]) -> bool:
        """The rules that need no search: explicit, ledger, same id."""
        key = (one.kind, one.id.lower())
        if (choice := choices.get(key)) is not None:
            self.rows[key] = _explicit(choice)
            return True
        known = self.target.get(one.kind, self.ledger.get(key))
        rule = "ledger"
        if known is None and not (self.copy and one.kind is Kind.AUTOMATION):
            known, rule = self.target.get(one.kind, one.id), "same-id"
            if known is not None and one.kind is Kind.CONNECTOR:
                rule = "id"
        if known is None:
            return False
        self.rows[key] = _row(one, known, rule)
        return True

    def _accept(self, kind: Kind, found: Iterable[tuple[Entity, Found]]) -> None:
        """Rows for what was found, once it is sure that no two sources ask for one target."""
        found = list(found)
        askers: dict[str, list[Entity]] = defaultdict(list)
        for row in self.rows.values():
            if row.kind is kind and row.rule == "ledger" and row.target_id:
                askers[row.target_id.lower()].append(row.source)
        for one, hit in found:
            if len(hit.candidates) == 1:
                askers[hit.candidates[0].id.lower()].append(one)
        for one, hit in found:
            row = MappingRow(kind=kind, source=one)
            if len(hit.candidates) > 1:
                row = evolve(row, rule="ambiguous")
                self._ambiguous(one, hit)
            elif hit.candidates:
                target = hit.candidates[0]
                rivals = askers[target.id.lower()]
                if len(rivals) > 1 and not _may_share(kind, hit.rule):
                    row = evolve(row, rule="ambiguous")
                    listed = ", ".join(_named(rival) for rival in rivals)
                    self.problem(
                        one, "ambiguous-match", f"{len(rivals)} {kind}s would become {_named(target)}: {listed}",
                        f"say in the mapping file which one is meant: section `[{kind}s]`",
                    )  # fmt: skip
                else:
                    row = _row(one, target, hit.rule)
            elif kind is Kind.USER and self.fallback_owner is not None:
                fallback = self.target.get(Kind.USER, self.fallback_owner)
                row = evolve(row, target_id=self.fallback_owner, target_name=fallback.name if fallback else "",
                             rule="fallback")  # fmt: skip
            elif kind is Kind.CONNECTOR and self.knows_connectors:
                self.problem(
                    one, "connector-missing", f"the target does not publish connector {_named(one)}",
                    "map it to another one in the section `[connectors]`, or leave these automations out",
                )  # fmt: skip
            self.rows[kind, one.id.lower()] = row

    def _ambiguous(self, one: Entity, hit: Found) -> None:
        listed = ", ".join(_named(candidate) for candidate in hit.candidates)
        message = f"{len(hit.candidates)} candidates for {one.kind} {_named(one)} by {hit.rule}: {listed}"
        self.problem(one, "ambiguous-match", message, f"choose one in the mapping file: section `[{one.kind}s]`")

    # -- natural keys

    def _find(self, one: Entity) -> Found:
        match one.kind:
            case Kind.USER:
                return self._find_user(one)
            case Kind.SPACE:
                renamed = self.decisions.renamed(one)
                return Found(tuple(self._index("type+name").get((one.type, renamed.name), ())), "type+name")
            case Kind.CONNECTOR:
                return Found(tuple(self._index("connector name").get((one.name,), ())), "name")
            case Kind.CONNECTION:
                return self._find_connection(one)
            case Kind.ITEM if self.match_items:
                space = self.space_of(one)
                hits = self._index("item").get((one.type, one.name, (space or "").lower()), ())
                return Found(tuple(hits) if space is not None else (), "type+name+space")
            case _:
                return Found((), names.UNMATCHED)

    def _find_user(self, one: Entity) -> Found:
        renamed = self.decisions.renamed(one)
        by_subject = tuple(self._index("subject").get((renamed.subject,), ())) if renamed.subject else ()
        by_email: tuple[Entity, ...] = ()
        if renamed.email and _is_active(one):
            by_email = tuple(self._index("email").get((renamed.email.lower(),), ()))
        if by_subject and by_email and not set(_ids(by_subject)) & set(_ids(by_email)):
            return Found((*by_subject, *by_email), "subject and email")
        return Found(by_subject, "subject") if by_subject else Found(by_email, "email")

    def _find_connection(self, one: Entity) -> Found:
        connector, owner = self.target_of(Kind.CONNECTOR, one.connector_id) or one.connector_id, self.owner_of(one)
        if owner is None:
            return Found((), names.UNMATCHED)
        if one.connector_id.lower() == QLIK_CLOUD_SERVICES:
            own = self._index("connector+owner").get((connector.lower(), owner.lower()), ())
            return Found(tuple(own), SYSTEM_RULE)
        hits = self._index("connection").get((connector.lower(), one.name, owner.lower()), ())
        if len(hits) > 1:
            space = self.space_of(one)
            near = [hit for hit in hits if space is not None and hit.space_id.lower() == space.lower()]
            if len(near) == 1:
                return Found(tuple(near), "connector+name+owner+space")
        return Found(tuple(hits), "connector+name+owner")

    def _index(self, rule: str) -> Mapping[tuple[str, ...], list[Entity]]:
        if rule not in self._indexes:
            kind, key = _KEYS[rule]
            index: dict[tuple[str, ...], list[Entity]] = defaultdict(list)
            for one in self.target.of(kind):
                if kind is not Kind.USER or _is_active(one):
                    index[key(one)].append(one)
            self._indexes[rule] = index
        return self._indexes[rule]

    _indexes: dict[str, Mapping[tuple[str, ...], list[Entity]]] = field(factory=dict, init=False)

    # -- automations: the only kind where many may share a natural key

    def _find_automations(self, left: Iterable[Entity]) -> list[tuple[Entity, Found]]:
        groups: dict[tuple[str, str, str], list[Entity]] = defaultdict(list)
        found: list[tuple[Entity, Found]] = []
        for one in left:
            space, owner = self.place_of(one), self.owner_of(one)
            if space is None or owner is None:
                found.append((one, Found((), names.UNMATCHED)))
            else:
                groups[one.name, space.lower(), owner.lower()].append(one)
        taken = {row.target_id.lower() for row in self.rows.values() if row.kind is Kind.AUTOMATION and row.target_id}
        if self.copy:
            taken |= {one.id.lower() for one in self.source.of(Kind.AUTOMATION)}
        for key, sources in groups.items():
            targets = [hit for hit in self._index("automation").get(key, ()) if hit.id.lower() not in taken]
            found += pair(sources, targets, self.contents)
        return found


_KEYS: Mapping[str, tuple[Kind, Callable[[Entity], tuple[str, ...]]]] = {
    "subject": (Kind.USER, lambda one: (one.subject,)),
    "email": (Kind.USER, lambda one: (one.email.lower(),)),
    "type+name": (Kind.SPACE, lambda one: (one.type, one.name)),
    "connector name": (Kind.CONNECTOR, lambda one: (one.name,)),
    "connection": (Kind.CONNECTION, lambda one: (one.connector_id.lower(), one.name, one.owner_id.lower())),
    "connector+owner": (Kind.CONNECTION, lambda one: (one.connector_id.lower(), one.owner_id.lower())),
    "automation": (Kind.AUTOMATION, lambda one: (one.name, one.space_id.lower(), one.owner_id.lower())),
    "item": (Kind.ITEM, lambda one: (one.type, one.name, one.space_id.lower())),
}


def _may_share(kind: Kind, rule: str) -> bool:
    """Whether many may become one: what stands for a product, or for a user, and is no object that people made.

    The system gives each user one connection of its own. Where several owners become one, theirs become that one's.
    """
    return kind is Kind.CONNECTOR or (kind is Kind.CONNECTION and rule == SYSTEM_RULE)


def _is_active(user: Entity) -> bool:
    """Source: openapi/users.json, `status`. A row that does not say is taken as active."""
    return user.status.lower() in ("", "active")


def _ids(ones: Iterable[Entity]) -> list[str]:
    return [one.id.lower() for one in ones]


def _named(one: Entity) -> str:
    return f"`{one.name or one.email or one.subject or one.id}` ({one.id})"


def _row(one: Entity, target: Entity, rule: str) -> MappingRow:
    return MappingRow(kind=one.kind, source=one, target_id=target.id, target_name=target.name, rule=rule)


def _explicit(choice: Chosen) -> MappingRow:
    return MappingRow(
        kind=choice.source.kind, source=choice.source, target_id=choice.target_id, target_name=choice.target_name,
        decision=choice.decision, rule="explicit",
    )  # fmt: skip


def match(
    source: Inventory,
    target: Inventory,
    *,
    decisions: MappingFile | None = None,
    ledger: Mapping[Key, str] | None = None,
    needed: Collection[Key] | None = None,
    contents: Contents | None = None,
    owner_override: str | None = None,
    fallback_owner: str | None = None,
    fallback_space: str | None = None,
    copy: bool = False,
    match_items: bool = False,
) -> names.Mapping:
    """The mapping from `source` to `target`: explicit, ledger, same id, natural key, in this order.

    Args:
        needed: the objects that the selection uses; problems are told for these only. None: for all.
        owner_override: id of the one target user who will own everything; connections are looked for among theirs.
        fallback_owner: id of the target user who stands in for users without a counterpart.
        fallback_space: id of the target space that takes automations whose own has no counterpart.
        copy: within one tenant, an automation is never its own counterpart.
        match_items: match apps and other items by type, name and mapped space.
    """
    decisions = decisions or MappingFile()
    matcher = _Matcher(
        source, target, decisions,
        {(kind, ident.lower()): found for (kind, ident), found in (ledger or {}).items()},
        None if needed is None else frozenset((kind, ident.lower()) for kind, ident in needed),
        contents, owner_override, fallback_owner, fallback_space, copy, match_items,
    )  # fmt: skip
    matcher.run()
    hosts = {}
    if target.tenant.own_host and source.is_cloud:
        hosts = {
            host: target.tenant.own_host for host in source.tenant.all_hosts() if host not in target.tenant.all_hosts()
        }
    hosts |= {host.lower(): new or host for host, new in decisions.hosts.items()}
    return names.Mapping(
        rows=tuple(matcher.rows.values()),
        hosts=hosts,
        values=decisions.literal_values(),
        mail_domains=decisions.mail_domains,
        problems=tuple(matcher.problems),
        rewrite_code=decisions.rewrite_code,
        rewrite_prose=decisions.rewrite_prose,
    )


def contested(source: Inventory, target: Inventory, mapping: names.Mapping) -> tuple[frozenset[str], frozenset[str]]:
    """Automations whose content must be read before `match` can tell them apart: ids at the source, ids at the target.

    `mapping` is the result of a first `match` without `contents`.
    """
    rows = [row for row in mapping.of(Kind.AUTOMATION) if row.rule in ("ambiguous", "created-at")]
    wanted = {row.source.name for row in rows}
    taken = {row.target_id for row in mapping.of(Kind.AUTOMATION) if row.rule not in ("ambiguous", "created-at")}
    return (
        frozenset(row.source.id for row in rows),
        frozenset(one.id for one in target.of(Kind.AUTOMATION) if one.name in wanted and one.id not in taken),
    )
