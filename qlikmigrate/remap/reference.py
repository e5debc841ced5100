"""Finds ids, hosts, addresses and `@@KEY@@` in a text. Which token is an id is for the inventory to say, not its shape.

A token counts where neither side touches a letter, digit or hyphen; an escape of JSON inside the text (`\\n`) and a
percent escape (`%2F`) are such borders too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from attrs import field, frozen

RUN = re.compile(r"[0-9A-Za-z_-]{8,}")
# As in a JSON text inside the text: a letter may be spelled as an escape, behind one or more backslashes.
_ESCAPED_LETTER = r"\\++u00(?:2[dD]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])"
ESCAPED_LETTER = re.compile(_ESCAPED_LETTER)
ESCAPED_LETTER_BYTES = re.compile(_ESCAPED_LETTER.encode())
_ESCAPED_RUN = re.compile(rf"(?:[0-9A-Za-z_-]|{_ESCAPED_LETTER})+")
_ESCAPE_LEAD = re.compile(r"[nrtbf]|u[0-9a-fA-F]{4}")
_VALUE = re.compile(r"@@([A-Za-z_][A-Za-z0-9_.-]*?)@@")
_AT = re.compile(r"@(?=[0-9A-Za-z-]+\.[0-9A-Za-z])")
_LOCAL_PART = re.compile(r"[0-9A-Za-z.!#$%&'*+/=?^_`{|}~-]")
_DOMAIN = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?(?:\.[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?)+")
_ID_SHAPE = re.compile(
    r"(?<![0-9A-Za-z-])(?:[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}|[0-9a-f]{24})"
    r"(?![0-9A-Za-z-])"
)
_ID_SHAPE_ALONE = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24}")
_HOST_BORDER = r"(?:(?<![0-9A-Za-z.\\%-])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
_HOST_END = r"(?![0-9A-Za-z-]|\.[0-9A-Za-z])"
_CLOUD_HOST = r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?\.qlikcloud\.com"

# Hosts that are the same for every tenant. Source: the StartBlock's `logo` in public workspaces.
SHARED_HOSTS = frozenset({"cdn.qlikcloud.com"})


@frozen
class Token:
    """`text[start:end]`; `key` is what to look up: lower-case id, host, address or the key of a value."""

    start: int
    end: int
    key: str


def _variants(run: str, before: str) -> Iterator[tuple[int, int]]:
    """The parts of a run that may be an id: all of it, or what is left without an escape; split at underscores."""
    offsets = [0]
    if before.endswith("\\") and (lead := _ESCAPE_LEAD.match(run)):
        offsets.append(lead.end())
    if before.endswith("%") and len(run) > 2:
        offsets.append(2)
    for offset in offsets:
        yield offset, len(run)


_LOWER_RUNS = bytes(
    byte if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789_-" else byte + 32 if 65 <= byte <= 90 else 32
    for byte in range(256)
)


def folded(raw: bytes) -> bytes:
    """`raw` in lower case with all that no id holds made blank: same length, and many times faster than a search."""
    return raw.translate(_LOWER_RUNS)


def runs(blank: bytes) -> set[bytes]:
    """The runs of letters, digits, hyphens and underscores of a folded text."""
    return set(blank.split())


@frozen
class IdIndex:
    """Finds the ids of `known` (lower case). Ids under eight characters are not looked for in texts."""

    known: Collection[str] = field(repr=False)
    _underscores: tuple[int, ...] = field(init=False, repr=False)
    _odd: dict[str, list[tuple[int, str]]] = field(init=False, repr=False)
    _all: frozenset[str] = field(init=False, repr=False)
    _bytes: frozenset[bytes] = field(init=False, repr=False)
    _variant_sizes: frozenset[int] = field(init=False, repr=False)
    _least: int = field(init=False, repr=False)

    @_underscores.default
    def _count_underscores(self) -> tuple[int, ...]:
        return tuple(sorted({one.count("_") for one in self.known if "_" in one}))

    @_odd.default
    def _index_odd(self) -> dict[str, list[tuple[int, str]]]:
        """Ids with other characters in them, under their first run of letters."""
        index: dict[str, list[tuple[int, str]]] = {}
        for one in self.known:
            match = RUN.search(one)
            if match is not None and match.group() != one:
                index.setdefault(match.group(), []).append((match.start(), one))
        return index

    def candidates(self, runs: Collection[bytes]) -> dict[bytes, set[str]]:
        """Of the runs of a text (see `runs`) those in which ids may stand, with these ids.

        Misses none but what is spelled with escapes.
        """
        found = {run: set(self._wholes(run.decode())) for run in self._bytes.intersection(runs)}
        sizes, least = self._variant_sizes, self._least
        for run in [run for run in runs if len(run) in sizes or (len(run) > least and b"_" in run)]:
            one = run.decode()
            hits = {one[begin:end] for start in (0, 1, 2, 5) for begin, end in self._in_run(one, start)}
            if hits:
                found.setdefault(run, set()).update(whole for hit in hits for whole in self._wholes(hit))
        return found

    def _wholes(self, hit: str) -> Iterator[str]:
        if hit in self.known:
            yield hit
        for _, whole in self._odd.get(hit, ()):
            yield whole

    @_all.default
    def _all_keys(self) -> frozenset[str]:
        return frozenset(self.known) | frozenset(self._odd)

    @_bytes.default
    def _as_bytes(self) -> frozenset[bytes]:
        return frozenset(one.encode() for one in self._all if one.isascii())

    @_least.default
    def _measure_least(self) -> int:
        return min(map(len, self._all), default=0)

    @_variant_sizes.default
    def _measure(self) -> frozenset[int]:
        """Sizes of a run that an escape before an id has joined: `n`, `2F`, `u00e9`."""
        sizes = {len(one) for one in self._all}
        return frozenset(size + lead for size in sizes for lead in (1, 2, 5))

    def _in_run(self, run: str, start: int = 0) -> Iterator[tuple[int, int]]:
        """Where ids stand in a lower-case run, from `start` on: between its underscores or ends."""
        if len(run) - start >= 8 and (run if start == 0 else run[start:]) in self._all:
            yield start, len(run)
            return
        if run.find("_", start) < 0:
            return
        borders = [start, *(index + 1 for index in range(start, len(run)) if run[index] == "_"), len(run) + 1]
        done = start
        for place, begin in enumerate(borders[:-1]):
            if begin < done:
                continue
            for count in (*reversed(self._underscores), 0):
                stop = place + count + 1
                if (
                    stop < len(borders)
                    and borders[stop] - 1 - begin >= 8
                    and run[begin : borders[stop] - 1] in self._all
                ):
                    yield begin, borders[stop] - 1
                    done = borders[stop]
                    break

    def find(self, text: str) -> Iterator[Token]:
        """Every id in `text`, left to right, without overlaps."""
        escaped = "\\u00" in text
        done = 0
        for match in (_ESCAPED_RUN if escaped else RUN).finditer(text):
            begin = match.start()
            if begin < done:
                continue
            spelled = match.group()
            run, places = (_unescaped(spelled)) if "\\" in spelled else (spelled, None)
            for start, end in self._hits(run.lower(), text[max(0, begin - 1) : begin]):
                first = begin + (places[start] if places else start)
                last = begin + (places[end] if places else end)
                key = run[start:end].lower()
                token = self._whole(text, first, last, key)
                if token is not None and token.start >= done:
                    yield token
                    done = token.end

    def _hits(self, run: str, before: str) -> list[tuple[int, int]]:
        hits: list[tuple[int, int]] = []
        for start, _ in _variants(run, before):
            hits = list(self._in_run(run, start))
            if hits:
                break
        return hits

    def _whole(self, text: str, start: int, end: int, key: str) -> Token | None:
        """The id itself where only its first run was met."""
        for offset, one in self._odd.get(key, ()):
            begin = start - offset
            if (
                begin >= 0
                and text[begin : begin + len(one)].lower() == one
                and _is_bounded(text, begin, begin + len(one))
            ):
                return Token(begin, begin + len(one), one)
        return Token(start, end, key) if key in self.known else None


def _is_bounded(text: str, start: int, end: int) -> bool:
    def touches(char: str) -> bool:
        return char.isascii() and (char.isalnum() or char == "-")

    return not (start and touches(text[start - 1])) and not (end < len(text) and touches(text[end]))


def _unescaped(run: str) -> tuple[str, list[int]]:
    """A run with its escapes resolved, and for each position where it stands in the run as spelled."""
    parts: list[str] = []
    places: list[int] = []
    index = 0
    while index < len(run):
        places.append(index)
        if match := ESCAPED_LETTER.match(run, index):
            parts.append(chr(int(match.group()[-4:], 16)))
            index = match.end()
        else:
            parts.append(run[index])
            index += 1
    places.append(len(run))
    return "".join(parts), places


def is_id_shaped(run: bytes) -> bool:
    """Whether a folded run is a uuid or 24 hex digits."""
    return _ID_SHAPE_ALONE.fullmatch(run) is not None


def id_shaped(text: str) -> Iterator[Token]:
    """Tokens in the form of Qlik's ids (uuid, 24 hex digits), known or not."""
    for match in _ID_SHAPE.finditer(text):
        yield Token(match.start(), match.end(), match.group().lower())


