"""What a rewrite says of one automation before anything is decided about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from qlikmigrate.importer.comparison import NEW, Face
from qlikmigrate.kernel.event import Problem
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import Rewritten


@frozen(kw_only=True)
class Draft:
    """What a rewrite says of one automation: its face at the target, what it refers to, what it could not settle."""

    face: Face
    refers_to: frozenset[str]
    problems: tuple[Problem, ...] = ()


def draft_of(rewritten: Rewritten, face: Face, bound: Mapping[str, str], where: str) -> Draft:
    """The draft of a rewritten document. `bound`: block → connection id, as the source has it.

    A connection that is still to be created is bound in the draft as `new:SOURCE_ID`.
    """
    pending = {ident.lower() for kind, ident in rewritten.pending if kind is Kind.CONNECTION}
    new = {block: f"{NEW}{ident}" for block, ident in bound.items() if ident.lower() in pending}
    return Draft(
        face=evolve(face, bindings={**face.bindings, **new}),
        refers_to=frozenset(ident.lower() for kind, ident in rewritten.pending if kind is Kind.AUTOMATION),
        problems=tuple(finding.problem(where) for finding in rewritten.findings),
    )
