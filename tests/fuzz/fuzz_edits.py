"""Small edits that make an input hostile: of its bytes, its JSON document or a member of its zip archive."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from contextlib import suppress
from typing import Any, NamedTuple

from hypothesis import strategies as st

# Bytes that break parsers of many formats.
TOKENS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x80",
    b"\r\n",
    b"\x1b[2J",
    *(bytes([character]) for character in b"\"',;[{}]:="),
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"0",
    b"1e-400",
    b"9" * 400,
    b"9" * 5000,
    b"0x10",
    b"1_000",
    b"true",
    b"null",
    b"../../x",
    b"/etc/passwd",
    b"C:\\x",
    b"nul",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"[" * 3000,
    b"{" * 3000,
    b'{"a":' * 2000,
    b"a." * 3000,
    struct.pack("<I", 2**32 - 1),
    struct.pack(">I", 2**31),
    struct.pack("<Q", 2**63),
    struct.pack("<H", 65535),
    b"\xff" * 10,
)
NUMBERS = (-1, 0, 1, 2**31, 2**63, 2**70, 1e308, -0.0, 1e-320, float("nan"), float("inf"))
TEXTS = ("", "x", "\0", "\x1b[2J", "\u202e", "../x", "/x", "a\nb", "x" * 5000, "0" * 64, "1")
LISTS: tuple[Any, ...] = ([], [[]], [1, 2], ["a"], [0] * 3000, [None], [[1, 2, 3]])
VALUES: tuple[Any, ...] = (None, True, *NUMBERS, *TEXTS, *LISTS, {}, {"a": 1}, {"": {}})
KINDS = ("flip", "cut", "remove", "double", "token", "swap", "overwrite", "tree", "member")


class Edit(NamedTuple):
    """One change: its position as a share of 2**16, its length in bytes, and the new bytes or value."""

    kind: str
    at: int
    length: int
    token: bytes
    value: Any


_share = st.integers(0, 2**16 - 1)
# Short edits are the most interesting.
_length = st.one_of(st.integers(0, 64), _share)
EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(KINDS),
        _share,
        _length,
        st.sampled_from(TOKENS) | st.binary(max_size=8),
        st.sampled_from(VALUES),
    ),
    min_size=1,
    max_size=5,
)


def apply(content: bytes, edits: list[Edit]) -> bytes:
    """Return the input after all edits. An edit that does not fit the input changes its bytes."""
    for edit in edits:
        changed = None
        if edit.kind == "tree":
            changed = _in_tree(content, edit)
        elif edit.kind == "member":
            changed = _in_member(content, edit)
        content = _in_bytes(content, edit) if changed is None else changed
    return content[: 1 << 20]


def _in_bytes(content: bytes, edit: Edit) -> bytes:
    begin = edit.at * len(content) >> 16
    end = min(len(content), begin + edit.length)
    part = content[begin:end]
    before = content[:begin]
    after = content[end:]
    flipped = bytes(byte ^ (1 << edit.length % 8) for byte in content[begin : begin + 1])
    results = {
        "flip": before + flipped + content[begin + 1 :],
        "cut": before,
        "remove": before + after,
        "double": before + part + part[:4096] + after,
        "swap": part + before + after,
        "overwrite": before + edit.token + content[begin + len(edit.token) :],
    }
    return results.get(edit.kind, before + edit.token + after)


def _in_tree(content: bytes, edit: Edit) -> bytes | None:
    """Change or delete a value of a JSON document; None if the input is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    places: list[tuple[Any, Any]] = []
    for parent in _parents(document):
        keys = parent if isinstance(parent, dict) else range(min(len(parent), 3))
        places += [(parent, key) for key in keys]
    if not places:
        return None
    parent, key = places[edit.at * len(places) >> 16]
    if edit.length == 0 and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = edit.value
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _parents(document: Any) -> list[Any]:
    """Return the objects and lists of a document that are not empty."""
    parents = []
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, dict | list) and value:
            parents.append(value)
            stack += value.values() if isinstance(value, dict) else value[:3]
    return parents


def _in_member(content: bytes, edit: Edit) -> bytes | None:
    """Change one member of a zip archive, with a correct checksum; None if the input is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:
        return None
    if not members:
        return None
    chosen = edit.at % len(members)
    name, inner = members[chosen]
    # The header of an array is in its first 128 bytes: most edits go there.
    at = edit.at if edit.at % 4 == 0 else int(min(1.0, 128 / max(1, len(inner))) * edit.at)
    kind = ("flip", "token", "overwrite", "remove", "cut")[edit.length % 5]
    members[chosen] = (name, _in_bytes(inner, edit._replace(kind=kind, at=at)))
    out = io.BytesIO()
    with suppress(ValueError), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return out.getvalue()
