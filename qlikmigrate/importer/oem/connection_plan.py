"""Which connections of an OEM account a restore hands over, which it creates and which it leaves to people. Pure.

Credentials are write-only: one is created only where every parameter that its connector requires has a value from the
secrets file. Source: the vendor's pages "Create datasource in account" and "Get connector".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from qlikmigrate.importer.connection_plan import Parameter, Values, misnamed, values_of
from qlikmigrate.importer.oem.matching import AMBIGUOUS, Match, OemMatching
from qlikmigrate.importer.oem.source import OemSource
from qlikmigrate.importer.oem.target import OemTarget
from qlikmigrate.importer.plan import Action, ConnectionAction, PlanOptions, Step, Verb
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import OemConnection, OemConnector
from qlikmigrate.remap.mapping import Decision


@frozen(kw_only=True)
class ConnectionNeeds:
    """What connections are decided on. `connectors`: guid at the source → the target's connector, None: it has none."""

    source: OemSource
    target: OemTarget
    matching: OemMatching
    options: PlanOptions
    connectors: Mapping[str, OemConnector | None] = field(factory=dict)
    values: Values = field(factory=dict, repr=False)


def plan_connections(given: ConnectionNeeds) -> tuple[tuple[ConnectionAction, ...], tuple[Problem, ...]]:
    """Decide for each connection of the selection, in id order."""
    ones = given.source.connections()
    entities = [_entity(one) for one in ones]
    asked = {
        one.id: tuple(Parameter(name=name, required=needed) for name, needed in connector.parameters.items())
        for one in ones
        if (connector := given.connectors.get(one.connector_id)) is not None
    }
    problems = list(misnamed(given.values, asked, entities))
    actions = []
    for one in ones:
        action = _decide(given, one)
        actions.append(action)
        problems += _checked(given, one)
        if action.code in ("connection-values-missing", "connector-missing"):
            problems.append(
                Problem(
                    code=action.code,
                    severity=Severity.TODO if action.code == "connection-values-missing" else Severity.ERROR,
                    message=f"connection `{one.name}` is not created: {action.reason}",
                    where=f"connection {one.id}",
                    hint="name the values in a --secrets file, or create the connection by hand and restore again"
                    if action.code == "connection-values-missing"
                    else "map it in the section `[connectors]`",
                )
            )
        if action.code == "connection-unbound" and not one.used_by:
            problems.append(
                Problem(
                    code="connection-unbound",
                    severity=Severity.TODO,
                    message=f"connection `{one.name}` has no counterpart; automations may use it without a link to it",
                    where=f"connection {one.id}",
                    hint="make it in the hub, or use --connections create with --secrets",
                )
            )
    return tuple(actions), tuple(problems)


def settle(
    connections: Iterable[ConnectionAction], actions: Iterable[Action], source: OemSource
) -> tuple[ConnectionAction, ...]:
    """The connections with who is installed with them. Those that nobody is linked to may be used without a link."""
    users: dict[str, list[str]] = {}
    for action in actions:
        if action.verb is Verb.CREATE and action.oem is not None:
            for ident in action.oem.passes:
                users.setdefault(ident, []).append(action.source_id)
    settled = []
    for one in connections:
        used_by = tuple(sorted(users.get(one.source_id, ())))
        linked = source.holding.connections[one.source_id].used_by
        if one.verb is Verb.CREATE and not used_by and linked and not source.whole:
            one = evolve(one, verb=Verb.SKIP, steps=(), code="not-needed", reason="what uses it is not installed")
        settled.append(evolve(one, used_by=used_by))
    return tuple(settled)


def _entity(one: OemConnection) -> Entity:
    return Entity(kind=Kind.CONNECTION, id=one.id, name=one.name)


def _checked(given: ConnectionNeeds, one: OemConnection) -> Iterable[Problem]:
    """A connection can only stand for one of the same connector, whoever says so."""
    there = given.target.connections.get(given.matching.connection(one.id).target_id)
    connector = given.connectors.get(one.connector_id)
    wanted = {one.connector_id, connector.id if connector else ""}
    same_name = there is not None and one.connector_name and there.connector_name == one.connector_name
    if (
        there is not None
        and there.connector_id
        and one.connector_id
        and not (there.connector_id in wanted or same_name)
    ):
        yield Problem(
            code="connector-mismatch",
            severity=Severity.ERROR,
            message=f"connection `{one.name}` cannot become `{there.name}`: another connector",
            where=f"connection {one.id}",
            hint="choose a connection of the same connector",
        )


def _decide(given: ConnectionNeeds, one: OemConnection) -> ConnectionAction:
    match = given.matching.connection(one.id)
    base = ConnectionAction(verb=Verb.SKIP, source_id=one.id, name=one.name)
    if match.target_id:
        verb = Verb.NONE if match.is_known else Verb.ADOPT
        return evolve(base, verb=verb, target_id=match.target_id, reason=f"matched: {match.rule}")
    if (why := _against(given, match)) is not None:
        return evolve(base, code=why[0], reason=why[1])
    connector = given.connectors.get(one.connector_id)
    if connector is None:
        return evolve(base, code="connector-missing", reason=f"the target has no connector `{one.connector_name}`")
    values = values_of(_entity(one), given.values)
    lacking = [name for name, needed in connector.parameters.items() if needed and name not in values]
    if lacking:
        listed = ", ".join(f"`{name}`" for name in lacking)
        return evolve(base, code="connection-values-missing", reason=f"no value for {listed}")
    return evolve(
        base,
        verb=Verb.CREATE,
        connector_id=connector.id,
        params=tuple(sorted(values)),
        steps=(Step.CREATE,),
        reason="no counterpart at the target",
    )


def _against(given: ConnectionNeeds, match: Match) -> tuple[str, str] | None:
    """Why one without a counterpart is not created."""
    if match.decision is not Decision.MAP:
        return "mapping", f"the mapping says `{match.decision}`"
    if match.rule == AMBIGUOUS:
        return "ambiguous-match", "more than one counterpart is possible"
    if given.options.connections != "create":
        return "connection-unbound", "no counterpart at the target"
    return None
