"""The folder of a plain export: only its own files change, a kill at any moment is healed, and git sees the edits."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from timeline import NAMES, SURROUNDINGS, Timeline, automation, real_history, sorted_tree

from qlikmigrate.kernel.error import CorruptError, QlikmigrateError, UsageError
from qlikmigrate.report.plain_folder import MARKER, PlainResult, write_plain


def export(timeline: Timeline, folder: Path, number: int = -1) -> PlainResult:
    """Write one of the snapshots taken."""
    with timeline.open(number) as archive:
        return write_plain(archive, folder)


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    """Three states: two automations; one edited, one renamed; one gone and a new one."""
    (tmp_path / "taken").mkdir()
    made = Timeline(tmp_path / "taken")
    made.take([automation("a1", "One"), automation("a2", "Two")])
    made.take([automation("a1", "One", workspace={"blocks": [{"id": "B"}]}), automation("a2", "two")])
    made.take([automation("a3", "Three"), automation("a2", "two")], surroundings=SURROUNDINGS[:3])
    return made


def test_the_same_snapshot_gives_the_same_folder(timeline: Timeline, tmp_path: Path) -> None:
    """Wherever it comes from: a new folder, another state before, the same once more, which writes nothing."""
    folder = tmp_path / "plain"
    for number in (0, 1, 2, 0, 2, 1):
        export(timeline, folder, number)
        fresh = tmp_path / f"fresh{number}"
        export(timeline, fresh, number)
        assert sorted_tree(folder) == sorted_tree(fresh)
        assert {path.name for path in folder.iterdir()} == {path.name for path in fresh.iterdir()}
        stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        again = export(timeline, folder, number)
        assert (again.written, again.removed) == (0, 0)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path != folder} == stamps


def test_files_are_private(timeline: Timeline, tmp_path: Path) -> None:
    """0600 in 0700; what a checkout opened to others is closed again."""
    folder = tmp_path / "plain"
    export(timeline, folder)
    (folder / "README.md").chmod(0o644)
    export(timeline, folder)
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "automations")} == {0o700}


def test_foreign_files_stay(timeline: Timeline, tmp_path: Path) -> None:
    """`.git`, notes, files in the export's folders: none is touched, and a folder with one in it is kept."""
    folder = tmp_path / "plain"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config").write_text("mine")
    (folder / ".gitignore").write_text("mine")
    export(timeline, folder, 0)
    foreign = ["notes.md", "automations/notes.md", "users/mine.json", "own/deep/file", "connections/mine.json"]
    for name in foreign:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    for number in (1, 2):
        export(timeline, folder, number)
    assert {(folder / name).read_text() for name in (*foreign, ".git/config", ".gitignore")} == {"mine"}
    assert not list((folder / "connections").glob("Mail*"))


