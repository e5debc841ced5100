"""Rewrites the tokens of one string: ids, hosts, addresses, `@@KEY@@`. What must not change is reported."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

from attrs import frozen

from qlikmigrate.kernel.event import Severity
from qlikmigrate.kernel.jsontext import Edit
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap import reference
from qlikmigrate.remap.position import Site, Spelling, decoded, encoded
from qlikmigrate.remap.record import Record, Walked
from qlikmigrate.remap.reference import Token
from qlikmigrate.remap.rewriting import Action, Resolution, Rewriting
from qlikmigrate.remap.role import Role

_NESTED_DATASOURCE = re.compile(r'\\*"id\\*"\s*:\s*\\*"datasource\\*"[^{}]*\Z')
_NESTED_CODE = re.compile(r'\\*"id\\*"\s*:\s*\\*"(code|test_payload)\\*"[^{}]*?\\*"value\\*"\s*:\s*(\\*)"', re.S)
# What a nested workspace calls its own or the catalogue's.
_NESTED_OWN = re.compile(r'(?:[iI]d|key|[gG]uid)\\*"\s*:\s*\\*"\Z')
_FIXED = frozenset({Role.INTERNAL, Role.CATALOGUE})
_MAP_HINT = "add a line to the mapping file: section `[ids]`"
_ITEM_HINT = "--match-items finds it by type, name and space; or " + _MAP_HINT


@frozen
class _Piece:
    """One replacement in a string's value. `new` None: JSON null in place of the whole string."""

    start: int
    end: int
    new: str | None
    kind: Kind | None
    old: str
    shown: str | None


