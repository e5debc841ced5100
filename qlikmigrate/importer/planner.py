"""From two inventories, a mapping and the compared versions to a plan. Pure: it decides everything and does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from attrs import evolve, field, frozen

from qlikmigrate.importer.comparison import NEW, Face, Judgement, Verdict, judge, judge_unseen
from qlikmigrate.importer.connection_plan import ConnectionPlan, settle
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
from qlikmigrate.importer.sync import SyncInput, synced
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.graph import call_order
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import Rewritten
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping import Mapping as IdMapping


@frozen(kw_only=True)
class Draft:
    """What a rewrite says of one automation: its face at the target, what it refers to, what it could not settle."""

    face: Face
    refers_to: frozenset[str]
    problems: tuple[Problem, ...] = ()


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
    fallback_owner: str | None = None
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


def draft_of(rewritten: Rewritten, face: Face, bound: Mapping[str, str], where: str) -> Draft:
    """The draft of a rewritten document. `bound`: block → connection id, as the source has it.

    A connection that is still to be created is bound in the draft as `new:SOURCE_ID`.
    """
    pending = {ident.lower() for kind, ident in rewritten.pending if kind is Kind.CONNECTION}
    new = {block: f"{NEW}{ident}" for block, ident in bound.items() if ident.lower() in pending}
    return Draft(
        face=evolve(face, bindings={**face.bindings, **new}),
        refers_to=frozenset(ident.lower() for kind, ident in rewritten.pending if kind is Kind.AUTOMATION),
        problems=tuple(finding.problem(where) for finding in rewritten.findings),
    )


class _Planner:
    def __init__(self, given: PlanInput) -> None:
        self._given = given
        self._problems: list[Problem] = []
        self._renewed: set[str] = set()
        self._placement = Placement(
            given.source, given.target, given.mapping, given.options, dict(given.records), given.fallback_owner
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
                self._problems += given.drafts[ident].problems
        actions = tuple(evolve(action, seq=seq) for seq, action in enumerate(self._order(drafted), start=1))
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
            held=one.armed and one.entity.state == "available" and self._given.options.start == "held",
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

    def _owner_rule(self, one: SourceAutomation) -> str:
        if self._given.options.owner == IMPORTER:
            return IMPORTER
        row = self._given.mapping.row_of(Kind.USER, one.entity.owner_id)
        if row is None or row.target_id is None:
            return FALLBACK if self._given.fallback_owner is not None else ""
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

    # Order and steps

    def _order(self, drafted: list[Action]) -> list[Action]:
        """Creates first, shells before all, then callees before callers; each with its writes."""
        creates = {one.source_id.lower(): one for one in drafted if one.verb is Verb.CREATE}
        shells = {key for key, one in creates.items() if one.armed}
        whole = {key: self._refers(key, creates) - shells for key in creates.keys() - shells}
        order = call_order(whole)
        # Shells need no order to be created; callees first is for `--start as-source`, which goes by it.
        among = call_order({key: self._refers(key, creates) & shells for key in shells})
        result = [self._with_steps(creates[key], again=False) for wave in among.generations for key in wave]
        for generation in order.generations:
            for key in generation:
                again = key in order.back_calls or key in self._refers(key, creates)
                result.append(self._with_steps(creates[key], again=again))
        return result + [one for one in drafted if one.verb is not Verb.CREATE]

    def _refers(self, key: str, creates: Mapping[str, Action]) -> set[str]:
        """The automations to be created that one refers to; itself too where it holds its own id."""
        return set(self._given.drafts[creates[key].source_id].refers_to) & creates.keys()

    def _with_steps(self, action: Action, *, again: bool) -> Action:
        given = self._given
        source = given.source.automations[action.source_id].entity
        bindings = bool(given.drafts[action.source_id].face.bindings)
        enable = action.armed and source.state == "available" and not action.held
        off = source.state in ("disabled", "unavailable")
        transfer = action.owner_mode is OwnerMode.TRANSFER
        binds_last = transfer and given.target.caller.bot
        if action.armed:
            steps = [Step.SHELL, Step.DISABLE]
            steps += [Step.CHANGE_OWNER, Step.PUT] if binds_last else [Step.PUT]
        elif given.options.drill:
            # Marked as the run's until it is complete: what a lost create has made must be removed as well.
            steps = [Step.SHELL, Step.CHANGE_OWNER, Step.PUT] if binds_last else [Step.SHELL, Step.PUT]
            steps += [Step.DISABLE] if off else []
        else:
            steps = [Step.CREATE]
            if binds_last:
                steps += [Step.CHANGE_OWNER] + ([Step.PUT] if bindings or again else [])
            elif again:
                steps += [Step.PUT]
            if off:
                steps.append(Step.DISABLE)
        if transfer and not binds_last:
            steps.append(Step.CHANGE_OWNER)
        if enable:
            steps.append(Step.ENABLE)
        return evolve(action, steps=tuple(steps), bind_last=transfer)

    # Problems

    def _problem(self, code: str, severity: Severity, message: str, where: str, hint: str = "") -> None:
        self._problems.append(Problem(code=code, severity=severity, message=message, where=where, hint=hint))


def settled(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Without doubles, the worst first."""
    rank = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.TODO: 2, Severity.INFO: 3}
    return tuple(sorted(dict.fromkeys(problems), key=lambda one: (rank[one.severity], one.code, one.where)))
