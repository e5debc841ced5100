"""Positions that hold references by design, and what happens to each kind of text."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from remap_tenants import QPO, block, codes, one, rewritten, rows, source, target, workspace

from qlikmigrate.kernel.event import Severity
from qlikmigrate.model.kind import Kind
from qlikmigrate.remap.finding import CODES
from qlikmigrate.remap.mapping import Mapping as IdMapping
from qlikmigrate.remap.mapping import MappingRow
from qlikmigrate.remap.rewrite import rewrite
from qlikmigrate.remap.rewriting import Rewriting

OLD_SPACE, NEW_SPACE = "507f1f77bcf86cd799439011", "65aa1f77bcf86cd799439022"
OLD_APP, NEW_APP = "0beb6795-2072-4f0c-9043-3b2aff6123af", "9d2125ab-2072-4f0c-9043-3b2aff6123af"
OLD_CONNECTION, NEW_CONNECTION = "cccc14a0-d233-11ed-b0d0-33e7e8bc635b", "1649cda2-0600-45ec-aa53-38111e82b13c"
OLD_CALL, NEW_CALL = "dae2edf0-aa47-11ec-b0d0-33e7e8bc635b", "5e54edf2-ef84-45e3-b974-8accc444758d"
OLD_USER, NEW_USER = "AUSu7o-_ytoVOIIVSKmrqP1CRHsKUOjo", "BUSu7o-_ytoVOIIVSKmrqP1CRHsKUOjo"

SPACE = one(Kind.SPACE, OLD_SPACE, "Sales", type="shared")
APP = one(Kind.ITEM, OLD_APP, "Orders", type="app")
USER = one(Kind.USER, OLD_USER, "Ann", subject="ann")
CONNECTION = one(Kind.CONNECTION, OLD_CONNECTION, "Ops", connector_id=QPO, owner_id=OLD_USER)
CALL = one(Kind.AUTOMATION, OLD_CALL, "Callee", owner_id=OLD_USER)
MINE = source(SPACE, APP, USER, CONNECTION, CALL)
THEIRS = target(
    one(Kind.SPACE, NEW_SPACE, "Sales DR", type="shared"),
    one(Kind.ITEM, NEW_APP, "Orders DR", type="app"),
    one(Kind.USER, NEW_USER, "Ann", subject="ann"),
    one(Kind.CONNECTION, NEW_CONNECTION, "Ops DR", connector_id=QPO, owner_id=NEW_USER),
    one(Kind.AUTOMATION, NEW_CALL, "Callee DR", owner_id=NEW_USER),
)
FULL = rows([(SPACE, NEW_SPACE), (APP, NEW_APP), (USER, NEW_USER), (CONNECTION, NEW_CONNECTION), (CALL, NEW_CALL)])
NONE = rows([])


def datasource(value: object, **more: object) -> dict[str, object]:
    return block(settings=[{"id": "datasource", "value": value, "type": "select"} | more])


def test_connection_moves_with_its_label() -> None:
    """A bound block gets the target's connection, and the label its name."""
    new, result = rewritten(workspace(datasource(OLD_CONNECTION, displayValue="Ops")), MINE, THEIRS, FULL)
    assert new["blocks"][0]["settings"][0] == {
        "id": "datasource", "value": NEW_CONNECTION, "type": "select", "displayValue": "Ops DR",
    }  # fmt: skip
    assert result.findings == ()
    assert result.changes[0].path == "blocks[0].settings[0].value"


@pytest.mark.parametrize("ident", [OLD_CONNECTION, "11111111-0600-45ec-aa53-38111e82b13c"])
def test_unbound_connection_becomes_null(ident: str) -> None:
    """A connection without a counterpart, known or not, is written as null and listed with block and path."""
    new, result = rewritten({"workspace": workspace(block(), datasource(ident))}, MINE, THEIRS, NONE)
    assert new["workspace"]["blocks"][1]["settings"][0]["value"] is None
    (finding,) = result.findings
    assert (finding.code, finding.severity) == ("connection-unbound", Severity.WARNING)
    assert (finding.path, finding.block_name) == ("workspace.blocks[1].settings[0].value", "block")


