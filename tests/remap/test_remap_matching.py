"""Match rules in their order, and that two candidates are a problem, never a guess."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from remap_tenants import QCS, QPO, one, source, target

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.inventory import Entity, TenantFacts
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision, Mapping
from qlikmigrate.remap.mapping_file import parse
from qlikmigrate.remap.matching import Contents, contested, match


def user(ident: str, subject: str = "", email: str = "", **facts: Any) -> Entity:
    return one(Kind.USER, ident, ident, subject=subject, email=email, **{"status": "active"} | facts)


def space(ident: str, name: str, kind: str = "shared") -> Entity:
    return one(Kind.SPACE, ident, name, type=kind)


def connection(ident: str, name: str, owner: str, space_id: str = "", connector: str = QPO) -> Entity:
    return one(Kind.CONNECTION, ident, name, owner_id=owner, space_id=space_id, connector_id=connector)


def automation(ident: str, name: str, owner: str, created: str = "", space_id: str = "") -> Entity:
    return one(Kind.AUTOMATION, ident, name, owner_id=owner, space_id=space_id, created_at=created)


def found(mapping: Mapping, kind: Kind, ident: str) -> tuple[str | None, str]:
    row = mapping.row_of(kind, ident)
    assert row is not None
    return row.target_id, row.rule


ANN, ANN_THERE = user("user-ann-1", "ann", "ann@old.example"), user("user-ann-2", "ann", "x@new.example")


@pytest.mark.parametrize(
    ("host", "names", "written"),
    [
        ("dr.us.qlikcloud.com", (), "dr.us.qlikcloud.com"),
        ("dr.us.qlikcloud.com", ("bi.dr.example", "dr.us.qlikcloud.com"), "dr.us.qlikcloud.com"),
        ("127.0.0.1", ("dr.us.qlikcloud.com", "bi.dr.example"), "dr.us.qlikcloud.com"),
    ],
)
def test_host_written_is_one_of_the_targets_own(host: str, names: tuple[str, ...], written: str) -> None:
    """Reached through a tunnel, the target's texts name a host that it answers to, not the tunnel's end."""
    theirs = evolve(target(), tenant=TenantFacts(id="t2", host=host, hostnames=names))
    assert set(match(source(), theirs).hosts.values()) == {written}


def test_order_of_rules() -> None:
    """The file goes before the ledger, the ledger before the same id, that before the natural key."""
    mine = source(*(user(f"user-{n}", "s") for n in ("file", "ledger", "same")), user("user-natural", "nat"))
    theirs = target(user("user-same", "other"), user("t-file"), user("t-ledger"), user("t-nat", "nat"))
    ledger = {
        (Kind.USER, "USER-ledger"): "T-Ledger",
        (Kind.USER, "user-file"): "t-ledger",
        (Kind.USER, "user-same"): "gone",
    }
    mapping = match(mine, theirs, decisions=parse('[users]\n"user-file" = "t-file"'), ledger=ledger)
    assert found(mapping, Kind.USER, "user-file") == ("t-file", "explicit")
    assert found(mapping, Kind.USER, "user-ledger") == ("t-ledger", "ledger")
    assert found(mapping, Kind.USER, "user-same") == ("user-same", "same-id")
    assert found(mapping, Kind.USER, "user-natural") == ("t-nat", "subject")
    assert mapping.problems == ()
    assert mapping.target_of(Kind.TENANT, mine.tenant.id) == theirs.tenant.id
    assert mapping.hosts["bi.acme.example"] == theirs.tenant.host


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ([user("t1", "ann", "else@x.example")], ("t1", "subject")),
        ([user("t1", "", "Ann@OLD.example")], ("t1", "email")),
        ([user("t1", "ann", status="inactive")], (None, "unmatched")),
        ([user("t1", "", "ann@old.example", status="inactive")], (None, "unmatched")),
        ([user("t1", "ann", "ann@old.example"), user("t2", "", "ann@old.example")], ("t1", "subject")),
    ],
)
def test_users(theirs: list[Entity], expected: tuple[str | None, str]) -> None:
    """Users match by subject, then by e-mail without regard to case; inactive ones never."""
    assert found(match(source(ANN), target(*theirs)), Kind.USER, ANN.id) == expected


def test_subject_and_email_of_different_users() -> None:
    """Subject and e-mail that point to two users are a problem naming both."""
    mapping = match(source(ANN), target(user("t1", "ann"), user("t2", "", "ann@old.example")))
    assert found(mapping, Kind.USER, ANN.id) == (None, "ambiguous")
    (problem,) = mapping.problems
    assert (problem.code, problem.severity) == ("ambiguous-match", Severity.ERROR)
    assert "t1" in problem.message
    assert "t2" in problem.message


def test_two_sources_for_one_target() -> None:
    """Two source users who would become one are a problem for both."""
    mine = source(user("s1", "", "a@x.example"), user("s2", "", "A@x.example"))
    mapping = match(mine, target(user("t1", "", "a@x.example")))
    assert [found(mapping, Kind.USER, ident)[1] for ident in ("s1", "s2")] == ["ambiguous", "ambiguous"]
    assert len(mapping.problems) == 2


def test_problems_only_for_what_is_needed() -> None:
    """An ambiguity that the selection does not use is no problem."""
    theirs = target(user("t1", "ann"), user("t2", "ann"))
    assert match(source(ANN), theirs, needed=[]).problems == ()
    assert len(match(source(ANN), theirs, needed=[(Kind.USER, ANN.id.upper())]).problems) == 1


def test_rename_rules() -> None:
    """A rule rewrites a field before natural keys are compared."""
    rules = """
    [[rules.users]]
    field = "email"
    from = "@old\\\\.example$"
    to = "@new.example"
    [[rules.spaces]]
    field = "name"
    from = "^DEV (.*)"
    to = "\\\\1"
    """
    mine = source(user("s1", "", "ann@old.example"), space("s-dev", "DEV Sales"))
    theirs = target(user("t1", "", "ann@new.example"), space("s-prod", "Sales"))
    mapping = match(mine, theirs, decisions=parse(rules))
    assert found(mapping, Kind.USER, "s1") == ("t1", "email")
    assert found(mapping, Kind.SPACE, "s-dev") == ("s-prod", "type+name")


def test_spaces_by_type_and_exact_name() -> None:
    """A space of another type or another case is another space."""
    mine = source(space("s1", "Sales"))
    assert (
        found(match(mine, target(space("t1", "Sales", "managed"), space("t2", "sales"))), Kind.SPACE, "s1")[0] is None
    )
    assert found(match(mine, target(space("t1", "Sales"))), Kind.SPACE, "s1") == ("t1", "type+name")


def test_connections() -> None:
    """Connector, name and mapped owner decide; the space breaks a tie; another owner's is never taken."""
    mine = source(ANN, space("s1", "Sales"), connection("c1", "Ops", ANN.id, "s1"), connection("c2", "Mail", ANN.id))
    theirs = target(
        ANN_THERE, user("user-bob-2", "bob"), space("t1", "Sales"),
        connection("d1", "Ops", ANN_THERE.id, "t1"), connection("d2", "Ops", ANN_THERE.id),
        connection("d3", "Mail", "user-bob-2"),
    )  # fmt: skip
    mapping = match(mine, theirs)
    assert found(mapping, Kind.CONNECTION, "c1") == ("d1", "connector+name+owner+space")
    assert found(mapping, Kind.CONNECTION, "c2") == (None, "unmatched")
    explicit = match(mine, theirs, decisions=parse('[connections]\n"Mail" = "d3"'))
    assert found(explicit, Kind.CONNECTION, "c2") == ("d3", "explicit")
    tied = match(source(ANN, connection("c1", "Ops", ANN.id, "gone")), theirs)
    assert found(tied, Kind.CONNECTION, "c1") == (None, "ambiguous")


