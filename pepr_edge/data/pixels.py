"""One pass over the images of a source: each is decoded and becomes the pixels that the model sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import is_grey
from pepr_edge.data.source import DataSettings, ImageSource, Indices
from pepr_edge.errors import ImageError
from pepr_edge.images.preprocess import to_pixels
from pepr_edge.records import Split

GREY_SAMPLE = 64


@dataclass(frozen=True)
class Decoded:
    """An image: its index in the source, its split, the picture, and its pixels of shape (px, px, channels).

    An image that cannot be used has `error` instead of picture and pixels.
    """

    index: int
    split: Split
    image: Image.Image | None
    pixels: NDArray[np.uint8] | None
    error: ImageError | None = None


def model_channels(source: ImageSource, settings: DataSettings) -> Literal[1, 3]:
    """Return the channels of the settings; for "auto" 1 if all images of a sample are grey, else 3.

    The sample is spread evenly. Bad images are reported later.
    """
    if settings.channels != "auto":
        return settings.channels
    count = len(source.targets)
    sample = np.unique(np.linspace(0, count - 1, min(GREY_SAMPLE, count)).astype(np.int64))
    greys = [is_grey(image) for image in source.read(sample) if not isinstance(image, ImageError)]
    return 1 if greys and all(greys) else 3


def decode_all(
    source: ImageSource, splits: Mapping[Split, Indices], settings: DataSettings, channels: Literal[1, 3]
) -> Iterator[Decoded]:
    """Decode the images of the splits, in order."""
    for split, indices in splits.items():
        for index, image in zip(indices.tolist(), source.read(indices), strict=True):
            if isinstance(image, ImageError):
                yield Decoded(index, split, None, None, image)
                continue
            pixels = to_pixels(
                image,
                channels=channels,
                image_size_px=settings.image_size_px,
                interpolation=settings.interpolation,
            )
            yield Decoded(index, split, image, pixels)