@pytest.mark.parametrize("before", [NEW_CONNECTION, None, ""])
def test_settled_binding_stays(before: str | None) -> None:
    """A target connection, null and empty text are left as they are."""
    raw = json.dumps(workspace(datasource(before))).encode()
    result = rewrite(raw, Rewriting(source=MINE, target=THEIRS, mapping=FULL))
    assert result.raw is raw
    assert result.findings == ()


def test_call_moves_and_keeps_its_state() -> None:
    """A Call Automation block gets the copy's id and stays enabled."""
    call = block("CallWidgetBlock", inputs=[{"id": "guid", "value": OLD_CALL, "displayValue": "Callee"}])
    new, result = rewritten(workspace(call), MINE, THEIRS, FULL)
    assert new["blocks"][0]["inputs"][0] == {"id": "guid", "value": NEW_CALL, "displayValue": "Callee DR"}
    assert new["blocks"][0]["disabled"] is False
    assert result.findings == ()


@pytest.mark.parametrize("members", [{}, {"disabled": True}])
def test_unresolved_call_is_disabled(members: dict[str, bool]) -> None:
    """A call whose target is missing gets null and a disabled block, and is listed."""
    call = block("CallWidgetBlock", inputs=[{"id": "guid", "value": OLD_CALL}]) | members
    new, result = rewritten(workspace(call), MINE, THEIRS, NONE)
    assert (new["blocks"][0]["inputs"][0]["value"], new["blocks"][0]["disabled"]) == (None, True)
    assert codes(result) == ["call-unresolved"]


def test_unresolved_call_without_state_is_disabled() -> None:
    """The member `disabled` is added where the block has none."""
    call = {"type": "CallWidgetBlock", "inputs": [{"id": "guid", "value": OLD_CALL}, {"id": "guid", "value": OLD_CALL}]}
    new, result = rewritten(workspace(call), MINE, THEIRS, NONE)
    assert new["blocks"][0]["disabled"] is True
    assert codes(result) == ["call-unresolved", "call-unresolved"]


def test_pending_references_are_no_findings() -> None:
    """While a plan knows that an object will be created, references to it wait as null and are named."""
    unmatched = IdMapping(rows=tuple(MappingRow(kind=entity.kind, source=entity) for entity in (CALL, CONNECTION)))
    waiting = unmatched.with_pending([(Kind.AUTOMATION, OLD_CALL.upper()), (Kind.CONNECTION, OLD_CONNECTION)])
    call = block(
        "CallWidgetBlock",
        inputs=[{"id": "guid", "value": OLD_CALL}],
        settings=[{"id": "datasource", "value": OLD_CONNECTION}],
    )
    new, result = rewritten(workspace(call), MINE, THEIRS, waiting)
    assert new["blocks"][0]["inputs"][0]["value"] is None
    assert result.findings == ()
    assert result.pending == {(Kind.AUTOMATION, OLD_CALL), (Kind.CONNECTION, OLD_CONNECTION)}
    done = waiting.with_targets([(Kind.AUTOMATION, OLD_CALL, NEW_CALL), (Kind.CONNECTION, OLD_CONNECTION, "c-new-1")])
    new, result = rewritten(workspace(call), MINE, THEIRS, done)
    assert new["blocks"][0]["inputs"][0]["value"] == NEW_CALL
    assert new["blocks"][0]["disabled"] is False
    assert new["blocks"][0]["settings"][0]["value"] == "c-new-1"
    assert result.pending == frozenset()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"value": OLD_APP, "displayValue": f"Orders ({OLD_APP})"},
         {"value": NEW_APP, "displayValue": f"Orders DR ({NEW_APP})"}),
        ({"value": OLD_APP, "displayValue": "Orders"}, {"value": NEW_APP, "displayValue": "Orders DR"}),
        ({"value": OLD_APP.upper()}, {"value": NEW_APP}),
        ({"value": "", "lookupValues": {OLD_SPACE: f"Sales ({OLD_SPACE})"}},
         {"value": "", "lookupValues": {NEW_SPACE: f"Sales DR ({NEW_SPACE})"}}),
        ({"value": f"x {OLD_SPACE}, {OLD_APP}/{OLD_USER}."}, {"value": f"x {NEW_SPACE}, {NEW_APP}/{NEW_USER}."}),
        ({"value": f"x{OLD_SPACE}"}, {"value": f"x{OLD_SPACE}"}),
        ({"value": f"{OLD_SPACE}-1"}, {"value": f"{OLD_SPACE}-1"}),
        ({"value": f"a_{OLD_SPACE}_b"}, {"value": f"a_{NEW_SPACE}_b"}),
        ({"value": f"line\n{OLD_SPACE}"}, {"value": f"line\n{NEW_SPACE}"}),
        ({"value": '{"a":"b\\n' + OLD_SPACE + '"}'}, {"value": '{"a":"b\\n' + NEW_SPACE + '"}'}),
        ({"value": f"å😀{OLD_SPACE}é"}, {"value": f"å😀{NEW_SPACE}é"}),
        ({"value": f"?r=%2F{OLD_SPACE}%2F"}, {"value": f"?r=%2F{NEW_SPACE}%2F"}),
        ({"value": "https://acme.eu.qlikcloud.com/api"}, {"value": "https://acme-dr.us.qlikcloud.com/api"}),
        ({"value": "BI.acme.example"}, {"value": "acme-dr.us.qlikcloud.com"}),
        ({"value": "notbi.acme.example"}, {"value": "notbi.acme.example"}),
        ({"value": [{"key": OLD_SPACE, "value": {"deep": [OLD_APP]}}]},
         {"value": [{"key": NEW_SPACE, "value": {"deep": [NEW_APP]}}]}),
    ],
)  # fmt: skip
def test_inputs(before: dict[str, object], after: dict[str, object]) -> None:
    """Literal values, labels, keys, bounded tokens and hosts of an input are rewritten; look-alikes are not."""
    full = IdMapping(rows=FULL.rows, hosts=dict.fromkeys(MINE.tenant.all_hosts(), THEIRS.tenant.host))
    new, _ = rewritten(workspace(block(inputs=[{"id": "x"} | before])), MINE, THEIRS, full)
    assert new["blocks"][0]["inputs"] == [{"id": "x"} | after]