def test_system_connection_is_the_owners_own() -> None:
    """The Qlik Cloud Services connection becomes the mapped owner's own, whatever its name."""
    mine = source(ANN, connection("c1", "Qlik Cloud Services", ANN.id, connector=QCS))
    theirs = target(
        ANN_THERE,
        connection("d1", "QCS Ann", ANN_THERE.id, connector=QCS),
        connection("d2", "QCS", "bob", connector=QCS),
    )
    assert found(match(mine, theirs), Kind.CONNECTION, "c1") == ("d1", "connector+owner")


def test_connection_of_another_connector() -> None:
    """A line that maps a connection to one of another connector is an error."""
    mine, theirs = source(ANN, connection("c1", "Ops", ANN.id)), target(connection("d1", "Mail", "x", connector="mail"))
    mapping = match(mine, theirs, decisions=parse('[connections]\nOps = "d1"'), needed=[(Kind.CONNECTION, "c1")])
    assert [problem.code for problem in mapping.problems] == ["connector-mismatch"]


def test_owner_override_and_fallback() -> None:
    """With one owner for everything, connections are looked for among theirs; a fallback stands in for the missing."""
    mine, theirs = (
        source(ANN, connection("c1", "Ops", ANN.id)),
        target(user("boss", "b"), connection("d1", "Ops", "boss")),
    )
    assert found(match(mine, theirs), Kind.CONNECTION, "c1")[0] is None
    assert found(match(mine, theirs, owner_override="boss"), Kind.CONNECTION, "c1")[0] == "d1"
    fallback = match(mine, theirs, fallback_owner="boss")
    assert found(fallback, Kind.USER, ANN.id) == ("boss", "fallback")
    assert found(fallback, Kind.CONNECTION, "c1")[0] == "d1"


