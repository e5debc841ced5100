"""Which texts look like secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.model.secret_text import may_hold_secrets, secrets_in

TOKEN = "eyJhbGciOiJFUzM4NCJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLWhlcmU"

SECRETS: list[Any] = [
    TOKEN,
    f"https://x.example/run?x=1&token={'a' * 20}",
    "Authorization: Bearer abcdefghijklmnop1234",
    "Basic dXNlcjpwYXNzd29yZA==",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    "dapi" + "0123456789abcdef" * 2,
    "ghp_" + "a" * 36,
    {"key": "X-Api-Key", "value": "s3cr3tvalue"},
    {"id": "password", "value": "hunter2-hunter2"},
    {"name": "Client Secret", "value": "abcdef123"},
    {"key": "X-Execution-Token", "value": "abcdef123"},
]
HARMLESS: list[Any] = [
    "Basic information about the company",
    "Bearer {$.login.access_token}",
    "password",
    {"key": "Authorization", "value": "{$.token}"},
    {"key": "Authorization", "value": "Bearer {$.token}"},
    {"id": "password", "value": ""},
    {"id": "password", "value": None},
    {"id": "name", "value": "the secret of success"},
    {"name": "Accept", "value": "application/json"},
]


@pytest.mark.parametrize("value", SECRETS, ids=repr)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_secrets_are_found(value: Any, ensure_ascii: bool) -> None:
    """Each is found where it stands, and the quick look does not rule it out."""
    workspace = {"blocks": [{"inputs": [value]}]}
    assert may_hold_secrets(json.dumps(workspace, ensure_ascii=ensure_ascii).encode())
    found = list(secrets_in(workspace))
    expected = ("blocks", 0, "inputs", 0, *(("value",) if isinstance(value, dict) else ()))
    assert found == [expected]


@pytest.mark.parametrize("value", HARMLESS, ids=repr)
def test_harmless_texts_are_not(value: Any) -> None:
    """Formulas, names and words are no secrets."""
    assert list(secrets_in({"blocks": [value]})) == []


@given(st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_quick_look_never_rules_out_what_is_there(value: Any) -> None:
    """Where the quick look says no, the closer one finds nothing."""
    raw = json.dumps([value, ""], ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert may_hold_secrets(raw) or not list(secrets_in(value))
