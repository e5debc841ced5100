"""Which connections a restore binds to, which it creates and which it leaves to people. Pure.

A connection's secrets cannot be read from a tenant: one is created only where every parameter that it needs has a value
from the secrets file. Source: openapi/workflows-automation-connections.json, `createAutomationConnection`;
openapi/workflows-automation-connectors.json, `params` of a connector.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import evolve, field, frozen

from qlikmigrate.importer.plan import Action, ConnectionAction, OwnerMode, PlanOptions, Step, Verb
from qlikmigrate.importer.source import Source
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.kernel.secret import Secret
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.matching import QLIK_CLOUD_SERVICES

# Connection id or name → parameter name → value.
Values = Mapping[str, Mapping[str, Secret]]
_KNOWN_RULES = ("ledger", "same-id")


@frozen(kw_only=True)
class Parameter:
    """What a connector asks for. `required`: without it nothing connects."""

    name: str
    required: bool


@frozen(kw_only=True)
class ConnectionInput:
    """What the connections of a plan follow from. `parameters`: source id → what its connector asks for, if known."""

    source: Source
    target: Target
    mapping: IdMapping
    options: PlanOptions
    values: Values = field(factory=dict, repr=False)
    parameters: Mapping[str, tuple[Parameter, ...]] = field(factory=dict)


@frozen(kw_only=True)
class ConnectionPlan:
    """One action for each connection that the selection uses, in id order."""

    actions: tuple[ConnectionAction, ...] = ()
    problems: tuple[Problem, ...] = ()

    def pending(self) -> list[tuple[Kind, str]]:
        """Those that will be created: references to them are settled later."""
        return [(Kind.CONNECTION, one.source_id) for one in self.actions if one.verb is Verb.CREATE]


def used_connections(source: Source) -> list[Entity]:
    """The archive's connections that the selection is bound to, in id order."""
    used = {ident.lower() for one in source.automations.values() for ident in one.connections}
    return sorted((one for one in source.inventory.of(Kind.CONNECTION) if one.id.lower() in used), key=lambda c: c.id)


def values_of(one: Entity, values: Values) -> Mapping[str, Secret]:
    """What the secrets file says of a connection: under its id, else under its name."""
    by_id = {key.lower(): value for key, value in values.items()}
    return by_id.get(one.id.lower()) or values.get(one.name) or {}


def owner_mode_of(target: Target, owner: str, wish: str) -> OwnerMode | None:
    """How something comes to `owner`, a user of the target; None where this identity has no way."""
    if owner == target.caller.user_id:
        return OwnerMode.IMPORTER if wish == "importer" else OwnerMode.CALLER
    if wish in ("auto", "impersonate") and target.can_impersonate:
        return OwnerMode.IMPERSONATE
    if wish in ("auto", "transfer") and target.caller.may_transfer:
        return OwnerMode.TRANSFER
    return None


def plan_connections(given: ConnectionInput) -> ConnectionPlan:
    """Decide for every connection that the selection uses, before the automations are decided on."""
    used = used_connections(given.source)
    problems = list(misnamed(given.values, given.parameters, used))
    actions = []
    for one in used:
        action = _decide(given, one)
        actions.append(action)
        if action.code == "connection-values-missing":
            problems.append(
                Problem(
                    code="connection-values-missing",
                    severity=Severity.TODO,
                    message=f"connection `{one.name}` is not created: {action.reason}",
                    where=f"connection {one.id}",
                    hint="name the values in a --secrets file, or create the connection by hand and restore again",
                )
            )
    return ConnectionPlan(actions=tuple(actions), problems=tuple(problems))


def settle(planned: ConnectionPlan, actions: Iterable[Action], source: Source) -> tuple[ConnectionAction, ...]:
    """The connections once it is known which automations are written: what nobody waits for is not created."""
    users: dict[str, list[str]] = {}
    for action in actions:
        if action.verb in (Verb.CREATE, Verb.UPDATE):
            for ident in source.automations[action.source_id].connections:
                users.setdefault(ident.lower(), []).append(action.source_id)
    settled = []
    for one in planned.actions:
        used_by = tuple(sorted(users.get(one.source_id.lower(), ())))
        if one.verb is Verb.CREATE and not used_by:
            one = evolve(one, verb=Verb.SKIP, steps=(), code="not-needed", reason="what uses it is not written")
        settled.append(evolve(one, used_by=used_by))
    return tuple(settled)


