"""An architecture as the tensors of a weights file must fit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pepr_edge.train.weights.reading import StateDict

COUNTER = "num_batches_tracked"
# Buffers that counters of operations and of averages leave behind in a model.
LEFTOVERS = ("total_ops", "total_params", "n_averaged")


class Template(NamedTuple):
    """An architecture that weights are for: timm's name, and its options that fix the size of the images."""

    name: str
    size: dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """An architecture as a file must fit it.

    `tensors` are its own, by name, in the order of its layers. `first` and `head` are the names of the layers
    that take the channels of the images and that give the classes.
    """

    tensors: StateDict
    first: tuple[str, ...]
    head: tuple[str, ...]

    def in_head(self, name: str) -> bool:
        """True for a tensor of the classifier."""
        return name.startswith(tuple(f"{layer}." for layer in self.head))

    def is_first(self, name: str) -> bool:
        """True for the weights of the first layer."""
        return name in {f"{layer}.weight" for layer in self.first}

    def is_needed(self, name: str) -> bool:
        """True if a file must hold the tensor: counters are not used, and a classifier is begun anew."""
        return leaf(name) != COUNTER and not self.in_head(name)


def leaf(name: str) -> str:
    """Return the last part of a tensor's name."""
    return name.rpartition(".")[2]
