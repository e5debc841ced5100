"""What the updates of a plan change, block by block: for eyes only, and never a part of the plan.

Each target's version is read once more, with a GET, and let go when its edits are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from qlikmigrate.api.cloud.client import CloudClient
from qlikmigrate.api.error import ForbiddenError, MissingError
from qlikmigrate.importer.comparison import NEW, face_of
from qlikmigrate.importer.document_source import DocumentSource, mapping_of
from qlikmigrate.importer.hidden_connection import is_hidden
from qlikmigrate.importer.plan import Action, ConnectionAction, Plan, Verb
from qlikmigrate.importer.target import read_automation
from qlikmigrate.kernel.event import Progress, Sink
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.difference import WRITTEN, Edit, compare
from qlikmigrate.model.inventory import Inventory, entity
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.snapshot import Snapshot, inventory_of, parse
from qlikmigrate.remap.rewriting import Rewriting


@frozen(kw_only=True)
class Preview:
    """Edits by action, of those whose counterpart has other content: updates, and conflicts that wait for a decision.

    `source`, `target`: where the ids in the edits have names. `token_hashes`: of the source's execution tokens.
    """

    edits: dict[int, tuple[Edit, ...]]
    source: Inventory
    target: Inventory
    token_hashes: frozenset[str] = frozenset()

    def of(self, plan: Plan) -> Iterator[tuple[Action, tuple[Edit, ...]]]:
        """The actions that have edits, in order."""
        return ((one, self.edits[one.seq]) for one in plan.actions if self.edits.get(one.seq))


async def preview(
    client: CloudClient,
    plan: Plan,
    snapshot: Snapshot,
    target: Inventory,
    *,
    values: Mapping[str, str],
    sink: Sink,
) -> Preview:
    """Compare the target's documents with what the plan would write. What is still to be created stands as `new:ID`.

    `values`: resolved `@@KEY@@` texts.

    Raises:
        AuthError, FailedError, CorruptError: as reading archive and target does.
    """
    source = inventory_of(snapshot)
    hashes: set[str] = set()
    chosen = [one for one in plan.actions if one.target_id and one.fields]
    documents = DocumentSource(
        snapshot, Rewriting(source=source, target=target, mapping=mapping_of(plan, source, values))
    )
    made: list[tuple[Kind, Action | ConnectionAction]] = [(Kind.AUTOMATION, one) for one in plan.actions]
    made += [(Kind.CONNECTION, one) for one in plan.connections]
    for kind, planned in made:
        if planned.verb is Verb.CREATE and planned.target_id is None:
            documents.learn(kind, planned.source_id, f"{NEW}{planned.source_id}")
    edits: dict[int, tuple[Edit, ...]] = {}

    async def read(action: Action) -> None:
        one = entity(Kind.AUTOMATION, {"id": action.target_id, "ownerId": action.owner_id})
        try:
            _, now = await read_automation(client, one)
        except (ForbiddenError, MissingError):
            return
        present = {
            block: bound
            for block, bound in face_of(now).bindings.items()
            if target.get(Kind.CONNECTION, bound) is not None or is_hidden(target, action.owner_id)
        }
        hashes.update(cut.sha256 for cut in snapshot.detail(Kind.AUTOMATION, action.source_id).cuts if cut.sha256)
        body, _ = documents.update(action, bind=True, present=present)
        wanted = {"maxConcurrentRuns": now.get("maxConcurrentRuns"), **parse(body)}
        edits[action.seq] = compare(now, wanted, only=WRITTEN)
        sink(Progress(phase="what changes", done=len(edits), total=len(chosen), subject=action.name))

    await fan_out(chosen, read, width=client.endpoint.limits.concurrency)
    return Preview(edits=edits, source=source, target=target, token_hashes=frozenset(hashes))
