"""A fresh tenant for each test."""

from __future__ import annotations

import pytest
from oem_world import HOURLY, SHOP, OemWorld
from tenant_world import World

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import CloudTenant
from qlikmigrate.sandbox.oem import OemService


@pytest.fixture
def world() -> World:
    clock = ManualClock()
    tenant = CloudTenant("acme", clock=clock, seed=7)
    admin = tenant.add_user("ACME\\root", "Root", "root@acme.example", roles=("TenantAdmin", "AutomationCreator"))
    ann = tenant.add_user("ACME\\ann", "Ann", "ann@acme.example")
    bob = tenant.add_user("ACME\\bob", "Bob", "bob@acme.example")
    return World(clock, tenant, admin, ann, bob, tenant.add_space("Sales", owner=ann))


@pytest.fixture
def oem() -> OemWorld:
    """A provider with one account, a template that starts hourly, and a hand on everything."""
    clock = ManualClock()
    service = OemService("acme", clock=clock, seed=7)
    account = service.add_account("Acme", "acme")
    template = service.add_template("Sync", inputs=(SHOP,), schedule=HOURLY, run_mode="scheduled", connectors=("Mail",))
    return OemWorld(clock, service, account, template)
