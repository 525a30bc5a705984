"""One pass over the images of a source: each is decoded and becomes the pixels that the model sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import is_grey
from pepr_edge.data.source import SAMPLE, DataSettings, ImageSource, Indices, evenly_spread
from pepr_edge.errors import ImageError
from pepr_edge.images.depth import DEPTHS, is_deep, needed_bits
from pepr_edge.images.preprocess import to_pixels
from pepr_edge.records import Split
from pepr_edge.untrusted.shown import shown

# Share of the images of more than 8 bits that may need more bits than their set: they are not used.
MAX_OUTLIERS = 0.02


@dataclass(frozen=True)
class Decoded:
    """An image: its index in the source, its split, the picture, and its pixels of shape (px, px, channels).

    An image that cannot be used has `error` instead of picture and pixels. `needed_bits` is the depth that a
    grey image of more than 8 bits needs by itself; None for others.
    """

    index: int
    split: Split
    image: Image.Image | None
    pixels: NDArray[np.uint8] | None
    error: ImageError | None = None
    needed_bits: int | None = None


@dataclass(frozen=True)
class ImagePass:
    """A pass over the images of the splits of a source."""

    source: ImageSource
    splits: Mapping[Split, Indices]
    settings: DataSettings

    @property
    def total(self) -> int:
        """The number of images of all splits."""
        return sum(len(indices) for indices in self.splits.values())

    @cached_property
    def channels(self) -> Literal[1, 3]:
        """The channels of the settings; for "auto" 1 if all images of a sample are grey, else 3.

        The sample is spread evenly. Bad images are reported later.
        """
        if self.settings.channels != "auto":
            return self.settings.channels
        sample = evenly_spread(len(self.source.targets), SAMPLE)
        greys = [is_grey(image) for image in self.source.read(sample) if not isinstance(image, ImageError)]
        return 1 if greys and all(greys) else 3

    @cached_property
    def set_bits(self) -> int:
        """The depth of the grey images of more than 8 bits: that of the settings, else what the set needs.

        All images are decoded for it, so it is asked for only if there is such an image.
        """
        if self.settings.grey_bits != "auto":
            return self.settings.grey_bits
        indices = np.sort(np.concatenate(list(self.splits.values())))
        images = (image for image in self.source.read(indices) if not isinstance(image, ImageError))
        return depth_of_set([bits for bits in map(needed_bits, images) if bits is not None])

    def decoded(self) -> Iterator[Decoded]:
        """Decode the images, split by split, in order."""
        for split, indices in self.splits.items():
            for index, image in zip(indices.tolist(), self.source.read(indices), strict=True):
                if isinstance(image, ImageError):
                    yield Decoded(index, split, None, None, image)
                else:
                    yield self._with_pixels(index, split, image)

    def _with_pixels(self, index: int, split: Split, image: Image.Image) -> Decoded:
        needed = needed_bits(image)
        try:
            pixels = to_pixels(
                image,
                channels=self.channels,
                image_size_px=self.settings.image_size_px,
                interpolation=self.settings.interpolation,
                grey_bits=self.set_bits if is_deep(image) else None,
                shown_as=shown(self.source.name_of(index)),
            )
        except ImageError as error:
            return Decoded(index, split, None, None, error, needed)
        return Decoded(index, split, image, pixels, needed_bits=needed)


def depth_of_set(needs: list[int]) -> int:
    """Return the smallest depth that all but a few outliers of the images need.

    Args:
        needs: the depth that each image needs, one of DEPTHS; at least one.
    """
    for bits in DEPTHS:
        if sum(need > bits for need in needs) <= MAX_OUTLIERS * len(needs):
            return bits
    return DEPTHS[-1]
