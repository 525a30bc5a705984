"""The record of the weights that a training begins with."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records.base import Interpolation, Message, Record, Sha256

WeightsKind = Literal["pretrained", "scratch", "file"]
WeightsSource = Literal["", "file", "weights_dir", "cache", "hub"]
# How the tensors of a file were assigned to the layers of an architecture: by their names, by timm's own
# conversion of older names, or by order and shape.
WeightsMatch = Literal["", "names", "timm", "order"]


class InitialWeights(Record):
    """The weights that the trainings of a candidate begin with.

    `source` is where they were found: the file that the recipe names, the recipe's folder, timm's cache on
    the disk, or the hub. `name` is timm's name of pretrained weights, else the file's name. `licence` is that
    of the weights, empty if not known. `interpolation` is the filter that the weights expect. `reason` says
    why a training begins from scratch.
    """

    kind: WeightsKind
    source: WeightsSource = ""
    name: str = ""
    sha256: Sha256 | None = None
    licence: str = ""
    interpolation: Interpolation | None = None
    reason: Message = ""
