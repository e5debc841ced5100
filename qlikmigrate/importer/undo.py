"""What a rollback does with each object of a run. Pure: from what the run wrote and what is there now to a decision.

Deleted is only what is proven ours and what nobody changed, enabled or ran since; restored only what nobody changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from attrs import frozen

from qlikmigrate.importer.comparison import FIELDS, Face, face_of
from qlikmigrate.importer.journal import Done
from qlikmigrate.importer.lost_create import parse_time
from qlikmigrate.importer.plan import Action, OwnerMode, SettingsAction, SpaceAction, Step, Verb

# As where a lost create is looked for: the clocks of one service's parts differ a little.
_CLOCK_MARGIN = timedelta(seconds=5)
# A write is carried out within this time after its intent, or its answer is lost.
_WRITE_TIME = timedelta(minutes=2)
# What an update may write besides the document, and what undoes it.
_INVERSE = {
    Step.DISABLE: Step.ENABLE,
    Step.ENABLE: Step.DISABLE,
    Step.CHANGE_OWNER: Step.CHANGE_OWNER,
    Step.CHANGE_SPACE: Step.CHANGE_SPACE,
}
_STATE_AND_PLACE = frozenset(_INVERSE)


class Way(StrEnum):
    """What becomes of one object. NOTHING: the run did nothing to it, or it is undone already."""

    DELETE = "delete"
    RESTORE = "restore"
    KEEP = "keep"
    NOTHING = "nothing"


@frozen(kw_only=True)
class Written:
    """What the run did with one automation, as its journal says.

    `run`: of its action; `moved`: of a later change of owner; `undone`: of a rollback. `space_id`: where it was put.
    """

    run: Done
    moved: Done
    undone: Done
    space_id: str


@frozen(kw_only=True)
class Sighting:
    """One automation as it is now. `value`: its document, None where it cannot be read; `gone`: it does not exist.

    `ran`: it has a run. `pre_image`: what an update of the run replaced. `candidates`: what a create without an answer
    may have made; `marked`: they carry this run's own marker.
    """

    value: Mapping[str, Any] | None = None
    gone: bool = False
    ran: bool = False
    pre_image: Mapping[str, Any] | None = None
    candidates: tuple[str, ...] = ()
    marked: bool = False


@frozen(kw_only=True)
class Undo:
    """The decision for one object. `code`, `reason`: why it is kept.

    `put`, `enable`, `disable`, `owner`, `space`: what a RESTORE takes, the last two to where its pre-image was.

    `settled`: nothing of the run is left, so the ledger must not say otherwise.
    """

    way: Way
    target_id: str | None = None
    put: bool = False
    enable: bool = False
    disable: bool = False
    owner: bool = False
    space: bool = False
    settled: bool = False
    code: str = ""
    reason: str = ""


def undo_of(action: Action, written: Written, sighting: Sighting, *, force: bool) -> Undo:
    """What is done with the automation of one action."""
    if action.verb is Verb.CREATE:
        return _undo_create(action, written, sighting, force=force)
    if action.verb is Verb.UPDATE:
        return _undo_update(action, written, sighting, force=force)
    return Undo(way=Way.NOTHING, target_id=action.target_id, reason="the run wrote nothing to it")


def _undo_create(action: Action, written: Written, sighting: Sighting, *, force: bool) -> Undo:
    run = written.run
    ident = run.target_id
    if ident is None:
        if not sighting.candidates:
            return Undo(way=Way.NOTHING, reason="nothing was created")
        if len(sighting.candidates) > 1:
            listed = ", ".join(sighting.candidates)
            return Undo(way=Way.KEEP, code="create-ambiguous", reason=f"the run may have made any of: {listed}")
        ident = sighting.candidates[0]
        if not sighting.marked and not force:
            return Undo(
                way=Way.KEEP,
                target_id=ident,
                code="not-proven",
                reason="the answer to its create was lost, so nothing proves that it is the run's",
            )
    if sighting.gone or Step.DELETE in written.undone.steps:
        return Undo(way=Way.NOTHING, target_id=ident, settled=True, reason="it is gone")
    code, reason = _touched_since(action, written, sighting)
    if code and not force:
        return Undo(way=Way.KEEP, target_id=ident, code=code, reason=reason)
    return Undo(way=Way.DELETE, target_id=ident, reason=f"forced: {reason}" if code else "created by the run")


def _touched_since(action: Action, written: Written, sighting: Sighting) -> tuple[str, str]:
    """Code and reason of what people did with a created automation; empty for nothing."""
    value, run = sighting.value, written.run
    if value is None:
        return "cannot-compare", "its definition cannot be read, so nobody can tell whether it was changed"
    faces = (*written.moved.faces, *run.faces)
    if not faces:
        return "cannot-compare", "the journal does not say what was written last"
    changed = changed_fields(face_of(value), faces)
    if value.get("ownerId") not in (None, *_owners(action, written)):
        changed.append("owner")
    if (value.get("spaceId") or "") != written.space_id:
        changed.append("space")
    if run.runs is not None and value.get("maxConcurrentRuns") not in (None, run.runs):
        changed.append("maxConcurrentRuns")
    code, reason = "", ""
    if changed:
        code, reason = "changed-since", "changed since: " + ", ".join(changed)
    elif Step.DISABLE in run.steps and Step.ENABLE not in run.steps and value.get("state") != "disabled":
        code, reason = "enabled-since", "switched on since"
    elif sighting.ran:
        code, reason = "ran-since", "it ran since"
    return code, reason


def _owners(action: Action, written: Written) -> set[str]:
    """Who may own it without anybody having changed that."""
    owners = {action.owner_id}
    if action.owner_mode is OwnerMode.TRANSFER and Step.CHANGE_OWNER not in written.run.steps:
        owners.add(written.run.by)
    if written.moved.by:
        owners.add(written.moved.by)
    return owners


def changed_fields(now: Face, faces: tuple[Face, ...]) -> list[str]:
    """Fields in which an automation differs from what we wrote, bindings included; of several versions the nearest.

    `faces`: at least one.
    """
    found = [
        [name for name in FIELDS if face.fields.get(name) != now.fields.get(name)]
        + (["bindings"] if dict(face.bindings) != dict(now.bindings) else [])
        for face in faces
    ]
    return min(found, key=len)


def _undo_update(action: Action, written: Written, sighting: Sighting, *, force: bool) -> Undo:
    run, ident, before = written.run, action.target_id, sighting.pre_image
    begun = {step for step in _STATE_AND_PLACE if step in run.steps or run.in_doubt is step}
    put_begun = run.sent is not None
    if not put_begun and not begun:
        return Undo(way=Way.NOTHING, target_id=ident, reason="the run wrote nothing to it")
    done = written.undone.steps
    put_left = put_begun and Step.PUT not in done
    left = {step for step in begun if _INVERSE[step] not in done}
    if not put_left and not left:
        return Undo(way=Way.NOTHING, target_id=ident, settled=True, reason="restored before")
    if sighting.gone:
        return Undo(way=Way.KEEP, target_id=ident, code="gone-since", reason="somebody deleted it since")
    value = sighting.value
    if value is None:
        return Undo(way=Way.KEEP, target_id=ident, code="cannot-compare", reason="its definition cannot be read")
    if before is None and (put_left or left - {Step.DISABLE}):
        return Undo(way=Way.KEEP, target_id=ident, code="no-pre-image", reason="its pre-image is not in the run folder")
    before = before or {}
    off = value.get("state") == "disabled"
    owner = Step.CHANGE_OWNER in left and value.get("ownerId") != before.get("ownerId")
    space = Step.CHANGE_SPACE in left and (value.get("spaceId") or "") != (before.get("spaceId") or "")
    changed: list[str] = []
    if put_left:
        now, old = face_of(value), face_of(before)
        if changed_fields(now, (old,)):
            changed = changed_fields(now, run.faces)
            if value.get("maxConcurrentRuns") not in (before.get("maxConcurrentRuns"), action.max_concurrent_runs):
                changed.append("maxConcurrentRuns")
        elif value.get("maxConcurrentRuns") == before.get("maxConcurrentRuns"):
            put_left = False
    elif owner or space:
        changed = [name for name in changed_fields(face_of(value), (face_of(before),)) if name != "bindings"]
    if owner and value.get("ownerId") != action.new_owner:
        changed.append("owner")
    if space and (value.get("spaceId") or "") != written.space_id:
        changed.append("space")
    code, reason = "", ""
    if changed:
        code, reason = "changed-since", "changed since: " + ", ".join(changed)
    elif (
        not off
        and Step.ENABLE not in begun
        and put_left
        and (Step.DISABLE in begun or before.get("state") == "disabled")
    ):
        code, reason = "enabled-since", "switched on since"
    if code and not force:
        return Undo(way=Way.KEEP, target_id=ident, code=code, reason=reason)
    # A move detaches connections, the way back too.
    put = put_left or ((owner or space) and bool(face_of(before).bindings))
    enable = off and Step.DISABLE in left and Step.ENABLE not in begun
    disable = not off and Step.ENABLE in left and Step.DISABLE not in begun
    if not (put or enable or disable or owner or space):
        return Undo(way=Way.NOTHING, target_id=ident, settled=True, reason="it is as it was before the run")
    reason = f"forced: {reason}" if code else "as it was before the run"
    return Undo(
        way=Way.RESTORE, target_id=ident, put=put, enable=enable, disable=disable, owner=owner, space=space,
        reason=reason,
    )  # fmt: skip


# Connections


def undo_of_connection(run: Done, undone: Done, row: Mapping[str, Any] | None, *, waited: bool, in_use: bool) -> Undo:
    """What is done with a connection that the run created. `row`: of the list, None where it is not there any more.

    `waited`: the run left it to its owner to connect it. `in_use`: something that is kept is bound to it.
    """
    ident = run.target_id
    if ident is None:
        if run.in_doubt is None:
            return Undo(way=Way.NOTHING, reason="nothing was created")
        return Undo(way=Way.KEEP, code="not-proven", reason="the answer to its create was lost; look for it by name")
    if row is None or Step.DELETE in undone.steps:
        return Undo(way=Way.NOTHING, target_id=ident, settled=True, reason="it is gone")
    changed = parse_time(row.get("updatedAt"))
    # Values of parameters cannot be compared; the time is all that tells of other people's work on it.
    late = changed is not None and run.since is not None and changed > run.since + _WRITE_TIME
    if late or (waited and str(row.get("isConnected")).lower() == "true"):
        return Undo(
            way=Way.KEEP, target_id=ident, code="changed-since", reason="somebody connected or changed it since"
        )
    if in_use:
        return Undo(way=Way.KEEP, target_id=ident, code="in-use", reason="an automation that is kept is bound to it")
    return Undo(way=Way.DELETE, target_id=ident, reason="created by the run")


# Settings


def undo_of_settings(settings: SettingsAction, run: Done, undone: Done, now: int | None, *, highest: int) -> Undo:
    """What is done with the limit that the run raised. `now`: None where it cannot be read.

    `highest`: the most concurrent runs of an automation that is kept.
    """
    # Without an intent the run found it high enough, and wrote nothing.
    if run.since is None or (Step.PUT not in run.steps and run.in_doubt is not Step.PUT):
        return Undo(way=Way.NOTHING, reason="the run wrote nothing to it")
    if Step.PUT in undone.steps or now == settings.before:
        return Undo(way=Way.NOTHING, settled=True, reason="it is as it was before the run")
    if now is None:
        return Undo(way=Way.KEEP, code="cannot-compare", reason="it cannot be read")
    if now != settings.after:
        return Undo(way=Way.KEEP, code="changed-since", reason=f"changed since: it is {now}")
    if highest > settings.before:
        return Undo(way=Way.KEEP, code="in-use", reason=f"an automation that is kept may run {highest} times at once")
    return Undo(way=Way.RESTORE, put=True, reason="as it was before the run")


# Spaces


@frozen(kw_only=True)
class SpaceSighting:
    """A space as it is now: its row (None: it does not exist), and what is in it.

    `contents`: how many automations, connections and items; None where one of the lists cannot be read.
    """

    row: Mapping[str, Any] | None = None
    contents: int | None = 0


def undo_of_space(
    space: SpaceAction, run: Done, undone: Done, sighting: SpaceSighting, *, callers: Collection[str], known: bool
) -> Undo:
    """What is done with a space that the plan was to create.

    `callers`: as whom the run was run. `known`: the space was there when the plan was made.
    """
    row = sighting.row
    if not run.steps and run.in_doubt is None:
        return Undo(way=Way.NOTHING, reason="nothing was created")
    if row is None or Step.DELETE in undone.steps:
        return Undo(way=Way.NOTHING, target_id=run.target_id, settled=True, reason="it is gone")
    ident = str(row["id"])
    # Names are unique: where one of that name came up in between, the run took it as it was.
    created = parse_time(row.get("createdAt"))
    early = created is not None and run.since is not None and created < run.since - _CLOCK_MARGIN
    if known or early or row.get("createdBy", row.get("ownerId")) not in callers:
        return Undo(way=Way.KEEP, target_id=ident, code="not-proven", reason="nothing proves that the run created it")
    if (row.get("name"), row.get("description") or "") != (space.name, space.description):
        return Undo(way=Way.KEEP, target_id=ident, code="changed-since", reason="it was renamed or described since")
    if sighting.contents is None:
        return Undo(way=Way.KEEP, target_id=ident, code="cannot-compare", reason="what it holds cannot be listed")
    if sighting.contents:
        return Undo(way=Way.KEEP, target_id=ident, code="not-empty", reason=f"it holds {sighting.contents} objects")
    return Undo(way=Way.DELETE, target_id=ident, reason="created by the run, and empty")
