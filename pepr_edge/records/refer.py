"""The record of when a file refers an image to a person instead of deciding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pepr_edge.records.base import Count, NonNegative, Record

Share = Annotated[float, Field(ge=0, le=1)]
# What the images of a training set have in common.
Colour = Literal["grey", "colour"]


class ImageLimits(Record):
    """What an image must be to be one like those of the training, before any model sees it.

    `min_contrast`: the standard deviation of the pixels that the model sees, in grey levels of 255; below it
    an image is blank. `colour`: the training images were all grey, or all coloured; None: some of each, or
    not known. `min_side_px`: of the shorter side of the image itself; None: not known.
    """

    min_contrast: Annotated[float, Field(ge=0, le=255)] = 0.0
    colour: Colour | None = None
    min_side_px: Count | None = None


class Refer(Record):
    """Limits beyond which an image is referred to a person; fitted on validation alone.

    `asked` is what the recipe asked for. `min_confidence`: the calibrated probability of the decision, which
    a threshold other than 0.5 shifts (see `pepr_edge.tasks.refer`); None: every confidence will do.
    `max_novelty`: of the model's second output; None: the file has no such output, and `no_novelty` says why.
    """

    asked: Annotated[str, Field(max_length=100)]
    min_confidence: Share | None = None
    max_novelty: NonNegative | None = None
    no_novelty: Annotated[str, Field(max_length=300)] = ""
    images: ImageLimits = ImageLimits()
