"""From two inventories, a mapping and the compared versions to a plan. Pure: it decides everything and does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from attrs import evolve, field, frozen

from qlikmigrate.importer.comparison import Face, Judgement, Verdict, judge, judge_unseen
from qlikmigrate.importer.connection_plan import ConnectionPlan, settle
from qlikmigrate.importer.draft import Draft
from qlikmigrate.importer.fallback import Fallback
from qlikmigrate.importer.ledger import Ledger
from qlikmigrate.importer.placement import Placement
from qlikmigrate.importer.plan import (
    FALLBACK,
    IMPORTER,
    Action,
    Conflict,
    ConnectionAction,
    OwnerMode,
    PlanOptions,
    SettingsAction,
    SpaceAction,
    Step,
    Verb,
)
from qlikmigrate.importer.preflight import PreflightInput, check
from qlikmigrate.importer.source import Source, SourceAutomation
from qlikmigrate.importer.space_plan import SpaceRecord
from qlikmigrate.importer.step_order import StepOrder
from qlikmigrate.importer.sync import SyncInput, synced
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem_view import Lacking
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping import Mapping as IdMapping


@frozen(kw_only=True)
class PlanInput:
    """Everything a plan follows from. `faces`: target id → face, None where the target's version is unreadable.

    `records`: the archive's spaces by lower-case id. `max_runs_wanted`: the source's setting, where it is to be brought
    over.
    """

    source: Source
    target: Target
    mapping: IdMapping
    ledger: Ledger
    options: PlanOptions
    drafts: Mapping[str, Draft] = field(repr=False)
    faces: Mapping[str, Face | None] = field(repr=False)
    now: datetime
    fallback: Fallback = field(factory=Fallback)
    records: Mapping[str, SpaceRecord] = field(factory=dict, repr=False)
    connections: ConnectionPlan = field(factory=ConnectionPlan)
    max_runs_wanted: int | None = None


@frozen(kw_only=True)
class Decided:
    """The decisions of a plan. `renewed`: automations that get a new copy beside their counterpart."""

    actions: tuple[Action, ...]
    spaces: tuple[SpaceAction, ...]
    connections: tuple[ConnectionAction, ...]
    settings: SettingsAction | None
    problems: tuple[Problem, ...]
    renewed: frozenset[str]

    def unmade(self) -> frozenset[str]:
        """Lower-case ids of automations that stay without a counterpart: nothing may wait for them."""
        return frozenset(
            one.source_id.lower() for one in self.actions if one.verb is Verb.SKIP and one.target_id is None
        )


def decide(given: PlanInput) -> Decided:
    """Decide what is done with each selected automation, in the order in which it is done."""
    return _Planner(given).run()


class _Planner:
    def __init__(self, given: PlanInput) -> None:
        self._given = given
        self._problems: list[Problem] = []
        self._renewed: set[str] = set()
        self._placement = Placement(
            given.source,
            given.target,
            given.mapping,
            given.options,
            dict(given.records),
            given.fallback.owner_id,
            given.fallback.space_id,
        )
        self._settings = self._settings_action()

    def run(self) -> Decided:
        given = self._given
        self._problems += given.mapping.problems
        drafted: list[Action] = []
        for ident, one in given.source.automations.items():
            action = self._decide(one)
            drafted.append(action)
            if action.verb in (Verb.CREATE, Verb.UPDATE):
                # What is not written can leave nothing behind.
                self._problems += [*given.drafts[ident].problems, *given.source.remarks(ident)]
        for lack in given.source.lacking:
            drafted.append(self._lack(lack))
            self._problems += given.source.remarks(lack.ident)
        bot, drill = given.target.caller.bot, given.options.drill
        order = StepOrder(source=given.source, drafts=given.drafts, bot=bot, drill=drill)
        actions = tuple(evolve(action, seq=seq) for seq, action in enumerate(order.ordered(drafted), start=1))
        connections = settle(given.connections, actions, given.source)
        self._problems += [*self._placement.problems, *given.connections.problems]
        self._problems += check(
            PreflightInput(
                source=given.source,
                target=given.target,
                actions=actions,
                connections=connections,
                settings=self._settings,
                now=given.now,
            )
        )
        return Decided(
            actions=actions,
            spaces=tuple(self._placement.spaces.values()),
            connections=connections,
            settings=self._settings,
            problems=settled(self._problems),
            renewed=frozenset(self._renewed),
        )

    def _settings_action(self) -> SettingsAction | None:
        now, wanted = self._given.target.max_runs_setting, self._given.max_runs_wanted
        if now is None or wanted is None or wanted <= now:
            return None
        return SettingsAction(before=now, after=wanted)

    # One automation

    def _decide(self, one: SourceAutomation) -> Action:
        given = self._given
        entity = one.entity
        row = given.mapping.row_of(Kind.AUTOMATION, entity.id)
        base = Action(
            seq=0,
            verb=Verb.SKIP,
            source_id=entity.id,
            name=entity.name,
            armed=one.armed,
            run_mode=entity.run_mode,
            wanted_owner=entity.owner_id,
        )
        if row is not None and row.decision is Decision.DROP:
            return evolve(base, code="mapping", reason=f"the mapping says `{row.decision}`")
        if row is not None and row.rule == "ambiguous":
            return evolve(base, code="ambiguous-match", reason="more than one counterpart is possible")
        counterpart = given.target.inventory.get(Kind.AUTOMATION, row.target_id if row else None)
        if counterpart is None:
            return self._create(one, base)
        return self._meet(one, counterpart, base)

    def _lack(self, lack: Lacking) -> Action:
        """What the archive has nothing to bring of. A counterpart that an earlier restore made stays what it is."""
        row = self._given.mapping.row_of(Kind.AUTOMATION, lack.ident)
        return Action(
            seq=0,
            verb=Verb.SKIP,
            source_id=lack.ident,
            target_id=row.target_id if row else None,
            name=row.source.name if row else "",
            code=lack.code,
            reason=lack.reason,
        )

    def _meet(self, one: SourceAutomation, counterpart: Entity, base: Action) -> Action:
        """An automation that has a counterpart: compare, and never touch more than the source changed."""
        given = self._given
        known = evolve(base, target_id=counterpart.id, owner_id=counterpart.owner_id, space_id=counterpart.space_id)
        entry = given.ledger.get(Kind.AUTOMATION, one.entity.id)
        last = entry.face if entry is not None and entry.target_id.lower() == counterpart.id.lower() else None
        judgement = judge_unseen(given.drafts[one.entity.id].face, last)
        if (face := given.faces.get(counterpart.id)) is not None:
            judgement = judge(given.drafts[one.entity.id].face, face, last)
        match judgement.verdict:
            case Verdict.UNCHANGED:
                action = evolve(known, verb=Verb.NONE, reason=judgement.reason)
            case Verdict.ADOPT:
                action = evolve(known, verb=Verb.ADOPT, reason=judgement.reason)
            case Verdict.UPDATE:
                action = self._update(one, counterpart, known, judgement)
            case _:
                action = self._conflict(one, counterpart, known, judgement)
        return self._with_sync(one, counterpart, action)

    def _with_sync(self, one: SourceAutomation, counterpart: Entity, action: Action) -> Action:
        given = self._given
        if not given.options.sync or action.verb not in (Verb.NONE, Verb.ADOPT, Verb.UPDATE):
            return action
        row = given.mapping.row_of(Kind.USER, one.entity.owner_id)
        wants = given.options.sync
        owner = row.target_id if row is not None and row.rule != FALLBACK and given.options.owner != IMPORTER else None
        place = self._placement.space_of(one) if "space" in wants else None
        runs = given.target.rows.get(counterpart.id, {}).get("maxConcurrentRuns")
        changed, problems = synced(
            evolve(action, owner_mode=self._mode(counterpart)),
            SyncInput(
                one=one,
                counterpart=counterpart,
                face=given.faces.get(counterpart.id),
                bound=bool(given.drafts[one.entity.id].face.bindings),
                options=given.options,
                target=given.target,
                owner_id=owner,
                space_id=place if isinstance(place, str) else None,
                runs_now=runs if isinstance(runs, int) else None,
                runs_wanted=self._runs_of(one) if "maxConcurrentRuns" in wants else None,
            ),
        )
        self._problems += problems
        return changed if changed.verb is Verb.UPDATE else action

    def _conflict(self, one: SourceAutomation, counterpart: Entity, known: Action, judgement: Judgement) -> Action:
        known = evolve(known, fields=judgement.fields, code="conflict", reason=judgement.reason)
        fields = ", ".join(judgement.fields)
        message = f"`{one.entity.name}`: {judgement.reason}" + (f" ({fields})" if fields else "")
        where = f"automation {one.entity.id} → {counterpart.id}"
        match self._given.options.on_conflict:
            case Conflict.UPDATE if self._given.faces.get(counterpart.id) is not None:
                self._problem(
                    "conflict",
                    Severity.WARNING,
                    message,
                    where,
                    "the target's version is overwritten and kept as a pre-image in the run folder",
                )
                return self._update(one, counterpart, known, judgement)
            case Conflict.SKIP:
                self._problem("conflict", Severity.WARNING, message, where, "left as it is")
                return known
            case Conflict.NEW:
                self._renewed.add(one.entity.id.lower())
                created = self._create(one, evolve(known, target_id=None))
                return evolve(created, code="conflict", reason="a new one beside its counterpart")
            case _:
                self._problem(
                    "conflict", Severity.ERROR, message, where, "settle it with --on-conflict skip, update or new"
                )
                return known

    def _update(self, one: SourceAutomation, counterpart: Entity, known: Action, judgement: Judgement) -> Action:
        enabled = counterpart.state != "disabled"
        arms = one.armed and counterpart.run_mode in ("", "manual")
        steps = (Step.DISABLE, Step.PUT) if enabled and arms else (Step.PUT,)
        runs = self._given.target.rows.get(counterpart.id, {}).get("maxConcurrentRuns")
        return evolve(
            known,
            verb=Verb.UPDATE,
            steps=steps,
            held=enabled and arms,
            owner_mode=self._mode(counterpart),
            fields=judgement.fields,
            reason=judgement.reason,
            max_concurrent_runs=runs if isinstance(runs, int) else None,
            kept=judgement.kept,
            target_core=face.core if (face := self._given.faces.get(counterpart.id)) else None,
        )

    def _mode(self, counterpart: Entity) -> OwnerMode:
        """As whom an existing automation is written."""
        caller = self._given.target.caller
        others = counterpart.owner_id != caller.user_id
        return (
            OwnerMode.IMPERSONATE
            if others and not caller.bot and self._given.target.can_impersonate
            else (OwnerMode.CALLER)
        )

    def _create(self, one: SourceAutomation, base: Action) -> Action:
        place = self._placement.place_of(one)
        if place.code:
            return evolve(base, code=place.code, reason=place.reason)
        mode = place.owner_mode
        draft = self._given.drafts[one.entity.id]
        action = evolve(
            base,
            verb=Verb.CREATE,
            owner_id=place.owner_id,
            owner_mode=mode,
            owner_rule=self._owner_rule(one),
            space_id=place.space_id,
            held=one.armed and self._is_held(one.entity),
            max_concurrent_runs=self._runs_of(one),
            reason="no counterpart at the target",
        )
        if mode is OwnerMode.TRANSFER and not self._given.target.caller.bot and draft.face.bindings:
            self._problem(
                "bindings-lost-on-transfer",
                Severity.TODO,
                f"`{one.entity.name}`: its connections cannot be bound once it belongs to its owner",
                f"automation {one.entity.id}",
                "use a Trusted OAuth client, or bind them by hand",
            )
        if one.entity.state == "unavailable":
            self._problem(
                "source-unavailable",
                Severity.WARNING,
                f"`{one.entity.name}` is unavailable at the source and is created disabled",
                f"automation {one.entity.id}",
            )
        return action

    def _is_held(self, one: Entity) -> bool:
        """Whether what could fire waits for its start. What nobody says is on is for people alone to start."""
        on = one.state == "available" and self._given.options.start == "held"
        return on or self._given.source.is_unsure(one)

    def _owner_rule(self, one: SourceAutomation) -> str:
        if self._given.options.owner == IMPORTER:
            # In an OEM account nobody owns anything: there is nobody whose place it is.
            return IMPORTER if self._given.source.inventory.is_cloud else ""
        row = self._given.mapping.row_of(Kind.USER, one.entity.owner_id)
        if row is None or row.target_id is None:
            return FALLBACK if self._given.fallback.owner_id is not None else ""
        return row.rule

    def _runs_of(self, one: SourceAutomation) -> int | None:
        limit = self._settings.after if self._settings else self._given.target.max_runs_setting
        wanted = one.max_concurrent_runs
        if wanted is None or limit is None or wanted <= limit:
            return wanted
        self._problem(
            "max-runs-clamped",
            Severity.WARNING,
            f"`{one.entity.name}` may run {wanted} times at once; the target allows {limit}",
            f"automation {one.entity.id}",
            "say --settings, or raise maxConcurrentRunsPerAutomation at the target",
        )
        return limit

    # Problems

    def _problem(self, code: str, severity: Severity, message: str, where: str, hint: str = "") -> None:
        self._problems.append(Problem(code=code, severity=severity, message=message, where=where, hint=hint))


def settled(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Without doubles, the worst first."""
    rank = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.TODO: 2, Severity.INFO: 3}
    return tuple(sorted(dict.fromkeys(problems), key=lambda one: (rank[one.severity], one.code, one.where)))
