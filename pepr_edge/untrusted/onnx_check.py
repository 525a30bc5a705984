"""What an ONNX file asks for, found in its bytes before a runtime opens it: other files, foreign operators, precompiled programs.

The field has no `onnx` package, so this walks protobuf's wire format: fields of a number, a kind and a value, of which those that hold
further messages are looked into and all others are stepped over. Weights are never read into memory.
Source: onnx.proto3 of ONNX 1.16 for the numbers; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pepr_edge.untrusted.documents import shown

# One protobuf message cannot be larger.
MODEL_BYTES = 2**31 - 1
# protobuf itself stops at 100 messages within each other; our models have 4, with a branch in them 7.
MAX_DEPTH = 64
# The largest of our architectures' files has 55,000. A million takes about a second.
MAX_FIELDS = 3_000_000

# The standard's operators, and those that onnxruntime itself makes where it optimises and quantises.
DOMAINS = ("", "ai.onnx", "com.microsoft", "com.microsoft.nchwc")
# Of com.microsoft: a program that was compiled elsewhere, or lies in another file, and code in Python.
REFUSED = ("EPContext", "PythonOp", "PythonOpGrad")

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WIDTH = {FIXED64: 8, FIXED32: 4}

# Message -> its fields that hold messages -> which.
WITHIN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
GRAPH, OPERATOR, DOMAIN, EXTERNAL_DATA, DATA_LOCATION = 7, 4, 7, 13, 14


class _Field(NamedTuple):
    """A field's number, its kind, and where its value lies; `value` is that of a varint."""

    number: int
    kind: int
    begin: int
    end: int
    value: int


def fault(model: Path) -> str | None:
    """Why a file must not be given to a runtime, in words that follow the file's name; None where nothing speaks against it.

    Raises:
        OSError: it cannot be read.
    """
    size = model.stat().st_size
    if size > MODEL_BYTES:
        return f"{size} bytes, expected at most {MODEL_BYTES}, as an ONNX file is one protobuf message"
    if size == 0:
        return "empty, expected an ONNX model"
    with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return _fault(content)
        except ValueError as torn:
            return f"no ONNX file ({torn}), or one that was cut short"


def _fault(content: mmap.mmap) -> str | None:
    """A stack, not recursion: the depth is a stranger's choice."""
    left = [("Model", 0, len(content), 0)]
    steps, graphs = 0, 0
    while left:
        kind, begin, end, depth = left.pop()
        if depth > MAX_DEPTH:
            return (
                f"more than {MAX_DEPTH} messages within each other, expected a model as pepr_edge exports it"
            )
        domain, operator = "", ""
        for field in _fields(content, begin, end):
            steps += 1
            if steps > MAX_FIELDS:
                return f"more than {MAX_FIELDS} fields, expected a model as pepr_edge exports it"
            if kind == "Tensor" and (
                field.number == EXTERNAL_DATA or (field.number == DATA_LOCATION and field.value != 0)
            ):
                return "weights in another file, expected all of them in this one"
            if kind == "Node" and field.kind == BYTES:
                if field.number == OPERATOR:
                    operator = _text(content, field)
                elif field.number == DOMAIN:
                    domain = _text(content, field)
            inner = WITHIN[kind].get(field.number)
            if inner is not None:
                if field.kind != BYTES:
                    raise ValueError(f"field {field.number} of a {kind} is no message")
                left.append((inner, field.begin, field.end, depth + 1))
                graphs += kind == "Model" and field.number == GRAPH
        if kind == "Node" and (domain not in DOMAINS or operator in REFUSED):
            return f"operator {shown(operator)[:60]!r} of {shown(domain)[:60] or 'ONNX'!r}, expected those of ONNX and of onnxruntime"
    return None if graphs else "no ONNX file (it holds no graph)"


def _text(content: mmap.mmap, field: _Field) -> str:
    return content[field.begin : min(field.end, field.begin + 256)].decode(errors="replace")


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    """The fields of the message in content[at:end].

    Raises:
        ValueError: no such message.
    """
    while at < end:
        tag, at = _varint(content, at, end)
        number, kind, value = tag >> 3, tag & 7, 0
        if not 1 <= number < 1 << 29:
            raise ValueError(f"field number {number}")
        begin = at
        if kind == VARINT:
            value, at = _varint(content, at, end)
        elif kind == BYTES:
            length, begin = _varint(content, at, end)
            at = begin + length
        elif kind in WIDTH:
            at += WIDTH[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("a field that is longer than what holds it")
        yield _Field(number, kind, begin, at, value)


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the least first, and where it ends."""
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
