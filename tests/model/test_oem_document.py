"""What is cut out of documents of OEM accounts: secrets wherever they stand, nothing of what people made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qlikmigrate.kernel.error import UsageError
from qlikmigrate.model.document import CutReason, Document, Part, cut_document, received
from qlikmigrate.model.inventory import entity
from qlikmigrate.model.kind import FACTS, OEM_FACTS, Kind
from qlikmigrate.model.selection import CLOUD_KEYS, OEM_KEYS, Selector, Selectors, parse_selectors

TOKEN = "tok-9f8e7d6c5b4a"


def cut(kind: Kind, value: Any) -> tuple[str, list[tuple[CutReason, tuple[str | int, ...]]]]:
    """What is kept, and what was cut where."""
    kept, cuts = cut_document(kind, json.dumps(value).encode(), OEM_FACTS[kind])
    json.loads(kept)
    return kept.decode(), [(one.reason, one.path) for one in cuts]


@pytest.mark.parametrize("kind", [Kind.AUTOMATION, Kind.CONNECTION, Kind.TEMPLATE, Kind.RUN, Kind.ACCOUNT])
@pytest.mark.parametrize("name", ["executionToken", "execution_token"])
def test_tokens_are_cut_at_any_depth(kind: Kind, name: str) -> None:
    """In the object, in a list, in a list of lists, in an object of an object."""
    value = {
        "guid": "b",
        name: TOKEN,
        "sub_blends": [{"guid": "c", name: TOKEN, "sub_blends": [{name: TOKEN}]}],
        "odd": {"deep": [[{name: TOKEN, "kept": 1}]]},
    }
    kept, cuts = cut(kind, value)
    assert TOKEN not in kept
    assert len(cuts) == 4
    assert '"kept": 1' in kept


@pytest.mark.parametrize("params", [{"api_key": TOKEN}, [{"api_key": TOKEN}], [{"name": "a", "value": TOKEN}], TOKEN])
def test_all_that_connects_a_connection_is_cut(params: Any) -> None:
    """Parameters in any shape, and the addresses by which a person connects it."""
    value = {"guid": "d", "params": params, "link": TOKEN, "additional": {"link": TOKEN}, "redirect_url": TOKEN}
    kept, cuts = cut(Kind.CONNECTION, {**value, "name": "D"})
    assert json.loads(kept) == {"guid": "d", "name": "D"}
    assert {reason for reason, _ in cuts} == {CutReason.SECRET}


def test_credentials_of_an_account_are_cut() -> None:
    """`datasource` holds the credentials for the partner's own connector."""
    kept, _ = cut(Kind.ACCOUNT, {"guid": "a", "datasource": {"Api-Key": TOKEN}})
    assert json.loads(kept) == {"guid": "a"}


def test_what_people_made_is_kept_to_the_byte() -> None:
    """A workspace and a stored value may have members of these names: they are no tokens of the service."""
    value = {
        "guid": "b",
        "workspace": {"blocks": [{"execution_token": "x", "last_run_at": 1}]},
        "inputs": [{"field_name": "f", "persisted_value": {"executionToken": "y"}}],
    }
    raw = json.dumps(value).encode()
    assert cut_document(Kind.AUTOMATION, raw, OEM_FACTS[Kind.AUTOMATION]) == (raw, ())


def test_run_data_lies_beside_and_comes_back() -> None:
    """`last_run_at` is cut at any depth and put back where it stood."""
    raw = b'{"guid":"b","last_run_at":"2026","sub_blends":[{"last_run_at":null,"guid":"c"}],"name":"n"}'
    kept, cuts = cut_document(Kind.AUTOMATION, raw, OEM_FACTS[Kind.AUTOMATION])
    assert kept == b'{"guid":"b","sub_blends":[{"guid":"c"}],"name":"n"}'
    assert received(Document(kind=Kind.AUTOMATION, id="b", part=Part.DETAIL, raw=kept, cuts=cuts)) == raw


def test_qlik_cloud_is_cut_as_before() -> None:
    """What goes for OEM accounts takes nothing out of a Qlik Cloud document."""
    raw = b'{"id":"a","execution_token":"x","workspace":{"execution_token":"y"},"link":"z","last_run_at":1}'
    assert cut_document(Kind.AUTOMATION, raw) == (raw, ())
    assert not any(one.deep_secrets or one.deep_runs for one in FACTS.values())


def test_an_entity_of_an_oem_account() -> None:
    """Its guid is its id; the other spellings of the fields are understood."""
    blend = entity(Kind.AUTOMATION, {"guid": "b", "name": "B", "run_mode": "manual", "updated_at": "u", "state": "s"})
    assert (blend.id, blend.run_mode, blend.updated_at, blend.state) == ("b", "manual", "u", "s")
    connection = entity(Kind.CONNECTION, {"guid": "d", "connector": {"guid": "c"}, "is_connected": False})
    assert (connection.connector_id, connection.connected) == ("c", False)


def test_selectors_are_refused_where_they_mean_nothing() -> None:
    """Qlik Cloud has no accounts, OEM accounts no owners and no spaces."""
    chosen = parse_selectors(["account=a", "name=n"], ["state=disabled"], lambda _: [])
    chosen.check(OEM_KEYS, "an OEM account")
    with pytest.raises(UsageError, match="account=a"):
        chosen.check(CLOUD_KEYS, "Qlik Cloud")
    for key in ("owner", "space"):
        with pytest.raises(UsageError, match=key):
            Selectors(exclude=(Selector(key=key, value="x"),)).check(OEM_KEYS, "an OEM account")
    assert chosen.of("account").include == (Selector(key="account", value="a"),)
    assert chosen.without("account").include == (Selector(key="name", value="n"),)