@frozen
class HostIndex:
    """Finds the hosts of `known` (lower case), and every other host of Qlik Cloud."""

    known: frozenset[str]
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    @_pattern.default
    def _compile(self) -> re.Pattern[str]:
        named = sorted((re.escape(host) for host in self.known), key=len, reverse=True)
        return re.compile(f"{_HOST_BORDER}(?:{'|'.join([*named, _CLOUD_HOST])}){_HOST_END}", re.IGNORECASE)

    def places(self, lower: bytes) -> Iterator[int]:
        """Positions within hosts in a text made lower case; cheaper than `find`."""
        for host in {".qlikcloud.com", *(host for host in self.known if not host.endswith(".qlikcloud.com"))}:
            yield from occurrences(lower, host.encode())

    def find(self, text: str) -> Iterator[Token]:
        """Every host in `text`."""
        for match in self._pattern.finditer(text):
            key = match.group().lower()
            if key not in SHARED_HOSTS:
                yield Token(match.start(), match.end(), key)


def occurrences(text: bytes, wanted: bytes) -> Iterator[int]:
    """Where `wanted` stands in `text`."""
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + len(wanted))


def values(text: str) -> Iterator[Token]:
    """`@@KEY@@` tokens."""
    for match in _VALUE.finditer(text):
        yield Token(match.start(), match.end(), match.group(1))


def addresses(text: str) -> Iterator[Token]:
    """E-mail addresses; `key` is the address as spelled."""
    done = 0
    for match in _AT.finditer(text):
        at = match.start()
        begin = at
        while begin > done and _LOCAL_PART.match(text[begin - 1]):
            begin -= 1
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None and begin < at:
            done = domain.end()
            yield Token(begin, done, text[begin:done])
