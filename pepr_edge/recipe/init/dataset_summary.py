"""What there is to see in a set of images before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from pepr_edge.data import DataSettings
from pepr_edge.data.files import is_grey
from pepr_edge.data.formats import open_source
from pepr_edge.data.source import SPLITS, ImageSource
from pepr_edge.data.splits import assign
from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Split

SAMPLE = 64  # images that are decoded, evenly spread


@dataclass(frozen=True)
class DatasetSummary:
    """What was seen of a set of images.

    `class_counts` are in the order of `labels`, over all splits; `images` by split as a run would split them; `given` are the splits that
    the source has itself. `groups` is the number of groups whose images must stay together, None where nothing says so. `sizes_px` are
    width and height of the decoded images of a sample; `grey` of them have no colour, and `bad` says what is wrong with those of the sample
    that cannot be read.
    """

    name: str
    format: str
    labels: tuple[str, ...]
    class_counts: tuple[int, ...]
    images: dict[Split, int]
    given: tuple[Split, ...]
    groups: int | None
    sizes_px: tuple[tuple[int, int], ...]
    grey: int
    bad: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(self.class_counts)

    @property
    def imbalance(self) -> float:
        """How many times as many images the commonest class has as the rarest."""
        return max(self.class_counts) / max(1, min(self.class_counts))

    @property
    def shorter_side_px(self) -> int:
        """The median of the shorter sides of the sample."""
        return round(median(min(size) for size in self.sizes_px))


def summarise(settings: DataSettings) -> DatasetSummary:
    """Look at a source as a run would read it: labels, splits and groups of all images, sizes and colour of some.

    Args:
        settings: which data and how it is split; the size does not matter here.
    Raises:
        DataError: whatever a run would refuse of it, or no image of a sample can be read.
    """
    source = open_source(settings)
    splits = assign(source, settings)
    read = _sample(source)
    good, bad = (
        [image for image in read if not isinstance(image, str)],
        tuple(image for image in read if isinstance(image, str)),
    )
    if not good:
        raise DataError(bad[0])
    return DatasetSummary(
        name=source.name,
        format=source.format,
        labels=source.labels,
        class_counts=tuple(np.bincount(source.targets, minlength=len(source.labels)).tolist()),
        images={split: len(splits[split]) for split in SPLITS},
        given=tuple(source.given or ()),
        groups=None if source.groups is None else len(np.unique(source.groups)),
        sizes_px=tuple(size for size, _ in good),
        grey=sum(grey for _, grey in good),
        bad=bad,
        notes=source.notes,
    )


def _sample(source: ImageSource) -> list[tuple[tuple[int, int], bool] | str]:
    """Size of each image, and whether it is grey; or what is wrong with it."""
    count = len(source.targets)
    chosen = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64))
    return [
        str(image) if isinstance(image, ImageError) else (image.size, is_grey(image))
        for image in source.read(chosen)
    ]
