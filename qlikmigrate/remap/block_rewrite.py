"""Rewrites the positions of a block that hold one reference by design: connection, connector, called automation."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from qlikmigrate.kernel.event import Severity
from qlikmigrate.kernel.jsontext import Edit
from qlikmigrate.model.document import Path
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.position import Site, decoded, encoded
from qlikmigrate.remap.record import Record, Walked
from qlikmigrate.remap.rewriting import Action, Rewriting
from qlikmigrate.remap.role import Role, block_role
from qlikmigrate.remap.text_rewrite import TextRewriter

_LABELS = (Role.CONNECTION_LABEL, Role.CALL_LABEL, Role.LABEL)
# Last parts of the paths that matter here: asked first, because most strings are none of them.
_DESIGNED = frozenset({"value", "displayValue", "datasourcetype_guid"})
_GUIDS: tuple[Path, ...] = (("endpoint_guid",), ("snippet_guid",))


@frozen
class BlockRewriter:
    """Rewrites the blocks of one document."""

    text: str
    rewriting: Rewriting
    record: Record
    strings: TextRewriter

    def structured(self, walked: Walked) -> set[int]:
        """Rewrite a block's references by design. Returns the starts of the strings that are done."""
        done: set[int] = set()
        for site in walked.sites:
            if site.is_key or site.path[-1] not in _DESIGNED:
                continue
            role = block_role(site.path, walked.fields)
            if role in (Role.CONNECTION, Role.CALL):
                value = decoded(self.text[site.start : site.end])
                # An expression is looked through like any text.
                if value and "{" not in value:
                    done.add(site.start)
                    self._reference(walked, site, value, role)
            elif role is Role.CONNECTOR:
                done.add(site.start)
                self._connector(walked, site, decoded(self.text[site.start : site.end]))
            elif site.path[-1] == "displayValue" and role in _LABELS and self._label(walked, site, role):
                done.add(site.start)
        return done

    def _replace(self, walked: Walked, site: Site, kind: Kind, old: str, new: str | None) -> None:
        self.record.change(walked, site.path, kind, old, new)
        if new is None:
            self.record.edits.append(Edit(site.start, site.end, "null"))
        else:
            self.record.edits.append(Edit(site.start + 1, site.end - 1, encoded(new)))

    def _reference(self, walked: Walked, site: Site, value: str, role: Role) -> None:
        kind = Kind.CONNECTION if role is Role.CONNECTION else Kind.AUTOMATION
        found = self.rewriting.resolve(value, kind)
        if found is None and self.rewriting.target.get(kind, value) is not None:
            return
        action = Action.LEFT if found is None else found.action
        if action is Action.SAME:
            return
        if found is not None and action is Action.MAP:
            self._replace(walked, site, kind, value, found.new)
            return
        self._replace(walked, site, kind, value, None)
        if found is not None and action is Action.PENDING:
            self.record.pending.add((kind, found.source.id))
        elif kind is Kind.CONNECTION:
            name = found.source.name if found else ""
            self.strings.unbound(walked, site, name, value, action)
        else:
            name = f"`{found.source.name}` " if found and found.source.name else ""
            self.record.find(
                walked, site.path, "call-unresolved", Severity.INFO if action is Action.NULL else Severity.WARNING,
                f"called automation {name}has no counterpart: null was written, the block is disabled",
                kind=kind, source_id=value, hint="bring the called automation over too: `--with-calls`",
            )  # fmt: skip
        if kind is Kind.AUTOMATION:
            self._disable(walked)

    def _disable(self, walked: Walked) -> None:
        present = [scalar for scalar in walked.scalars if scalar.path == ("disabled",)]
        for scalar in present:
            edit = Edit(scalar.start, scalar.end, "true")
            if self.text[scalar.start : scalar.end] != "true" and edit not in self.record.edits:
                self.record.edits.append(edit)
        if not present:
            inside = self.text.index("{", walked.region.start) + 1
            edit = Edit(inside, inside, '"disabled":true,')
            if edit not in self.record.edits:
                self.record.edits.append(edit)

    def _connector(self, walked: Walked, site: Site, value: str) -> None:
        rewriting = self.rewriting
        if not value or "{" in value:
            return
        found = rewriting.resolve(value, Kind.CONNECTOR)
        target_id = found.new if found is not None and found.action is Action.MAP else value
        if target_id is not value:
            self._replace(walked, site, Kind.CONNECTOR, value, target_id)
        elif found is not None and found.action is Action.SAME:
            pass
        elif rewriting.target_has_connectors and rewriting.target.get(Kind.CONNECTOR, value) is None:
            name = found.source.name if found is not None else ""
            self.record.find(
                walked, site.path, "connector-missing", Severity.ERROR,
                f"the target does not publish connector `{name or value}`", kind=Kind.CONNECTOR, source_id=value,
                hint="map it in the section `[connectors]`, or leave the automation out",
            )  # fmt: skip
            return
        self._check_catalogue(walked, target_id)

    def _check_catalogue(self, walked: Walked, connector_id: str) -> None:
        published = self.rewriting.published_by.get(connector_id.lower())
        if published is None:
            return
        for path, guid in _catalogue_guids(walked.fields):
            if guid.lower() not in published:
                self.record.find(
                    walked, path, "catalogue-guid-missing", Severity.ERROR,
                    "the target's connector does not publish this endpoint, snippet or event",
                    kind=Kind.CONNECTOR, source_id=guid, hint="replace the block in the source automation",
                )  # fmt: skip

    def _label(self, walked: Walked, site: Site, role: Role) -> bool:
        """Refresh a label that holds nothing but the name of what its field refers to."""
        value = walked.fields.get((*site.path[:-1], "value"), "")
        if not value:
            return False
        kind = {Role.CONNECTION_LABEL: Kind.CONNECTION, Role.CALL_LABEL: Kind.AUTOMATION}.get(role)
        found = self.rewriting.resolve(value, kind)
        if found is None or found.action is not Action.MAP or not found.name:
            return False
        label = decoded(self.text[site.start : site.end])
        if not label or (kind is None and label != found.source.name) or found.source.id.lower() in label.lower():
            return False
        if label != found.name:
            self._replace(walked, site, found.kind, label, found.name)
        return True


def _catalogue_guids(fields: Mapping[Path, str]) -> list[tuple[Path, str]]:
    found = [(path, fields[path]) for path in _GUIDS if fields.get(path)]
    for path, ident in fields.items():
        match path:
            case ("inputs", int(index), "id") if ident == "webhook_event_guid":
                if event := fields.get(("inputs", index, "value")):
                    found.append((("inputs", index, "value"), event))
            case _:
                pass
    return found
