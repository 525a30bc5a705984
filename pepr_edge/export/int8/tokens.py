"""Between images and their tokens: let the channels stand last, as the integer kernels read them.

A transformer transposes an image (channels, height, width) to tokens (height * width, channels) and back. The
integer kernels keep the channels last, too, so that both transpositions of a convolution between tokens
cancel out: but only if the transposition is that of an image, with its height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx
from onnx import helper

from pepr_edge.export.int8.graph import Graph, attribute

TO_CHANNELS_LAST = (0, 2, 3, 1)
TO_CHANNELS_FIRST = (0, 3, 1, 2)


def transpose_images(graph: Graph) -> int:
    """Transpose images instead of tokens: the reshape goes to the side of the tokens."""
    count = 0
    for node in list(graph.nodes):
        if node.op_type == "Transpose" and attribute(node, "perm") == [0, 2, 1]:
            count += _tokens_to_image(graph, node) or _image_to_tokens(graph, node)
    return count


def _tokens_to_image(graph: Graph, transpose: onnx.NodeProto) -> bool:
    """Write transpose and reshape as reshape and transpose; False if they do not make an image of tokens."""
    reshape = graph.only_consumer(transpose.output[0])
    if reshape is None or not _has_constant_target(graph, reshape):
        return False
    tokens = graph.shape(transpose.input[0])
    image = graph.shape(reshape.output[0])
    if len(tokens) != 3 or not _is_image_of(image, tokens[1], tokens[2]):
        return False
    last = _channels_last(graph, image, reshape.output[0])
    new = [
        graph.reshape(transpose.input[0], last, (-1, *graph.shape(last)[1:])),
        _transpose(last, reshape.output[0], TO_CHANNELS_FIRST, transpose.name),
    ]
    graph.replace([transpose, reshape], new)
    return True


def _image_to_tokens(graph: Graph, transpose: onnx.NodeProto) -> bool:
    """Write reshape and transpose as transpose and reshape; False if they do not make tokens of an image."""
    reshape = graph.producer(transpose.input[0])
    if reshape is None or graph.only_consumer(transpose.input[0]) is not transpose:
        return False
    image = graph.shape(reshape.input[0])
    tokens = graph.shape(transpose.output[0])
    if not _has_constant_target(graph, reshape) or len(tokens) != 3:
        return False
    if not _is_image_of(image, tokens[1], tokens[2]):
        return False
    last = _channels_last(graph, image, transpose.output[0])
    new = [
        _transpose(reshape.input[0], last, TO_CHANNELS_LAST, transpose.name),
        graph.reshape(last, transpose.output[0], (-1, *tokens[1:])),
    ]
    graph.replace([reshape, transpose], new)
    return True


def _has_constant_target(graph: Graph, node: onnx.NodeProto) -> bool:
    """True for a reshape to a constant shape."""
    return node.op_type == "Reshape" and graph.constant(node.input[1]) is not None


def _is_image_of(image: Sequence[int], tokens: int, channels: int) -> bool:
    """True for the shape (batch, channels, height, width) of an image with a pixel for each token."""
    return len(image) == 4 and 0 not in image[1:] and image[1] == channels and prod(image[2:]) == tokens


def _channels_last(graph: Graph, image: Sequence[int], result: str) -> str:
    """Return a new tensor of an image with its channels last."""
    name = graph.new_name(f"{result}.channels_last")
    graph.set_shape(name, (image[0], *image[2:], image[1]))
    return name


def _transpose(source: str, result: str, order: Sequence[int], name: str) -> onnx.NodeProto:
    return helper.make_node("Transpose", [source], [result], name, perm=list(order))