@pytest.mark.parametrize("member", ["value", "object", "remove_key"])
def test_variable_operations(member: str) -> None:
    """Every payload of a variable's operation is rewritten; its id, key and name are not."""
    operation = {"id": "set_value", "key": OLD_SPACE, "name": f"Set {OLD_SPACE}", member: OLD_SPACE}
    new, _ = rewritten(workspace(block("VariableBlock", operations=[operation])), MINE, THEIRS, FULL)
    assert new["blocks"][0]["operations"] == [operation | {member: NEW_SPACE}]


def test_escaped_spellings_are_found() -> None:
    """An id spelled with \\u escapes, once or inside nested JSON, is found and replaced."""
    once = "".join(f"\\u{ord(char):04x}" for char in OLD_SPACE[:4]) + OLD_SPACE[4:]
    raw = b'{"blocks":[{"inputs":[{"id":"x","value":"\\u00e9 ' + once.encode() + b' \\ud83d\\ude00"}]}],"variables":[]}'
    new, _ = rewritten(raw, MINE, THEIRS, FULL)
    assert new["blocks"][0]["inputs"][0]["value"] == f"é {NEW_SPACE} 😀"
    twice = workspace(block(inputs=[{"id": "x", "value": '{"a":"' + once + '"}'}]))
    new, _ = rewritten(twice, MINE, THEIRS, FULL)
    assert json.loads(new["blocks"][0]["inputs"][0]["value"]) == {"a": NEW_SPACE}


def test_only_the_sites_string_changes() -> None:
    """White space, number spelling, duplicate keys, key order and depth come out as they went in."""
    deep = "[" * 5000 + "]" * 5000
    template = (
        ' {"variables" : [ ],\n "n":1.50, "m":-0, "l":123456789012345678901234567890, "e":1E5,"blocks":[ {"x":1.0,'
        '"x":2.50,"inputs":[{"id":"a","value":"\\/ID\\u0020","value":"ID"}],"deep":DEEP} ] ,"z":"\\ud800"}\n'
    ).replace("DEEP", deep)
    raw = template.replace("ID", OLD_SPACE).encode()
    result = rewrite(raw, Rewriting(source=MINE, target=THEIRS, mapping=FULL))
    assert result.raw == template.replace("ID", NEW_SPACE).encode()


