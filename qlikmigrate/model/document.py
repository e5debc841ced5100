"""One received JSON document, and what was cut out of it.

Kept text plus cuts give the received bytes back, but for secrets, of which only a length and sometimes a hash stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from attrs import frozen

from qlikmigrate.kernel.jsontext import Member, elements, members
from qlikmigrate.model.kind import FACTS, OPAQUE, Kind, KindFacts

Path = tuple[str | int, ...]


class Part(StrEnum):
    """What a document is: one object's own answer, or its row in a list."""

    DETAIL = "detail"
    ROW = "row"


class CutReason(StrEnum):
    """Why a member was cut out: a secret is gone for good, run data is kept beside the document."""

    SECRET = "secret"  # noqa: S105
    RUN = "run"


@frozen(kw_only=True)
class Cut:
    """A member cut out of a document.

    `offset`: byte offset in the kept text where it stood. `length`: bytes cut. `text`: what stood there, run data only.
    `sha256`: of the value, for execution tokens only, so that who embeds one can be found.
    """

    path: Path
    offset: int
    length: int
    reason: CutReason
    text: str | None = None
    sha256: str | None = None


@frozen(kw_only=True)
class Document:
    """A document as received, cuts taken out of `raw`. `id` is empty for a tenant's single documents (settings)."""

    kind: Kind
    id: str
    part: Part
    raw: bytes
    cuts: tuple[Cut, ...] = ()
    read_at: datetime | None = None


def cut_document(kind: Kind, raw: bytes, facts: KindFacts | None = None) -> tuple[bytes, tuple[Cut, ...]]:
    """Take secrets and run data of `kind` out of `raw`, an object in UTF-8. `facts`: other than those of Qlik Cloud.

    Returns:
        The kept bytes, and the cuts in order of offset. Without anything to cut, `raw` itself.

    Raises:
        ValueError: `raw` is no JSON object.
    """
    facts = facts or FACTS[kind]
    deep = dict.fromkeys(facts.deep_runs, CutReason.RUN) | dict.fromkeys(facts.deep_secrets, CutReason.SECRET)
    rules = [(CutReason.SECRET, path) for path in facts.secret_paths]
    rules += [(CutReason.RUN, path) for path in facts.run_paths]
    if not rules and not deep:
        return raw, ()
    raw.decode("utf-8")
    # One character for each byte, so that positions in the text are offsets in `raw`; what JSON is made of is ASCII.
    text = raw.decode("latin-1")
    pieces = sorted(_find(text, 0, rules, (), deep), key=lambda piece: piece[0])
    if not pieces:
        return raw, ()
    cuts = []
    kept = []
    size = done = 0
    for start, end, reason, path, value in pieces:
        kept.append(raw[done:start])
        size += start - done
        done = end
        cuts.append(
            Cut(
                path=path,
                offset=size,
                length=end - start,
                reason=reason,
                text=_utf8(text[start:end]) if reason is CutReason.RUN else None,
                sha256=_token_hash(path, _utf8(value)),
            )
        )
    kept.append(raw[done:])
    return b"".join(kept), tuple(cuts)


def received(document: Document) -> bytes:
    """The document as received but for secrets: run data put back where it stood."""
    raw = document.raw
    parts: list[bytes] = []
    done = 0
    for cut in document.cuts:
        if cut.text is None:
            continue
        parts += (raw[done : cut.offset], cut.text.encode())
        done = cut.offset
    parts.append(raw[done:])
    return b"".join(parts)


def _utf8(text: str) -> str:
    """What the bytes that `text` shows one by one mean."""
    return text.encode("latin-1").decode("utf-8")


def _name(text: str, member: Member) -> str:
    """The member's name, from its bytes where it is not ASCII; which names are cut is decided by ASCII alone."""
    if member.key.isascii():
        return member.key
    name: str = json.JSONDecoder().raw_decode(_utf8(text[member.key_start : member.end]))[0]
    return name


_Piece = tuple[int, int, CutReason, Path, str]
_Rule = tuple[CutReason, tuple[str, ...]]
_Deep = Mapping[str, CutReason]


def _find(text: str, start: int, rules: Sequence[_Rule], path: Path, deep: _Deep) -> Iterator[_Piece]:
    """What `rules` cut out of the object at `start`, and of what lies in it; and what `deep` cuts at any depth."""
    found = list(members(text, start))
    reasons = [
        _reason(member.key, rules) or deep.get(member.key) or _misplaced(text, member, rules) for member in found
    ]
    for index, (member, reason) in enumerate(zip(found, reasons, strict=True)):
        here = (*path, _name(text, member))
        if reason is not None:
            begin, end = _piece_span(found, reasons, index)
            yield begin, end, reason, here, text[member.start : member.end]
            continue
        inner = [(why, rule[1:]) for why, rule in rules if len(rule) > 1 and rule[0] == member.key]
        below = {} if member.key in OPAQUE else deep
        if inner or below:
            yield from _find_inside(text, member.start, inner, here, below)


def _find_inside(text: str, start: int, rules: Sequence[_Rule], path: Path, deep: _Deep) -> Iterator[_Piece]:
    if text[start] == "{" and deep:
        yield from _find(text, start, (), path, deep)
    if text[start] != "[":
        return
    below = [(why, rule[1:]) for why, rule in rules if rule[0] == "*"]
    for index, (begin, _) in enumerate(elements(text, start)):
        if text[begin] == "{":
            yield from _find(text, begin, below, (*path, index), deep)
        elif deep:
            yield from _find_inside(text, begin, (), (*path, index), deep)


def _reason(key: str, rules: Sequence[_Rule]) -> CutReason | None:
    for reason, rule in rules:
        if len(rule) == 1 and (rule[0] == key or (rule[0].endswith("*") and key.startswith(rule[0][:-1]))):
            return reason
    return None


def _misplaced(text: str, member: Member, rules: Sequence[_Rule]) -> CutReason | None:
    """SECRET where a list of objects with secrets should be and something else is: it goes as a whole."""
    if not any(why is CutReason.SECRET and len(rule) > 1 and rule[0] == member.key for why, rule in rules):
        return None
    value = text[member.start : member.end]
    if value == "null" or (value[0] == "[" and all(value[begin] == "{" for begin, _ in elements(value))):
        return None
    return CutReason.SECRET


def _piece_span(found: Sequence[Member], reasons: Sequence[CutReason | None], index: int) -> tuple[int, int]:
    """The member with the comma that goes with it, so that what is kept stays an object."""
    if any(reason is None for reason in reasons[index + 1 :]) or all(reasons):
        last = index + 1 == len(found)
        return found[index].key_start, found[index].end if last else found[index + 1].key_start
    return found[index - 1].end, found[index].end


def _token_hash(path: Path, value: str) -> str | None:
    if path[-1] not in ("executionToken", "execution_token") or not value.startswith('"'):
        return None
    token: str = json.JSONDecoder(strict=False).raw_decode(value)[0]
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
