"""From the flags of `plan`, `restore`, `clone` and `mapping` to a plan request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qlikmigrate.cli.option import read_text
from qlikmigrate.kernel.row import filled

if TYPE_CHECKING:
    from qlikmigrate.importer.counterpart import PlanRequest
    from qlikmigrate.kernel.row import Row
    from qlikmigrate.kernel.secret import Secret
    from qlikmigrate.model.snapshot import Snapshot
    from qlikmigrate.remap.mapping_file import MappingFile


def read_decisions(mapping_path: str | None, ids_path: str | None) -> tuple[MappingFile, str]:
    """The mapping file with a further id list, and the text that stands for both.

    Raises:
        UsageError: one cannot be read or is malformed.
    """
    from qlikmigrate.remap.mapping_file import MappingFile, parse, read_ids

    decisions, text = MappingFile(), ""
    if mapping_path:
        text = read_text(mapping_path, "mapping file")
        decisions = parse(text, name=mapping_path)
    if ids_path:
        ids_text = read_text(ids_path, "id list")
        decisions = decisions.with_ids(read_ids(ids_text, name=ids_path))
        text += ids_text
    return decisions, text


def read_values(
    decisions: MappingFile, mapping_path: str | None, environ: Mapping[str, str], *, row: Row | None = None
) -> dict[str, str]:
    """The texts of `[values]`, those from the environment and from files resolved. `row`: whose cells they take.

    Raises:
        UsageError: one is unset or unreadable.
    """
    from qlikmigrate.kernel.error import UsageError

    folder = Path(mapping_path).parent if mapping_path else Path()
    values: dict[str, str] = {}
    for key, source in decisions.values.items():
        text = filled(row, source.text, what=f"`[values] {key}`", secret=source.kind not in ("env", "file"))
        match source.kind:
            case "env":
                if text not in environ:
                    raise UsageError(f"`[values] {key}`: environment variable `{text}` is not set")
                values[key] = environ[text]
            case "file":
                values[key] = read_text(folder / Path(text).expanduser(), f"value file of `{key}`").rstrip("\n")
            case _:
                values[key] = text
    return values


def read_secrets(
    connections: str, secrets_path: str | None, environ: Mapping[str, str], *, row: Row | None = None
) -> dict[str, dict[str, Secret]]:
    """The values of `--secrets`, by connection and parameter. `row`: whose cells they take.

    Raises:
        UsageError: nothing would use them, or one cannot be had.
    """
    from qlikmigrate.config.connection_secrets import read_connection_secrets
    from qlikmigrate.kernel.error import UsageError

    if not secrets_path:
        return {}
    if connections != "create":
        raise UsageError("--secrets is for connections that are created", hint="add --connections create")
    return read_connection_secrets(Path(secrets_path), environ, row=row)


def request_of(
    archive: Snapshot,
    archive_path: str | Path,
    environ: Mapping[str, str],
    flags: dict[str, Any],
    *,
    row: Row | None = None,
) -> PlanRequest:
    """A plan request from the flags that `option.planning` and `option.selectors` declare. `row`: of a clone to many.

    Raises:
        UsageError: two of them contradict each other, or a file that one names cannot be used.
    """
    from qlikmigrate.cli.archive import lasting_name, split_account
    from qlikmigrate.cli.tenant import selectors_of
    from qlikmigrate.importer.counterpart import PlanRequest
    from qlikmigrate.importer.plan import Conflict, PlanOptions, SameTenant
    from qlikmigrate.kernel.error import UsageError
    from qlikmigrate.model.oem_view import OemView

    if flags.get("account_name") and not flags.get("create_account"):
        raise UsageError("--account-name is for an account that is made", hint="add --create-account")
    if flags["repoint_callers"] and flags["same_tenant"] != "recover":
        raise UsageError("--repoint-callers is for what is recovered", hint="add --same-tenant recover")
    # Which account is meant was asked before there was one to read; whoever reads several selects among them itself.
    include = split_account(flags["include"])[1] if isinstance(archive, OemView) else flags["include"]
    decisions, text = read_decisions(flags["mapping_path"], flags["ids_path"])
    options = PlanOptions(
        owner=flags["owner"],
        fallback_owner=flags["fallback_owner"] or "",
        default_space=flags["default_space"] or "",
        connections=flags["connections"],
        start=flags["start"],
        on_conflict=Conflict(flags["on_conflict"]),
        settings=flags["settings"],
        create_spaces=flags["create_spaces"],
        same_tenant=SameTenant(flags["same_tenant"]) if flags["same_tenant"] else None,
        sync=tuple(dict.fromkeys(flags["sync"])),
        repoint_callers=flags["repoint_callers"],
        allow=flags["allow"],
        include=flags["include"],
        exclude=flags["exclude"],
        with_calls=flags["with_calls"],
        mapping_file=str(Path(flags["mapping_path"]).absolute()) if flags["mapping_path"] else "",
        secrets_file=str(Path(flags["secrets_path"]).absolute()) if flags["secrets_path"] else "",
        ids_file=str(Path(flags["ids_path"]).absolute()) if flags["ids_path"] else "",
        ledger=flags["ledger"] or "",
        from_table=row is not None,
        create_account=flags.get("create_account", False),
        account_name=flags.get("account_name") or "",
    )
    return PlanRequest(
        archive=lasting_name(archive_path, archive),
        snapshot=archive,
        selectors=selectors_of(include, flags["exclude"]),
        decisions=decisions,
        mapping_text=text,
        values=read_values(decisions, flags["mapping_path"], environ, row=row),
        secrets=read_secrets(options.connections, flags["secrets_path"], environ, row=row),
        options=options,
        match_items=flags["match_items"],
    )