def test_code_and_prose_are_reported_not_rewritten() -> None:
    """Source code, comments, help texts and sample payloads stay, and each id in them is listed."""
    blocks = [
        block("CustomCodeBlock3", inputs=[{"id": "code", "value": f"s.replace('{OLD_SPACE}', new)"}]),
        block(comment=f"see {OLD_APP}", form=[{"id": "f", "label": "l", "helpText": f"like {OLD_APP}"}]),
        block("StartBlock", inputs=[{"id": "test_payload", "value": json.dumps({"spaceid": OLD_SPACE})}]),
    ]
    raw = json.dumps(workspace(*blocks)).encode()
    result = rewrite(raw, Rewriting(source=MINE, target=THEIRS, mapping=FULL))
    assert result.raw is raw
    assert codes(result) == ["id-in-code", "id-in-prose", "id-in-prose", "id-in-prose"]
    on, again = rewritten(raw, MINE, THEIRS, IdMapping(rows=FULL.rows, rewrite_code=True, rewrite_prose=True))
    assert OLD_SPACE not in json.dumps(on)
    assert OLD_APP not in json.dumps(on)
    assert again.findings == ()


def test_source_host_in_code_is_an_error() -> None:
    """A copy whose code would act on the source tenant is told as an error, in help text only as information."""
    blocks = [
        block("CustomCodeBlock3", inputs=[{"id": "code", "value": "get('https://acme.eu.qlikcloud.com')"}]),
        block(comment="https://acme.eu.qlikcloud.com"),
    ]
    _, result = rewritten(workspace(*blocks), MINE, THEIRS)
    assert [(one.code, one.severity) for one in result.findings] == [
        ("source-host-left", Severity.ERROR),
        ("host-in-prose", Severity.INFO),
    ]
    _, kept = rewritten(workspace(*blocks), MINE, THEIRS, '[hosts]\n"acme.eu.qlikcloud.com" = { decision = "keep" }')
    assert kept.findings == ()


def test_names_keep_their_expressions() -> None:
    """A name with an id in it is not touched, nor the expressions that bind to it; other places are."""
    name = f"Load {OLD_APP}"
    blocks = [block(name=name), block(inputs=[{"id": "x", "value": "{$.'" + name + f"'.id}} {OLD_APP}"}])]
    new, result = rewritten(workspace(*blocks), MINE, THEIRS, FULL)
    assert new["blocks"][0]["name"] == name
    assert new["blocks"][1]["inputs"][0]["value"] == "{$.'" + name + f"'.id}} {NEW_APP}"
    assert codes(result) == ["id-in-name", "id-in-name"]


NESTED = (
    '{"name":"x","workspace":{"blocks":[{"id":"%s","type":"EndpointBlock","name":"n","inputs":[{"id":"code","value":"f(\\"'
    + OLD_SPACE
    + '\\")","type":"code"},{"id":"i","value":"'
    + OLD_APP
    + '"}],"settings":[{"id":"datasource","value":"'
    + OLD_CONNECTION
    + '","type":"select"}]}],"interval":{map:{$.x},{"15 minutes":"900"}}}}'
) % "3E7FFEFF-93B6-4408-B474-93144499D145"


def test_nested_workspace() -> None:
    """In a workspace inside a string that is no JSON, connections and literals move; block ids and code stay."""
    new, result = rewritten(workspace(block(inputs=[{"id": "g", "value": NESTED}])), MINE, THEIRS, FULL)
    expected = NESTED.replace(OLD_APP, NEW_APP).replace(OLD_CONNECTION, NEW_CONNECTION)
    assert new["blocks"][0]["inputs"][0]["value"] == expected
    assert codes(result) == ["id-in-code"]


