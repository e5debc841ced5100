"""A quick look over a document for places where something may have to be done: too many do no harm, too few would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from qlikmigrate.remap import reference
from qlikmigrate.remap.rewriting import Rewriting

_DESIGNED = re.compile(rb'"datasource"|"CallWidgetBlock"|"datasourcetype_guid"\s*:\s*"([^"]*)"')
_CATALOGUE_GUID = re.compile(rb'"(?:endpoint_guid|snippet_guid|webhook_event_guid"[^{}]*?"value)"\s*:\s*"([^"]*)"')
_GUID = rb"[0-9A-Fa-f][0-9A-Fa-f-]{22,34}[0-9A-Fa-f]"
# Ids that stand where only internal and catalogue ids do; within a nested workspace the quotes are escaped.
_INTERNAL = re.compile(
    rb'"(?:id|key|guid|variableGuid|(?:child|childTrue|childFalse|loopBlock|defaultChild)Id|'
    rb'(?:endpoint|snippet|datasourcetype)_guid)"\s*:\s*"(' + _GUID + rb')"'
)
_OPTION = re.compile(
    rb'"type"\s*:\s*"select"\s*,\s*"value"\s*:\s*"(' + _GUID + rb')"'
    rb'|"value"\s*:\s*"(' + _GUID + rb')"\s*,\s*"type"\s*:\s*"select"'
)
_AT = re.compile(rb"@(?=@?[0-9A-Za-z_])")


def candidates(raw: bytes, text: str, rewriting: Rewriting) -> list[int]:
    """Positions in `text` (`raw` decoded) at or inside tokens that may matter, ascending."""
    at = sorted(_places(raw, rewriting))
    if len(raw) == len(text):
        return at
    found = []
    done, place = 0, 0
    for one in at:
        # A place may lie inside a character only where no token of ours does.
        place += len(raw[done:one].decode("utf-8", "ignore"))
        done = one
        found.append(place)
    return found


def _places(raw: bytes, rewriting: Rewriting) -> Iterator[int]:
    blank = reference.folded(raw)
    runs = reference.runs(blank)
    found = rewriting.ids.candidates(runs)
    wanted = [run for run, ids in found.items() if not all(rewriting.is_left_alone(one) for one in ids)]
    yield from _spans(blank, [*wanted, *_unknown(raw, runs.difference(found), rewriting)])
    if b"\\u00" in raw:
        yield from (match.start() for match in reference.ESCAPED_LETTER_BYTES.finditer(raw))
    yield from rewriting.hosts.places(raw.lower())
    yield from (match.start() for match in _AT.finditer(raw))
    for match in _DESIGNED.finditer(raw):
        connector = match.group(1)
        if connector is None or not _is_settled(rewriting, connector.decode()):
            yield match.start()
    if rewriting.published:
        for match in _CATALOGUE_GUID.finditer(raw):
            if match.group(1).decode().lower() not in rewriting.catalogue:
                yield match.start()


def _unknown(raw: bytes, runs: Iterable[bytes], rewriting: Rewriting) -> set[bytes]:
    """Those of `runs` in the form of an id that no inventory, catalogue or internal position accounts for."""
    shaped = {run for run in runs if len(run) == 36 or len(run) == 24}
    if shaped:
        shaped -= {one.lower() for one in _INTERNAL.findall(raw)}
    if shaped:
        shaped -= {one.lower() for pair in _OPTION.findall(raw) for one in pair}
    return {run for run in shaped if reference.is_id_shaped(run) and not rewriting.is_known_elsewhere(run.decode())}


def _is_settled(rewriting: Rewriting, connector: str) -> bool:
    if not rewriting.resolutions(connector):
        return not rewriting.target_has_connectors
    return rewriting.is_left_alone(connector)


def _spans(blank: bytes, wanted: Iterable[bytes]) -> Iterator[int]:
    runs = set(wanted)
    if len(runs) > 48:
        for match in re.compile(rb"[^ ]{8,}").finditer(blank):
            if match.group() in runs:
                yield match.start()
        return
    for run in runs:
        yield from reference.occurrences(blank, run)
