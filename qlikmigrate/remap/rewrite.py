"""One simultaneous pass over a received document: no site, same bytes; otherwise only the site's string is spliced."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from qlikmigrate.kernel.jsontext import Edit, elements, members, splice
from qlikmigrate.model.document import Path
from qlikmigrate.remap import reference
from qlikmigrate.remap.block_rewrite import BlockRewriter
from qlikmigrate.remap.finding import Rewritten
from qlikmigrate.remap.position import Scalar, Site, decoded, positions
from qlikmigrate.remap.record import Record, Region, Walked
from qlikmigrate.remap.rewriting import Rewriting
from qlikmigrate.remap.role import Role, block_role, variable_role
from qlikmigrate.remap.text_rewrite import TextRewriter

# Outside the workspace only these are written to the target; the rest is the importer's or the server's.
_OUTER_ROLES = {"description": Role.TEXT, "name": Role.NAME}
_DESIGNED = re.compile(r'"datasource"|"CallWidgetBlock"|"datasourcetype_guid"\s*:\s*"([^"]*)"')
_CATALOGUE_GUID = re.compile(r'"(?:endpoint|snippet)_guid"\s*:\s*"([^"]*)"')
_SHORT = 400


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
    regions = sorted(_regions(text), key=lambda region: region.start)
    walked = list(_walk(text, regions, _candidates(text, rewriting)))
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
        _check(text, one, record.edits)
    return Rewritten(
        raw=splice(text, record.edits).encode("utf-8"),
        changes=tuple(record.changes),
        findings=tuple(record.findings),
        pending=frozenset(record.pending),
    )


# -- the parts of a document


def _regions(text: str) -> Iterator[Region]:
    start = 1 if text.startswith("\ufeff") else 0
    outer = list(members(text, start))
    if not any(member.key == "workspace" for member in outer):
        yield from _workspace_regions(text, start, ())
        return
    for member in outer:
        if member.key == "workspace" and text[member.start] == "{":
            yield from _workspace_regions(text, member.start, ("workspace",))
        elif member.key in _OUTER_ROLES:
            yield Region((member.key,), member.start, member.end)


def _workspace_regions(text: str, start: int, prefix: Path) -> Iterator[Region]:
    for member in members(text, start):
        path = (*prefix, member.key)
        if member.key == "blocks" and text[member.start] == "[":
            for index, (begin, end) in enumerate(elements(text, member.start)):
                is_block = text[begin] == "{"
                yield Region((*path, index), begin, end, index if is_block else None)
        else:
            yield Region(path, member.start, member.end)


def _role(walked: Walked, path: Path) -> Role:
    if walked.region.block_index is not None:
        return block_role(path, walked.fields)
    top = walked.region.prefix
    if len(top) == 1 and top[0] in _OUTER_ROLES:
        return _OUTER_ROLES[str(top[0])]
    return variable_role(path) if top[-1] == "variables" else Role.TEXT


# -- where something may have to be done


def _candidates(text: str, rewriting: Rewriting) -> list[int]:
    """Positions at which a reference may begin, ascending. May name too many, never too few."""
    found = rewriting.ids.candidates(text)
    runs = [run for run, ids in found.items() if not all(rewriting.is_left_alone(one) for one in ids)]
    at = list(_occurrences(text, runs))
    if "\\u00" in text:
        at += (match.start() for match in reference.ESCAPED_LETTER.finditer(text))
    if rewriting.hosts.may_occur(text):
        at += (token.start for token in rewriting.hosts.find(text))
    if "@" in text:
        at += (token.start for token in reference.values(text))
        at += (token.start for token in reference.addresses(text))
    for match in _DESIGNED.finditer(text):
        connector = match.group(1)
        if connector is None or not _is_settled(rewriting, connector):
            at.append(match.start())
    if rewriting.published is not None:
        at += (m.start() for m in _CATALOGUE_GUID.finditer(text) if m.group(1).lower() not in rewriting.catalogue)
    at.sort()
    return at


def _is_settled(rewriting: Rewriting, connector: str) -> bool:
    resolutions = rewriting.resolutions(connector)
    if not resolutions:
        return not rewriting.target_has_connectors
    return rewriting.is_left_alone(connector)


def _occurrences(text: str, runs: Iterable[str]) -> Iterator[int]:
    runs = set(runs)
    if len(runs) > 24:
        for match in reference.RUN.finditer(text):
            if match.group() in runs:
                yield match.start()
        return
    for run in runs:
        at = text.find(run)
        while at >= 0:
            yield at
            at = text.find(run, at + len(run))


def _walk(text: str, regions: list[Region], at: list[int]) -> Iterator[tuple[Walked, list[Site]]]:
    """The regions in which something may have to be done, with the strings concerned."""
    for region in regions:
        first = bisect_left(at, region.start)
        if first == len(at) or at[first] >= region.end:
            continue
        walked = Walked(region, [], [], {})
        hits = []
        for one in positions(text, region.start, region.end):
            if isinstance(one, Scalar):
                walked.scalars.append(one)
                continue
            walked.sites.append(one)
            if not one.is_key and one.end - one.start < _SHORT:
                walked.fields[one.path] = decoded(text[one.start : one.end])
            place = bisect_left(at, one.start)
            if place < len(at) and at[place] < one.end:
                hits.append(one)
        yield walked, hits


def _names_with_ids(text: str, walked: Walked, hits: list[Site], rewriting: Rewriting) -> Iterator[str]:
    if walked.region.prefix == ("name",):
        return
    for site in hits:
        if _role(walked, site.path) is Role.NAME:
            value = decoded(text[site.start : site.end])
            if any(True for _ in rewriting.ids.find(value)):
                yield value


# -- what must hold afterwards


def _check(text: str, walked: Walked, edits: list[Edit]) -> None:
    """Raise unless every internal and catalogue id of the region is spelled as before."""
    region = walked.region
    inside = [edit for edit in edits if region.start <= edit.start and edit.end <= region.end]
    if not inside:
        return
    new = splice(
        text[region.start : region.end],
        [Edit(edit.start - region.start, edit.end - region.start, edit.new) for edit in inside],
    )
    before = _protected(walked, text)
    after_sites: list[Site] = []
    fields: dict[Path, str] = {}
    for one in positions(new, 0, len(new)):
        if isinstance(one, Site):
            after_sites.append(one)
            if not one.is_key and one.end - one.start < _SHORT:
                fields[one.path] = decoded(new[one.start : one.end])
    after = _protected(Walked(region, after_sites, [], fields), new)
    if before != after:
        raise AssertionError(f"internal ids changed in {region.prefix}")


def _protected(walked: Walked, text: str) -> list[tuple[Path, str]]:
    return [
        (site.path, text[site.start : site.end])
        for site in walked.sites
        if not site.is_key and _role(walked, site.path) in (Role.INTERNAL, Role.CATALOGUE, Role.NAME)
    ]