def test_many_references_in_one_long_string() -> None:
    """Time grows with the length of a string, not with its square: ten times the text takes no thirty times as long."""

    def seconds(count: int) -> float:
        text = json.dumps({"blocks": [json.loads(NESTED.partition(',"interval"')[0] + "}}")] * count})
        raw = json.dumps(workspace(block(inputs=[{"id": "g", "value": text}]))).encode()
        rewriting = Rewriting(source=MINE, target=THEIRS, mapping=FULL)
        start = time.process_time()
        result = rewrite(raw, rewriting)
        assert len(result.changes) == 2 * count
        return time.process_time() - start

    seconds(10)
    assert seconds(1000) < 30 * min(seconds(100) for _ in range(3))


def test_unbound_connection_in_nested_workspace() -> None:
    """There too an unbound connection becomes null and is listed."""
    new, result = rewritten(workspace(block(inputs=[{"id": "g", "value": NESTED}])), MINE, THEIRS, NONE)
    assert '"id":"datasource","value":null,"type"' in new["blocks"][0]["inputs"][0]["value"]
    assert sorted(codes(result)) == ["connection-unbound", "id-in-code", "source-id-left"]


def test_values() -> None:
    """`@@KEY@@` takes its value, escaped where it stands in nested JSON; a key without one is an error."""
    mapping = IdMapping(values={"URL": 'a"b\\c'})
    inputs = [
        {"id": "1", "value": "x @@URL@@"},
        {"id": "2", "value": '{"u":"@@URL@@"}'},
        {"id": "3", "value": "@@NO@@"},
    ]
    new, result = rewritten(workspace(block(inputs=inputs)), MINE, THEIRS, mapping)
    values = [field["value"] for field in new["blocks"][0]["inputs"]]
    assert values[0] == 'x a"b\\c'
    assert json.loads(values[1]) == {"u": 'a"b\\c'}
    assert [(one.code, one.severity) for one in result.findings] == [("value-missing", Severity.ERROR)]
    assert "a\\" not in repr(result.changes)


def test_mail_domains() -> None:
    """Addresses are listed; with a mail domain in the mapping their domain moves."""
    document = workspace(block(inputs=[{"id": "to", "value": "ann@old.example, bob@old.example.org"}]))
    _, told = rewritten(document, MINE, THEIRS, NONE)
    assert [one.source_id for one in told.findings] == ["ann@old.example", "bob@old.example.org"]
    new, told = rewritten(document, MINE, THEIRS, IdMapping(mail_domains={"old.example": "new.example"}))
    assert new["blocks"][0]["inputs"][0]["value"] == "ann@new.example, bob@old.example.org"
    assert codes(told) == ["mail-address"]


def test_connector_published_under_another_id() -> None:
    """The connector guid moves where the target has it under another id, and what it lacks is told by block."""
    other = "aaaaaaaa-e0f2-11ec-ada1-d5ef75014b77"
    mine = source(one(Kind.CONNECTOR, QPO, "Platform"))
    theirs = target(one(Kind.CONNECTOR, other, "Platform"))
    blocks = [
        block(datasourcetype_guid=QPO, endpoint_guid="e1"),
        block("SnippetBlock", datasourcetype_guid=QPO, snippet_guid="s1", name="gone"),
        block("StartBlock", inputs=[{"id": "datasourcetype_guid", "value": QPO}]),
    ]
    new, result = rewritten(workspace(*blocks), mine, theirs, published={other: ["E1"]})
    assert [b.get("datasourcetype_guid") for b in new["blocks"]] == [other, other, None]
    assert new["blocks"][2]["inputs"][0]["value"] == other
    assert [(one.code, one.block_name) for one in result.findings] == [("catalogue-guid-missing", "gone")]
    _, missing = rewritten(workspace(*blocks[:1]), mine, target(one(Kind.CONNECTOR, other, "Else")))
    assert [(one.code, one.severity) for one in missing.findings] == [("connector-missing", Severity.ERROR)]


def test_decisions() -> None:
    """Keep leaves an id without a word; null writes null where the whole value is the id and lists it elsewhere."""
    document = workspace(block(inputs=[{"id": "a", "value": OLD_SPACE}, {"id": "b", "value": f"x {OLD_SPACE}"}]))
    same, told = rewritten(document, MINE, THEIRS, '[spaces]\n"Sales" = { decision = "keep" }')
    assert (same, told.findings) == (document, ())
    new, told = rewritten(document, MINE, THEIRS, f'[ids]\n"{OLD_SPACE}" = {{ decision = "null" }}')
    assert [one["value"] for one in new["blocks"][0]["inputs"]] == [None, f"x {OLD_SPACE}"]
    assert codes(told) == ["source-id-left"]


