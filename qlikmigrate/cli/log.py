"""`log`: what became of one automation from snapshot to snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command, opening
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.model.history import ContentKey, Labelled, SnapshotLabel
    from qlikmigrate.model.snapshot import Snapshot
    from qlikmigrate.vault import SnapshotInfo, Vault


def _moment(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A flag's time or date, UTC unless it says otherwise; a date is the beginning of that day."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("write 2026-03-01 or 2026-03-01T12:00:00Z", ctx, parameter) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@command("log", "Say what became of one automation over time")
@click.argument("vault_path", metavar="VAULT")
@click.argument("automation")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="No more than the newest N entries.")
@click.option("--since", callback=_moment, metavar="TIME", help="Only entries that began at or after TIME.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "md"]),
    default="text",
    show_default=True,
    help="Lines for a terminal, or Markdown.",
)
@opening
def log_command(
    session: Session, vault_path: str, automation: str, limit: int | None, since: datetime | None, shape: str
) -> None:
    """Say when AUTOMATION appeared, changed, could not be read and was gone, newest first.

    AUTOMATION is an id, the beginning of one (8 or more), or a name that it had at any time. --verbose and Markdown
    tell each change block by block; secrets are masked. VAULT may also be a folder of archives.
    """
    from qlikmigrate.cli.vault import is_vault, open_vault

    if is_vault(vault_path):
        vault = open_vault(session, vault_path)
        infos = _of_one_tenant(session, vault)
        tell_log(
            session,
            lambda: ((_label(info), vault.snapshot(info)) for info in infos),
            automation,
            content_key=_content_key,
            limit=limit,
            since=since,
            shape=shape,
        )
        return
    with ExitStack() as stack:
        tell_log(
            session,
            lambda: archives_in(session, Path(vault_path), stack),
            automation,
            limit=limit,
            since=since,
            shape=shape,
        )


def _label(info: SnapshotInfo) -> SnapshotLabel:
    from qlikmigrate.model.history import SnapshotLabel

    return SnapshotLabel(id=info.id[:8], taken_at=info.taken_at, complete=info.complete)


def _content_key(snapshot: Snapshot, ident: str) -> Hashable | None:
    """In one vault an automation's document lies in one place as long as it does not change.

    Of an OEM automation more is compared than that: None.
    """
    from qlikmigrate.model.kind import Kind
    from qlikmigrate.model.oem import is_oem
    from qlikmigrate.vault import VaultSnapshot

    assert isinstance(snapshot, VaultSnapshot)
    if is_oem(snapshot):
        return None
    return snapshot.content_key(Kind.AUTOMATION, ident)


def _of_one_tenant(session: Session, vault: Vault) -> list[SnapshotInfo]:
    """Raises: UsageError when there are several; NotFoundError when there is no snapshot."""
    from qlikmigrate.kernel.error import NotFoundError, UsageError

    infos = vault.snapshots(session.tenant)
    if not infos:
        raise NotFoundError(f"no snapshot in {vault.store.location}", code="no-snapshot")
    if len({info.tenant for info in infos}) > 1:
        names = ", ".join(sorted({info.tenant_label for info in infos}))
        raise UsageError(f"{vault.store.location} holds several tenants: {names}", hint="--tenant says which is meant")
    return infos


def archives_in(session: Session, folder: Path, stack: ExitStack) -> Iterator[Labelled]:
    """The archives of a folder by the time they were taken, each open until the next one is asked for."""
    from qlikmigrate.cli.archive import open_snapshot
    from qlikmigrate.kernel.error import NotFoundError
    from qlikmigrate.model.history import SnapshotLabel

    taken = []
    for path in folder.glob("*.qma"):
        with open_snapshot(session, path) as archive:
            taken.append((archive.capture.finished_at, path))
    if not taken:
        raise NotFoundError(f"no archive in the folder {folder}")
    for at, path in sorted(taken):
        stack.close()
        archive = stack.enter_context(open_snapshot(session, path))
        yield SnapshotLabel(id=path.name, taken_at=at, complete=archive.manifest.complete), archive


def tell_log(
    session: Session,
    opened: Callable[[], Iterable[Labelled]],
    wanted: str,
    *,
    content_key: ContentKey | None = None,
    limit: int | None = None,
    since: datetime | None = None,
    shape: str = "text",
) -> None:
    """Tell the history of the automation that `wanted` means.

    `opened`: gives the snapshots of one tenant, oldest first; called more than once. A snapshot is read until the next
    one is asked for, and the last one until all is told.

    Raises:
        UsageError: `wanted` means none, or several.
        CorruptError: a document is damaged.
    """
    from qlikmigrate.model.history import find_in_history, history, newest, token_hashes
    from qlikmigrate.report.history import HistoryTeller, title, what

    ident = find_in_history(opened, wanted)
    last: list[Labelled] = []

    def followed() -> Iterator[Labelled]:
        for one in opened():
            last[:] = [one]
            yield one

    entries = newest(history(followed(), ident, content_key=content_key), limit=limit, since=since)
    # Tokens of today alone: one that was replaced, or whose automation is gone, opens nothing any more.
    hashes = token_hashes(last[0][1]) if entries else frozenset()
    teller = HistoryTeller(ident=ident, token_hashes=hashes)
    output = session.output
    if shape == "md" and not output.json:
        output.item({}, f"# {title(entries, ident)}", "")
    for entry in entries:
        lines = teller.markdown(entry) if shape == "md" else teller.lines(entry, each_edit=output.verbose)
        output.item(teller.row(entry), *lines)
    counts = Counter(map(what, entries))
    session.report.update(counts={"entries": {"told": len(entries), **counts}})
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    session.closing.append(words or "nothing happened in that time")
