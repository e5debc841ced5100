"""Partial backups: every selector, what follows by calls, and what the manifest says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from motion import Motion, archive_of, balanced, names_in, requests_by_path
from stage import DAILY, bound_block, call_block, document

from qlikmigrate.model.kind import Kind
from qlikmigrate.sandbox import Fault
from qlikmigrate.sandbox.fault import Status


@pytest.fixture
def company(motion: Motion) -> dict[str, str]:
    """Five automations that differ in all that can be selected by. Name → id."""
    here = motion.stage.source
    add, users = here.tenant.add_automation, here.users
    ids = {}
    mail = here.tenant.add_connection("c7e48240-e0f2-11ec-ada1-d5ef75014b77", "Ops API", users["ben"])
    ids["Ops API"] = mail
    ids["leaf"] = add(document("leaf", bound_block(1, mail)), users["cleo"], here.spaces["Sales"])
    ids["middle"] = add(document("middle", call_block(1, ids["leaf"])), users["ben"], here.spaces["Ops"])
    ids["top"] = add(document("top", call_block(1, ids["middle"])), users["ben"])
    ids["Timer"] = add(document("Timer", schedules=[DAILY]), users["ada"], state="disabled")
    ids["timer"] = add(document("timer", bound_block(1, mail), call_block(2, ids["leaf"])), users["ada"])
    # A circle: leaf calls top.
    value = here.tenant.automations[ids["leaf"]]["workspace"]
    value["blocks"].append(call_block(9, ids["top"]))
    here.tenant.replace_workspace(ids["leaf"], value)
    return ids


ALL = ["Timer", "leaf", "middle", "timer", "top"]

CASES: list[tuple[list[str], list[str]]] = [
    (["--include", "name=T*"], ["Timer"]),
    (["--include", "name=[tT]imer"], ["Timer", "timer"]),
    (["--include", "name=timer", "--include", "name=leaf"], ["leaf", "timer"]),
    (["--include", "id={top}"], ["top"]),
    (["--include", "id={TOP}"], ["top"]),
    (["--include", "owner=cleo@example.com"], ["leaf"]),
    (["--include", "owner=CLEO@EXAMPLE.COM"], ["leaf"]),
    (["--include", "owner=corp\\ben"], ["middle", "top"]),
    (["--include", "owner=Ada Example"], ["Timer", "timer"]),
    (["--include", "owner={ada}"], ["Timer", "timer"]),
    (["--include", "space=Sales"], ["leaf"]),
    (["--include", "space={Ops}"], ["middle"]),
    (["--include", "space=personal"], ["Timer", "timer", "top"]),
    (["--include", "mode=scheduled"], ["Timer"]),
    (["--include", "state=disabled"], ["Timer"]),
    (["--include", "uses=Ops API"], ["leaf", "timer"]),
    (["--include", "uses={Ops API}"], ["leaf", "timer"]),
    (["--include", "uses=Ops API", "--include", "owner=Ada Example"], ["timer"]),
    (["--include", "owner=Ada Example", "--include", "state=available"], ["timer"]),
    (["--exclude", "name=t*"], ["Timer", "leaf", "middle"]),
    (["--exclude", "uses=Ops API"], ["Timer", "middle", "top"]),
    (["--include", "name=t*", "--exclude", "owner=Ada Example"], ["top"]),
    (["--include", "name=timer", "--exclude", "id={TIMER}", "--include", "name=leaf"], ["leaf"]),
    (["--include", "name=top", "--with-calls"], ["leaf", "middle", "top"]),
    (["--include", "name=leaf", "--with-calls"], ["leaf", "middle", "top"]),
    (["--include", "uses=Ops API", "--with-calls"], ["leaf", "middle", "timer", "top"]),
    (["--include", "name=top", "--with-calls", "--exclude", "name=leaf"], ["middle", "top"]),
    (["--include", "name=top", "--with-calls", "--exclude", "uses=Ops API"], ["middle", "top"]),
    (["--with-calls"], ALL),
]


def filled(words: Sequence[str], motion: Motion, company: dict[str, str]) -> list[str]:
    """The words with ids in place of `{name}`."""
    here = motion.stage.source
    known = {**here.users, **here.spaces, **company, **{name.upper(): one.upper() for name, one in company.items()}}
    known["TIMER"] = company["timer"].upper()
    return [word.format_map(known) for word in words]


@pytest.mark.parametrize(("words", "names"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_selectors(motion: Motion, company: dict[str, str], words: list[str], names: list[str]) -> None:
    """Same key: or; different keys: and; exclude wins; calls follow transitively and through circles."""
    words = filled(words, motion, company)
    ended = motion.stage.backup("a.qma", *words)
    assert (ended.code, ended.summary["complete"]) == (0, True)
    assert names_in(motion.stage) == names
    assert balanced(motion.stage) == {"listed": len(names), "captured": len(names)}
    with archive_of(motion.stage) as archive:
        selection = archive.manifest.selection
        # Rows stay, so that an id found in a workspace has a name.
        assert len(list(archive.rows(Kind.AUTOMATION))) == 5
    if words == ["--with-calls"]:
        assert selection is None
        return
    assert selection is not None
    pairs = list(pairwise(words))
    assert list(selection.include) == [value for flag, value in pairs if flag == "--include"]
    assert list(selection.exclude) == [value for flag, value in pairs if flag == "--exclude"]
    assert selection.with_calls == ("--with-calls" in words)


def test_rows_spare_requests(motion: Motion, company: dict[str, str]) -> None:
    """What rows decide costs no detail of those left out."""
    assert motion.stage.backup("a.qma", "--include", "name=top").code == 0
    assert requests_by_path(motion.tenant)["/api/workflows/automations/{}"] == 1


def test_values_from_a_file(motion: Motion, company: dict[str, str]) -> None:
    """`@FILE`: one value a line, blank lines passed over."""
    listed = motion.stage.folder / "names.txt"
    listed.write_text("\ntop\r\n  leaf \n\n", "utf-8")
    assert motion.stage.backup("a.qma", "--include", f"name=@{listed}").code == 0
    assert names_in(motion.stage) == ["leaf", "top"]


@pytest.mark.parametrize(
    "words",
    [
        ["--include", "name=nobody"],
        ["--include", "name=TOP"],
        ["--include", "name=top", "--exclude", "name=top"],
        ["--include", "uses=nothing"],
        ["--include", "colour=red"],
        ["--include", "name"],
        ["--include", "name="],
        ["--include", "name=@no-such-file"],
    ],
    ids=" ".join,
)
def test_nothing_selected(motion: Motion, company: dict[str, str], words: list[str]) -> None:
    """An empty selection, and one that is none, end 2 without a file."""
    ended = motion.stage.backup("a.qma", *words)
    assert ended.code == 2
    assert not (motion.stage.folder / "a.qma").exists()


def test_empty_selector_file_is_no_full_backup(motion: Motion, company: dict[str, str]) -> None:
    """A file without a value selects nothing; it must not select everything."""
    listed = motion.stage.folder / "names.txt"
    listed.write_text("\n", "utf-8")
    assert motion.stage.backup("a.qma", "--include", f"name=@{listed}").code == 2


def test_unreadable_one_cannot_be_judged_by_its_workspace(motion: Motion, company: dict[str, str]) -> None:
    """Whether it uses the connection is not known, so it is named, and the snapshot is incomplete."""
    path = f"*/automations/{company['top']}"
    motion.tenant.faults.append(Fault(path=path, effect=Status(code=403), times=None))
    ended = motion.stage.backup("a.qma", "--include", "uses=Ops API")
    assert ended.code == 3
    assert balanced(motion.stage) == {"listed": 3, "captured": 2, "unreadable": 1}
    assert motion.stage.backup("b.qma", "--include", "name=t*", "--exclude", "name=top").code == 0


def test_one_that_recovers_is_judged_then(motion: Motion, company: dict[str, str]) -> None:
    """A document that came late is held against the selection like all others."""
    for name in ("top", "leaf"):
        path = f"*/automations/{company[name]}"
        motion.tenant.faults.append(Fault(path=path, effect=Status(code=500), times=7))
    assert motion.stage.backup("a.qma", "--include", "uses=Ops API").code == 0
    assert names_in(motion.stage) == ["leaf", "timer"]


@pytest.mark.parametrize("with_calls", [False, True])
def test_newcomers_are_selected_too(motion: Motion, company: dict[str, str], with_calls: bool) -> None:
    """What is created meanwhile joins where the selection, its workspace included, wants it."""
    tenant, users = motion.tenant, motion.stage.source.users

    def act() -> None:
        tenant.add_automation(document("other"), users["ben"])
        callee = tenant.add_automation(document("callee"), users["ben"])
        blocks = (bound_block(1, company["Ops API"]), call_block(2, callee))
        tenant.add_automation(document("late", *blocks), users["ben"])

    motion.at_list(2, act)
    words = ["--with-calls"] if with_calls else []
    assert motion.stage.backup("a.qma", "--include", "uses=Ops API", *words).code == 0
    expected = {"leaf", "timer", "late"} | ({"middle", "top", "callee"} if with_calls else set())
    assert set(names_in(motion.stage)) == expected


def test_call_of_what_is_gone(motion: Motion, company: dict[str, str]) -> None:
    """A call to a deleted automation, or by a formula, leads nowhere and does no harm."""
    motion.delete(company["leaf"])
    assert motion.stage.backup("a.qma", "--include", "name=top", "--with-calls").code == 0
    assert names_in(motion.stage) == ["middle", "top"]


def test_unreadable_callee_is_named(motion: Motion, company: dict[str, str]) -> None:
    """With calls, a callee that cannot be read makes the snapshot incomplete."""
    path = f"*/automations/{company['middle']}"
    motion.tenant.faults.append(Fault(path=path, effect=Status(code=403), times=None))
    ended = motion.stage.backup("a.qma", "--include", "name=top", "--with-calls")
    assert ended.code == 3
    assert balanced(motion.stage) == {"listed": 2, "captured": 1, "unreadable": 1}


def test_summary_is_json(motion: Motion, company: dict[str, str]) -> None:
    """The counts of the summary are those of the selection."""
    ended = motion.stage.backup("a.qma", "--include", "name=top")
    assert json.loads(json.dumps(ended.summary))["counts"]["automations"]["listed"] == 1
