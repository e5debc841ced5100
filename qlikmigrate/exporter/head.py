"""The manifest of a backup: whose view it is, what is complete, and what a person should know."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen

from qlikmigrate import __version__
from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.endpoint import OAuthClient
from qlikmigrate.exporter.census import Census
from qlikmigrate.exporter.record import Record
from qlikmigrate.exporter.surroundings import Surroundings
from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.caller import caller_of
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.manifest import Manifest, Note, Restorable, Scope
from qlikmigrate.model.selection import Selectors

_WIDE_SCOPE = "admin.automations"
_NAMED_AT_MOST = 50


def scope_of(me: Mapping[str, Any], client: CloudClient) -> Scope:
    """Whether the lists of `client`, who is `me`, hold the whole tenant.

    A bot sees what its token's scopes say, whatever its roles. Source: Qlik's changelog 241.
    """
    credentials = client.endpoint.credentials
    scopes = client.scopes
    is_bot = isinstance(credentials, OAuthClient) and credentials.impersonate is None
    if scopes is not None and any(one.partition(":")[0] == _WIDE_SCOPE for one in scopes):
        return Scope.TENANT
    if scopes is not None and (is_bot or "admin_classic" not in scopes):
        return Scope.IDENTITY
    return Scope.TENANT if caller_of(me).sees_all else Scope.IDENTITY


@frozen
class Head:
    """What is known before the first document is read."""

    tenant: TenantFacts
    identity: str
    scope: Scope
    selectors: Selectors
    with_calls: bool

    def warn(self, record: Record[CloudClient]) -> None:
        """Say at once what the whole snapshot will lack."""
        if self.scope is Scope.IDENTITY:
            record.note(
                "not-tenant-wide",
                Severity.WARNING,
                "this identity sees only its own part of the tenant",
                hint="use a Trusted OAuth client with scope `admin.automations`",
            )

    def manifest(
        self,
        record: Record[CloudClient],
        census: Census,
        surroundings: Surroundings,
        bare: Collection[str],
        with_secrets: Collection[str],
    ) -> Manifest:
        """The manifest, its problems told. `bare`: ids captured without a workspace; `with_secrets`: with secrets."""
        tell_losses(record, census, "its owner, or a Trusted OAuth client with scope `admin.automations`, can read it")
        for ident in sorted(bare):
            record.note("workspace-withheld", Severity.WARNING, "the tenant gave no workspace", where=ident)
        if with_secrets:
            record.note(
                "secret-in-workspace",
                Severity.WARNING,
                f"texts that look like secrets stand in the workspaces of {len(with_secrets)} automations",
                where=listed_ids(with_secrets),
                hint="`qlikmigrate scan` says where; keep or encrypt the archive for those who may read them",
            )
        restorable = Restorable.FULL
        if bare:
            restorable = Restorable.PARTIAL if len(bare) < len(census.captured) else Restorable.METADATA
        nameless = any(one.code == "row-without-id" and one.severity is Severity.ERROR for one in record.problems)
        return Manifest(
            tool_version=__version__,
            tenant=self.tenant,
            identity=self.identity,
            api=record.client.family,
            scope=self.scope,
            complete=census.complete() and not nameless,
            restorable=restorable,
            selection=self.selectors.record(with_calls=self.with_calls) if self.selectors else None,
            counts={"automations": census.counts(), **surroundings.counts()},
            unreadable=tuple(census.unreadable_notes()),
            vanished=tuple(census.vanished_notes()),
            missing=tuple(census.missing()),
            problems=tuple(sorted(record.problems, key=lambda one: (one.code, one.where, one.message))),
        )


def listed_ids(idents: Collection[str]) -> str:
    """Ids as text, the first of them where there are many."""
    shown = sorted(idents)[:_NAMED_AT_MOST]
    left = len(idents) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def tell_losses(record: Record[Any], census: Census, hint: str) -> None:
    """Say what became of automations that are not in the snapshot. `hint`: how an unreadable one may be had."""

    def tell(note: Note, code: str, severity: Severity, hint: str = "") -> None:
        record.note(code, severity, f"automation `{note.name}`: {note.reason}", where=note.id, hint=hint)

    for note in census.unreadable_notes():
        if census.accepts(note.id):
            tell(note, "unreadable-accepted", Severity.INFO)
        else:
            tell(note, "unreadable", Severity.ERROR, hint)
    for note in census.vanished_notes():
        tell(note, "vanished", Severity.INFO)
    for note in census.missing():
        tell(note, "not-captured", Severity.ERROR, "run the backup again")
