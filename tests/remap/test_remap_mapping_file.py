"""The mapping file: it reads back what it wrote, keeps what people wrote, and complaints name the line."""

from __future__ import annotations

import pytest
from remap_tenants import one, source, target

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.mapping import Decision
from qlikmigrate.remap.mapping_file import parse, read_ids
from qlikmigrate.remap.matching import match
from qlikmigrate.remap.proposal import render

MINE = source(
    one(Kind.USER, "user-aaaa-1", "Ann", subject="ann"),
    one(Kind.USER, "user-bbbb-1", 'Bo "x" \\', subject="bo"),
    one(Kind.SPACE, "space-aaaa-1", "Sales", type="shared"),
)
THEIRS = target(
    one(Kind.USER, "user-aaaa-2", "Ann", subject="ann"), one(Kind.SPACE, "space-aaaa-2", "Sales", type="shared")
)


def test_proposal_reads_back() -> None:
    """A proposed file decides exactly what the rules found, and every line names its rule."""
    text = render(match(MINE, THEIRS))
    file = parse(text)
    assert {(entry.source, entry.target, entry.rule) for entry in file.entries} == {
        ("user-aaaa-1", "user-aaaa-2", "subject"),
        ("space-aaaa-1", "space-aaaa-2", "type+name"),
    }
    assert 'user-bbbb-1 = {to = "", rule = "unmatched"' in text
    assert render(match(MINE, THEIRS), text) == text
    again = match(MINE, THEIRS, decisions=file)
    assert again.target_of(Kind.USER, "user-aaaa-1") == "user-aaaa-2"
    assert again.hosts == match(MINE, THEIRS).hosts


def test_what_people_wrote_stays() -> None:
    """Comments, own lines and their order survive; stale proposals go, changed ones are renewed."""
    text = """# mine
[values]
KEY = { env = "NAME" } # secret

[users] # people
# about Ann
"Ann" = "user-aaaa-2" # decided
"user-gone-1" = { to = "x", rule = "subject", note = "" }
[spaces]
"space-aaaa-1" = { to = "old", rule = "type+name", note = "Sales" } # look again
"""
    handmade = parse(text).handmade()
    assert [entry.source for entry in handmade.entries] == ["Ann"]
    new = render(match(MINE, THEIRS, decisions=handmade), text)
    for kept in ("# mine", 'KEY = { env = "NAME" } # secret', "# about Ann", '"Ann" = "user-aaaa-2" # decided',
                 "# look again"):  # fmt: skip
        assert kept in new
    assert "user-gone-1" not in new
    assert "user-aaaa-1" not in new
    assert {entry.source: entry.target for entry in parse(new).entries} == {
        "Ann": "user-aaaa-2", "space-aaaa-1": "space-aaaa-2",
    }  # fmt: skip


def test_id_lists_enter_the_file() -> None:
    """Lines of another tool's list become decisions, and the file that is written holds them."""
    entries = read_ids("\ufeffKind,source_id,target_id\nspace,space-aaaa-1,space-aaaa-2\napp,app-1,app-2\n\n")
    assert [(entry.kind, entry.source, entry.target) for entry in entries] == [
        (Kind.SPACE, "space-aaaa-1", "space-aaaa-2"),
        (None, "app-1", "app-2"),
    ]
    mapping = match(MINE, THEIRS, decisions=parse("").with_ids(entries))
    assert mapping.row_of(Kind.SPACE, "space-aaaa-1").rule == "explicit"  # type: ignore[union-attr]
    written = parse(render(mapping))
    assert {entry.source: entry.target for entry in written.entries if not entry.rule} == {
        "space-aaaa-1": "space-aaaa-2", "app-1": "app-2",
    }  # fmt: skip


def test_decisions_and_values() -> None:
    """Every form of a line is read."""
    file = parse(
        """
        format = 1
        [connections]
        a = { decision = "keep" }
        b = { decision = "null" }
        [hosts]
        "A.example" = "b.example"
        "c.example" = { decision = "keep" }
        [values]
        A = "text"
        B = { env = "NAME" }
        C = { file = "path" }
        [mail_domains]
        "Old.example" = "new.example"
        [rewrite]
        code = true
        """
    )
    assert [entry.decision for entry in file.entries] == [Decision.KEEP, Decision.NULL]
    assert file.hosts == {"a.example": "b.example", "c.example": None}
    assert {key: value.kind for key, value in file.values.items()} == {"A": "literal", "B": "env", "C": "file"}
    assert file.literal_values() == {"A": "text"}
    assert "text" not in repr(file)
    assert (file.rewrite_code, file.rewrite_prose) == (True, False)
    assert file.mail_domains == {"old.example": "new.example"}


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("[users]\na = ", 2, "Invalid"),
        ("\n[people]\n", 2, "people"),
        ("[users]\n\na = 1", 3, "`a`"),
        ('[spaces]\nx = "y"\n[users]\nx = { too = "b" }', 4, "too"),
        ('[users]\na = { decision = "maybe" }', 2, "maybe"),
        ('[users]\na = { to = "b", decision = "keep" }', 2, "both"),
        ('[hosts]\n"a" = "https://b"', 2, "host"),
        ("[values]\n\nK = 5", 3, "K"),
        ('[[rules.users]]\nfield = "name"\nfrom = "("\nto = ""', 3, "regular"),
        ('[[rules.users]]\nfield = "name"\nfrom = "a"\nto = "\\\\2"', 3, "regular"),
        ('[[rules.users]]\nfield = "type"\nfrom = "a"\nto = ""', 2, "type"),
        ('[[rules.items]]\nfield = "name"', 1, "items"),
        ("users = 3", 1, "users"),
        ("format = 2", 1, "newer"),
        ("[rewrite]\nall = true", 2, "all"),
        ('[mail_domains]\n"a.example" = 1', 2, "a.example"),
    ],
)
def test_complaints_name_the_line(text: str, line: int, word: str) -> None:
    """A malformed file is a usage error that says where."""
    with pytest.raises(UsageError) as caught:
        parse(text, name="m.toml")
    assert word in caught.value.message
    assert f"m.toml:{line}:" in caught.value.message


@pytest.mark.parametrize(
    ("text", "line"),
    [("kind,source_id\n", 1), ("kind,source_id,target_id\na,b\n", 2), ("kind,source_id,target_id\na,,c", 2)],
)
def test_id_list_complaints(text: str, line: int) -> None:
    """So is a malformed id list."""
    with pytest.raises(UsageError, match=f"^ids.csv:{line}:"):
        read_ids(text, name="ids.csv")
