"""Whole inputs made hostile: bytes, the tree of a JSON document, the members of a zip archive, by a list of small edits."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from contextlib import suppress
from typing import Any, NamedTuple

from hypothesis import strategies as st

# What parsers were seen to stumble on, whatever they parse.
TOKENS = (
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x80",
        b"\r\n",
        b"\x1b[2J",
        b'"',
        b"'",
        b",",
        b";",
        b"[",
        b"{",
        b"}",
        b"]",
        b":",
        b"=",
    ),
    *(
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
    ),
    *(
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
    ),
    *(
        struct.pack("<I", 2**32 - 1),
        struct.pack(">I", 2**31),
        struct.pack("<Q", 2**63),
        struct.pack("<H", 65535),
        b"\xff" * 10,
    ),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        2**70,
        1e308,
        -0.0,
        1e-320,
        "",
        "x",
        "\0",
        "\x1b[2J",
        "\u202e",
        "../x",
        "/x",
        "a\nb",
        "x" * 5000,
    ),
    *(
        [],
        {},
        [[]],
        [1, 2],
        ["a"],
        {"a": 1},
        [0] * 3000,
        float("nan"),
        float("inf"),
        {"": {}},
        "0" * 64,
        "1",
        [None],
        [[1, 2, 3]],
    ),
)
KINDS = ("flip", "cut", "remove", "double", "token", "swap", "overwrite", "tree", "member")


class Edit(NamedTuple):
    """One change: where it begins and how far it goes, as shares of 2**16, and what is put there."""

    kind: str
    at: int
    length: int
    token: bytes
    value: Any


_share = st.integers(0, 2**16 - 1)
# Short stretches are the interesting ones.
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
    """The input after all edits; one that does not fit what it finds is done to the bytes."""
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
    if edit.kind == "flip":
        return (
            content[:begin]
            + bytes(byte ^ (1 << edit.length % 8) for byte in content[begin : begin + 1])
            + content[begin + 1 :]
        )
    if edit.kind == "cut":
        return content[:begin]
    if edit.kind == "remove":
        return content[:begin] + content[end:]
    if edit.kind == "double":
        return content[:end] + part[:4096] + content[end:]
    if edit.kind == "swap":
        return part + content[:begin] + content[end:]
    if edit.kind == "overwrite":
        return content[:begin] + edit.token + content[begin + len(edit.token) :]
    return content[:begin] + edit.token + content[end:]


def _in_tree(content: bytes, edit: Edit) -> bytes | None:
    """Another value somewhere in a JSON document, or a key twice; None where it is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    places = [
        (parent, key)
        for parent in _parents(document)
        for key in (parent if isinstance(parent, dict) else range(min(len(parent), 3)))
    ]
    if not places:
        return None
    parent, key = places[edit.at * len(places) >> 16]
    if edit.length == 0 and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = edit.value
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _parents(document: Any) -> list[Any]:
    found, left = [], [document]
    while left:
        value = left.pop()
        if isinstance(value, dict | list) and value:
            found.append(value)
            left += value.values() if isinstance(value, dict) else value[:3]
    return found


def _in_member(content: bytes, edit: Edit) -> bytes | None:
    """One member of a zip archive changed, and packed again so that its checksum fits; None where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:
        return None
    if not members:
        return None
    chosen = edit.at % len(members)
    name, inner = members[chosen]
    # The header of an array lies in its first 128 bytes: most edits go there.
    at = edit.at if edit.at % 4 == 0 else int(min(1.0, 128 / max(1, len(inner))) * edit.at)
    kind = ("flip", "token", "overwrite", "remove", "cut")[edit.length % 5]
    members[chosen] = (name, _in_bytes(inner, edit._replace(kind=kind, at=at)))
    out = io.BytesIO()
    with suppress(ValueError), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return out.getvalue()
