"""Who takes the place of owners without a counterpart, and what that of spaces; an OEM account has neither. Pure."""

from __future__ import annotations

import re

from attrs import frozen

from qlikmigrate.importer.plan import PlanOptions
from qlikmigrate.importer.target import Target
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem_view import OemView
from qlikmigrate.remap.mapping_file import Entry, MappingFile

_SPACE_ID = re.compile(r"[0-9a-f]{24}")


@frozen(kw_only=True)
class Fallback:
    """Ids at the target; None: nobody, or nothing."""

    owner_id: str | None = None
    space_id: str | None = None


def find_fallback(target: Target, options: PlanOptions, *, from_cloud: bool) -> Fallback:
    """What `--default-owner` and `--default-space` name. `from_cloud`: the archive is of Qlik Cloud.

    A space that is not there yet is for `--create-spaces` to make, where everything is to go there.

    Raises:
        UsageError: nobody and nothing is called so, or more than one.
    """
    if from_cloud and options.default_space and options.create_spaces:
        raise UsageError(
            "--default-space and --create-spaces exclude each other",
            hint="spaces that are missing are made, or another takes their place",
        )
    owner = _user(target, options.fallback_owner) if options.fallback_owner else None
    space = _space(target, options.default_space) if options.default_space else None
    if options.default_space and space is None and (from_cloud or _SPACE_ID.fullmatch(options.default_space)):
        raise UsageError(
            f"no shared space at the target: `{options.default_space}`", hint="give an id or its exact name"
        )
    return Fallback(owner_id=owner, space_id=space)


def with_account(decisions: MappingFile, view: OemView, fallback: Fallback) -> MappingFile:
    """The decisions, and that the account's stand-ins are the user and the space that were named.

    A line of the mapping file comes first.
    """
    decided = {entry.source.lower() for entry in decisions.entries}
    wanted = ((Kind.USER, view.owner_id, fallback.owner_id), (Kind.SPACE, view.space_id, fallback.space_id))
    return decisions.with_ids(
        Entry(kind=kind, source=ident, target=found)
        for kind, ident, found in wanted
        if ident and found is not None and ident.lower() not in decided
    )


def _user(target: Target, who: str) -> str:
    """The one active user whom an id, subject, e-mail or name means.

    Raises:
        UsageError: nobody, or more than one.
    """
    wanted = who.lower()
    found = [
        one
        for one in target.inventory.of(Kind.USER)
        if one.status in ("", "active")
        and (wanted in (one.id.lower(), one.email.lower()) or who in (one.subject, one.name))
    ]
    if not found:
        raise UsageError(f"no active user at the target: `{who}`", hint="give an id, subject, e-mail address or name")
    if len(found) > 1:
        raise UsageError(f"`{who}` means {len(found)} users: " + ", ".join(one.id for one in found))
    return found[0].id


def _space(target: Target, name: str) -> str | None:
    """The one shared space of that id or name. Source: Qlik's help: automations are in shared spaces, or in none.

    Raises:
        UsageError: more than one is called so.
    """
    shared = [one for one in target.inventory.of(Kind.SPACE) if one.type in ("", "shared")]
    found = [one for one in shared if one.id.lower() == name.lower()] or [one for one in shared if one.name == name]
    if len(found) > 1:
        raise UsageError(f"`{name}` means {len(found)} spaces: " + ", ".join(one.id for one in found))
    return found[0].id if found else None