@frozen
class TextRewriter:
    """Rewrites the strings of one document. `names`: names with ids in them, to which expressions bind."""

    text: str
    rewriting: Rewriting
    record: Record
    names: tuple[str, ...] = ()

    def string(self, walked: Walked, site: Site, role: Role) -> None:
        """Rewrite or report every token of one string."""
        if role in _FIXED:
            return
        spelled = self.text[site.start : site.end]
        value = decoded(spelled)
        pieces = _without_overlaps(
            [
                *self._values(walked, site, role, value),
                *self._ids(walked, site, role, value),
                *self._hosts(walked, site, role, value),
                *self._addresses(walked, site, role, value),
            ]
        )
        self._unknown(walked, site, role, value)
        if not pieces:
            return
        spelling = Spelling(spelled) if "\\" in spelled else None
        for piece in pieces:
            self.record.change(walked, site.path, piece.kind, piece.old, piece.shown)
            if piece.new is None:
                self.record.edits.append(Edit(site.start, site.end, "null"))
                continue
            start, end = (spelling.raw(piece.start), spelling.raw(piece.end)) if spelling else (piece.start, piece.end)
            self.record.edits.append(Edit(site.start + 1 + start, site.start + 1 + end, encoded(piece.new)))

    def _is_reported_only(self, role: Role) -> bool:
        if role is Role.NAME:
            return True
        mapping = self.rewriting.mapping
        return (role is Role.CODE and not mapping.rewrite_code) or (role is Role.PROSE and not mapping.rewrite_prose)

    # -- ids

    def _ids(self, walked: Walked, site: Site, role: Role, value: str) -> list[_Piece]:
        pieces = []
        for token in self.rewriting.ids.find(value):
            spelled = value[token.start : token.end]
            if self.rewriting.is_left_alone(token.key):
                continue
            where = self._inner_role(role, value, token)
            if self._is_reported_only(where):
                self._report(walked, site, where, token, spelled)
            elif where is not Role.NAME and self._is_in_name(value, token):
                self._report(walked, site, Role.NAME, token, spelled)
            else:
                pieces += self._id(walked, site, role, value, token)
        return pieces

    def _id(self, walked: Walked, site: Site, role: Role, value: str, token: Token) -> list[_Piece]:
        spelled = value[token.start : token.end]
        found = self.rewriting.resolve(token.key)
        if found is None:
            kinds = ", ".join(one.kind for one in self.rewriting.resolutions(token.key))
            self.record.find(
                walked, site.path, "ambiguous-id", Severity.TODO, f"`{spelled}` may be: {kinds}", source_id=spelled,
                hint=_MAP_HINT,
            )  # fmt: skip
            return []
        if found.action is Action.MAP:
            return [self._mapped(role, value, token, found)]
        nested = self._nested_binding(value, token) if found.kind is Kind.CONNECTION else None
        if nested is not None:
            if found.action is Action.PENDING:
                self.record.pending.add((found.kind, found.source.id))
            else:
                self.unbound(walked, site, found.source.name, spelled, found.action)
            return [_Piece(nested[0], nested[1], "null", found.kind, spelled, None)]
        if found.action is Action.PENDING:
            self.record.pending.add((found.kind, found.source.id))
            return []
        if found.action is Action.NULL and token.start == 0 and token.end == len(value) and not site.is_key:
            return [_Piece(token.start, token.end, None, found.kind, spelled, None)]
        name = f" `{found.source.name}`" if found.source.name else ""
        self.record.find(
            walked, site.path, "source-id-left", Severity.TODO, f"{found.kind}{name} has no counterpart at the target",
            kind=found.kind, source_id=spelled, hint=_ITEM_HINT if found.kind is Kind.ITEM else _MAP_HINT,
        )  # fmt: skip
        return []

    def _mapped(self, role: Role, value: str, token: Token, found: Resolution) -> _Piece:
        spelled = value[token.start : token.end]
        if role is Role.LABEL and found.name and value.endswith(f" ({spelled})") and token.end == len(value) - 1:
            return _Piece(0, len(value), f"{found.name} ({found.new})", found.kind, spelled, found.new)
        return _Piece(token.start, token.end, found.new, found.kind, spelled, found.new)

    def _report(self, walked: Walked, site: Site, role: Role, token: Token, spelled: str) -> None:
        code, severity, what = {
            Role.CODE: ("id-in-code", Severity.TODO, "source code"),
            Role.NAME: ("id-in-name", Severity.TODO, "a name that expressions bind to"),
        }.get(role, ("id-in-prose", Severity.INFO, "text for people"))
        found = self.rewriting.resolutions(token.key)[0]
        name = f" `{found.source.name}`" if found.source.name else ""
        hint = f"at the target: `{found.new}`" if found.new else ""
        self.record.find(
            walked, site.path, code, severity, f"id of {found.kind}{name} in {what}, left as it is",
            kind=found.kind, source_id=spelled, hint=hint,
        )  # fmt: skip

    def unbound(self, walked: Walked, site: Site, name: str, spelled: str, action: Action) -> None:
        """List a connection that became null; by decision it is only good to know."""
        decided = action is Action.NULL
        self.record.find(
            walked, site.path, "connection-unbound", Severity.INFO if decided else Severity.WARNING,
            f"connection `{name or spelled}` {'is set to null' if decided else 'has no counterpart'}: null was written",
            kind=Kind.CONNECTION, source_id=spelled,
            hint="" if decided else "create it at the target and map it, or bind the block in the editor",
        )  # fmt: skip

    def _is_in_name(self, value: str, token: Token) -> bool:
        for name in self.names:
            at = value.find(name)
            while at >= 0:
                if at <= token.start and token.end <= at + len(name):
                    return True
                at = value.find(name, at + 1)
        return False

    # -- a workspace inside the string: not always JSON, so it is judged by what stands around the token

    def _inner_role(self, role: Role, value: str, token: Token) -> Role:
        """The role of the inner string that holds the token."""
        if role not in (Role.TEXT, Role.LABEL) or ('"value' not in value and '\\"value' not in value):
            return role
        spans = _inner_spans(value)
        place = bisect_right(spans, token.start, key=lambda span: span[0]) - 1
        return spans[place][2] if place >= 0 and token.start < spans[place][1] else role

    def _nested_binding(self, value: str, token: Token) -> tuple[int, int] | None:
        """The span of the quoted token where it is the `datasource` of a block of a nested workspace."""
        before = re.search(r'\\*"\Z', value[max(0, token.start - 16) : token.start])
        if before is None or not value.startswith(before.group(), token.end):
            return None
        start = token.start - len(before.group())
        head = value[max(0, start - 400) : start]
        if not re.search(r'\\*"value\\*"\s*:\s*\Z', head) or not _NESTED_DATASOURCE.search(head):
            return None
        return start, token.end + len(before.group())

    def _unknown(self, walked: Walked, site: Site, role: Role, value: str) -> None:
        """List what looks like an id and is none of anybody's."""
        if role is Role.PROSE or walked.fields.get((*site.path[:-1], "type")) == "select":
            return
        tokens = [token for token in reference.id_shaped(value) if not self.rewriting.resolutions(token.key)]
        if tokens and "blocks" in value:
            own = {token.key for token in tokens if _NESTED_OWN.search(value, max(0, token.start - 60), token.start)}
            tokens = [token for token in tokens if token.key not in own]
        for token in tokens:
            if not self.rewriting.is_known_elsewhere(token.key):
                spelled = value[token.start : token.end]
                self.record.find(
                    walked, site.path, "unknown-id", Severity.INFO, f"no inventory knows `{spelled}`",
                    source_id=spelled,
                    hint="deleted, of another tenant, or no id at all; `[ids]` in the mapping file settles it",
                )  # fmt: skip

    # -- hosts, addresses, values

    def _hosts(self, walked: Walked, site: Site, role: Role, value: str) -> list[_Piece]:
        rewriting = self.rewriting
        if "." not in value and not rewriting.hosts.known:
            return []
        pieces = []
        for token in rewriting.hosts.find(value):
            new = rewriting.mapping.hosts.get(token.key)
            if new is not None and new.lower() == token.key:
                continue
            spelled = value[token.start : token.end]
            inner = self._inner_role(role, value, token)
            if inner is not Role.CODE and self._is_reported_only(inner):
                if new is not None or token.key in rewriting.source_hosts:
                    self.record.find(
                        walked, site.path, "host-in-prose", Severity.INFO,
                        f"host of the source tenant in text for people: {spelled}", source_id=spelled,
                    )  # fmt: skip
            elif new is not None and not self._is_reported_only(inner) and not self._is_in_name(value, token):
                pieces.append(_Piece(token.start, token.end, new, None, spelled, new))
            elif new is not None or token.key in rewriting.source_hosts:
                self.record.find(
                    walked, site.path, "source-host-left", Severity.ERROR,
                    f"the copy would act on the source tenant: {spelled}", source_id=spelled,
                    hint="map the host in `[hosts]`, or keep it with { decision = \"keep\" }"
                    + ("; for source code: `[rewrite] code = true`" if inner is Role.CODE else ""),
                )  # fmt: skip
            elif token.key not in rewriting.target_hosts:
                self.record.find(
                    walked, site.path, "foreign-host", Severity.INFO, f"host of another tenant: {spelled}",
                    source_id=spelled,
                )  # fmt: skip
        return pieces

    def _addresses(self, walked: Walked, site: Site, role: Role, value: str) -> list[_Piece]:
        if "@" not in value or self._is_reported_only(role):
            return []
        pieces = []
        for token in reference.addresses(value):
            domain = token.key.rpartition("@")[2]
            new = self.rewriting.mapping.mail_domains.get(domain.lower())
            if new is None:
                self.record.find(
                    walked, site.path, "mail-address", Severity.INFO, f"e-mail address: {token.key}",
                    source_id=token.key,
                )  # fmt: skip
            elif new.lower() != domain.lower():
                pieces.append(_Piece(token.end - len(domain), token.end, new, None, domain, new))
        return pieces

    def _values(self, walked: Walked, site: Site, role: Role, value: str) -> list[_Piece]:
        if "@@" not in value or role is Role.NAME:
            return []
        pieces = []
        for token in reference.values(value):
            new = self.rewriting.mapping.values.get(token.key)
            if new is None:
                self.record.find(
                    walked, site.path, "value-missing", Severity.ERROR, f"no value for `@@{token.key}@@`",
                    source_id=token.key, hint=f"add `{token.key}` to the mapping file's section `[values]`",
                )  # fmt: skip
            else:
                if _is_in_inner_string(value, token.start):
                    new = encoded(new)
                pieces.append(_Piece(token.start, token.end, new, None, f"@@{token.key}@@", None))
        return pieces


