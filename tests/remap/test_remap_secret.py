"""Secrets in workspaces: figures for what is found, what is taken for one wrongly, and that none is ever told."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remap_tenants import SOURCE, TARGET, block, workspace
from secret_list import Planted, call_url, code, header, nested, secrets, text, variable

from qlikmigrate.model.inventory import Inventory
from qlikmigrate.remap.finding import Finding
from qlikmigrate.remap.mapping import Mapping
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting
from qlikmigrate.remap.secret import find_secrets, mask, with_secrets

PLANTED = secrets()


def raw_of(*blocks: dict[str, Any]) -> bytes:
    return json.dumps(workspace(*blocks), ensure_ascii=False).encode()


def told(findings: tuple[Finding, ...]) -> str:
    return " ".join(f"{one} {one.problem('automation a')}" for one in findings)


def test_list_is_wide() -> None:
    """The list that the figures stand on: at least 60 secrets of 12 kinds."""
    assert len(PLANTED) >= 60
    assert len({one.kind for one in PLANTED}) >= 12


def test_recall(capsys: pytest.CaptureFixture[str]) -> None:
    """Every planted secret is found at its place, and none is told."""
    found = Counter(one.kind for one in PLANTED if find_secrets(raw_of(one.block)))
    with capsys.disabled():
        print(f"\nsecrets found: {found.total()} of {len(PLANTED)}, {len(found)} kinds")
    assert found == Counter(one.kind for one in PLANTED)


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.kind.replace(" ", "-"))
def test_value_is_never_told(one: Planted) -> None:
    """Neither the findings nor the masked text hold the secret or a longer part of it."""
    raw = raw_of(one.block)
    words = told(find_secrets(raw))
    part = one.value[len(one.value) // 3 :][:8]
    assert part not in words
    name = one.block["name"]
    for field in [*one.block.get("inputs", ()), *one.block.get("operations", ())]:
        value = field["value"]
        if isinstance(value, str):
            assert one.value not in mask(value, name)
        else:
            for pair in value:
                assert one.value not in mask(pair["value"], pair["key"])


def test_corpus_has_no_false_finding(corpus: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Public workspaces, whose secrets their publisher masked: formulas, guids, links and samples are no secrets."""
    found = {path.name: find_secrets(path.read_bytes()) for path in corpus}
    with capsys.disabled():
        print(f"\nfalse findings: {sum(map(len, found.values()))} in {len(corpus)} automations")
    assert not any(found.values()), found


@pytest.mark.parametrize(
    "harmless",
    [
        header("Authorization", "Bearer {$.getToken.access_token}"),
        header("Authorization", "Basic {base64: {$.user}:{$.password}}"),
        header("x-api-key", "{$.vApiKey}"),
        header("x-api-key", "<your api key>"),
        header("Content-Type", "application/x-www-form-urlencoded"),
        variable("vToken", ""),
        variable("vPassword", "{$.form.'Password'}"),
        variable("vPassword", "XXXXXXXXXXXX"),
        variable("secretName", "database-password"),
        variable("Client secret", "your_client_secret"),
        variable("vTokenType", "bearer"),
        variable("vSpace", "65f0c1a2b3c4d5e6f7a8b9c0"),
        variable("vKey", "1ef6ce10-5b4c-11ee-a5c2-c11b1d1f0a2a"),
        variable("pageToken", "next"),
        variable(
            "image", "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO" * 40
        ),
        text("Your password expires soon. Basic authentication is off; Bearer tokens are on"),
        text("https://cdn.qlikcloud.com/automations/logos/qlik.png"),
        text("mailto:anna@acme.example http://host:8080/path@x"),
        code("token = get_token()\npassword = os.environ['PASSWORD']\nkey = inputs['api_key']\n"),
        code("for token in tokens:\n    print('token: ' + token)\n"),
        call_url("https://api.example.com/v1/items?limit=100&next={$.page.token}&sort=%2Bname"),
        nested(header("Authorization", "Bearer {$.createAPIKey.token}")),
        {"id": "A", "type": "EndpointBlock", "name": "get", "endpoint_guid": "8cc63340-107b-11ec-ab5d-f9b221ed2dc5"},
    ],
    ids=lambda one: str(one.get("name", "")),
)
def test_look_alikes_are_none(harmless: dict[str, Any]) -> None:
    """Formulas, placeholders, names of secrets, guids and sample data are no findings."""
    assert find_secrets(raw_of(harmless)) == ()


def test_execution_token_is_known_by_its_hash() -> None:
    """A token is found wherever it stands once its automation is in the archive, though nothing near it says so."""
    token = "Qp7" + "w8Zk" * 15
    raw = raw_of(text(f"see {token}, please"))
    assert find_secrets(raw) == ()
    (found,) = find_secrets(raw, {hashlib.sha256(token.encode()).hexdigest()})
    assert found.path == "blocks[0].inputs[0].value"
    assert token not in told((found,))


def test_finding_names_its_place() -> None:
    """Path by index and block name; a name or key that is itself a secret is masked."""
    token = "dapi" + "0123456789abcdef" * 2
    document = {"name": "a", "description": f"uses {token}", "workspace": workspace(text("x"), variable(token, token))}
    findings = find_secrets(json.dumps(document).encode())
    assert {(one.path, one.block_name) for one in findings} >= {
        ("description", ""),
        ("workspace.blocks[1].operations[0].value", "***"),
    }
    assert token not in told(findings)
    keyed = find_secrets(raw_of(block(inputs=[{"id": "i", "lookupValues": {token: "x"}}])))
    assert [one.path for one in keyed] == ["blocks[0].inputs[0].lookupValues.***"]


@pytest.mark.parametrize("value", ["https://svc:hunter2secret@acme.example/x", "postgres://u:9f2a@acme.example"])
def test_no_other_finding_tells_a_part(value: str) -> None:
    """The end of a password before an @ looks like an e-mail address, a client secret like an unknown id."""
    ident = "0beb6795-2072-4f0c-9043-3b2aff6123af"
    raw = raw_of(text(value), header("client_secret", ident))
    result = rewrite(
        raw, Rewriting(source=Inventory(tenant=SOURCE), target=Inventory(tenant=TARGET), mapping=Mapping())
    )
    assert {one.code for one in result.findings} == {"mail-address", "unknown-id"}
    findings = with_secrets(result.findings, raw)
    assert {one.code for one in findings} == {"secret-in-workspace"}
    assert len(findings) == 2
    assert "hunter2" not in told(findings)
    assert "9f2a@" not in told(findings)
    assert ident not in told(findings)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=40), st.text(max_size=40))
def test_mask_keeps_the_rest(before: str, after: str) -> None:
    """Around a token with a form of its own any text may stand: the token goes, and what is no secret stays."""
    token = "ghp_" + "aB3" * 12
    assert token not in mask(f"{before} {token} {after}")
    assert mask(f"a {token}, b") == "a ***, b"
    if mask(before + after) == before + after and not {";", "=", ":", "/"} & set(before + after):
        assert mask(f"{before} {token} {after}") == f"{before} *** {after}"


def test_long_texts_stay_linear() -> None:
    """Half a megabyte that nearly is a secret, in any of several ways, takes no more than a moment."""
    size = 250_000
    for part in (
        "password",
        "token=",
        "?token=",
        "a1",
        "eyJ",
        "sk-",
        "://a:",
        "Bearer ",
        '"key": "',
        "password11",
        "-----BEGIN PRIVATE KEY-----",
    ):
        start = time.perf_counter()
        find_secrets(raw_of(text(part * (size // len(part)))))
        assert time.perf_counter() - start < 6, part
