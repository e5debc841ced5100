"""What a rewrite did, and what it could not settle. A finding never holds the value of a secret."""

from __future__ import annotations

from attrs import frozen

from qlikmigrate.kernel.event import Problem, Severity
from qlikmigrate.model.kind import Kind

# The stable words, each with what it means; `docs/remap.md` holds the same list and a test compares them.
CODES = {
    "source-id-left": "an id of the source tenant has no counterpart and was left as it is",
    "unknown-id": "looks like an id, but neither tenant's inventory knows it",
    "id-in-code": "an id of the source tenant in source code, which is not rewritten unless the mapping says so",
    "id-in-prose": "an id of the source tenant in a comment, help text or sample payload",
    "id-in-name": "an id of the source tenant in a name that template expressions bind to",
    "ambiguous-id": "the id belongs to objects of several kinds that map to different ids",
    "connection-unbound": "the connection has no counterpart; null was written",
    "call-unresolved": "the called automation has no counterpart; null was written and the block disabled",
    "connector-missing": "the target does not publish the connector of this block",
    "catalogue-guid-missing": "the target's connector does not publish an endpoint, snippet or event used here",
    "source-host-left": "the copy would act on the source tenant",
    "host-in-prose": "a host of the source tenant in a comment, help text or sample payload",
    "foreign-host": "a host of a third tenant",
    "mail-address": "an e-mail address",
    "secret-in-workspace": "a text that looks like a secret; the value is never shown",
    "name-reference": "the name of a space, connection or app where a block or script takes a name",
    "value-missing": "`@@KEY@@` without a value in the mapping's `[values]`",
}


@frozen(kw_only=True)
class Finding:
    """Something in one document that a person should know.

    `path`: by index from the document's top, such as `workspace.blocks[3].settings[0].value`.
    `source_id`: the id, host, address or key concerned, in the source's spelling.
    """

    code: str
    severity: Severity
    path: str
    block_name: str = ""
    kind: Kind | None = None
    source_id: str = ""
    message: str = ""
    hint: str = ""

    def problem(self, where: str) -> Problem:
        """The same as a problem of the object `where`."""
        place = f"{where}: {self.path}" + (f" (block `{self.block_name}`)" if self.block_name else "")
        return Problem(code=self.code, severity=self.severity, message=self.message, where=place, hint=self.hint)


@frozen(kw_only=True)
class Change:
    """One replacement. `kind` is None for hosts, addresses and values; a value's `new` is not kept here."""

    path: str
    kind: Kind | None
    old: str
    new: str | None


@frozen(kw_only=True)
class Rewritten:
    """A document with its references moved to the target.

    `raw` is the very object that was given when nothing had to change. `pending`: objects that are referred to and
    will get their id at the target later in the run; the document must be rewritten again then.
    """

    raw: bytes
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    pending: frozenset[tuple[Kind, str]] = frozenset()
