"""A fresh tenant for each test."""

from __future__ import annotations

import pytest
from tenant_world import World

from qlikmigrate.kernel.clock import ManualClock
from qlikmigrate.sandbox import CloudTenant


@pytest.fixture
def world() -> World:
    clock = ManualClock()
    tenant = CloudTenant("acme", clock=clock, seed=7)
    admin = tenant.add_user("ACME\\root", "Root", "root@acme.example", roles=("TenantAdmin", "AutomationCreator"))
    ann = tenant.add_user("ACME\\ann", "Ann", "ann@acme.example")
    bob = tenant.add_user("ACME\\bob", "Bob", "bob@acme.example")
    return World(clock, tenant, admin, ann, bob, tenant.add_space("Sales", owner=ann))
