"""The archive's side of a restore into an OEM account: one account of it, what is selected, and what that uses."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from attrs import evolve, field, frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.oem import OemAutomation, OemConnection, OemHolding, Schedule, read_holding, schedule_of
from qlikmigrate.model.selection import Selector, Selectors
from qlikmigrate.model.snapshot import Snapshot

MANUAL = "manual"
_KEYS = ("name", "id", "mode", "state", "uses", "account")


@frozen(kw_only=True)
class OemSource:
    """What a restore works on. `chosen`: ids, a bundle before its parts; a part comes with its bundle and not alone.

    `parents`: part → bundle. `states`: of automations, where the archive knows it.
    """

    holding: OemHolding = field(repr=False)
    chosen: tuple[str, ...] = ()
    parents: Mapping[str, str] = field(factory=dict, repr=False)
    states: Mapping[str, str] = field(factory=dict, repr=False)
    whole: bool = True

    def automation(self, ident: str) -> OemAutomation:
        """One of the automations."""
        return self.holding.automations[ident]

    def schedule_of(self, ident: str) -> Schedule | None:
        """What is known of its schedule: handed in by people, else shown by the API; None where nobody says."""
        known = self.holding.schedules.get(ident)
        if known is not None and known.interval_s is not None:
            return known
        shown = schedule_of(self.automation(ident).schedule)
        return shown if shown.interval_s is not None else None

    def is_manual(self, ident: str) -> bool:
        """Whether nothing starts it but a person."""
        schedule = self.schedule_of(ident)
        return self.automation(ident).run_mode == MANUAL and (schedule is None or not schedule.fires)

    def parts_of(self, ident: str) -> list[str]:
        """What the bundle holds, in order."""
        return _parts(self.holding, ident)

    def connections_of(self, ident: str) -> list[OemConnection]:
        """Those that an automation, or a part of a bundle, is hard-linked to."""
        found = {one.id: one for each in (ident, *self.parts_of(ident)) for one in self.holding.connections_of(each)}
        return [one for _, one in sorted(found.items())]

    def connections(self) -> list[OemConnection]:
        """Those that the selection is linked to, and those that it may use without a link, in id order.

        Source: "List datasources": an account's only connection of a connector is used without any link to it.
        """
        chosen = set(self.chosen)
        ones = [one for _, one in sorted(self.holding.connections.items())]
        return [one for one in ones if self.whole or not one.used_by or chosen & set(one.used_by)]


def account_word(selectors: Selectors) -> tuple[str, Selectors]:
    """Which of the archive's accounts is meant (`account=`), and the other selectors.

    Raises:
        UsageError: several are, or one is excluded.
    """
    words = {one.value for one in selectors.include if one.key == "account"}
    if any(one.key == "account" for one in selectors.exclude):
        raise UsageError("an account is chosen with --include account=NAME", hint="--exclude knows no account here")
    if len(words) > 1:
        raise UsageError("one account is brought over at a time", hint="name one with --include account=NAME")
    rest = tuple(one for one in selectors.include if one.key != "account")
    return (words.pop() if words else ""), Selectors(include=rest, exclude=selectors.exclude)


def read_source(snapshot: Snapshot, selectors: Selectors) -> OemSource:
    """Read the archive's account and select.

    Raises:
        CorruptError: a document is damaged.
        UsageError: which account is meant cannot be told; a selector means nothing here; the selection is empty.
    """
    word, rest = account_word(selectors)
    unknown = sorted({one.key for one in (*rest.include, *rest.exclude)} - set(_KEYS))
    if unknown:
        raise UsageError(f"an OEM account has no `{unknown[0]}`", hint="select by " + ", ".join(_KEYS))
    holding = read_holding(snapshot, word)
    parents = {part: ident for ident in holding.top for part in _parts(holding, ident)}
    states = _states(holding)
    source = OemSource(holding=holding, parents=parents, states=states)
    chosen: list[str] = []
    for ident in holding.top:
        if _is_chosen(source, ident, rest):
            chosen += [ident, *_parts(holding, ident)]
    if rest and not chosen:
        raise UsageError("the selection is empty", hint="`qlikmigrate list ARCHIVE` shows what it holds")
    return evolve(source, chosen=tuple(chosen), whole=not rest)


def _parts(holding: OemHolding, ident: str) -> list[str]:
    """What a bundle holds, bundles within it included."""
    known = [part for part in holding.automations[ident].children if part in holding.automations]
    return [one for part in known for one in (part, *_parts(holding, part))]


def _states(holding: OemHolding) -> dict[str, str]:
    """People's word first, then what the service says of it."""
    states = {ident: one.state for ident, one in holding.automations.items() if one.state}
    return states | {ident: one.state for ident, one in holding.schedules.items() if one.state}


def _is_chosen(source: OemSource, ident: str, selectors: Selectors) -> bool:
    """As a backup selects: a bundle is meant as a whole as soon as it or one of its parts is."""
    wanted: dict[str, list[Selector]] = {}
    for one in selectors.include:
        wanted.setdefault(one.key, []).append(one)

    def included(each: str) -> bool:
        return all(any(_matches(source, each, one) for one in ones) for ones in wanted.values())

    def excluded(each: str) -> bool:
        return any(_matches(source, each, one) for one in selectors.exclude)

    members = (ident, *source.parts_of(ident))
    return not excluded(ident) and any(included(each) and not excluded(each) for each in members)


def _matches(source: OemSource, ident: str, selector: Selector) -> bool:
    one = source.automation(ident)
    match selector.key:
        case "name":
            return fnmatch.fnmatchcase(one.name, selector.value)
        case "id":
            return ident.lower() == selector.value.lower()
        case "mode":
            return one.run_mode == selector.value
        case "state":
            return source.states.get(ident, "") == selector.value
        case _:
            word = selector.value
            return any(word == used.name or word.lower() == used.id.lower() for used in source.connections_of(ident))
