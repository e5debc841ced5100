"""What an account is called in a path: by its guid, and where a part of the API does not take that, by its externalid.

Source: the pages name the segment `account_externalid`, `account_guid_or_externalid` and alike; whether each path takes
a guid is open. Only GETs try the other name; what they find holds for writes to the same part of the API, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from qlikmigrate.api.operation import Operation

# What an account that is called by the wrong name is answered with.
UNKNOWN = frozenset({400, 404})
# An externalid is free text, and these two would lead to another path.
_NO_SEGMENT = frozenset({"", ".", ".."})


@define
class AccountNames:
    """Names learnt so far. Parts of the API are those of its operations' names: `blend`, `datasource` and so on."""

    _externalids: dict[str, str] = field(factory=dict)
    _worked: dict[tuple[str, str], str] = field(factory=dict)

    def know(self, guid: str, externalid: str) -> None:
        """The account `guid` is also called `externalid`; one that no path can hold is of no use."""
        if externalid not in _NO_SEGMENT and externalid != guid:
            self._externalids[guid] = externalid

    def called(self, operation: Operation, ids: Mapping[str, str]) -> dict[str, str]:
        """`ids` with the account called as it worked before."""
        account = ids.get("account")
        if account is None:
            return dict(ids)
        return {**ids, "account": self._worked.get((account, _part(operation)), account)}

    def other(self, operation: Operation, ids: Mapping[str, str]) -> dict[str, str] | None:
        """`ids` with the account called by its other name; None: there is none, or this one is known to work."""
        account = ids.get("account", "")
        externalid = self._externalids.get(account)
        if externalid is None or operation.method != "GET" or (account, _part(operation)) in self._worked:
            return None
        return {**ids, "account": externalid}

    def worked(self, operation: Operation, ids: Mapping[str, str], called: Mapping[str, str]) -> None:
        """A GET was answered that called the account of `ids` as `called` does."""
        account = ids.get("account")
        if account is not None and operation.method == "GET":
            self._worked[account, _part(operation)] = called["account"]


def _part(operation: Operation) -> str:
    return operation.name.partition(".")[0]
