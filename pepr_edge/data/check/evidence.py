"""What the checks of a dataset look at: the source, its splits, and one pass over the decoded images."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import is_grey
from pepr_edge.data.findings import MAX_EXAMPLES
from pepr_edge.data.pixels import Decoded, ImagePass
from pepr_edge.data.source import DataSettings, ImageSource
from pepr_edge.errors import ImageError
from pepr_edge.images.depth import CUT_OFF, FROM_DICOM, SEVERAL_PICTURES
from pepr_edge.records import Split
from pepr_edge.untrusted.shown import shown

HASH_BYTES = 16
# Bits per side of a perceptual hash. imagehash computes it from four times as many pixels.
PERCEPTUAL_BITS = 12
THUMBNAIL_PX = 4 * PERCEPTUAL_BITS
# A picture with fewer grey levels between its darkest and its brightest pixel shows nothing.
BLANK_LEVELS = 3
# A picture without a level above this one, of 255, is nearly black.
DARK_LEVEL = 32
Thumbnail = NDArray[np.uint8]


@dataclass
class Scan:
    """Observations during one pass over the images, by the index of the image.

    `hashes`: of the pixels that the model sees; `perceptual`: the bits of the perceptual hash, empty without
    the package imagehash; `thumbnails`: grey, THUMBNAIL_PX on a side; `blank`: pictures of one grey level;
    `dark`: others that are nearly black; `several`: files that hold more pictures; `cut_off`: the end of the
    picture is lost; `dicom`: pictures of DICOM files; `coloured`: colour images that the model sees in grey;
    `greys`: images without colour; `needed_bits`: the depth that each grey image of more than 8 bits needs by
    itself, and `set_bits` that of the set.
    """

    splits: dict[int, Split] = field(default_factory=dict)
    hashes: dict[int, bytes] = field(default_factory=dict)
    perceptual: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    thumbnails: dict[int, Thumbnail] = field(default_factory=dict)
    sizes_px: dict[int, tuple[int, int]] = field(default_factory=dict)
    blank: set[int] = field(default_factory=set)
    dark: set[int] = field(default_factory=set)
    several: set[int] = field(default_factory=set)
    cut_off: set[int] = field(default_factory=set)
    dicom: set[int] = field(default_factory=set)
    coloured: set[int] = field(default_factory=set)
    greys: set[int] = field(default_factory=set)
    bad: dict[int, ImageError] = field(default_factory=dict)
    needed_bits: dict[int, int] = field(default_factory=dict)
    set_bits: int | None = None

    def add(self, decoded: Decoded) -> None:
        """Note an image, or why it cannot be used."""
        index = decoded.index
        self.splits[index] = decoded.split
        if decoded.needed_bits is not None:
            self.needed_bits[index] = decoded.needed_bits
        if decoded.error is not None:
            self.bad[index] = decoded.error
        if decoded.image is None or decoded.pixels is None:
            return
        self._note_file(index, decoded.image)
        self._note_pixels(index, decoded.pixels)

    def _note_file(self, index: int, image: Image.Image) -> None:
        self.sizes_px[index] = image.size
        if is_grey(image):
            self.greys.add(index)
        if image.info.get(SEVERAL_PICTURES):
            self.several.add(index)
        if image.info.get(CUT_OFF):
            self.cut_off.add(index)
        if image.info.get(FROM_DICOM) is True:
            self.dicom.add(index)

    def _note_pixels(self, index: int, pixels: NDArray[np.uint8]) -> None:
        self.hashes[index] = hashlib.blake2b(pixels.tobytes(), digest_size=HASH_BYTES).digest()
        if index not in self.greys and pixels.shape[2] == 1:
            self.coloured.add(index)
        if int(pixels.max()) - int(pixels.min()) < BLANK_LEVELS:
            self.blank.add(index)
            return
        if int(pixels.max()) < DARK_LEVEL and index not in self.needed_bits:  # depth is another check's
            self.dark.add(index)
        thumbnail = _thumbnail(pixels)
        self.thumbnails[index] = np.asarray(thumbnail)
        if can_compare_perceptually():
            self.perceptual[index] = _perceptual_hash(thumbnail)

    @property
    def distinct(self) -> dict[int, bytes]:
        """The hashes of all pictures that show something."""
        return {index: value for index, value in self.hashes.items() if index not in self.blank}


@dataclass(frozen=True)
class Evidence:
    """All that the checks know. `channels` are those of the model's input."""

    settings: DataSettings
    source: ImageSource
    channels: Literal[1, 3]
    scan: Scan

    @classmethod
    def of(cls, image_pass: ImagePass, scan: Scan) -> Evidence:
        """Return the evidence of a finished pass."""
        scan.set_bits = image_pass.set_bits if scan.needed_bits else None
        return cls(image_pass.settings, image_pass.source, image_pass.channels, scan)

    @property
    def total(self) -> int:
        """The number of images that were looked at, bad ones included."""
        return len(self.scan.splits)

    def examples(self, indices: Iterable[int]) -> tuple[str, ...]:
        """Return the names of the first few images."""
        return tuple(self.name(index) for index in sorted(indices)[:MAX_EXAMPLES])

    def name(self, index: int) -> str:
        """Return the name of an image for one line."""
        return shown(self.source.name_of(index))

    def label(self, index: int) -> str:
        """Return the class of an image, or its findings."""
        return self.source.label_text(index)


@cache
def can_compare_perceptually() -> bool:
    """True if the package that computes perceptual hashes is installed."""
    return importlib.util.find_spec("imagehash") is not None


def _thumbnail(pixels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    return picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)


def _perceptual_hash(thumbnail: Image.Image) -> NDArray[np.bool_]:
    import imagehash  # type: ignore[import-untyped,unused-ignore]

    bits: NDArray[np.bool_] = imagehash.phash(thumbnail, hash_size=PERCEPTUAL_BITS).hash.ravel()
    return bits
