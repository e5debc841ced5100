"""Callers that still call what is gone: what `recover` makes anew has another id, and others go on calling the old one.

They are told always; with `--repoint-callers` that one id is changed, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import evolve, frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError
from qlikmigrate.importer.comparison import Face, face_of
from qlikmigrate.importer.own_text import with_calls
from qlikmigrate.importer.plan import Action, OwnerMode, Step, Verb
from qlikmigrate.importer.target import Target, read_automation
from qlikmigrate.kernel.event import Problem, Progress, Severity, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.inventory import Entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import parse
from qlikmigrate.model.workspace import automations_called
from qlikmigrate.remap.mapping import Mapping as IdMapping


@frozen(kw_only=True)
class CallerLeft:
    """An automation that calls what is gone. `calls`: path of the block → the id that it calls."""

    entity: Entity
    face: Face
    calls: Mapping[str, str]


def gone_ids(actions: Collection[Action], target: Target) -> frozenset[str]:
    """Lower-case ids that the tenant no longer holds, of automations that are, or were, made anew."""
    return frozenset(
        one.source_id.lower()
        for one in actions
        if one.verb is not Verb.SKIP and target.inventory.get(Kind.AUTOMATION, one.source_id) is None
    )


def face_here(raw: bytes, there: Face, mapping: IdMapping) -> Face | None:
    """The face of an automation that still exists as the archive has it, where only calls of what is gone may differ.

    `there`: as it is now. None: it differs in more.
    """
    value = parse(raw)
    made = {
        use.value.lower(): ident
        for use in automations_called(value)
        if (ident := mapping.target_of(Kind.AUTOMATION, use.value)) is not None
    }
    faces = (face_of(value), face_of(parse(with_calls(raw, made))))
    return next((one for one in faces if one.core == there.core), None)


async def read_callers_left(
    client: CloudClient, target: Target, actions: Collection[Action], *, sink: Sink
) -> tuple[CallerLeft, ...]:
    """Read the tenant's automations for calls of what is gone, but those that are written anyway. GETs only."""
    gone = gone_ids(actions, target)
    written = {one.target_id for one in actions if Step.PUT in one.steps and not one.own_text}
    others = [one for one in target.inventory.of(Kind.AUTOMATION) if one.id not in written] if gone else []
    found: dict[str, CallerLeft] = {}
    done = 0

    async def read(one: Entity) -> None:
        nonlocal done
        try:
            _, value = await read_automation(client, one)
        except (ForbiddenError, MissingError):
            # Whoever may not be read cannot be told; `callers` says which those are.
            value = {}
        calls = {
            f"workspace.blocks[{use.block_index}].inputs.guid": use.value
            for use in automations_called(value)
            if use.value.lower() in gone
        }
        if calls:
            found[one.id] = CallerLeft(entity=one, face=face_of(value), calls=calls)
        done += 1
        sink(Progress(phase="look for callers", done=done, total=len(others), subject=one.name))

    await fan_out(others, read, width=client.endpoint.limits.concurrency)
    return tuple(found[ident] for ident in sorted(found))


def repointed(
    actions: tuple[Action, ...], callers: Collection[CallerLeft], target: Target, *, repoint: bool
) -> tuple[tuple[Action, ...], tuple[Problem, ...]]:
    """The actions with those that lead callers to the new ids, and what is told of them. `repoint`: it is asked for."""
    by_target = {one.target_id: one for one in actions if one.target_id}
    names = {one.source_id.lower(): one.name for one in actions}
    changed: dict[int, Action] = {}
    added: list[Action] = []
    problems: list[Problem] = []
    for caller in callers:
        known = by_target.get(caller.entity.id)
        writes = repoint and (known is None or known.verb is not Verb.SKIP)
        problems += _problems(caller, names, writes=writes)
        if not writes:
            continue
        if known is None:
            seq = max((one.seq for one in actions), default=0) + len(added) + 1
            added.append(_with_calls(_outside(caller, target, seq), caller))
        else:
            changed[known.seq] = _with_calls(evolve(known, adopted=known.verb is Verb.ADOPT or known.adopted), caller)
    return (*(changed.get(one.seq, one) for one in actions), *added), tuple(problems)


def _problems(caller: CallerLeft, names: Mapping[str, str], *, writes: bool) -> list[Problem]:
    name = caller.entity.name
    return [
        Problem(
            code="caller-repointed" if writes else "caller-left",
            severity=Severity.INFO if writes else Severity.WARNING,
            message=(
                f"`{name}` calls `{names[ident.lower()]}` by its old id, {ident}"
                + (", and is led to the new one" if writes else ", which is gone")
            ),
            where=f"automation {caller.entity.id}: {path}",
            hint="" if writes else "say --repoint-callers, or choose the recovered automation in the editor",
        )
        for path, ident in caller.calls.items()
    ]


def _outside(caller: CallerLeft, target: Target, seq: int) -> Action:
    """The action of an automation that is not selected: it is its own source."""
    one = caller.entity
    runs = target.rows.get(one.id, {}).get("maxConcurrentRuns")
    others = one.owner_id != target.caller.user_id and not target.caller.bot
    return Action(
        seq=seq,
        verb=Verb.UPDATE,
        source_id=one.id,
        target_id=one.id,
        name=one.name,
        owner_id=one.owner_id,
        owner_mode=OwnerMode.IMPERSONATE if others and target.can_impersonate else OwnerMode.CALLER,
        space_id=one.space_id,
        run_mode=one.run_mode,
        max_concurrent_runs=runs if isinstance(runs, int) else None,
    )


def _with_calls(action: Action, caller: CallerLeft) -> Action:
    steps = action.steps
    if Step.PUT not in steps:
        late = [step for step in steps if step is Step.ENABLE]
        steps = (*(step for step in steps if step is not Step.ENABLE), Step.PUT, *late)
    return evolve(
        action,
        verb=Verb.UPDATE,
        steps=steps,
        fields=(*action.fields, "calls"),
        own_text=True,
        repoint=tuple(sorted({ident.lower() for ident in caller.calls.values()})),
        target_core=caller.face.core,
        reason="calls what is made anew",
    )
