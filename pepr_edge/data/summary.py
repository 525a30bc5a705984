"""What a dataset is, in words for the terminal."""

from __future__ import annotations

from pepr_edge.data.source import SPLITS
from pepr_edge.records import DataInfo


def describe(info: DataInfo) -> list[str]:
    """Plain lines for the terminal: images per split, classes with their counts, the majority baseline; then one for each note."""
    sizes = ", ".join(f"{split} {info.splits[split].images}" for split in SPLITS)
    part = f" ({info.fraction:.3g} of the training split)" if info.fraction < 1 else ""
    totals = [
        sum(info.splits[split].class_counts[number] for split in SPLITS) for number in range(len(info.labels))
    ]
    train_counts = info.splits["train"].class_counts
    commonest = info.labels[train_counts.index(max(train_counts))]
    return [
        f"{info.name}: {sum(totals)} {'grey' if info.channels == 1 else 'RGB'} images: {sizes}{part}",
        f"{len(info.labels)} classes: "
        + ", ".join(f"{label} {total}" for label, total in zip(info.labels, totals, strict=True)),
        f"majority baseline: always saying {commonest!r} is right on {info.majority_baseline:.1%} of the test images",
        *(f"note: {note}" for note in info.notes),
    ]
