"""Make what a graph computes from sizes constant, as far as it does not depend on the batch."""

from __future__ import annotations

import numpy as np
import onnx

from pepr_edge.export.int8.graph import Array, Graph, attribute, set_attribute
from pepr_edge.export.int8.session import session

SIZES = ("Shape", "Size")


def fix_sizes(graph: Graph) -> int:
    """Replace sizes that are the same for every batch by constants; return how many tensors became constant.

    For example, a convolution that keeps the image's size as TensorFlow does computes its padding from that
    size. The runtime would do so only once it knows the batch.
    """
    wanted = _read_sizes(graph)
    if not wanted:
        return 0
    first, second = (_values(graph, wanted, batch) for batch in (2, 3))
    count = 0
    for name in wanted:
        if np.array_equal(first[name], second[name]):
            graph.redirect(name, graph.add_constant(f"{name}.fixed", first[name]))
            count += 1
    graph.remove_unread()
    return count


def fix_reshapes(graph: Graph) -> int:
    """Make the targets of reshapes constant where at most one of their sizes depends on the batch."""
    count = 0
    for node in list(graph.nodes):
        if node.op_type != "Reshape" or graph.constant(node.input[1]) is not None:
            continue
        shape = graph.shape(node.output[0])
        if not shape or shape.count(0) > 1:
            continue
        target = np.array([size or -1 for size in shape], np.int64)
        graph.set_inputs(node, [node.input[0], graph.add_constant(f"{node.name}.target", target)])
        count += 1
    graph.remove_unread()
    return count


def _read_sizes(graph: Graph) -> list[str]:
    """Return the tensors computed only from sizes that other nodes read."""
    sizes: set[str] = set()
    for node in graph.nodes:
        inputs = [name for name in node.input if name and graph.constant(name) is None]
        if node.op_type in SIZES or (inputs and all(name in sizes for name in inputs)):
            sizes.update(node.output)
    read = []
    for node in graph.nodes:
        if not sizes.intersection(node.output):
            read += [name for name in node.input if name in sizes]
    return list(dict.fromkeys(read))


def _values(graph: Graph, names: list[str], batch: int) -> dict[str, Array]:
    """Return what the graph computes for a batch of this size."""
    opened = session(graph.save(), names)
    image = opened.get_inputs()[0].name
    shape = [batch, *graph.shape(image)[1:]]
    values = opened.run(names, {image: np.zeros(shape, np.float32)})
    return dict(zip(names, values, strict=True))


def merge_pads(graph: Graph) -> int:
    """Let a convolution do the padding with zeros that stands before it."""
    count = 0
    for node in list(graph.nodes):
        amounts = graph.constant(node.input[1]) if node.op_type == "Pad" and len(node.input) > 1 else None
        reader = graph.only_consumer(node.output[0])
        if amounts is None or amounts.size != 8 or reader is None or not _takes_pads(graph, node, reader):
            continue
        begin = amounts.reshape(2, 4)[0]
        end = amounts.reshape(2, 4)[1]
        if begin[:2].any() or end[:2].any() or amounts.min() < 0:
            continue
        old = attribute(reader, "pads", [0, 0, 0, 0])
        new = [int(value) for value in (*begin[2:], *end[2:])]
        set_attribute(reader, "pads", [one + other for one, other in zip(old, new, strict=True)])
        set_attribute(reader, "auto_pad", "NOTSET")
        graph.set_inputs(reader, [node.input[0], *reader.input[1:]])
        graph.replace([node], [])
        count += 1
    return count


def _takes_pads(graph: Graph, pad: onnx.NodeProto, reader: onnx.NodeProto) -> bool:
    """True for a convolution with padding of its own rule, after padding with zeros."""
    if attribute(pad, "mode", b"constant") != b"constant" or len(pad.input) > 3:
        return False
    value = graph.scalar(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else 0.0
    plain = attribute(reader, "auto_pad", b"NOTSET") == b"NOTSET"
    return value == 0.0 and plain and reader.op_type == "Conv" and reader.input[0] == pad.output[0]
