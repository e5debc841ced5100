"""Where a table of the tenants file takes cells of a clone's row: its address, its account, and where its secrets are.

References are filled, what they lead to never is; literal secrets and commands stay as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qlikmigrate.kernel.row import Row

_TEXTS = ("url", "account", "app_id")
_SECRETS = ("api_key",)
_CLIENTS = ("oauth", "impersonation")
_REFERENCES = ("env", "file", "keyring")


def filled_tenant(values: Mapping[str, Any], row: Row | None, *, where: str) -> Mapping[str, Any]:
    """The table of one tenant with a row's cells in it; as it is where there is no row.

    Raises:
        UsageError: a placeholder cannot be filled.
    """
    if row is None:
        return values
    found = dict(values)
    for key in _TEXTS:
        found |= _text(values, key, row, f"`{key}` in {where}")
    for key in _SECRETS:
        if key in values:
            found[key] = filled_reference(values[key], row, what=f"`{key}` in {where}")
    for key in _CLIENTS:
        client = values.get(key)
        if isinstance(client, Mapping):
            inner = dict(client) | _text(client, "client_id", row, f"`{key}.client_id` in {where}")
            if "client_secret" in client:
                what = f"`{key}.client_secret` in {where}"
                inner["client_secret"] = filled_reference(client["client_secret"], row, what=what)
            found[key] = inner
    return found


def filled_reference(value: Any, row: Row | None, *, what: str) -> Any:
    """A reference to a secret with a row's cells in its name. What is none stays as it is: its reader says so.

    Raises:
        UsageError: a placeholder cannot be filled.
    """
    if row is None or not isinstance(value, Mapping):
        return value
    return {
        form: row.fill(name, what=what) if form in _REFERENCES and isinstance(name, str) else name
        for form, name in value.items()
    }


def _text(values: Mapping[str, Any], key: str, row: Row, what: str) -> dict[str, str]:
    value = values.get(key)
    return {key: row.fill(value, what=what)} if isinstance(value, str) else {}
