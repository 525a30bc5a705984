"""Small edits that make an input hostile: of its bytes, its JSON document, a member of its zip archive or its
graph."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

import onnx
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
DIMENSIONS = (0, -1, 1, 2, 3, 2**31, 2**62)
# Of operators that need other inputs, return other types, or many values.
OPERATORS = (
    "Identity",
    "Shape",
    "Loop",
    "If",
    "ConstantOfShape",
    "Expand",
    "Gather",
    "NonZero",
    "Sqrt",
    "Log",
    "Nope",
)
VALUES: tuple[Any, ...] = (None, True, *NUMBERS, *TEXTS, *LISTS, {}, {"a": 1}, {"": {}})
KINDS = ("flip", "cut", "remove", "double", "token", "swap", "overwrite", "tree", "member", "graph")


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


def drawn(rng: Random) -> list[Edit]:
    """Return edits like those of EDITS, drawn a hundred times as fast."""
    return [_drawn_edit(rng) for _ in range(rng.randint(1, 5))]


def _drawn_edit(rng: Random) -> Edit:
    is_short = rng.random() < 0.5
    is_known = rng.random() < 0.5
    return Edit(
        kind=rng.choice(KINDS),
        at=rng.randrange(1 << 16),
        length=rng.randint(0, 64) if is_short else rng.randrange(1 << 16),
        token=rng.choice(TOKENS) if is_known else rng.randbytes(rng.randint(0, 8)),
        value=rng.choice(VALUES),
    )


def apply(content: bytes, edits: list[Edit]) -> bytes:
    """Return the input after all edits. An edit that does not fit the input changes its bytes."""
    for edit in edits:
        changed = None
        if edit.kind == "tree":
            changed = _in_tree(content, edit)
        elif edit.kind == "member":
            changed = _in_member(content, edit)
        elif edit.kind == "graph":
            changed = _in_graph(content, edit)
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
    """Change, delete, wrap or move a value of a JSON document, or add one; None if the input is none."""
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
    other, other_key = places[edit.length * 7919 % len(places)]
    way = edit.length % 6
    if way == 0 and isinstance(parent, dict):
        del parent[key]
    elif way == 1:
        parent[key] = [parent[key]]
    elif way == 2:
        parent[key] = {str(key): parent[key]}
    elif way == 3 and isinstance(parent, dict):
        parent[f"{key}_"] = edit.value
    elif way == 4:
        parent[key] = copy.deepcopy(other[other_key])
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


def _in_graph(content: bytes, edit: Edit) -> bytes | None:
    """Change the graph of an ONNX model, which stays a valid message; None if the input is none."""
    try:
        model = onnx.load_from_string(content)
    except Exception:
        return None
    graph = model.graph
    if not graph.node or not (graph.input or graph.output):
        return None
    if edit.length % 2:
        _change_ports(graph, edit)
    else:
        _change_nodes(graph, edit)
    return bytes(model.SerializeToString())


def _change_ports(graph: onnx.GraphProto, edit: Edit) -> None:
    """Change the type or the shape of an input or output, or add or remove one."""
    ports = [*graph.input, *graph.output]
    port = ports[edit.at % len(ports)]
    tensor = port.type.tensor_type
    side = graph.input if edit.at % 2 else graph.output
    way = edit.length // 2 % 5
    if way == 0:
        tensor.elem_type = edit.at % 24
    elif way == 1 and tensor.shape.dim:
        tensor.shape.dim[edit.at % len(tensor.shape.dim)].dim_value = DIMENSIONS[edit.at % len(DIMENSIONS)]
    elif way == 2:
        tensor.shape.dim.add().dim_value = 1
    elif way == 3:
        side.add().CopyFrom(port)
    else:
        del side[:]


def _change_nodes(graph: onnx.GraphProto, edit: Edit) -> None:
    """Change the operator or the input of a node, remove it, or change the shape of a constant."""
    node = graph.node[edit.at % len(graph.node)]
    way = edit.length // 2 % 4
    if way == 0:
        node.op_type = OPERATORS[edit.at % len(OPERATORS)]
    elif way == 1 and node.input:
        node.input[0] = graph.node[-1].output[0] if graph.node[-1].output else ""
    elif way == 2 and graph.initializer:
        sizes = graph.initializer[edit.at % len(graph.initializer)].dims
        sizes[:] = [*sizes, DIMENSIONS[edit.at % len(DIMENSIONS)]]
    else:
        graph.node.remove(node)


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
