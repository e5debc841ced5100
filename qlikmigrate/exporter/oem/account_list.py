"""Which accounts a snapshot is of: the one that is named, or all that the provider has and the selection wants."""

from __future__ import annotations

from collections.abc import Collection

from attrs import define, field, frozen

from qlikmigrate.api.error import ApiError
from qlikmigrate.api.oem.client import OemClient
from qlikmigrate.exporter.record import Record
from qlikmigrate.kernel.error import FailedError, UsageError
from qlikmigrate.kernel.event import Log, Severity
from qlikmigrate.kernel.fan_out import fan_out
from qlikmigrate.model.document import Part
from qlikmigrate.model.kind import Kind
from qlikmigrate.model.oem import Account, account_of, choose_account
from qlikmigrate.model.selection import Selectors

# What the API answers where an object is not to be had; no page documents another one than 400.
REFUSALS = (400, 403, 404)


@frozen
class _Row:
    account: Account
    raw: bytes


@define
class AccountList:
    """The accounts of one snapshot. `word`: the guid or externalid of the only one; empty: all of them.

    `refused`: lower-case guids of those whose lists the API did not give, and the status.
    """

    record: Record[OemClient]
    word: str
    selectors: Selectors
    accepted: Collection[str] = ()
    found: dict[str, Account] = field(factory=dict)
    refused: dict[str, int] = field(factory=dict)
    vanished: int = 0

    @property
    def of_all(self) -> bool:
        """Whether the snapshot is of all accounts."""
        return not self.word

    @property
    def present(self) -> list[Account]:
        """Those that are to be read, by guid."""
        return [self.found[key] for key in sorted(self.found) if key not in self.refused]

    async def read(self) -> list[Account]:
        """List the accounts and take in those that are new; the new ones.

        Raises:
            ApiError: the list cannot be read.
            UsageError: the account that is meant does not exist, or two of them may be.
        """
        rows: dict[str, _Row] = {}
        async for raw in self.record.client.rows("account.list"):
            value = self.record.row(Kind.ACCOUNT, raw)
            if value is not None:
                rows[str(value["guid"]).lower()] = _Row(account_of(value), raw)
        wanted = [rows[key] for key in sorted(rows) if self._is_wanted(rows[key].account)]
        if self.word:
            exact = [one for one in wanted if one.account.id.lower() == self.word.lower()]
            chosen = exact[0].account if exact else choose_account([one.account for one in wanted], self.word)
            wanted = [one for one in wanted if one.account is chosen]
        if not wanted and self.selectors:
            raise UsageError("the selection is empty", hint="no account is called so by its guid or externalid")
        await self._leave([key for key in self.found if key not in rows])
        fresh = [one for one in wanted if one.account.id.lower() not in self.found]
        await fan_out(fresh, self._take_in, width=self.record.client.endpoint.limits.concurrency)
        return [one.account for one in fresh]

    def refuse(self, account: Account, error: ApiError, what: str) -> None:
        """Its lists are not to be had: one of many accounts, so the others go on.

        Raises:
            ApiError: it is the only one, or the API itself is not there.
        """
        if not self.of_all or error.status not in REFUSALS:
            raise error
        self.refused[account.id.lower()] = error.status or 0
        known = self.accepts(account)
        self.record.note(
            "account-unreadable",
            Severity.INFO if known else Severity.ERROR,
            f"account `{account.label}`: the {what} cannot be read: the API answers {error.status}",
            where=account.id,
            hint="" if known else "name it in `accept_unreadable` if that is known: an expired account may be so",
        )

    def accepts(self, account: Account) -> bool:
        """Whether it is known to be unreadable."""
        known = {one.lower() for one in self.accepted}
        return account.id.lower() in known or account.external_id.lower() in known

    def complete(self) -> bool:
        """Whether every account was read, but for those that are known to be unreadable."""
        return all(self.accepts(self.found[key]) for key in self.refused if key in self.found)

    def _is_wanted(self, account: Account) -> bool:
        include, exclude = self.selectors.include, self.selectors.exclude
        if any(account.is_meant_by(one.value) for one in exclude):
            return False
        return not include or any(account.is_meant_by(one.value) for one in include)

    async def _take_in(self, row: _Row) -> None:
        account, record = row.account, self.record
        self.found[account.id.lower()] = account
        record.client.know_account(account.id, account.external_id)
        record.add(Kind.ACCOUNT, account.id, Part.ROW, row.raw)
        raw = row.raw
        try:
            answer = await record.client.call("account.get", account=account.id)
        except ApiError as error:
            # Source: one article alone knows this call. What the list says is as good.
            await record.bear(error)
            record.sink(Log(message=f"account {account.id} is kept by its list row: {error.message}", level="debug"))
        else:
            record.answered()
            value = answer.json()
            raw = answer.raw if str(value.get("guid", "")).lower() == account.id.lower() else raw
        if flaw := record.add_detail(Kind.ACCOUNT, account.id, raw):
            raise FailedError(f"account {account.id}: {flaw}", code="not-storable")

    async def _leave(self, keys: list[str]) -> None:
        """Forget accounts that the list no longer has, if they are gone."""
        for key in keys:
            account = self.found[key]
            try:
                await self.record.client.call("account.get", account=account.id)
            except ApiError as error:
                if error.status not in (400, 404):
                    await self.record.bear(error)
                    continue
                del self.found[key]
                self.vanished += 1
                self.record.writer.discard(Kind.ACCOUNT, account.id)
                self.record.note(
                    "account-vanished",
                    Severity.INFO,
                    f"account `{account.label}` was removed while the snapshot was taken",
                    where=account.id,
                )
