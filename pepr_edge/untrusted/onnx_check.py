"""Checks of the bytes of an ONNX file before a runtime opens it.

Refused are references to other files, operators of other packages and precompiled programs. The field has no
`onnx` package, so this parses protobuf's wire format: a message is a series of fields with a number, a wire
type and a value. Fields that hold further messages are parsed, all others are skipped. Weights are never read
into memory. Source: onnx.proto3 of ONNX 1.16 for the numbers; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pepr_edge.untrusted.files import open_regular
from pepr_edge.untrusted.shown import excerpt

# Maximum size of a protobuf message.
MODEL_BYTES = 2**31 - 1
# protobuf itself stops at 100 nested messages. Our models have 4, with a branch 7.
MAX_DEPTH = 64
# The largest file of our architectures has 55,000. A million fields take about a second.
MAX_FIELDS = 3_000_000
MAX_TEXT_BYTES = 256

# Operators of the standard, and those that onnxruntime's optimisation and quantisation make.
DOMAINS = ("", "ai.onnx", "com.microsoft", "com.microsoft.nchwc")
# Operators of com.microsoft: a precompiled program or one in another file, and Python code.
REFUSED = ("EPContext", "PythonOp", "PythonOpGrad")

# Wire types.
VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5
WIDTH = {FIXED64: 8, FIXED32: 4}

# Message -> field number -> message in that field.
NESTED: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
# Field numbers of a Node and of a Tensor.
OPERATOR = 4
DOMAIN = 7
EXTERNAL_DATA = 13
DATA_LOCATION = 14


class _Field(NamedTuple):
    """A field's number, its wire type, and where its value begins and ends; `value` is that of a varint."""

    number: int
    wire_type: int
    begin: int
    end: int
    value: int


class _Message(NamedTuple):
    """A message of the file: its kind, where it begins and ends, and how deeply it is nested."""

    kind: str
    begin: int
    end: int
    depth: int


def fault(model: Path) -> str | None:
    """Return why a file must not be given to a runtime, or None. The text follows the name of the file.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(model) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MODEL_BYTES:
            return f"{size} bytes, expected at most {MODEL_BYTES}, as an ONNX file is one protobuf message"
        if size == 0:
            return "empty, expected an ONNX model"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _fault(content)
            except ValueError as error:
                return f"no ONNX file ({error}), or an incomplete one"


def _fault(content: mmap.mmap) -> str | None:
    """Return the fault of a model, or None. A stack, not recursion: the file decides how deeply it is nested.

    Raises:
        ValueError: it is no protobuf message.
    """
    stack = [_Message("Model", 0, len(content), 0)]
    fields = 0
    has_graph = False
    while stack:
        message = stack.pop()
        if message.depth > MAX_DEPTH:
            return f"more than {MAX_DEPTH} nested messages, expected a model as pepr_edge exports it"
        has_graph = has_graph or (message.kind == "Graph" and message.depth == 1)
        names = {OPERATOR: "", DOMAIN: ""}
        for field in _fields(content, message.begin, message.end):
            fields += 1
            if fields > MAX_FIELDS:
                return f"more than {MAX_FIELDS} fields, expected a model as pepr_edge exports it"
            if message.kind == "Tensor" and _is_external(field):
                return "weights in another file, expected all of them in this one"
            if message.kind == "Node" and field.wire_type == BYTES and field.number in names:
                names[field.number] = _text(content, field)
            if field.number in NESTED[message.kind]:
                stack.append(_nested(message, field))
        if message.kind == "Node" and (names[DOMAIN] not in DOMAINS or names[OPERATOR] in REFUSED):
            operator = f"operator {excerpt(names[OPERATOR])!r} of {excerpt(names[DOMAIN]) or 'ONNX'!r}"
            return f"{operator}, expected those of ONNX and of onnxruntime"
    return None if has_graph else "no ONNX file (it holds no graph)"


def _nested(message: _Message, field: _Field) -> _Message:
    """Return the message in a field.

    Raises:
        ValueError: the field has another wire type.
    """
    if field.wire_type != BYTES:
        raise ValueError(f"field {field.number} of a {message.kind} is no message")
    return _Message(NESTED[message.kind][field.number], field.begin, field.end, message.depth + 1)


def _is_external(field: _Field) -> bool:
    """True if a field of a tensor says that its data is in another file."""
    return field.number == EXTERNAL_DATA or (field.number == DATA_LOCATION and field.value != 0)


def _text(content: mmap.mmap, field: _Field) -> str:
    return content[field.begin : min(field.end, field.begin + MAX_TEXT_BYTES)].decode(errors="replace")


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    """Yield the fields of the message in content[at:end].

    Raises:
        ValueError: it is no message.
    """
    while at < end:
        tag, at = _varint(content, at, end)
        number = tag >> 3
        wire_type = tag & 7
        if not 1 <= number < 1 << 29:
            raise ValueError(f"field number {number}")
        value = 0
        begin = at
        if wire_type == VARINT:
            value, at = _varint(content, at, end)
        elif wire_type == BYTES:
            length, begin = _varint(content, at, end)
            at = begin + length
        elif wire_type in WIDTH:
            at += WIDTH[wire_type]
        else:
            raise ValueError(f"wire type {wire_type}")
        if at > end:
            raise ValueError("a field that is longer than its message")
        yield _Field(number, wire_type, begin, at, value)


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("it ends within a number")
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 10 bytes")
