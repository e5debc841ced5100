"""In which order the automations of a plan are made, and by which writes each. Pure.

Creates come first, shells before all, then callees before callers: who calls must know whom.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from qlikmigrate.importer.draft import Draft
from qlikmigrate.importer.plan import Action, OwnerMode, Step, Verb
from qlikmigrate.importer.source import Source
from qlikmigrate.model.graph import call_order


@frozen(kw_only=True)
class StepOrder:
    """What order and writes follow from. `bot`: the caller may write what it gave away. `drill`: as in the options."""

    source: Source
    drafts: Mapping[str, Draft] = field(repr=False)
    bot: bool
    drill: bool

    def ordered(self, drafted: list[Action]) -> list[Action]:
        """The actions in the order in which they are done, creates with their writes."""
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
        return set(self.drafts[creates[key].source_id].refers_to) & creates.keys()

    def _with_steps(self, action: Action, *, again: bool) -> Action:
        source = self.source.automations[action.source_id].entity
        bindings = bool(self.drafts[action.source_id].face.bindings)
        enable = action.armed and source.state == "available" and not action.held
        off = source.state in ("disabled", "unavailable") or self.source.is_unsure(source)
        transfer = action.owner_mode is OwnerMode.TRANSFER
        binds_last = transfer and self.bot
        if action.armed:
            steps = [Step.SHELL, Step.DISABLE]
            steps += [Step.CHANGE_OWNER, Step.PUT] if binds_last else [Step.PUT]
        elif self.drill:
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