def _decide(given: ConnectionInput, one: Entity) -> ConnectionAction:
    row = given.mapping.row_of(Kind.CONNECTION, one.id)
    base = ConnectionAction(verb=Verb.SKIP, source_id=one.id, name=one.name)
    there = given.target.inventory.get(Kind.CONNECTION, row.target_id if row else None)
    if row is not None and row.target_id:
        known = row.rule in _KNOWN_RULES
        return evolve(
            base,
            verb=Verb.NONE if known else Verb.ADOPT,
            target_id=row.target_id,
            owner_id=there.owner_id if there else "",
            reason=f"matched: {row.rule}",
        )
    if row is not None and row.decision is not Decision.MAP:
        return evolve(base, code="mapping", reason=f"the mapping says `{row.decision}`")
    if row is not None and row.rule == "ambiguous":
        return evolve(base, code="ambiguous-match", reason="more than one counterpart is possible")
    if given.options.connections != "create":
        return evolve(base, code="connection-unbound", reason="no counterpart at the target")
    if one.connector_id.lower() == QLIK_CLOUD_SERVICES:
        return evolve(base, code="connection-managed", reason="the system makes it for each user")
    return _create(given, one, base)


def _create(given: ConnectionInput, one: Entity, base: ConnectionAction) -> ConnectionAction:
    connector = given.mapping.target_of(Kind.CONNECTOR, one.connector_id)
    if connector is None:
        return evolve(base, code="connector-missing", reason="the target does not publish its connector")
    importer = given.options.owner == "importer"
    owner = given.target.caller.user_id if importer else given.mapping.target_of(Kind.USER, one.owner_id)
    if owner is None:
        return evolve(base, code="owner-missing", reason="its owner has no counterpart at the target")
    mode = owner_mode_of(given.target, owner, given.options.owner)
    if mode is None:
        return evolve(base, code="owner-not-settable", reason="this identity cannot give it to its owner")
    base = evolve(base, owner_id=owner)
    values = values_of(one, given.values)
    asked = given.parameters.get(one.id)
    if asked is None and not values:
        return evolve(base, code="connection-values-missing", reason="nobody can tell which values it needs")
    missing = [parameter.name for parameter in asked or () if parameter.required and parameter.name not in values]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        return evolve(base, code="connection-values-missing", reason=f"no value for {listed}")
    steps = (Step.CREATE, Step.CHECK)
    return evolve(
        base,
        verb=Verb.CREATE,
        connector_id=connector,
        owner_id=owner,
        owner_mode=mode,
        space_id=_space_of(given, one),
        params=tuple(sorted(values)),
        # Checked while it is still the caller's: other people's connections are closed to an administrator's bot.
        steps=(*steps, Step.CHANGE_OWNER) if mode is OwnerMode.TRANSFER else steps,
        reason="no counterpart at the target",
    )


def _space_of(given: ConnectionInput, one: Entity) -> str:
    """The mapped space, `new:SOURCE_ID` for one that is created first; else the owner's personal one."""
    if not one.space_id:
        return ""
    found = given.mapping.target_of(Kind.SPACE, one.space_id)
    if found is not None:
        return found
    row = given.mapping.row_of(Kind.SPACE, one.space_id)
    settled = row is not None and (row.decision is not Decision.MAP or row.rule == "ambiguous")
    wanted = {automation.entity.space_id.lower() for automation in given.source.automations.values()}
    if given.options.create_spaces and not settled and one.space_id.lower() in wanted:
        return f"new:{one.space_id}"
    return ""


def misnamed(
    values: Values, parameters: Mapping[str, tuple[Parameter, ...]], used: Collection[Entity]
) -> Iterable[Problem]:
    """What the secrets file says and nobody can make sense of."""
    for key in sorted(values):
        meant = [one for one in used if one.id.lower() == key.lower()] or [one for one in used if one.name == key]
        where = f"secrets file, connection `{key}`"
        if len(meant) > 1:
            yield Problem(
                code="secrets-ambiguous",
                severity=Severity.ERROR,
                message=f"{len(meant)} connections are called `{key}`: " + ", ".join(one.id for one in meant),
                where=where,
                hint="name it by its id",
            )
        elif not meant:
            yield Problem(
                code="secrets-unused",
                severity=Severity.WARNING,
                message=f"the selection uses no connection `{key}`",
                where=where,
            )
        elif (asked := parameters.get(meant[0].id)) is not None:
            unknown = sorted(set(values[key]) - {parameter.name for parameter in asked})
            if unknown:
                yield Problem(
                    code="secrets-unknown-parameter",
                    severity=Severity.ERROR,
                    message=f"the connector of `{meant[0].name}` has no parameter `{unknown[0]}`",
                    where=where,
                    hint="it has: " + ", ".join(parameter.name for parameter in asked),
                )
