"""The documentation says what the code says."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from page_script import PAGES, ROOT, blocks

from qlikmigrate import __version__
from qlikmigrate.cli.app import COMMANDS
from qlikmigrate.config.tenants import FILE_NAME, open_tenant
from qlikmigrate.kernel.error import EXIT_ORDER, UsageError
from qlikmigrate.remap.finding import CODES

DOCS = ROOT / "docs"
PACKAGE = ROOT / "qlikmigrate"
_WORD = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CODE_ROW = re.compile(r"^\| `([a-z0-9-]+)` \|", re.MULTILINE)
# Callable → which of its arguments is the code.
_CODE_ARGUMENT = {
    "note": 0, "_note": 0, "_problem": 0, "_tell": 0, "ObjectError": 0, "problem": 1, "Failure": 1, "HandoverError": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """`scripts/write_tables.py`."""
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "scripts" / "write_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "errors.md"])
def test_generated_parts_are_as_the_code_has_them(name: str, tables: ModuleType) -> None:
    """Flags, exit codes and error codes; `scripts/write_tables.py` renews them."""
    text = (DOCS / name).read_text()
    assert text == tables.renewed(text)


def test_no_generated_part_is_missing(tables: ModuleType) -> None:
    """Each command and each table has its place in a page, once."""
    names = [one for page in ("commands.md", "errors.md") for one in tables.names_in((DOCS / page).read_text())]
    assert sorted(names) == sorted(tables.PARTS)


def test_every_exit_code_is_explained() -> None:
    """The table has all codes that a command can end with, and no other."""
    rows = re.findall(r"^\| (\d+) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(EXIT_ORDER)


def test_every_code_is_listed_and_exists() -> None:
    """The codes that the source uses and those that the page explains are the same."""
    listed = set(_CODE_ROW.findall((DOCS / "errors.md").read_text()))
    used = set(CODES) | {code for path, tree in _modules() for code in _codes(path, tree)}
    assert len(used) > 60
    used -= {"api-error"}  # of the base class, which is never raised itself
    assert used - listed == set(), "used, but not in docs/errors.md"
    assert listed - used == set(), "in docs/errors.md, but used nowhere"


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        # The sandbox has error codes of the service, not of the product.
        if "sandbox" not in path.parts:
            yield path, ast.parse(path.read_text(), str(path))


def _codes(path: Path, tree: ast.Module) -> Iterator[str]:
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    } | {"SAME_TENANT": ast.Constant("same-tenant")}
    for node in ast.walk(tree):
        for value in _places(node, path):
            value = constants.get(value.id, value) if isinstance(value, ast.Name) else value
            yield from (
                one.value
                for one in ast.walk(value)
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and _WORD.fullmatch(one.value)
            )


def _places(node: ast.AST, path: Path) -> Iterator[ast.expr]:
    """Where a code may stand: expressions whose text constants are codes."""
    match node:
        case ast.Call(func=function, args=arguments, keywords=keywords):
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield from (one.value for one in keywords if one.arg == "code")
            place = _CODE_ARGUMENT.get(name)
            # Methods of the same names take other things in the census.
            if place is not None and place < len(arguments) and path.name != "census.py":
                yield arguments[place]
            yield from _before_severity(arguments)
            if name == "append" and ast.unparse(function).endswith("problems.append"):
                yield from (one.elts[1] for one in arguments if isinstance(one, ast.Tuple))
        case ast.Tuple(elts=elements):
            yield from _before_severity(elements)
        case ast.Assign(targets=[ast.Name(id="code" | "default_code")], value=value):
            yield value
        case ast.AnnAssign(target=ast.Name(id="default_code"), value=ast.expr() as value):
            yield value
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="code"), *_])], value=ast.Tuple(elts=[value, *_])):
            yield value


def _before_severity(values: list[ast.expr]) -> Iterator[ast.expr]:
    for code, severity in itertools.pairwise(values):
        if isinstance(code, ast.Constant) and ast.unparse(severity).startswith("Severity."):
            yield code


def test_architecture_shows_the_layers_that_are_enforced() -> None:
    """The list of rooms is that of the import contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    assert "\n".join(layers) + "\n" in blocks((DOCS / "architecture.md").read_text(), "text")


def test_architecture_names_every_room() -> None:
    """The table has all packages, and none that does not exist."""
    text = (DOCS / "architecture.md").read_text().split("| room |")[1].split("\n\n")[0]
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(_CODE_ROW.findall(text)) == rooms


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_modules_that_pages_name_exist(page: Path) -> None:
    """`room/module.py`, `room.module` and `scripts/…` in backticks are there."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    rooms = "|".join(sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
    for name in re.findall(r"`(?:qlikmigrate/)?((?:" + rooms + r")/[\w/]+\.py)`", text):
        assert (PACKAGE / name).is_file(), name
    for name in re.findall(r"`((?:" + rooms + r")(?:\.\w+)+)`", text) if page.stem == "architecture" else ():
        room, module, *_ = name.split(".")
        assert (PACKAGE / room / f"{module}.py").is_file() or (PACKAGE / room / module).is_dir(), name
    for name in re.findall(r"`((?:scripts|tests|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists() or name == "docs/_build/html", name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file, and every anchor a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        if anchor:
            assert anchor in _anchors(file.read_text()), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_index_holds_every_page() -> None:
    """No page is out of reach."""
    listed = "\n".join(blocks((DOCS / "index.md").read_text(), "{toctree}")).splitlines()
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert pages <= set(listed)


def test_changelog_begins_with_this_version() -> None:
    """The version in the package has its section, at the top."""
    assert re.findall(r"^## (.+)$", (DOCS / "changelog.md").read_text(), re.MULTILINE)[0] == __version__


def test_changelog_names_every_command() -> None:
    """What a user can type was announced."""
    text = (DOCS / "changelog.md").read_text()
    assert [name for name in COMMANDS if f"`{name}`" not in text] == []


def test_tenants_file_page_lists_the_keys_that_are_taken(tmp_path: Path) -> None:
    """The tables hold the keys that the reader of the file knows, as it lists them itself, and no other."""
    page = (DOCS / "tenants-file.md").read_text()
    cloud, _, rest = page.partition("## OEM accounts")
    oem = rest.partition("\n## ")[0]
    for text, more in ((cloud, ""), (oem, 'kind = "oem"\napp_id = "1"\n')):
        head = f'[tenants.a]\nurl = "https://a.example"\napi_key = {{ env = "KEY" }}\n{more}'
        taken: set[str] = set()
        for odd in ("0123456789 = 1", "limits = { 0123456789 = 1 }"):
            file = tmp_path / "tenants.toml"
            file.write_text(head + odd)
            file.chmod(0o600)
            with pytest.raises(UsageError) as refusal:
                open_tenant("a", str(file), {"KEY": "key"})
            taken |= set(refusal.value.hint.removeprefix("known keys: ").split(", "))
        assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) | {"kind"} == taken
    assert FILE_NAME in page


def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    """Sphinx, every warning an error."""
    pytest.importorskip("sphinx", reason="the docs group is not installed")
    pytest.importorskip("furo", reason="the docs group is not installed")
    words = ["-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, "-d", str(tmp_path / "trees")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
