"""Embedded OEM services: a partner's accounts, templates and installs, on loopback or in process."""

from qlikmigrate.sandbox.oem.record import (
    INTERVALS,
    Account,
    Blend,
    Datasource,
    OemConnector,
    OemInput,
    OemParam,
    OemSchedule,
    Run,
    Template,
)
from qlikmigrate.sandbox.oem.seed import Partner, seed_model, seed_other, seed_templates
from qlikmigrate.sandbox.oem.service import OemService
from qlikmigrate.sandbox.oem.stage import OemSandbox
from qlikmigrate.sandbox.oem.switches import (
    AccountIds,
    DuplicateAccount,
    Envelope,
    IntervalForm,
    LinkEnds,
    OemSwitches,
)
from qlikmigrate.sandbox.oem.window import InstallWindow, WindowRun
from qlikmigrate.sandbox.oem.wire import Undocumented

__all__ = [
    "INTERVALS",
    "Account",
    "AccountIds",
    "Blend",
    "Datasource",
    "DuplicateAccount",
    "Envelope",
    "InstallWindow",
    "IntervalForm",
    "LinkEnds",
    "OemConnector",
    "OemInput",
    "OemParam",
    "OemSandbox",
    "OemSchedule",
    "OemService",
    "OemSwitches",
    "Partner",
    "Run",
    "Template",
    "Undocumented",
    "WindowRun",
    "seed_model",
    "seed_other",
    "seed_templates",
]
