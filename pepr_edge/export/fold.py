"""Fold batch normalisation into the convolutions of an exported program, as the ONNX file has it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import fx
from torch.nn.utils.fusion import fuse_conv_bn_weights

CONVOLUTIONS = (torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default)
BATCH_NORM = torch.ops.aten.batch_norm.default


def fold_batch_norms(module: fx.GraphModule) -> int:
    """Fold each batch normalisation that alone reads a convolution's output into that convolution.

    Args:
        module: of an exported program, in evaluation mode; it is changed.
    Returns:
        The number of batch normalisations that were folded.
    """
    count = 0
    for node in list(module.graph.nodes):
        if node.target is BATCH_NORM and _can_fold(node):
            _fold(module, node, count)
            count += 1
    if count:
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()  # with the weights that were folded
        module.recompile()
    return count


def _can_fold(norm: fx.Node) -> bool:
    convolution, *parameters, is_training, _, _, _ = norm.args
    if not isinstance(convolution, fx.Node) or convolution.target not in CONVOLUTIONS or is_training:
        return False
    constants = [*parameters, *convolution.args[1:3]]
    return len(convolution.users) == 1 and all(_is_constant(node) for node in constants)


def _is_constant(node: Any) -> bool:
    return node is None or (isinstance(node, fx.Node) and node.op == "get_attr")


def _fold(module: fx.GraphModule, norm: fx.Node, number: int) -> None:
    """Fold one batch normalisation. The new weights get names of their own: others may share the old ones."""
    convolution: Any = norm.args[0]
    weight, bias, mean, variance = (_tensor(module, node) for node in norm.args[1:5])
    epsilon: Any = norm.args[7]
    images, kernel, offset, *options = _with_bias(convolution.args)
    folded = fuse_conv_bn_weights(
        _tensor(module, kernel), _tensor(module, offset), mean, variance, epsilon, weight, bias
    )
    nodes = []
    for name, value in zip(("weight", "bias"), folded, strict=True):
        module.register_parameter(f"folded_{number}_{name}", value)
        with module.graph.inserting_before(convolution):
            nodes.append(module.graph.get_attr(f"folded_{number}_{name}"))
    convolution.args = (images, *nodes, *options)
    norm.replace_all_uses_with(convolution)
    module.graph.erase_node(norm)


def _with_bias(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a convolution with the bias, which may be left out at the end."""
    return arguments if len(arguments) > 2 else (*arguments, None)


def _tensor(module: fx.GraphModule, node: Any) -> Any:
    return None if node is None else attrgetter(node.target)(module)
