"""A small network, its layers, and weights of another training of it."""

from __future__ import annotations

import torch
from torch import nn

from pepr_edge.train.weights.fitting import Fitted, Misfit
from pepr_edge.train.weights.layers import Layers

StateDict = dict[str, torch.Tensor]


class Block(nn.Module):
    """Two convolutions with their norms, of equal shapes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)


def network(classes: int = 5, channels: int = 3, blocks: int = 2) -> nn.Module:
    model = nn.Module()
    model.stem = nn.Conv2d(channels, 4, 3)
    model.blocks = nn.Sequential(*(Block(4) for _ in range(blocks)))
    model.head = nn.Linear(4, classes)
    return model


def layers(**options: int) -> Layers:
    return Layers(network(**options).state_dict(), first=("stem",), head=("head",))


def trained(**options: int) -> StateDict:
    torch.manual_seed(3)
    state = network(**options).state_dict()
    return {name: torch.rand_like(v) if v.is_floating_point() else v + 9 for name, v in state.items()}


def named(fitted: Fitted | Misfit | str) -> Fitted:
    assert isinstance(fitted, Fitted), fitted
    return fitted


def equal(found: StateDict, expected: StateDict) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
