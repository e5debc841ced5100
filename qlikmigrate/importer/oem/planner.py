"""Decides what a restore into an OEM account does. Pure: from what was read on both sides to actions and problems.

An automation is only ever made by installing its template, and a connection can be chosen only then. What exists keeps
its state and its schedule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from qlikmigrate.importer.comparison import Judgement, Verdict
from qlikmigrate.importer.ledger import Ledger
from qlikmigrate.importer.oem.action import OemAction
from qlikmigrate.importer.oem.connection_plan import settle
from qlikmigrate.importer.oem.face import changed_names, found_face, judge, settable, wanted_face
from qlikmigrate.importer.oem.matching import AMBIGUOUS, OemMatching
from qlikmigrate.importer.oem.source import OemSource
from qlikmigrate.importer.oem.target import OemTarget
from qlikmigrate.importer.plan import Action, Conflict, ConnectionAction, PlanOptions, Step, Verb
from qlikmigrate.importer.planner import settled
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import AVAILABLE, OemAutomation
from qlikmigrate.remap.mapping import Decision

STARTS = "oem-starts-on-install"
HAND_BUILT = "hand-built"
_HAND_IN = "hand in what is known with `backup --schedules FILE`, or settle it in the hub"


@frozen(kw_only=True)
class OemPlanInput:
    """What a plan follows from. `required`: template of the target → inputs without which it is not installed."""

    source: OemSource
    target: OemTarget
    matching: OemMatching
    ledger: Ledger
    options: PlanOptions
    connections: tuple[ConnectionAction, ...] = ()
    required: Mapping[str, frozenset[str]] = field(factory=dict)


@frozen(kw_only=True)
class OemDecided:
    """Actions in the order in which they are carried out; a bundle before its parts."""

    actions: tuple[Action, ...]
    connections: tuple[ConnectionAction, ...]
    problems: tuple[Problem, ...]


def decide(given: OemPlanInput) -> OemDecided:
    """Decide for each selected automation."""
    return _Planner(given).run()


class _Planner:
    def __init__(self, given: OemPlanInput) -> None:
        self._given = given
        self._connections = {one.source_id: one for one in given.connections}
        self._problems: list[Problem] = list(given.matching.problems)
        self._made: dict[str, Action] = {}

    def run(self) -> OemDecided:
        given = self._given
        chosen = set(given.source.chosen)
        tops = [ident for ident in chosen if ident not in given.source.parents]
        for ident in sorted(tops, key=lambda one: (given.source.automation(one).created_at, one)):
            for each in (ident, *given.source.parts_of(ident)):
                self._made[each] = self._decide(each)
        self._start_bundles()
        actions = tuple(evolve(one, seq=seq) for seq, one in enumerate(self._made.values(), start=1))
        self._check_starts(actions)
        return OemDecided(
            actions=actions,
            connections=settle(given.connections, actions, given.source),
            problems=settled(self._problems),
        )

    # One automation

    def _decide(self, ident: str) -> Action:
        given = self._given
        one, match = given.source.automation(ident), given.matching.automation(ident)
        template = given.matching.template(one.template_id)
        base = Action(
            seq=0,
            verb=Verb.SKIP,
            source_id=ident,
            name=one.name,
            run_mode=one.run_mode,
            armed=not given.source.is_manual(ident),
            oem=OemAction(
                template_id=template.target_id,
                template_name=self._template_name(one),
                parent=given.source.parents.get(ident, ""),
                parts=tuple(given.source.parts_of(ident)),
                schedule=given.source.schedule_of(ident),
                state=given.source.states.get(ident, ""),
            ),
        )
        if match.decision is Decision.DROP:
            return evolve(base, code="mapping", reason=f"the mapping says `{match.decision}`")
        if match.rule == AMBIGUOUS:
            return evolve(base, code="ambiguous-match", reason="more than one counterpart is possible")
        if match.target_id:
            return self._meet(one, given.target.automations[match.target_id], base, known=match.is_known)
        return self._create(one, base)

    def _template_name(self, one: OemAutomation) -> str:
        known = self._given.source.holding.templates.get(one.template_id)
        return known.name if known else ""

    def _meet(self, one: OemAutomation, there: OemAutomation, base: Action, *, known: bool) -> Action:
        """It has a counterpart: name and inputs are compared, and nothing else is ever touched."""
        given = self._given
        base = evolve(base, target_id=there.id)
        names = settable(one, there) if not one.is_bundle else ()
        wanted, found = wanted_face(one, names), found_face(one.id, there, names)
        entry = given.ledger.get(Kind.AUTOMATION, one.id)
        last = entry.face if entry is not None and entry.target_id == there.id else None
        judgement = judge(wanted, found, last)
        match judgement.verdict:
            case Verdict.UNCHANGED:
                return evolve(base, verb=Verb.NONE, reason=judgement.reason)
            case Verdict.ADOPT:
                verb = Verb.NONE if known and entry is not None else Verb.ADOPT
                return evolve(base, verb=verb, reason=judgement.reason)
            case Verdict.UPDATE:
                return self._update(base, judgement)
            case _:
                return self._conflict(one, base, judgement)

    def _update(self, base: Action, judgement: Judgement) -> Action:
        """Inputs can be set by themselves. A name is written only where it can be seen that nothing else moves."""
        assert base.oem is not None
        inputs = changed_names(judgement.fields)
        steps = [Step.INPUTS] if inputs else []
        if "name" in judgement.fields:
            if self._given.target.states.get(base.target_id or ""):
                steps.append(Step.RENAME)
            else:
                # Whether a PUT resets what it leaves out is not documented: it could switch on what is off.
                self._tell(
                    "rename-by-hand",
                    Severity.TODO,
                    f"`{base.name}` has another name at the target, and its state there cannot be read",
                    base.source_id,
                    "rename it in the hub",
                )
        if not steps:
            return evolve(base, verb=Verb.NONE, code="rename-by-hand", reason="only its name differs")
        return evolve(
            base,
            verb=Verb.UPDATE,
            steps=tuple(steps),
            fields=judgement.fields,
            oem=evolve(base.oem, inputs=inputs),
            reason=judgement.reason,
        )

    def _conflict(self, one: OemAutomation, base: Action, judgement: Judgement) -> Action:
        base = evolve(base, fields=judgement.fields, code="conflict", reason=judgement.reason)
        message = f"`{one.name}`: {judgement.reason} ({', '.join(judgement.fields)})"
        match self._given.options.on_conflict:
            case Conflict.UPDATE:
                self._tell("conflict", Severity.WARNING, message, one.id, "the target's version is overwritten")
                return self._update(base, judgement)
            case Conflict.SKIP:
                self._tell("conflict", Severity.WARNING, message, one.id, "left as it is")
                return base
            case Conflict.NEW if one.template_id and not (base.oem and base.oem.parent):
                made = self._create(one, evolve(base, target_id=None))
                return evolve(made, code="conflict", reason="a new one beside its counterpart")
            case _:
                hint = "settle it with --on-conflict skip, update or new"
                self._tell("conflict", Severity.ERROR, message, one.id, hint)
                return base

    # What is installed

    def _create(self, one: OemAutomation, base: Action) -> Action:
        assert base.oem is not None
        if base.oem.parent:
            return self._part(one, base)
        if not one.template_id:
            return self._hand_built(one, base)
        if not base.oem.template_id:
            self._tell(
                "missing-template",
                Severity.ERROR,
                f"`{one.name}` was installed from template `{base.oem.template_name or one.template_id}`, "
                "which the target's provider does not offer",
                one.id,
                "bring the template there by hand, or map it in the section `[templates]`",
            )
            return evolve(base, code="missing-template", reason="the target's provider does not offer its template")
        passes, lacking = self._passes(one)
        if lacking:
            return evolve(base, code="connection-missing", reason=f"it needs {', '.join(lacking)}")
        return self._with_steps(one, evolve(base, oem=evolve(base.oem, passes=passes)), (Step.INSTALL, Step.DISABLE))

    def _part(self, one: OemAutomation, base: Action) -> Action:
        """It comes with its bundle, or not at all."""
        assert base.oem is not None
        bundle = self._made[base.oem.parent]
        if bundle.verb is Verb.CREATE:
            return self._with_steps(one, base, (Step.DISABLE,))
        if bundle.verb is Verb.SKIP:
            return evolve(base, code=bundle.code, reason=bundle.reason)
        self._tell(
            "part-missing",
            Severity.WARNING,
            f"the bundle `{bundle.name}` at the target has no `{one.name}`",
            one.id,
            "the template's bundle changed: update or install it by hand",
        )
        return evolve(base, code="part-missing", reason="the bundle at the target does not have it")

    def _hand_built(self, one: OemAutomation, base: Action) -> Action:
        self._tell(
            HAND_BUILT,
            Severity.TODO,
            f"`{one.name}` was built by hand, and no call makes such an automation",
            one.id,
            "the runbook has a work order; restore again afterwards, and it is matched by its name",
        )
        return evolve(base, code=HAND_BUILT, reason="built by hand: a person makes it again")

    def _passes(self, one: OemAutomation) -> tuple[tuple[str, ...], list[str]]:
        """The connections that are handed over, and names of those that there are not."""
        passes, lacking = [], []
        by_connector: dict[str, list[str]] = defaultdict(list)
        for linked in self._given.source.connections_of(one.id):
            action = self._connections[linked.id]
            if action.verb is not Verb.SKIP:
                passes.append(linked.id)
                by_connector[linked.connector_id].append(linked.name)
            elif action.code != "mapping":
                lacking.append(f"connection `{linked.name}`")
                self._lacks(one, linked.name, action)
        for names in by_connector.values():
            if len(names) > 1:
                self._tell(
                    "connections-of-one-connector",
                    Severity.ERROR,
                    f"`{one.name}` uses {len(names)} connections of one connector: {', '.join(sorted(names))}",
                    one.id,
                    "an install takes one of each connector: give the others the decision `null` in `[connections]`",
                )
        without = self._given.options.connections == "skip" or "connection-missing" in self._given.options.allow
        return tuple(passes), [] if without else lacking

    def _lacks(self, one: OemAutomation, name: str, action: ConnectionAction) -> None:
        if self._given.options.connections == "skip":
            self._tell(
                "connection-unbound",
                Severity.TODO,
                f"`{one.name}` is installed without connection `{name}`",
                one.id,
                "choose the connection in the hub",
            )
            return
        self._tell(
            "connection-missing",
            Severity.ERROR,
            f"`{one.name}` needs connection `{name}`, which can be chosen only when it is installed: {action.reason}",
            one.id,
            "make the connection, use --connections create with --secrets, or --connections skip to go without",
        )

    def _with_steps(self, one: OemAutomation, base: Action, first: tuple[Step, ...]) -> Action:
        """All its writes; on the bundle itself nothing is set, because its inputs are those of its parts."""
        oem = base.oem
        assert oem is not None
        names = () if one.is_bundle else settable(one, None)
        steps = [*first, *([Step.INPUTS] if names else []), Step.RENAME]
        if oem.schedule is not None and not one.is_bundle:
            steps.append(Step.SCHEDULE)
        starts = not one.is_bundle and self._may_start(one, base)
        if starts:
            steps.append(Step.ENABLE)
        held = base.armed and not starts and oem.state in (AVAILABLE, "") and not one.is_bundle
        if not oem.state and not one.is_bundle:
            held = True
            message = f"nobody says whether `{one.name}` is on at the source: it stays off"
            self._tell("state-unknown", Severity.TODO, message, one.id, _HAND_IN)
        if self._lacks_schedule(one, base) and not one.is_bundle:
            message = f"nobody says when `{one.name}` starts: its template's schedule stays"
            self._tell("schedule-unknown", Severity.TODO, message, one.id, _HAND_IN)
        required = self._given.required.get(oem.template_id, frozenset())
        everything = names if not oem.parts else self._names_of_parts(oem.parts)
        oem = evolve(oem, inputs=names, at_install=tuple(name for name in everything if name in required))
        return evolve(base, verb=Verb.CREATE, steps=tuple(steps), held=held, oem=oem,
                      reason=base.reason or "no counterpart at the target")  # fmt: skip

    def _names_of_parts(self, parts: Iterable[str]) -> tuple[str, ...]:
        """Inputs that a bundle can be given for all its parts: those that have one value in all of them."""
        values: dict[str, list[object]] = defaultdict(list)
        for part in parts:
            for name, value in self._given.source.automation(part).stored_inputs().items():
                values[name].append(value)
        return tuple(sorted(name for name, ones in values.items() if all(one == ones[0] for one in ones)))

    def _may_start(self, one: OemAutomation, base: Action) -> bool:
        """Manual ones get their state; what could fire is switched on only when asked for, and only if it is whole."""
        assert base.oem is not None
        if base.oem.state != AVAILABLE:
            return False
        return not base.armed or (self._given.options.start == "as-source" and not self._lacks_schedule(one, base))

    @staticmethod
    def _lacks_schedule(one: OemAutomation, base: Action) -> bool:
        return base.oem is not None and base.oem.schedule is None and one.run_mode in ("scheduled", "")

    def _start_bundles(self) -> None:
        """A bundle is switched on where all its parts are, because nobody knows what that does to them."""
        for ident, action in self._made.items():
            if action.verb is not Verb.CREATE or action.oem is None or not action.oem.parts:
                continue
            parts = [self._made[part] for part in action.oem.parts if not self._given.source.automation(part).is_bundle]
            if parts and all(Step.ENABLE in part.steps for part in parts) and action.oem.state == AVAILABLE:
                self._made[ident] = evolve(action, steps=(*action.steps, Step.ENABLE), held=False)
            else:
                self._made[ident] = evolve(action, held=any(part.held for part in parts))

    # Problems

    def _check_starts(self, actions: Iterable[Action]) -> None:
        many = sum(Step.INSTALL in one.steps for one in actions)
        if many:
            word = "template" if many == 1 else "templates"
            self._problems.append(
                Problem(
                    code=STARTS,
                    severity=Severity.ERROR,
                    message=f"{many} {word} would be installed: that starts a template's schedule, and nothing says "
                    "beforehand whether it has one",
                    where=f"account {self._given.target.account_id or self._given.target.word}",
                    hint=f"--allow {STARTS}: each is switched off at once, and for how long it was on is reported",
                )
            )

    def _tell(self, code: str, severity: Severity, message: str, ident: str, hint: str) -> None:
        where = f"automation {ident}"
        self._problems.append(Problem(code=code, severity=severity, message=message, where=where, hint=hint))