@pytest.mark.parametrize("by", ["owner_override", "fallback_owner"])
def test_where_owners_become_one_so_do_the_connections_that_the_system_gave_them(by: str) -> None:
    """Two users' connections to Qlik Cloud Services are no rivals for the one owner's; two of their own making are."""
    bob = user("bob-here", "b2")
    mine = source(
        ANN,
        bob,
        connection("c1", "QCS Ann", ANN.id, connector=QCS),
        connection("c2", "QCS Bob", bob.id, connector=QCS),
        connection("c3", "Ops", ANN.id),
        connection("c4", "Ops", bob.id),
    )
    theirs = target(
        user("boss", "b"), connection("d1", "QCS Boss", "boss", connector=QCS), connection("d2", "Ops", "boss")
    )
    mapping = match(mine, theirs, **{by: "boss"})  # type: ignore[arg-type]
    assert [found(mapping, Kind.CONNECTION, key) for key in ("c1", "c2", "c3", "c4")] == [
        ("d1", "connector+owner"), ("d1", "connector+owner"), (None, "ambiguous"), (None, "ambiguous"),
    ]  # fmt: skip
    assert {(one.code, one.where) for one in mapping.problems} >= {("ambiguous-match", "connection c3")}
    assert not [one for one in mapping.problems if one.where in ("connection c1", "connection c2")]


def test_connectors() -> None:
    """Connectors match by id, then by name; one that the target lacks is a problem."""
    mine = source(one(Kind.CONNECTOR, "k1", "A"), one(Kind.CONNECTOR, "k2", "B"), one(Kind.CONNECTOR, "k3", "C"))
    mapping = match(mine, target(one(Kind.CONNECTOR, "k1", "Else"), one(Kind.CONNECTOR, "other", "B")))
    assert [found(mapping, Kind.CONNECTOR, key) for key in ("k1", "k2", "k3")] == [
        ("k1", "id"), ("other", "name"), (None, "unmatched"),
    ]  # fmt: skip
    assert [problem.code for problem in mapping.problems] == ["connector-missing"]


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (["1"], ["9"], {"s1": ("t9", "name+space+owner")}),
        (["1"], [], {"s1": (None, "unmatched")}),
        (["2", "1"], ["8", "9"], {"s1": ("t8", "created-at"), "s2": ("t9", "created-at")}),
        (["1"], ["8", "9"], {"s1": (None, "ambiguous")}),
        (["1", "2"], ["9"], {"s1": (None, "ambiguous"), "s2": (None, "ambiguous")}),
        (["1", "2", "3"], ["8", "9"], {"s1": (None, "ambiguous")}),
    ],
)
def test_automations(mine: list[str], theirs: list[str], expected: dict[str, tuple[str | None, str]]) -> None:
    """Automations match by name, mapped space and mapped owner; equal numbers are paired by creation time."""
    sources = [automation(f"s{n}", "A", ANN.id, f"2026-01-0{n}") for n in mine]
    targets = [automation(f"t{n}", "A", ANN_THERE.id, f"2026-02-0{n}") for n in theirs]
    mapping = match(source(ANN, *sources), target(ANN_THERE, *targets))
    assert {ident: found(mapping, Kind.AUTOMATION, ident) for ident in expected} == expected
    assert bool(mapping.problems) == any(rule == "ambiguous" for _, rule in expected.values())


