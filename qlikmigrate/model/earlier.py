"""What earlier snapshots know of a tenant, so that a backup asks only for what may have changed.

A list row vouches for an object's own document: same row but for run fields, same document.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Protocol

from attrs import field, frozen

from qlikmigrate.model.document import CutReason, Document
from qlikmigrate.model.inventory import TenantFacts
from qlikmigrate.model.kind import FACTS, Kind


@frozen(kw_only=True)
class Reading:
    """What one reading of an object's own document has shown.

    `row_hash`: of the list row that the document goes with. `read_at`: by our clock. `settled`: no later save can hide
    behind the row's `updatedAt`. `bare`: it came without a workspace. `with_secrets`: texts in it look like secrets.
    """

    row_hash: bytes = field(repr=False)
    read_at: datetime
    settled: bool
    bare: bool = False
    with_secrets: bool = False


class Earlier(Protocol):
    """The earlier snapshots of one tenant, and what the one being taken owes to them.

    A backup calls `begin` once, `known` while it works, and only then, right before the writer's `finish`, for each
    object that has or should have its own document exactly one of `remember`, `reuse` and `carry`.
    """

    def begin(self, tenant: TenantFacts, identity: str) -> None:
        """From now on it speaks of what `identity` (a user id) has read of `tenant`; others may see other things."""

    def known(self, kind: Kind, ident: str) -> Reading | None:
        """The reading behind the own document that the newest whole-tenant snapshot holds, complete or not.

        None where it holds none: what was refused there is asked for again, though an older snapshot has it.
        """

    def remember(self, kind: Kind, ident: str, reading: Reading) -> None:
        """The document that the writer was given was read like this."""

    def reuse(self, kind: Kind, ident: str) -> None:
        """The snapshot takes over the document that is `known`, its cuts and its reading as they are."""

    def carry(self, kind: Kind, ident: str) -> None:
        """It is listed and cannot be had now: the last version that was, if there is one, must stay findable."""


def row_hash(row: Document) -> bytes:
    """SHA-256 of a list row without its run data; that a secret in it is another one counts as far as can be told.

    What is cut out of a kind's documents counts too: those cut by other rules are not taken over.
    """
    secrets = [(cut.path, cut.length, cut.sha256) for cut in row.cuts if cut.reason is CutReason.SECRET]
    facts = FACTS[row.kind]
    head = json.dumps([1, row.kind, facts.secret_paths, facts.run_paths, secrets], separators=(",", ":"))
    return hashlib.sha256(head.encode() + b"\n" + row.raw).digest()
