"""Description of a dataset for the terminal."""

from __future__ import annotations

from pepr_edge.data.source import SPLITS
from pepr_edge.records import DataInfo
from pepr_edge.text.units import percent

# What the labels are called; otherwise classes.
NAMES_OF_LABELS = {"ordinal": "grades", "multilabel": "findings"}


def describe(info: DataInfo) -> list[str]:
    """Return lines: images per split, classes with counts, and the majority-class baseline."""
    sizes = ", ".join(f"{split} {info.splits[split].images}" for split in SPLITS)
    part = f" ({info.fraction:.3g} of the training split)" if info.fraction < 1 else ""
    class_counts = [info.splits[split].class_counts for split in SPLITS]
    totals = [sum(counts) for counts in zip(*class_counts, strict=True)]
    classes = ", ".join(f"{label} {total}" for label, total in zip(info.labels, totals, strict=True))
    images = sum(info.splits[split].images for split in SPLITS)
    colour = "grey" if info.channels == 1 else "RGB"
    return [
        f"{info.name}: {images} {colour} images: {sizes}{part}",
        f"{len(info.labels)} {NAMES_OF_LABELS.get(info.kind, 'classes')}: {classes}",
        _baseline(info),
    ]


def _baseline(info: DataInfo) -> str:
    if info.kind == "multilabel":
        return (
            "baseline: the more frequent answer to each finding, present or absent, is right in "
            f"{percent(info.majority_baseline, 1)} of all answers on the test images"
        )
    train_counts = info.splits["train"].class_counts
    majority = info.labels[train_counts.index(max(train_counts))]
    return (
        f"majority-class baseline: always answering {majority!r} is right on "
        f"{percent(info.majority_baseline, 1)} of the test images"
    )
