"""The one door through which commands open an archive: what a name means, with which keys, and whether it will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qlikmigrate.kernel.error import PartialError, UsageError

if TYPE_CHECKING:
    from qlikmigrate.archive import Archive, Opener
    from qlikmigrate.cli.session import Session
    from qlikmigrate.config.tenants import OemTenant, Tenant
    from qlikmigrate.importer.plan import Plan
    from qlikmigrate.model.snapshot import Snapshot
    from qlikmigrate.vault import VaultSnapshot

ARCHIVE_SUFFIX = ".qma"
_ACCOUNT = "account="


def names_archive(name: str) -> bool:
    """Whether `name` means an archive where it might mean a tenant as well: what exists by that name wins."""
    from qlikmigrate.cli.vault import split_address

    return Path(name).exists() or name.endswith(ARCHIVE_SUFFIX) or "/" in name or split_address(name) is not None


def names_source_archive(name: str) -> bool:
    """Whether the SOURCE of a clone is an archive, as a file or in a vault; what else there is are tenants."""
    from qlikmigrate.cli.vault import split_address

    return Path(name).is_file() or name.endswith(ARCHIVE_SUFFIX) or split_address(name) is not None


def _find(
    session: Session, name: str, *, allow_incomplete: bool | None
) -> AbstractContextManager[Archive | VaultSnapshot]:
    """The snapshot that `name` means, opened. This decides what a name means: a file, or a snapshot of a vault."""
    from qlikmigrate.cli.vault import open_address, split_address

    address = split_address(name)
    if address is not None:
        return open_address(session, *address, allow_incomplete=allow_incomplete)
    from qlikmigrate.archive import open_archive

    return open_archive(name, opener_for(session, name))


def opener_for(session: Session, name: str) -> Opener | None:
    """The keys for a sealed archive; a plain one is opened without a look at any, so that no keyring is asked."""
    from qlikmigrate.archive import is_sealed

    return session.opener() if is_sealed(name) else None


def lasting_name(name: str | Path, snapshot: Snapshot) -> str:
    """What a plan calls a snapshot: `latest` means another one tomorrow, and a path another one elsewhere."""
    from qlikmigrate.cli.vault import lasting_address, split_address
    from qlikmigrate.model.oem_view import OemView

    snapshot = snapshot.base if isinstance(snapshot, OemView) else snapshot
    address = split_address(str(name))
    return lasting_address(address[0], snapshot) if address else str(Path(name).absolute())


@contextmanager
def open_snapshot(session: Session, name: str | Path, *, allow_incomplete: bool | None = None) -> Iterator[Snapshot]:
    """The snapshot that the command line, or a plan, calls `name`.

    `allow_incomplete`: whether one that is incomplete will do; None: to look at, where no complete one is meant.

    Raises:
        NotFoundError: there is none.
        WrongKeyError: it is encrypted, and no key that was given opens it.
        CorruptError: it is damaged, or no archive.
        PartialError: it is incomplete, and nobody said that this will do.
    """
    with _find(session, str(name), allow_incomplete=allow_incomplete) as snapshot:
        if allow_incomplete is False and not snapshot.manifest.complete:
            raise PartialError(
                f"the snapshot in {name} is incomplete", hint="--allow-incomplete uses it as it is", code="incomplete"
            )
        yield snapshot


def split_account(include: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Which account of an OEM archive `--include account=…` names, empty for none; and the other selectors.

    Raises:
        UsageError: it names more than one, or nothing.
    """
    named = [one.removeprefix(_ACCOUNT) for one in include if one.startswith(_ACCOUNT)]
    if len(set(named)) > 1 or "" in named:
        raise UsageError("--include account=… names one account", hint="a restore is of one account: run one for each")
    return (named[0] if named else ""), tuple(one for one in include if not one.startswith(_ACCOUNT))


def for_cloud(snapshot: Snapshot, *, include: tuple[str, ...] = (), space: str = "") -> Snapshot:
    """The snapshot as one of Qlik Cloud: of an OEM archive the account that `include` names, or the only one.

    `space`: where all of that account is to go.

    Raises:
        UsageError: which account is meant cannot be told, or the archive has none.
        CorruptError: what is stored is damaged.
    """
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.model.oem_view import as_cloud

    account = split_account(include)[0]
    if account and not is_oem(snapshot):
        raise UsageError(f"an archive of Qlik Cloud has no accounts: `{_ACCOUNT}{account}`")
    return as_cloud(snapshot, account, space=space)


def fitting(snapshot: Snapshot, target: Tenant | OemTenant, flags: Mapping[str, Any]) -> Snapshot:
    """The snapshot as a restore into `target` reads it, by the flags of `option.planning` and `option.selectors`.

    Raises:
        UsageError, CorruptError: as `for_cloud` does.
    """
    from qlikmigrate.config.tenants import OemTenant

    if isinstance(target, OemTenant):
        return snapshot
    return for_cloud(snapshot, include=flags["include"], space=flags["default_space"] or "")


def as_planned(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The snapshot as it was read when `plan` was made from it.

    Raises:
        UsageError: the account of the plan is not in it.
        CorruptError: what is stored is damaged.
    """
    from qlikmigrate.model.oem_view import as_cloud

    if plan.is_oem:
        return snapshot
    return as_cloud(snapshot, plan.archive.tenant_id, space=plan.options.default_space)


@contextmanager
def open_planned(session: Session, plan: Plan) -> Iterator[Snapshot]:
    """The snapshot that a plan was made from, as it was read then.

    Raises:
        UsageError, NotFoundError, WrongKeyError, CorruptError: as `open_snapshot` and `as_planned` do.
    """
    with open_snapshot(session, plan.archive.path) as snapshot:
        yield as_planned(snapshot, plan)
