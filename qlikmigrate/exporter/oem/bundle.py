"""What a bundle says of its children, each exactly as received: no list need have a row for them."""

from __future__ import annotations

from collections.abc import Iterator

from qlikmigrate.kernel.jsontext import elements, members

# Source: "List templates" says `sub_blends`, the prose of "List integrations" `sub_automations`.
_MEMBERS = ("sub_blends", "sub_automations")


def child_rows(raw: bytes) -> Iterator[bytes]:
    """The children in a row or an answer, those of children after them."""
    text = raw.decode("utf-8")
    for member in members(text):
        if member.key in _MEMBERS and text[member.start] == "[":
            for start, end in elements(text, member.start):
                if text[start] == "{":
                    child = text[start:end].encode()
                    yield child
                    yield from child_rows(child)
