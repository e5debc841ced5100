"""What is cut out of a document, where it stood, and that nothing else changes."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlikmigrate.model.document import CutReason, Document, Part, cut_document, received
from qlikmigrate.model.kind import Kind

_names = st.sampled_from(
    ["id", "name", "executionToken", "lastRun", "lastRunAt", "lastRun\u4e2d", "lastRun\u00e9", "duration", "workspace"]
)
_texts = st.text(alphabet='aé中😀\\"{}[], ', max_size=8)


@given(st.dictionaries(_names, _texts | st.lists(_texts, max_size=3), max_size=9), st.booleans())
def test_kept_and_cut_make_up_what_was_received(value: dict[str, object], ascii_only: bool) -> None:
    """Run data put back gives the received bytes but for secrets; what is kept is JSON without what was cut."""
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    kept, cuts = cut_document(Kind.AUTOMATION, raw)
    gone = {cut.path[0] for cut in cuts}
    assert gone == {name for name in value if name in ("executionToken", "duration") or name.startswith("lastRun")}
    assert json.loads(kept) == {name: one for name, one in value.items() if name not in gone}
    assert len(kept) + sum(cut.length for cut in cuts) == len(raw)
    if "executionToken" not in value:
        document = Document(kind=Kind.AUTOMATION, id="1", part=Part.DETAIL, raw=kept, cuts=cuts)
        assert received(document) == raw
    for cut in cuts:
        assert (cut.text is None) == (cut.reason is CutReason.SECRET)


def test_a_token_leaves_its_hash() -> None:
    """The hash is of the token as a person would write it, escapes undone."""
    raw = '{"workspace": {"a": "é"}, "executionToken": "t\\u00f6ken-ö"}'.encode()
    kept, (cut,) = cut_document(Kind.AUTOMATION, raw)
    assert "ken" not in kept.decode()
    assert cut.sha256 == hashlib.sha256("töken-ö".encode()).hexdigest()


@pytest.mark.parametrize("raw", [b'{"name": "\xff"}', b"[]", b'{"name": 1', b""])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    """Bytes that are no UTF-8, and texts that are no object, are a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        cut_document(Kind.AUTOMATION, raw)
