"""Embedded tenants: they behave as Qlik Cloud does, on loopback or in process, and share no code with the client."""

from qlikmigrate.sandbox.automation import Automation
from qlikmigrate.sandbox.catalogue import Block, Connector, Event, Param
from qlikmigrate.sandbox.fault import (
    Delay,
    DropRows,
    Effect,
    ExpireCursor,
    ExpireToken,
    Fault,
    ForeignLink,
    HtmlOk,
    RepeatPage,
    ResetAfterCommit,
    ResetBefore,
    Status,
    Truncate,
)
from qlikmigrate.sandbox.seed import Company, seed_source, seed_target
from qlikmigrate.sandbox.server import Server
from qlikmigrate.sandbox.service import Sandbox
from qlikmigrate.sandbox.shelf import ArmedSighting
from qlikmigrate.sandbox.switches import (
    BotConnections,
    BothForms,
    EmptyWorkspace,
    Families,
    PutConflict,
    RateLimits,
    RecurrenceInterval,
    ScheduleForms,
    Switches,
    Wrapping,
)
from qlikmigrate.sandbox.tenant import CloudTenant, Seen

__all__ = [
    "ArmedSighting",
    "Automation",
    "Block",
    "BotConnections",
    "BothForms",
    "CloudTenant",
    "Company",
    "Connector",
    "Delay",
    "DropRows",
    "Effect",
    "EmptyWorkspace",
    "Event",
    "ExpireCursor",
    "ExpireToken",
    "Families",
    "Fault",
    "ForeignLink",
    "HtmlOk",
    "Param",
    "PutConflict",
    "RateLimits",
    "RecurrenceInterval",
    "RepeatPage",
    "ResetAfterCommit",
    "ResetBefore",
    "Sandbox",
    "ScheduleForms",
    "Seen",
    "Server",
    "Status",
    "Switches",
    "Truncate",
    "Wrapping",
    "seed_source",
    "seed_target",
]
