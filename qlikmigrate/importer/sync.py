"""`--sync`: what an update brings over besides the document, in the fewest writes, and what is lost by it. Pure.

What could fire is never switched on under `--start held`, and what a move detaches is bound again last.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from qlikmigrate.importer.comparison import Face
from qlikmigrate.importer.plan import Action, PlanOptions, Step, Verb
from qlikmigrate.importer.source import SourceAutomation
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.inventory import Entity

STATE = "state"
OWNER = "owner"
SPACE = "space"
RUNS = "maxConcurrentRuns"


@frozen(kw_only=True)
class SyncInput:
    """One automation of the archive and its counterpart. `face`: the target's, None where it cannot be read.

    `bound`: the source's document is bound to connections. `owner_id`, `space_id`: where it belongs at the target, None
    where nobody knows. `runs_now`, `runs_wanted`: of the target and of the source, the latter as far as it may be.
    """

    one: SourceAutomation
    counterpart: Entity
    face: Face | None = field(repr=False)
    bound: bool
    options: PlanOptions
    target: Target = field(repr=False)
    owner_id: str | None
    space_id: str | None
    runs_now: int | None
    runs_wanted: int | None


def synced(action: Action, given: SyncInput) -> tuple[Action, list[Problem]]:
    """`action` (none, adopt or update) with what `--sync` adds to it, and what has to be told."""
    return _Sync(action, given).run()


class _Sync:
    def __init__(self, action: Action, given: SyncInput) -> None:
        self._action = action
        self._given = given
        self._where = f"automation {action.source_id} → {action.target_id}"
        self._problems: list[Problem] = []

    def run(self) -> tuple[Action, list[Problem]]:
        given, action = self._given, self._action
        if given.face is None:
            self._tell("sync-left", "its version at the target cannot be read, so nothing is brought over")
            return action, self._problems
        owner, space, runs = self._owner(), self._space(), self._runs()
        off, on, held = self._state()
        fields = [
            name
            for name, changes in ((STATE, off or on), (OWNER, owner), (SPACE, space), (RUNS, runs))
            if changes is not None and changes is not False
        ]
        if not fields:
            return action, self._problems
        steps, bind_last = self._steps(owner=owner, space=space, runs=runs, off=off, on=on)
        writes = Step.PUT in action.steps
        return (
            evolve(
                action,
                verb=Verb.UPDATE,
                steps=tuple(steps),
                held=held and not on,
                synced=tuple(fields),
                fields=(*action.fields, *fields),
                new_owner=owner,
                new_space=space,
                max_concurrent_runs=runs if runs is not None else given.runs_now,
                own_text=Step.PUT in steps and not writes,
                adopted=action.verb is Verb.ADOPT,
                target_core=given.face.core,
                bind_last=bind_last,
                reason=action.reason if writes else "brought over: " + ", ".join(fields),
            ),
            self._problems,
        )

    def _steps(
        self, *, owner: str | None, space: str | None, runs: int | None, off: bool, on: bool
    ) -> tuple[list[Step], bool]:
        """The writes in their order, and whether its bindings are left to the new owner."""
        given, action = self._given, self._action
        bound = given.bound or bool(given.face and given.face.bindings)
        # Whoever is neither an OAuth client's own user nor can act as the new owner cannot write once it is theirs.
        late = given.target.caller.bot or given.target.can_impersonate or owner == given.target.caller.user_id
        rebind = bound and (space is not None or (owner is not None and late))
        put = [Step.PUT] if Step.PUT in action.steps or runs is not None or rebind else []
        steps = [Step.DISABLE] if off or Step.DISABLE in action.steps else []
        steps += [Step.CHANGE_SPACE] if space is not None else []
        moved = [Step.CHANGE_OWNER] if owner is not None else []
        steps += [*moved, *put] if late else [*put, *moved]
        steps += [Step.ENABLE] if on else []
        left = owner is not None and not late and bound
        if left:
            self._tell(
                "bindings-lost-on-transfer",
                "its connections cannot be bound once it belongs to its owner",
                Severity.TODO,
                "use a Trusted OAuth client, or bind them by hand",
            )
        return steps, left

    def _owner(self) -> str | None:
        given = self._given
        wanted = given.owner_id
        if OWNER not in given.options.sync or wanted is None or wanted == given.counterpart.owner_id:
            return None
        caller = given.target.caller
        if not caller.may_transfer:
            self._tell(
                "owner-not-settable",
                "this identity cannot give it to its owner",
                Severity.ERROR,
                "use an admin's identity or a Trusted OAuth client, or leave out --sync owner",
            )
            return None
        self._tell(
            "sync-loss",
            "it goes to another owner: its run history and change logs are lost, and its connections are detached and"
            " bound again",
        )
        return wanted

    def _space(self) -> str | None:
        given = self._given
        if SPACE not in given.options.sync or given.space_id is None or given.space_id == given.counterpart.space_id:
            return None
        self._tell(
            "sync-loss",
            "it goes to another space: its run history and change logs may be lost, its connections are bound again",
        )
        return given.space_id

    def _runs(self) -> int | None:
        given = self._given
        wanted = given.runs_wanted
        return wanted if wanted is not None and wanted != given.runs_now else None

    def _state(self) -> tuple[bool, bool, bool]:
        """Whether it is switched off, switched on at the end, and held."""
        given, action = self._given, self._action
        if STATE not in given.options.sync:
            return False, False, action.held
        was_on = given.counterpart.state == "available"
        if given.counterpart.state not in ("available", "disabled"):
            return False, False, action.held
        if given.one.entity.state != "available":
            return given.counterpart.state != "disabled", False, False
        if was_on and Step.DISABLE not in action.steps:
            return False, False, action.held
        writes = Step.PUT in action.steps
        armed = given.one.armed if writes else given.counterpart.run_mode not in ("", "manual")
        if armed and given.options.start == "held":
            self._tell("sync-held", "it is on at the source, and stays off until it is started", Severity.INFO)
            return False, False, True
        return False, True, False

    def _tell(self, code: str, message: str, severity: Severity = Severity.WARNING, hint: str = "") -> None:
        text = f"`{self._action.name}`: {message}"
        self._problems.append(Problem(code=code, severity=severity, message=text, where=self._where, hint=hint))