def test_automations_by_content() -> None:
    """Among namesakes the canonical content decides before age; only they are said to need reading."""
    sources = [automation(f"s{n}", "A", ANN.id, f"2026-01-0{n}") for n in (1, 2)]
    targets = [automation(f"t{n}", "A", ANN_THERE.id, f"2026-02-0{n}") for n in (1, 2, 3)]
    mine = source(ANN, *sources, automation("alone", "B", ANN.id))
    theirs = target(ANN_THERE, *targets, automation("b", "B", ANN_THERE.id))
    first = match(mine, theirs)
    assert contested(mine, theirs, first) == ({"s1", "s2"}, {"t1", "t2", "t3"})
    contents = Contents(source={"s1": "h1", "s2": "h2"}.get, target={"t1": "h2", "t2": "h1", "t3": "h3"}.get)
    mapping = match(mine, theirs, contents=contents)
    assert found(mapping, Kind.AUTOMATION, "s1") == ("t2", "content")
    assert found(mapping, Kind.AUTOMATION, "s2") == ("t1", "content")


def test_same_age_is_no_order() -> None:
    """Creation times that are equal or unknown pair nobody."""
    sources = [automation(f"s{n}", "A", ANN.id) for n in (1, 2)]
    targets = [automation(f"t{n}", "A", ANN_THERE.id, "2026") for n in (1, 2)]
    mapping = match(source(ANN, *sources), target(ANN_THERE, *targets))
    assert found(mapping, Kind.AUTOMATION, "s1") == (None, "ambiguous")


def test_copy_within_one_tenant() -> None:
    """A copy is never its own counterpart, nor that of another original; users and spaces are themselves."""
    ones = (ANN, space("s1", "Sales"), automation("a1", "A", ANN.id, space_id="s1"))
    mapping = match(source(*ones), target(*ones), copy=True)
    assert found(mapping, Kind.AUTOMATION, "a1") == (None, "unmatched")
    assert found(mapping, Kind.SPACE, "s1") == ("s1", "same-id")
    assert found(match(source(*ones), target(*ones)), Kind.AUTOMATION, "a1") == ("a1", "same-id")


def test_items_on_request() -> None:
    """Apps match by type, name and mapped space, only when asked to."""
    app, there = (
        one(Kind.ITEM, ident, "Orders", type="app", space_id=at) for ident, at in (("app-1", "s1"), ("app-2", "t1"))
    )
    mine, theirs = source(space("s1", "Sales"), app), target(space("t1", "Sales"), there)
    assert found(match(mine, theirs), Kind.ITEM, "app-1")[0] is None
    assert found(match(mine, theirs, match_items=True), Kind.ITEM, "app-1") == ("app-2", "type+name+space")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[users]\n"user-ann-1" = "nobody"', "mapping-target-missing"),
        ('[users]\n"ann" = "twin"', "ambiguous-mapping"),
        ('[users]\n"ann" = "user-ann-2"\n"user-ann-1" = "t1"', "ambiguous-mapping"),
    ],
)
def test_explicit_mapping_problems(text: str, code: str) -> None:
    """A decision that names nobody, several, or contradicts another is a problem."""
    theirs = target(ANN_THERE, user("t1", "twin"), user("t2", "twin"))
    assert [problem.code for problem in match(source(ANN), theirs, decisions=parse(text)).problems] == [code]


def test_decisions_become_rows() -> None:
    """Keep, drop and null come out as rows; many explicit sources may share one target; e-mail names a user."""
    mine = source(ANN, user("u2", "two"), space("s1", "A"), space("s2", "B"), connection("c1", "Ops", ANN.id))
    text = '[users]\n"ANN@old.example" = "user-ann-2"\n"two" = "ann"\n[spaces]\nA = {decision="keep"}'
    text += '\nB = {decision="drop"}'
    text += '\n[connections]\nOps = { decision = "null" }\n[ids]\n"free-id-1" = "free-id-2"'
    mapping = match(mine, target(ANN_THERE), decisions=parse(text))
    assert mapping.problems == ()
    assert [found(mapping, Kind.USER, ident)[0] for ident in (ANN.id, "u2")] == ["user-ann-2", "user-ann-2"]
    rows = [mapping.row_of(Kind.SPACE, "s1"), mapping.row_of(Kind.SPACE, "s2"), mapping.row_of(Kind.CONNECTION, "c1")]
    assert [row.decision for row in rows if row] == [Decision.KEEP, Decision.DROP, Decision.NULL]
    assert mapping.by_id["free-id-1"][0].target_id == "free-id-2"
