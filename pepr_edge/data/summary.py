"""Description of a dataset for the terminal."""

from __future__ import annotations

from pepr_edge.data.source import SPLITS
from pepr_edge.records import DataInfo


def describe(info: DataInfo) -> list[str]:
    """Return lines: images per split, classes with counts, and the majority-class baseline."""
    sizes = ", ".join(f"{split} {info.splits[split].images}" for split in SPLITS)
    part = f" ({info.fraction:.3g} of the training split)" if info.fraction < 1 else ""
    class_counts = [info.splits[split].class_counts for split in SPLITS]
    totals = [sum(counts) for counts in zip(*class_counts, strict=True)]
    classes = ", ".join(f"{label} {total}" for label, total in zip(info.labels, totals, strict=True))
    train_counts = info.splits["train"].class_counts
    majority = info.labels[train_counts.index(max(train_counts))]
    colour = "grey" if info.channels == 1 else "RGB"
    return [
        f"{info.name}: {sum(totals)} {colour} images: {sizes}{part}",
        f"{len(info.labels)} classes: {classes}",
        f"majority-class baseline: always answering {majority!r} is right on "
        f"{info.majority_baseline:.1%} of the test images",
    ]
