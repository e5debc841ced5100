"""What commands share when they work on OEM accounts: names, connections, one rate for one key pair."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from qlikmigrate.api.endpoint import Access
from qlikmigrate.cli.output import Output
from qlikmigrate.cli.session import Session
from qlikmigrate.cli.tenant import find_any_tenant, find_oem_account, find_tenant, require_write
from qlikmigrate.config.tenants import OemTenant, Tenant
from qlikmigrate.kernel.error import UsageError
from qlikmigrate.kernel.message import Reply, Response
from qlikmigrate.sandbox import Server


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session whose tenants file has a Cloud tenant, a provider, the same one with an account, and another."""
    file = tmp_path / "tenants.toml"
    url = "http://127.0.0.1:9"
    oem = f'kind = "oem"\nurl = "{url}/v1"\napi_key = "k"\n'
    file.write_text(
        f'[tenants.cloud]\nurl = "{url}"\napi_key = "k"\n[tenants.partner]\n{oem}app_id = "1"\n'
        f'[tenants.model]\n{oem}app_id = "1"\naccount = "acme"\n[tenants.rival]\n{oem}app_id = "2"\n'
    )
    return Session(command="plan", output=Output(json=False, quiet=True, verbose=False, bars=False), config=str(file))


def test_names_lead_to_what_a_command_is_for(session: Session) -> None:
    """Cloud commands take Cloud tenants, OEM commands one account; both say plainly what they were given instead."""
    assert isinstance(find_tenant(session, "cloud"), Tenant)
    assert isinstance(find_any_tenant(session, "partner"), OemTenant)
    assert [find_oem_account(session, name).account for name in ("model", "model/x", "partner/y")] == ["acme", "x", "y"]
    for name in ("partner", "partner/acme"):
        with pytest.raises(UsageError, match=f"`{name}` is an OEM account: `plan` is for Qlik Cloud") as caught:
            find_tenant(session, name)
        assert caught.value.code == "not-for-oem"
    with pytest.raises(UsageError, match="`cloud` is a tenant of Qlik Cloud") as caught:
        find_oem_account(session, "cloud")
    assert caught.value.code == "only-for-oem"
    with pytest.raises(UsageError, match="`plan` needs one of them") as caught:
        find_oem_account(session, "partner")
    assert "partner/ACCOUNT" in caught.value.hint


def test_not_enough_access_names_the_table(session: Session) -> None:
    """The line to add goes under the table's name, not the account's."""
    with pytest.raises(UsageError, match="`plan` needs `write` access to `partner/acme`") as caught:
        require_write(find_oem_account(session, "partner/acme"), "`plan`")
    assert "under [tenants.partner] of" in caught.value.hint


def test_one_rate_for_one_key_pair(session: Session) -> None:
    """Two tables with the same pair share a rate, another pair has its own; requests of all are counted."""

    async def work() -> list[object]:
        paces = []
        for name in ("partner", "model", "partner/x", "rival"):
            found = find_any_tenant(session, name)
            assert isinstance(found, OemTenant)
            async with session.connect_oem(found, Access.READ) as client:
                paces.append(client._shared.pace)
        return paces

    one, two, three, other = asyncio.run(work())
    assert one is two is three
    assert other is not one


def test_requests_are_counted(session: Session) -> None:
    """Those of every client go into the summary, whatever became of them."""
    with Server(lambda request: Reply(response=Response(status=200, body=b"[]"))) as server:
        file = Path(str(session.config))
        file.write_text(file.read_text().replace("127.0.0.1:9", f"127.0.0.1:{server.port}"))

        async def work() -> None:
            for name in ("partner", "rival"):
                async with session.connect_oem(find_any_tenant(session, name), Access.READ) as client:
                    await client.call("account.list")

        asyncio.run(work())
    assert session.requests["tier1"] == 2
