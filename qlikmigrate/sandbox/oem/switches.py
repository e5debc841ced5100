"""What is not known of the OEM service, as switches: a tool tested on both answers is right whichever holds.

Each default is what the documentation shows; where it shows nothing, the answer that asks least of a client. The
questions are those of the vendor's pages (section 12 of the API reference), the source of each default is there.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Envelope(StrEnum):
    """How a list comes. `other` is a third shape, which no page shows."""

    BARE = "bare"  # [...]
    DATA = "data"  # {"data": [...]}
    PAGED = "paged"  # {"data": [...], "links": {...}, "meta": {...}}
    OTHER = "other"  # {"items": [...]}


class LinkEnds(StrEnum):
    """What `prev` of the first and `next` of the last page are."""

    NULL = "null"
    ABSENT = "absent"


class AccountIds(StrEnum):
    """What a path may name an account by."""

    BOTH = "both"
    GUID_ONLY = "guid-only"
    EXTERNALID_ONLY = "externalid-only"


class DuplicateAccount(StrEnum):
    """What creating an account with an `externalid` that exists does."""

    REFUSED = "refused"
    SECOND = "second"
    SAME = "same"


class IntervalForm(StrEnum):
    """What `schedule_interval` may be: the page's table says string, its example is an integer."""

    ANY = "any"
    INTEGER_ONLY = "integer-only"
    STRING_ONLY = "string-only"


@frozen(kw_only=True)
class OemSwitches:
    """How one provider's service answers what the documentation leaves open."""

    accounts_envelope: Envelope = Envelope.BARE  # the overview shows `paged` for the same path
    blends_envelope: Envelope = Envelope.DATA
    runs_envelope: Envelope = Envelope.BARE
    templates_envelope: Envelope = Envelope.BARE
    datasources_envelope: Envelope = Envelope.PAGED
    connectors_envelope: Envelope = Envelope.BARE  # the public list, whose shape no page shows
    page_size: int = 100
    bare_pages: bool = True  # a bare array has one page; else all of it, whatever page is asked for
    links_base: str = ""  # where links lead, path included; empty: where the request was sent to
    link_ends: LinkEnds = LinkEnds.NULL
    list_lag_s: float = 0.0  # an installed blend shows in lists after so many seconds …
    list_lag_calls: int = 0  # … and after so many calls of its account's list
    account_ids: AccountIds = AccountIds.BOTH
    hides_externalid: bool = False  # accounts are shown with `externalid` null
    duplicate_account: DuplicateAccount = DuplicateAccount.REFUSED
    missing_status: int = 400  # for what is not there: 400 with `{}`, or 404
    bad_credentials_status: int = 401  # 401, 403 or 400
    empty_400: bool = False  # a 400 without anything to say has no body instead of `{}`
    state_in_list: bool = False  # `state` in rows of the list of blends …
    state_in_get: bool = False  # … in a blend's own answer …
    state_in_nested: bool = True  # … and in the blends of a datasource
    schedule_in_get: bool = False  # the four `schedule_…` members in a blend's own answer
    workspace_member: str = ""  # a member of this name holds the workspace of a blend or template; empty: none does
    other_spellings: bool = False  # `sub_automations`, `automations`, `short description`
    extra_fields: bool = False  # members that no page knows
    put_blend_replaces: bool = False  # what a PUT of a blend leaves out is reset: enabled, no schedule
    put_params_replaces: bool = True  # PUT of a datasource: `params` replace the old ones; else they are merged
    interval_form: IntervalForm = IntervalForm.ANY
    ignored_states: int = 0  # so many PUTs with a state are answered 200 by each blend, and change no state
    bundle_state_cascades: bool = False  # the state of a bundle is given to its children
    sub_blends_listed: bool = False  # the children of a bundle are rows of the list, too
    names_template: bool = True  # a blend's answer and row say of which template it is; else `template_guid` is null
    installed_suffix: str = ""  # an installed blend is named after its template, with this
    install_starts_run: bool = False  # a scheduled blend runs once as soon as it is installed
    update_keeps_inputs: bool = True  # update from template: persisted inputs stay …
    update_keeps_name: bool = True  # … the name …
    update_keeps_schedule: bool = True  # … and the schedule; else the template's is active again
    async_names_run: bool = False  # an asynchronous run answers `{"guid": …}` instead of `{}`
    own_connector_guids: bool = False  # connectors have other guids at this provider; set when the service is made
    per_minute: int | None = 300  # calls in each minute of the clock; None: no limit
    limit_per_account: bool = False  # counted for each customer account instead of for the provider
    limit_headers: bool = True  # `x-ratelimit-limit` and `-remaining`, on 429 as well
    retry_after: bool = False  # 429 with `Retry-After`
    queue_limit: int = 200  # queued runs of an account; 0: the queue is always full
    run_seconds: float = 0.0  # how long a run runs
    dates: bool = True  # answers carry the `Date` of the server's clock

    @classmethod
    def documented(cls) -> OemSwitches:
        """Exactly the shapes that the vendor's pages show."""
        return cls()

    @classmethod
    def hostile(cls) -> OemSwitches:
        """Everything else that the pages do not rule out and that a client must live with all at once."""
        return cls(
            accounts_envelope=Envelope.PAGED,
            blends_envelope=Envelope.PAGED,
            runs_envelope=Envelope.DATA,
            templates_envelope=Envelope.PAGED,
            datasources_envelope=Envelope.BARE,
            connectors_envelope=Envelope.DATA,
            bare_pages=False,
            page_size=7,
            links_base="https://admin.blendr.io/api/v1",
            link_ends=LinkEnds.ABSENT,
            list_lag_calls=2,
            missing_status=404,
            bad_credentials_status=403,
            empty_400=True,
            state_in_nested=False,
            other_spellings=True,
            extra_fields=True,
            put_params_replaces=False,
            interval_form=IntervalForm.INTEGER_ONLY,
            sub_blends_listed=True,
            installed_suffix=" (installed)",
            limit_headers=False,
            async_names_run=True,
            dates=False,
        )
