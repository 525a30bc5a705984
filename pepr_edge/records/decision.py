"""The record of a decision: how a file's logits become a probability and a class."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pepr_edge.records.base import Record, Split
from pepr_edge.records.refer import Refer

# A threshold on a probability.
Threshold = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]


class Decision(Record):
    """How the logits of one file become a probability and a class; fitted on validation alone.

    The probabilities are the softmax of the logits divided by `temperature`. `kind` "threshold": of two
    classes, the one named `positive` if its probability is at least `threshold`, else the other one. `kind`
    "argmax": the class of the highest logit; `threshold` is None, as for "median": of grades, the lowest one
    at which the cumulated softmax of the logits, not divided, reaches one half. `positive` is None for more
    than two classes and for grades. "thresholds" is for several findings an image: the probability of each is
    the sigmoid of its logit divided by its number in `temperatures`, and it is named from its number in
    `thresholds` on; both are in the order of the labels, and None otherwise. `target` is what the recipe
    asked for, `threshold_ci` the threshold's 95 % interval over resamples of validation. `refer`: the limits
    beyond which an image is referred to a person; None: every image gets a class.
    """

    kind: Literal["argmax", "threshold", "median", "thresholds"] = "argmax"
    positive: str | None = None
    temperature: Temperature = 1.0
    threshold: Threshold | None = None
    threshold_ci: tuple[Threshold, Threshold] | None = None
    temperatures: tuple[Temperature, ...] | None = None
    thresholds: tuple[Threshold, ...] | None = None
    target: Annotated[str, Field(max_length=100)] = "argmax"
    fitted_on: Split = "val"
    refer: Refer | None = None
