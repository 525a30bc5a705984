"""What every data format gives: a Source, and the settings that it is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Interpolation, Split
from pepr_edge.untrusted.documents import shown

Indices: TypeAlias = NDArray[np.int64]
Stamp: TypeAlias = list[str | int | list[str | int]]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class DataSettings:
    """Which data, at what size, and how it is split. Plain settings, filled from the recipe.

    `source` is "phantom", the name of a MedMNIST set such as "breastmnist", or the path of an .npz, .pt or .csv file or of an image
    folder. `fraction` takes a part of the training split only; `val_fraction` and `test_fraction` count where the source lacks that split.
    `on_bad_image`: one that cannot be read is an error, or is left out.
    """

    source: str
    image_size_px: int
    channels: Literal["auto", 1, 3] = "auto"
    interpolation: Interpolation = "bilinear"
    fraction: float = 1.0
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    phantom_images: int = 600
    on_bad_image: Literal["fail", "skip"] = "fail"
    seed: int = 0


@dataclass(frozen=True)
class ImageSource:
    """An opened source: all that is known of its images before they are decoded.

    `targets` has one class number per image, the index into `labels`. `read` takes ascending indices and decodes those images one by one;
    in the place of one that cannot be used it gives what is wrong with it. `given` holds the splits that the source itself has, None where
    it has none; `groups` one group number per image, for images that must not be parted (of one patient, of one lesion).
    """

    name: str
    format: str
    sha256: str
    labels: tuple[str, ...]
    targets: Indices
    read: Callable[[Indices], Iterator[Image.Image | ImageError]]
    given: Mapping[Split, Indices] | None = None
    groups: Indices | None = None
    notes: tuple[str, ...] = ()


class Format(Protocol):
    """A data format is a module with these functions; `pepr_edge.data.formats.FORMATS` lists them."""

    def recognises(self, source: str) -> bool:
        """Whether a recipe's `source` is of this format, judged by its name and what is on the disk."""

    def open_source(self, settings: DataSettings) -> ImageSource:
        """Read everything but the pixels. Raises DataError."""

    def stamp(self, settings: DataSettings) -> Stamp:
        """What changes when the source changes: names, sizes and times of its files. Cheap; decodes nothing. Raises DataError."""


def numbered(raw: NDArray[np.generic], where: str) -> Indices:
    """Class numbers as int64, shape (n,).

    Raises:
        DataError: there are none, or they are not whole numbers from 0.
    """
    whole = raw.astype(np.int64) if raw.dtype.kind in "iu" else np.zeros(0, np.int64)
    if raw.ndim != 1 or raw.dtype.kind not in "iu" or not whole.size:
        raise DataError(
            f"{where}: shape {raw.shape} of {raw.dtype}, expected one whole number per image. Store class numbers 0, 1, ..."
        )
    if whole.min() < 0 or whole.max() > 9999:
        raise DataError(
            f"{where}: class numbers from {whole.min()} to {whole.max()}, expected 0 to number of classes - 1. Renumber them."
        )
    return whole


def check_labels(labels: Iterable[str], where: str) -> None:
    """Refuse names of classes that could not be written down, or would change the screen that they are shown on.

    Raises:
        DataError: there is one.
    """
    if odd := next((label for label in labels if shown(label) != label), None):
        raise DataError(
            f"{where}: class {shown(odd)}, expected a name in UTF-8 without control characters. Rename it."
        )


def names_for(targets: Indices) -> tuple[str, ...]:
    """Names of classes that have only numbers: "0", "1", ..."""
    return tuple(str(number) for number in range(int(targets.max()) + 1))
