"""One simultaneous pass over a received document: no site, same bytes; otherwise only the site's string is spliced."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress

from qlikmigrate.kernel.jsontext import Member, elements, members, splice
from qlikmigrate.model.document import Path
from qlikmigrate.remap.block_rewrite import BlockRewriter
from qlikmigrate.remap.candidate import candidates
from qlikmigrate.remap.finding import Rewritten
from qlikmigrate.remap.position import Scalar, Site, decoded, positions
from qlikmigrate.remap.record import Record, Region, Walked
from qlikmigrate.remap.region import regions
from qlikmigrate.remap.rewriting import Rewriting
from qlikmigrate.remap.role import Role, block_role, variable_role
from qlikmigrate.remap.safeguard import check
from qlikmigrate.remap.text_rewrite import TextRewriter

_OUTER_ROLES = {"description": Role.TEXT, "name": Role.NAME}
# Fields that say what a string is are short and not deep: `inputs[3].id`.
_SHORT = 400
_FIELD_DEPTH = 3
# Blocks in which one field says what another means.
_WHOLE = ('"CallWidgetBlock"', '"webhook_event_guid"')


def rewrite(raw: bytes, rewriting: Rewriting) -> Rewritten:
    """A document with its references moved to the target.

    `raw`: an automation as the API gives it (rewritten: `workspace`, `description`; its own ids stay for the importer),
    or a bare workspace. UTF-8.

    Raises:
        ValueError: `raw` is no JSON object in UTF-8.
        AssertionError: the result would have broken an internal id. A bug; nothing is returned.
    """
    text = raw.decode("utf-8")
    record = Record()
    found = candidates(raw, text, rewriting)
    if not found:
        return Rewritten(raw=raw)
    walked = list(_walk(text, regions(text), found))
    if not walked:
        return Rewritten(raw=raw)
    names = tuple(name for one, hits in walked for name in _names_with_ids(text, one, hits, rewriting))
    strings = TextRewriter(text, rewriting, record, names)
    blocks = BlockRewriter(text, rewriting, record, strings)
    for one, hits in walked:
        done = blocks.structured(one) if one.region.block_index is not None else set()
        for site in hits:
            if site.start not in done:
                strings.string(one, site, _role(one, site.path))
    if not record.edits:
        return Rewritten(raw=raw, findings=tuple(record.findings), pending=frozenset(record.pending))
    for one, _ in walked:
        check(text, one, record.edits)
    return Rewritten(
        raw=splice(text, record.edits).encode("utf-8"),
        changes=tuple(record.changes),
        findings=tuple(record.findings),
        pending=frozenset(record.pending),
    )


def _role(walked: Walked, path: Path) -> Role:
    if walked.region.block_index is not None:
        return block_role(path, walked.fields)
    top = walked.region.prefix
    if len(top) == 1 and top[0] in _OUTER_ROLES:
        return _OUTER_ROLES[str(top[0])]
    return variable_role(path) if top[-1] == "variables" else Role.TEXT


def _walk(text: str, parts: Iterable[Region], at: list[int]) -> Iterator[tuple[Walked, list[Site]]]:
    """The regions in which something may have to be done, with the strings concerned."""
    for region in parts:
        place = bisect_left(at, region.start)
        if place == len(at) or at[place] >= region.end:
            continue
        walked = Walked(region, [], [], {})
        hits = []
        near = at[place]
        for one in _strings(text, region, at):
            if isinstance(one, Scalar):
                walked.scalars.append(one)
                continue
            path, is_key, start, end = one
            walked.sites.append(one)
            if not is_key and len(path) <= _FIELD_DEPTH and end - start < _SHORT:
                walked.fields[path] = decoded(text[start:end])
            while near < start and place + 1 < len(at):
                place += 1
                near = at[place]
            if start <= near < end:
                hits.append(one)
        yield walked, hits


def _strings(text: str, region: Region, at: list[int]) -> Iterator[Site | Scalar]:
    """The strings of a region that may matter: of a block only its own and those of fields with a candidate in them."""
    parts: list[Member] = []
    if region.block_index is not None and not any(text.find(word, region.start, region.end) >= 0 for word in _WHOLE):
        # A block that is nested too deep for the decoder is walked as a whole too.
        with suppress(ValueError):
            parts = list(members(text, region.start))
    if not parts:
        yield from positions(text, region.start, region.end)
    for part in parts:
        path: Path = (part.key,)
        if _holds(at, part.key_start, part.start):
            yield Site(path, True, part.key_start, text.rindex('"', part.key_start, part.start) + 1)
        if text[part.start] == "[":
            if _holds(at, part.start, part.end):
                for index, (start, end) in enumerate(elements(text, part.start)):
                    if _holds(at, start, end):
                        yield from positions(text, start, end, (*path, index))
        elif text[part.start] != "{" or _holds(at, part.start, part.end):
            yield from positions(text, part.start, part.end, path)


def _holds(at: list[int], start: int, end: int) -> bool:
    place = bisect_left(at, start)
    return place < len(at) and at[place] < end


def _names_with_ids(text: str, walked: Walked, hits: list[Site], rewriting: Rewriting) -> Iterator[str]:
    if walked.region.prefix == ("name",):
        return
    for site in hits:
        if _role(walked, site.path) is Role.NAME:
            value = decoded(text[site.start : site.end])
            if any(True for _ in rewriting.ids.find(value)):
                yield value
