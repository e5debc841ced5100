"""`log`: what became of one automation from snapshot to snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qlikmigrate.cli.option import command
from qlikmigrate.cli.session import Session

if TYPE_CHECKING:
    from qlikmigrate.model.history import ContentKey, Labelled


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
def log_command(
    session: Session, vault_path: str, automation: str, limit: int | None, since: datetime | None, shape: str
) -> None:
    """Say when AUTOMATION appeared, changed, could not be read and was gone, newest first.

    AUTOMATION is an id, the beginning of one (8 or more), or a name that it had at any time. --verbose and Markdown
    tell each change block by block; secrets are masked.
    """
    with ExitStack() as stack:
        tell_log(
            session,
            lambda: archives_in(Path(vault_path), stack),
            automation,
            limit=limit,
            since=since,
            shape=shape,
        )


def archives_in(folder: Path, stack: ExitStack) -> Iterator[Labelled]:
    """The archives of a folder by the time they were taken, each open until the next one is asked for."""
    from qlikmigrate.archive import open_archive
    from qlikmigrate.kernel.error import NotFoundError
    from qlikmigrate.model.history import SnapshotLabel

    taken = []
    for path in folder.glob("*.qma"):
        with open_archive(path) as archive:
            taken.append((archive.capture.finished_at, path))
    if not taken:
        raise NotFoundError(f"no archive in the folder {folder}")
    for at, path in sorted(taken):
        stack.close()
        archive = stack.enter_context(open_archive(path))
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