def test_refused_folders(timeline: Timeline, tmp_path: Path) -> None:
    """A folder with other things, a file, a missing parent, a foreign file or link in the way: 2, nothing changed."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.doc").write_text("mine")
    (tmp_path / "file").write_text("mine")
    in_the_way = tmp_path / "way"
    export(timeline, in_the_way, 0)
    (in_the_way / "automations" / "Three~a3.json").write_text("mine")
    linked = tmp_path / "linked"
    export(timeline, linked, 0)
    shutil.rmtree(linked / "automations")
    (linked / "automations").symlink_to(full)
    before = sorted_tree(tmp_path)
    for folder in (full, tmp_path / "file", tmp_path / "no" / "where", in_the_way, linked):
        with pytest.raises(UsageError):
            export(timeline, folder, 2)
    assert sorted_tree(tmp_path) == before


@pytest.mark.parametrize(
    "line",
    ["../victim", "/etc/passwd", ".git/config", "automations/../../victim.json", "automations/.hidden.json", "notes.md",
     "own/x.json", "<<<<<<< HEAD"],
)  # fmt: skip
def test_a_marker_cannot_be_turned_against_its_reader(line: str, timeline: Timeline, tmp_path: Path) -> None:
    """A marker that lists what no export writes is refused, and nothing is removed."""
    folder = tmp_path / "plain"
    export(timeline, folder, 0)
    with (folder / MARKER).open("a") as file:
        file.write(line + "\n")
    (tmp_path / "victim").write_text("mine")
    before = sorted_tree(tmp_path)
    with pytest.raises(CorruptError):
        export(timeline, folder, 1)
    assert sorted_tree(tmp_path) == before


def test_a_newer_export_is_refused(timeline: Timeline, tmp_path: Path) -> None:
    """Its marker may mean something else."""
    folder = tmp_path / "plain"
    export(timeline, folder)
    text = (folder / MARKER).read_text()
    (folder / MARKER).write_text(text.replace("plain 1.0", "plain 2.0", 1))
    with pytest.raises(CorruptError) as caught:
        export(timeline, folder)
    assert caught.value.code == "newer-format"


def test_links_are_replaced_and_never_followed(timeline: Timeline, tmp_path: Path) -> None:
    """A link at the place of one of its files gives way to the file; what it leads to stays."""
    folder = tmp_path / "plain"
    export(timeline, folder, 0)
    (tmp_path / "victim").write_text("mine")
    for name in ("README.md", "automations/Two~a2.json"):
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "victim")
    export(timeline, folder, 1)
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (folder / "README.md").is_symlink()


def killed(timeline: Timeline, folder: Path, number: int, step: int) -> bool:
    """Export in a child that is gone at once before its `step`th change of the folder; whether it got that far."""
    child = os.fork()
    if not child:
        try:
            left = [step]

            def deadly(call: Any) -> Any:
                def inner(*words: Any, **options: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        os._exit(9)
                    return call(*words, **options)

                return inner

            for name in ("replace", "unlink", "mkdir", "rmdir", "chmod"):
                setattr(os, name, deadly(getattr(os, name)))
                setattr(Path, name, deadly(getattr(Path, name)))
            export(timeline, folder, number)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("number", [0, 2])
def test_a_kill_is_healed(number: int, timeline: Timeline, tmp_path: Path) -> None:
    """Gone before any change of the folder: foreign files stand, and the next export gives what a fresh one gives."""
    other = 2 - number
    for target in (number, other):
        export(timeline, tmp_path / f"fresh{target}", target)
    step = 0
    while True:
        folder = tmp_path / f"plain{step}"
        if number:
            export(timeline, folder, 0)
        else:
            folder.mkdir()
        (folder / ".git").mkdir()
        (folder / ".git" / "HEAD").write_text("mine")
        if number:
            (folder / "automations" / "mine.txt").write_text("mine")
        reached = killed(timeline, folder, number, step)
        assert (folder / ".git" / "HEAD").read_text() == "mine"
        for target in (number, other):
            export(timeline, folder, target)
            tree = sorted_tree(folder)
            assert tree.pop("automations/mine.txt", b"mine") == b"mine"
            assert tree == sorted_tree(tmp_path / f"fresh{target}")
        if not reached:
            break
        step += 1
    assert step > 20


def test_a_full_disk(timeline: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, exit 1, no partial file; the next export puts it right."""
    folder = tmp_path / "plain"
    export(timeline, folder, 0)
    real = Path.replace
    calls: list[Path] = []

    def full(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 3:
            raise OSError(28, "No space left on device", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(QlikmigrateError) as caught:
        export(timeline, folder, 2)
    assert (caught.value.exit_code, caught.value.code) == (1, "cannot-write")
    assert not list(folder.glob(".qlikmigrate-partial*"))
    export(timeline, folder, 2)
    export(timeline, tmp_path / "fresh", 2)
    assert sorted_tree(folder) == sorted_tree(tmp_path / "fresh")


class Repository:
    """A real git repository with plain exports in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "core.quotepath=off")
        done = subprocess.run(
            ["git", *who, *words], cwd=self.folder, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def commit(self, timeline: Timeline, number: int = -1) -> dict[str, str]:
        """Export and commit; path → what git says became of it (A, M, D, or R with the old path)."""
        export(timeline, self.folder, number)
        self.git("add", "-A")
        told = [line.split("\t") for line in self.git("diff", "--cached", "-M", "--name-status").splitlines()]
        if told:
            self.git("commit", "-q", "-m", "export")
        return {paths[-1]: kind[0] + (f" {paths[0]}" if len(paths) > 1 else "") for kind, *paths in told}


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@needs_git
def test_git_sees_what_changed(timeline: Timeline, tmp_path: Path) -> None:
    """An edit touches its own file, a rename is one in git, a switch is a line of the object's file."""
    repository = Repository(tmp_path / "plain")
    assert set(repository.commit(timeline, 0).values()) == {"A"}
    assert repository.commit(timeline, 0) == {}
    listed = {MARKER: "M", "index.json": "M"}
    assert repository.commit(timeline, 1) == listed | {
        "automations/One~a1.workspace.json": "M",
        "automations/two~a2.json": "R automations/Two~a2.json",
        "automations/two~a2.workspace.json": "R automations/Two~a2.workspace.json",
    }
    timeline.take(
        [automation("a1", "One", workspace={"blocks": [{"id": "B"}]}), automation("a2", "two", state="disabled")]
    )
    assert repository.commit(timeline) == {"automations/two~a2.json": "M"}
    assert repository.commit(timeline, 1) == {"automations/two~a2.json": "M"}
    assert "R" in "".join(kind[0] for kind in repository.commit(timeline, 2).values())


@needs_git
@pytest.mark.parametrize("name", NAMES)
def test_git_on_real_histories(name: str, shared: Path, tmp_path: Path) -> None:
    """Each real edit is one changed file among two automations, and the diff is no longer than it has to be."""
    timeline = Timeline(tmp_path)
    bystander = automation("b2", "Bystander")
    for workspace in real_history(shared, name):
        timeline.take([automation("a1", name, workspace=workspace), bystander])
    repository = Repository(tmp_path / "plain")
    repository.commit(timeline, 0)
    for number in range(1, len(timeline.taken)):
        assert repository.commit(timeline, number) == {f"automations/{name}~a1.workspace.json": "M"}
        assert repository.commit(timeline, number) == {}
        added, removed, _ = repository.git("diff", "--numstat", "HEAD^", "HEAD").split("\t")
        lines = len((repository.folder / f"automations/{name}~a1.workspace.json").read_text().splitlines())
        assert int(added) + int(removed) < lines
