"""Selectors: which automations a command works on. Same key: or. Different keys: and. Each exclusion wins."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence

from attrs import frozen

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.inventory import Entity, Inventory
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.manifest import Selection

KEYS = ("name", "id", "owner", "space", "mode", "state", "uses", "account")
# Qlik Cloud knows no accounts; OEM accounts know neither owners nor spaces.
CLOUD_KEYS = KEYS[:-1]
OEM_KEYS = ("name", "id", "mode", "state", "uses", "account")
PERSONAL = "personal"

ConnectionsOf = Callable[[str], Collection[str]]


@frozen(kw_only=True)
class Selector:
    """One `key=value`; `key` is one of `KEYS`."""

    key: str
    value: str


@frozen(kw_only=True)
class Selectors:
    """What `--include` and `--exclude` say."""

    include: tuple[Selector, ...] = ()
    exclude: tuple[Selector, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def without_uses(self) -> Selectors:
        """The part that list rows can decide: it selects no less than the whole."""
        return self.without("uses")

    def of(self, *keys: str) -> Selectors:
        """The part with these keys."""
        return Selectors(
            include=tuple(one for one in self.include if one.key in keys),
            exclude=tuple(one for one in self.exclude if one.key in keys),
        )

    def without(self, *keys: str) -> Selectors:
        """The part with all other keys."""
        return self.of(*(key for key in KEYS if key not in keys))

    def check(self, keys: Collection[str], what: str) -> None:
        """That no other keys than these are used.

        Raises:
            UsageError: a selector has one; `what` is the place that lacks it.
        """
        for one in (*self.include, *self.exclude):
            if one.key not in keys:
                told = f"{what} cannot be selected from by `{one.key}`: `{one.key}={one.value}`"
                raise UsageError(told, hint="there are: " + ", ".join(keys))

    def record(self, *, with_calls: bool) -> Selection:
        """As a manifest keeps it."""
        return Selection(
            include=tuple(f"{one.key}={one.value}" for one in self.include),
            exclude=tuple(f"{one.key}={one.value}" for one in self.exclude),
            with_calls=with_calls,
        )


def parse_selectors(
    include: Sequence[str], exclude: Sequence[str], read_lines: Callable[[str], Sequence[str]]
) -> Selectors:
    """Selectors from their texts; a value `@FILE` stands for the lines of that file.

    Raises:
        UsageError: a text is no `key=value`, its key is unknown, or what is to be included is an empty file.
    """
    chosen = Selectors(include=tuple(_parse(include, read_lines)), exclude=tuple(_parse(exclude, read_lines)))
    named = {one.key for one in chosen.include}
    for text in include:
        key = text.partition("=")[0]
        if key not in named:
            # Passed over, it would select everything.
            raise UsageError(f"the file of the selector `{text}` holds no value")
    return chosen


def _parse(texts: Sequence[str], read_lines: Callable[[str], Sequence[str]]) -> Iterable[Selector]:
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in KEYS or not value:
            raise UsageError(f"no selector: `{text}`", hint="write KEY=VALUE with KEY one of: " + ", ".join(KEYS))
        values = [line.strip() for line in read_lines(value[1:])] if value.startswith("@") else [value]
        for one in values:
            if one:
                yield Selector(key=key, value=one)


def select(
    automations: Iterable[Entity], inventory: Inventory, selectors: Selectors, connections_of: ConnectionsOf
) -> list[Entity]:
    """Those of `automations` that `selectors` choose, in order.

    `connections_of` gives the connection ids an automation's workspace uses; it is asked only for `uses`.
    """
    wanted: dict[str, list[str]] = {}
    for one in selectors.include:
        wanted.setdefault(one.key, []).append(one.value)

    def matches(automation: Entity, key: str, value: str) -> bool:
        return _matches(automation, inventory, key, value, connections_of)

    return [
        automation
        for automation in automations
        if all(any(matches(automation, key, value) for value in values) for key, values in wanted.items())
        and not any(matches(automation, one.key, one.value) for one in selectors.exclude)
    ]


def _matches(automation: Entity, inventory: Inventory, key: str, value: str, connections_of: ConnectionsOf) -> bool:
    match key:
        case "name":
            return fnmatch.fnmatchcase(automation.name, value)
        case "id":
            return automation.id.lower() == value.lower()
        case "mode":
            return automation.run_mode == value
        case "state":
            return automation.state == value
        case "owner":
            return _is_user(inventory.get(Kind.USER, automation.owner_id), automation.owner_id, value)
        case "space":
            if not automation.space_id:
                return value == PERSONAL
            space = inventory.get(Kind.SPACE, automation.space_id)
            return automation.space_id.lower() == value.lower() or (space is not None and space.name == value)
        case "account":
            # Whoever selects among accounts has done so before.
            raise UsageError(f"nothing of Qlik Cloud can be selected by `account`: `account={value}`")
        case _:
            used = connections_of(automation.id)
            names = (inventory.get(Kind.CONNECTION, one) for one in used)
            return any(one.lower() == value.lower() for one in used) or any(
                one is not None and one.name == value for one in names
            )


def _is_user(user: Entity | None, user_id: str, value: str) -> bool:
    if user_id.lower() == value.lower():
        return True
    return user is not None and (value in (user.subject, user.name) or user.email.lower() == value.lower())
