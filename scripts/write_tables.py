#!/usr/bin/env python3
"""Write the parts of the docs that follow from the code: the flags of each command, exit codes, error codes.

They stand between `<!-- generated: NAME -->` and `<!-- end -->`; everything else in a page is left as it is.
`scripts/write_tables.py` rewrites the pages, and a test fails when a page is not as this would write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from qlikmigrate.api import error as wire
from qlikmigrate.cli.app import COMMANDS, app
from qlikmigrate.cli.option import _COMMON
from qlikmigrate.importer.oem import window as _window  # noqa: F401 - its class belongs into the table
from qlikmigrate.kernel import error as kernel
from qlikmigrate.vault.store import error as _store  # noqa: F401 - its classes belong into the table

DOCS = Path(__file__).resolve().parent.parent / "docs"
_PART = re.compile(r"(<!-- generated: ([a-z -]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Exit codes that no error class stands for.
_OTHER_EXITS = {
    0: "Done and complete. What is left for people (`todo`) does not change it.",
    4: "`plan --detailed-exitcode`: something would change; `status`: something is left.",
}


def _command(name: str) -> tuple[click.Command, click.Context]:
    root = click.Context(app, info_name="qlikmigrate")
    command = app.get_command(root, name)
    assert command is not None
    return command, click.Context(command, info_name=name, parent=root)


def _common_flags() -> set[str]:
    @click.command()
    def bare() -> None:
        """Nothing but the common flags."""

    for option in _COMMON:
        bare = option(bare)
    return {str(parameter.name) for parameter in bare.params}


def _flag_row(option: click.Option) -> str:
    words = ", ".join(f"`{word}`" for word in option.opts)
    if not option.is_flag:
        choices = option.type.choices if isinstance(option.type, click.Choice) else None
        value = "\\|".join(map(str, choices)) if choices else option.metavar or option.type.name.split()[0].upper()
        words = words[:-1] + f" {value.replace('|', chr(92) + '|') if not choices else value}`"
    default = f"`{option.default}`" if isinstance(option.default, str) and option.show_default else ""
    notes = [note for note, told in (("needed", option.required), ("may be repeated", option.multiple)) if told]
    meaning = (option.help or "") + (f" ({', '.join(notes)})" if notes else "")
    return f"| {words} | {default} | {meaning} |"


def _flag_table(options: list[click.Option]) -> str:
    return "\n".join(["| flag | default | meaning |", "|---|---|---|", *map(_flag_row, options)])


def command_part(name: str) -> str:
    """Usage, description and own flags of one command; of a group, those of each of its commands."""
    command, context = _command(name)
    if isinstance(command, click.Group):
        return "\n\n".join(
            [_paragraphs(command.help or ""), *(_group_part(command, context, word) for word in command.commands)]
        )
    return _part(command, context)


def _group_part(group: click.Group, context: click.Context, word: str) -> str:
    command = group.commands[word]
    told = _part(command, click.Context(command, info_name=word, parent=context))
    return f"### `{group.name} {word}`\n\n{told}"


def _part(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    common = _common_flags()
    own = [one for one in command.params if isinstance(one, click.Option) and one.name not in common]
    parts = [f"```text\n{usage}\n```", _paragraphs(command.help or "")]
    return "\n\n".join(parts + ([_flag_table(own)] if own else []))


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(one.split()) for one in text.split("\n\n"))


def common_part() -> str:
    """The flags that every command has."""
    command, _ = _command("backup")
    common = _common_flags()
    return _flag_table([one for one in command.params if isinstance(one, click.Option) and one.name in common])


def _classes(base: type[kernel.QlikmigrateError]) -> Iterator[type[kernel.QlikmigrateError]]:
    for one in base.__subclasses__():
        yield one
        yield from _classes(one)


def _first_line(one: type) -> str:
    return (one.__doc__ or "").strip().splitlines()[0]


def exit_part() -> str:
    """Exit code, meaning."""
    found = {
        one.exit_code: _first_line(one) for one in kernel.QlikmigrateError.__subclasses__() if one is not wire.ApiError
    }
    rows = [f"| {code} | {meaning} |" for code, meaning in sorted((found | _OTHER_EXITS).items())]
    order = ", ".join(str(code) for code in kernel.EXIT_ORDER)
    return "\n".join(
        ["| exit | meaning |", "|---|---|", *rows, "", f"When several apply, the first of these: {order}."]
    )


def error_part() -> str:
    """`error.code` of the summary, from the error classes."""
    found: dict[str, tuple[int, str]] = {}
    for one in _classes(kernel.QlikmigrateError):
        if one is not wire.ApiError and one.__module__.startswith("qlikmigrate."):
            found.setdefault(one.default_code, (one.exit_code, _first_line(one)))
    rows = [f"| `{code}` | {exit_code} | {meaning} |" for code, (exit_code, meaning) in sorted(found.items())]
    return "\n".join(["| code | exit | meaning |", "|---|---|---|", *rows])


PARTS: dict[str, Callable[[], str]] = {
    "common flags": common_part,
    "exit codes": exit_part,
    "error codes": error_part,
    **{f"command {name}": (lambda name=name: command_part(name)) for name in COMMANDS},
}


def renewed(text: str) -> str:
    """A page with its generated parts as the code has them now."""
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[3]}", text)


def names_in(text: str) -> list[str]:
    """The generated parts that a page has."""
    return [match[2] for match in _PART.finditer(text)]


def main() -> None:
    """Renew the pages in place."""
    for page in (DOCS / "commands.md", DOCS / "errors.md"):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
