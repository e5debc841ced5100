"""What a plan says of an OEM account and its automations. Ids, names and schedules; no value that could be secret."""

from __future__ import annotations

from attrs import frozen

from qlikmigrate.model.oem import Schedule


@frozen(kw_only=True)
class AccountAction:
    """The account that a plan is for. `creates`: it does not exist yet, and is made with `external_id` and `name`.

    `source_id`: of the archive's account. `id`: its guid at the target, empty where it is to be made.
    """

    source_id: str
    external_id: str
    name: str
    id: str = ""
    creates: bool = False


@frozen(kw_only=True)
class OemAction:
    """What is done with one automation of an OEM account, besides what its `Action` says.

    `template_id`: at the target; empty: built by hand. `parent`: source id of the bundle that it is a part of; the
    bundle is installed, and its parts come with it. `passes`: source ids of the connections that are handed over at the
    install. `inputs`: names of what is set, `at_install` those of them without which nothing is installed.
    `schedule`: known of the source, None where nobody says. `state`: at the source, empty where nobody says.
    """

    template_id: str = ""
    template_name: str = ""
    parent: str = ""
    parts: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    at_install: tuple[str, ...] = ()
    schedule: Schedule | None = None
    state: str = ""