def test_ambiguous_id() -> None:
    """An id of two kinds that move to different ids is a finding, not a guess."""
    user = one(Kind.USER, OLD_SPACE, "Bob")
    mapping = rows([(SPACE, NEW_SPACE), (user, "65bb1f77bcf86cd799439022")])
    _, result = rewritten(
        workspace(block(inputs=[{"id": "a", "value": OLD_SPACE}])), source(SPACE, user), THEIRS, mapping
    )
    assert codes(result) == ["ambiguous-id"]


def test_unknown_ids() -> None:
    """What looks like an id and belongs to nobody is listed; internal, catalogue and option guids are not."""
    stray = "698a0ca1-87e9-4d62-9c77-9316dce35a74"
    known = block(
        endpoint_guid="72d48530-bbb0-11f0-875a-b322bf237aeb",
        inputs=[
            {"id": "29603390-e716-11ea-9e37-05e08ee32111", "value": stray},
            {"id": "8ce4fad0-107b-11ec-a6ac-2bd407ad134b", "value": "27141ca0-5f18-11eb-b41a-733bee69f00a",
             "type": "select", "displayValue": "GET"},
            {"id": "webhook_param_613e0f80-5ddb-11ec-ab88-0d44ac0c427c", "value": NEW_SPACE},
        ],
    )  # fmt: skip
    _, result = rewritten(workspace(known), MINE, THEIRS, FULL)
    assert [(one.code, one.path) for one in result.findings] == [("unknown-id", "blocks[0].inputs[0].value")]


def test_outer_fields_are_the_importers() -> None:
    """Own id, owner and space of an automation's document stay; its description is text, its name only looked at."""
    document = {
        "id": OLD_CALL, "ownerId": OLD_USER, "spaceId": OLD_SPACE, "name": f"N {OLD_SPACE}",
        "description": f"D {OLD_SPACE}", "workspace": workspace(block(inputs=[{"id": "me", "value": OLD_CALL}])),
        "lastRun": {"ownerId": OLD_USER},
    }  # fmt: skip
    new, result = rewritten(document, MINE, THEIRS, FULL)
    assert new["workspace"]["blocks"][0]["inputs"][0]["value"] == NEW_CALL
    assert new["description"] == f"D {NEW_SPACE}"
    assert {key: new[key] for key in ("id", "ownerId", "spaceId", "name", "lastRun")} == {
        key: document[key] for key in ("id", "ownerId", "spaceId", "name", "lastRun")
    }
    assert [(one.code, one.path) for one in result.findings] == [("id-in-name", "name")]


def test_look_alikes_stay() -> None:
    """The CDN's logo, guids of third parties and hosts of others are not touched."""
    start = block("StartBlock", logo="https://cdn.qlikcloud.com/automations/logos/x.png", inputs=[
        {"id": "u", "value": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/x"},
        {"id": "v", "value": "https://cdn.qlikcloud.com/x https://partner.eu.qlikcloud.com"},
    ])  # fmt: skip
    raw = json.dumps(workspace(start)).encode()
    result = rewrite(raw, Rewriting(source=MINE, target=THEIRS, mapping=FULL))
    assert result.raw is raw
    assert codes(result) == ["unknown-id", "foreign-host"]


@pytest.mark.parametrize("raw", [b"[]", b'{"blocks":[{"inputs":"507f1f77bcf86cd799439011"}', b'{"blocks":[] "x"'])
def test_broken_documents_are_refused(raw: bytes) -> None:
    """A document that is no JSON object is an error, never a guess."""
    with pytest.raises(ValueError, match=r"position|char"):
        rewrite(raw + b' "507f1f77bcf86cd799439011"', Rewriting(source=MINE, target=THEIRS, mapping=FULL))


def test_codes_are_documented() -> None:
    """The list of codes in the docs is the list in the code."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "remap.md").read_text()
    assert [code for code in CODES if f"| `{code}` | {CODES[code]} |" not in text] == []
