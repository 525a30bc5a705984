"""Classes that a split lacks, or that have too few images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.data.findings import MAX_EXAMPLES, about
from pepr_edge.data.source import SPLITS
from pepr_edge.records import Problem, Split
from pepr_edge.tasks import task_of

# Fewer images of a class, all splits together, leave one for its test.
MIN_IMAGES = 5
# So many numbers as labels are a measurement, if there are few images of each.
MIN_FRACTIONS = 6
MIN_NUMBERS = 20
IMAGES_PER_CLASS = 20
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield the classes that a split has no image of, and rare classes."""
    labels = evidence.source.labels
    counts = split_counts(evidence)
    for split, class_counts in counts.items():
        absent = [label for label, count in zip(labels, class_counts, strict=True) if not count]
        if class_counts.sum():
            yield from about(
                "class_not_in_split",
                "warning",
                absent,
                f"{split} has no image of {', '.join(absent)}",
            )
    totals = np.sum(list(counts.values()), axis=0)
    yield from _measurements(labels, int(totals.sum()))
    rare = [label for label, count in zip(labels, totals, strict=True) if 0 < count < MIN_IMAGES]
    yield from about(
        "rare_classes",
        "note",
        rare,
        f"fewer than {MIN_IMAGES} images of {', '.join(rare)}: how well a model recognises that "
        "cannot be measured. Add images.",
    )


def _measurements(labels: Sequence[str], images: int) -> Iterator[Problem]:
    """Yield that the labels are many different numbers: an age or a score, and no class."""
    numbers = [label for label in labels if _NUMBER.fullmatch(label)]
    has_fractions = any(not float(number).is_integer() for number in numbers)
    few = MIN_FRACTIONS if has_fractions else MIN_NUMBERS
    if len(numbers) == len(labels) >= few and images < IMAGES_PER_CLASS * len(labels):
        yield Problem(
            kind="labels_look_measured",
            severity="warning",
            count=len(labels),
            examples=tuple(labels[:MAX_EXAMPLES]),
            remedy=f"{len(labels)} different numbers as labels of {images:,} images look like a measurement, "
            "and each counts as a class of its own. Make ranges of them, such as below 50 and 50 or more.",
        )


def split_images(evidence: Evidence) -> dict[Split, int]:
    """Return the number of usable images of each split."""
    scan = evidence.scan
    homes = [home for index, home in scan.splits.items() if index not in scan.bad]
    return {split: homes.count(split) for split in SPLITS}


def split_counts(evidence: Evidence) -> dict[Split, NDArray[np.int64]]:
    """Return the usable images of each split by class."""
    scan = evidence.scan
    counts = {}
    for split in SPLITS:
        indices = [index for index, home in scan.splits.items() if home == split and index not in scan.bad]
        targets = evidence.source.targets[np.array(indices, np.int64)]
        counts[split] = task_of(evidence.source.kind).class_counts(targets, len(evidence.source.labels))
    return counts
