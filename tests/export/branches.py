"""Networks with training-time branches: what timm merges, and what must not be merged."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS, PX = 3, 12
TRAINED_PARAMS = 2 * (4 * CHANNELS * 9 + 4) + 4 * 2 + 2
DEPLOYED_PARAMS = (4 * CHANNELS * 9 + 4) + 4 * 2 + 2


class Branches(nn.Module):
    """Two convolutions that are added. Their sum is one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(CHANNELS, 4, 3)
        self.second: nn.Conv2d | None = nn.Conv2d(CHANNELS, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.first(images)
        return features if self.second is None else features + self.second(images)

    def reparameterize(self) -> None:
        """Merge the branches in place, as timm's blocks do."""
        assert self.second is not None
        self.first.weight.add_(self.second.weight)
        assert self.first.bias is not None
        assert self.second.bias is not None
        self.first.bias.add_(self.second.bias)
        self.second = None


class Forgetful(Branches):
    """Loses a branch."""

    def reparameterize(self) -> None:
        self.second = None


class Infinite(Branches):
    """Divides by a variance of zero."""

    def reparameterize(self) -> None:
        super().reparameterize()
        self.first.weight.fill_(float("nan"))


class Broken(Branches):
    """Has a fault in the code that merges."""

    def reparameterize(self) -> None:
        raise AttributeError("no attribute 'second'")


class Network(nn.Module):
    """A block, and a decision between two classes."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.head = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.block(images).relu().mean((2, 3)))
        return logits


def network(kind: type[nn.Module] = Branches) -> Network:
    """Return a network with seeded weights."""
    torch.manual_seed(0)
    return Network(kind())
