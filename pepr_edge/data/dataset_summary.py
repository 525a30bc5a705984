"""A summary of a dataset, made before its images are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from pepr_edge.data.files import is_grey
from pepr_edge.data.formats import open_source
from pepr_edge.data.source import SAMPLE, SPLITS, DataSettings, evenly_spread
from pepr_edge.data.splits import assign_splits
from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import ImageFacts, Split
from pepr_edge.tasks import TaskKind, task_of


@dataclass(frozen=True)
class DatasetSummary:
    """Facts about a dataset.

    `class_counts` are in the order of `labels`, over all splits. `images` counts the images per split, as a
    run would split them; `given` are the splits that the source itself defines. `groups` is the number of
    groups whose images must stay in the same split; None without groups. `sizes_px` are width and height of
    the decoded images of a sample; `grey` is the number without colour, and `bad` has the messages for
    unreadable images of the sample. `task` is the kind of the task. `labelled` is the number of images;
    0: the sum of the counts. `train_counts` are the class counts of the split "train" alone; (): not counted.
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
    task: TaskKind = "multiclass"
    labelled: int = 0
    train_counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Number of images."""
        return self.labelled or sum(self.class_counts)

    @property
    def sampled(self) -> int:
        """Number of images in the sample, unreadable images included."""
        return len(self.sizes_px) + len(self.bad)

    @property
    def imbalance(self) -> float:
        """Training images of the most frequent class per image of the rarest."""
        return max(self.training_counts) / max(1, min(self.training_counts))

    @property
    def training_counts(self) -> tuple[int, ...]:
        """The images of each class that settings are chosen by: without those of validation and test."""
        return self.train_counts or self.class_counts

    @property
    def shorter_side_px(self) -> int:
        """Median of the shorter sides of the sample."""
        return round(median(min(size) for size in self.sizes_px))

    @property
    def facts(self) -> ImageFacts:
        """What settings are chosen by. No label of the test split is part of it."""
        return ImageFacts(
            train_images=self.images["train"],
            classes=len(self.labels),
            side_px=self.shorter_side_px,
            imbalance=self.imbalance if self.task in ("binary", "multiclass") else None,
        )


def summarise(settings: DataSettings) -> DatasetSummary:
    """Read labels, splits and groups of all images as a run would, and sizes and colour of a sample.

    Args:
        settings: which data and how it is split; the image size does not matter.
    Raises:
        DataError: a run would refuse the data, or no image of the sample is readable.
    """
    source = open_source(settings)
    splits = assign_splits(source, settings)
    count_classes = task_of(source.kind).class_counts
    sizes_px = []
    grey = 0
    bad = []
    for image in source.read(evenly_spread(len(source.targets), SAMPLE)):
        if isinstance(image, ImageError):
            bad.append(str(image))
        else:
            sizes_px.append(image.size)
            grey += is_grey(image)
    if not sizes_px:
        raise DataError(bad[0])
    return DatasetSummary(
        name=source.name,
        format=source.format,
        labels=source.labels,
        class_counts=tuple(count_classes(source.targets, len(source.labels)).tolist()),
        images={split: len(splits[split]) for split in SPLITS},
        given=tuple(source.given or ()),
        groups=None if source.groups is None else len(np.unique(source.groups)),
        sizes_px=tuple(sizes_px),
        grey=grey,
        bad=tuple(bad),
        notes=tuple(problem.remedy for problem in source.problems),
        task=source.kind,
        labelled=len(source.targets),
        train_counts=tuple(count_classes(source.targets[splits["train"]], len(source.labels)).tolist()),
    )