def _without_overlaps(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces in order of place; of two that meet, the one that was found first."""
    starts: list[int] = []
    kept: list[_Piece] = []
    for piece in pieces:
        place = bisect_right(starts, piece.start)
        is_free = place == 0 or kept[place - 1].end <= piece.start
        if is_free and (place == len(kept) or piece.end <= kept[place].start):
            starts.insert(place, piece.start)
            kept.insert(place, piece)
    return kept


@lru_cache(maxsize=2)
def _inner_spans(value: str) -> list[tuple[int, int, Role]]:
    """Where the source codes and sample payloads of a nested workspace stand in its text, in order."""
    spans = []
    done = 0
    while match := _NESTED_CODE.search(value, done):
        # An inner string ends at the next quote with as many backslashes as the one that opened it.
        depth = len(match.group(2))
        closing = re.compile(rf'(?<!\\)\\{{{depth}}}"').search(value, match.end())
        done = closing.start() if closing else len(value)
        spans.append((match.end(), done, Role.CODE if match.group(1) == "code" else Role.PROSE))
    return spans


def _is_in_inner_string(value: str, index: int) -> bool:
    """Whether `index` lies inside a string of a JSON text that `value` holds."""
    if not value.lstrip().startswith(("{", "[")):
        return False
    quotes = re.findall(r'(?<!\\)(?:\\\\)*"', value[:index])
    return len(quotes) % 2 == 1
