"""Seeded, stratified splits into train, val and test; a group is never divided."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data.source import SPLITS, DataSettings, ImageSource, Indices
from pepr_edge.errors import DataError
from pepr_edge.records import Split

# A class with fewer images leaves none for one of the splits.
MIN_TO_SPLIT = 3


def assign_splits(source: ImageSource, settings: DataSettings) -> dict[Split, Indices]:
    """Return the three splits of a source; a split that it lacks is taken from its training split.

    Returns:
        Ascending indices of images by split; the training split is reduced to `settings.fraction`.
    Raises:
        DataError: a split would be empty, or the training split would lack a class.
    """
    all_images = np.arange(len(source.targets), dtype=np.int64)
    splits: dict[Split, Indices] = {"train": all_images} if source.given is None else dict(source.given)
    val = 0.0 if "val" in splits else settings.val_fraction
    test = 0.0 if "test" in splits else settings.test_fraction
    if val or test:
        pool = splits.pop("train", np.zeros(0, np.int64))
        targets = source.strata[pool]
        if source.groups is None:
            made = stratified(targets, val=val, test=test, seed=settings.seed)
        else:
            made = grouped(targets, source.groups[pool], val=val, test=test, seed=settings.seed)
        splits = {split: pool[chosen] for split, chosen in made.items()} | splits
    check_splits(source, splits)
    splits["train"] = splits["train"][part(source.strata[splits["train"]], settings.fraction, settings.seed)]
    return {split: np.sort(splits[split]) for split in SPLITS}


def check_splits(source: ImageSource, splits: dict[Split, Indices]) -> None:
    """Refuse splits that do not allow training and measuring.

    Raises:
        DataError: an empty split, a class without training images, or only one class.
    """
    for split in SPLITS:
        if not len(splits.get(split, ())):
            raise DataError(
                f"{source.name}: no images in the {split} split, "
                f"expected some in each of train, val and test. {_how_to_fill(source)}"
            )
    if source.targets.ndim == 2:
        _check_findings(source, splits["train"])
        return
    present = set(source.targets[splits["train"]].tolist())
    missing = [name for number, name in enumerate(source.labels) if number not in present]
    if missing:
        raise DataError(
            f"{source.name}: class {', '.join(map(repr, missing))} has no image in the training split, "
            "expected each class there. Add images of it, or leave the class out."
        )
    if len(source.labels) < 2:
        raise DataError(
            f"{source.name}: only the class {source.labels[0]!r}, expected two or more. "
            "Add images of another class."
        )


def _check_findings(source: ImageSource, train: Indices) -> None:
    """Refuse a finding that no training image has, or that all of them have: it cannot be learnt."""
    counts = source.targets[train].sum(axis=0)
    for absent, described in ((counts == 0, "no image"), (counts == len(train), "every image")):
        named = [label for label, is_absent in zip(source.labels, absent, strict=True) if is_absent]
        if named:
            raise DataError(
                f"{source.name}: {described} of the training split has {', '.join(map(repr, named))}, "
                "expected some with and some without each finding. Add images, or leave the finding out."
            )


def _how_to_fill(source: ImageSource) -> str:
    classes, counts = np.unique(source.strata, return_counts=True)
    if source.given is None and counts.max() < MIN_TO_SPLIT:
        return (
            f"The {len(source.targets)} images have {len(classes)} labels, at most {counts.max()} of each: "
            "add images, or choose classes; numbers such as an age must become ranges."
        )
    return "Add images."


def stratified(targets: Indices, *, val: float, test: float, seed: int) -> dict[Split, Indices]:
    """Split by class in the given shares; a share of 0 gives no such split.

    Each class gets at least one image in train, then in test, then in val, as long as it has enough images.

    Args:
        targets: class number per image, shape (n,).
        val: share of validation, 0 <= val < 1.
        test: share of test; val + test < 1.
        seed: the same seed gives the same splits.
    Returns:
        Positions in `targets`, ascending, by split.
    """
    rng = np.random.default_rng(seed)
    chosen: dict[Split, list[Indices]] = {split: [] for split in _shares(val, test)}
    for label in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == label))
        reserved = 2 if val and len(members) > 2 else 1  # for train and, if there are enough images, for val
        n_test = _at_least_one(len(members) * test, maximum=len(members) - reserved)
        n_val = _at_least_one(len(members) * val, maximum=len(members) - 1 - n_test)
        parts: dict[Split, Indices] = {
            "train": members[n_test + n_val :],
            "val": members[n_test : n_test + n_val],
            "test": members[:n_test],
        }
        for split, positions in chosen.items():
            positions.append(parts[split])
    empty = np.zeros(0, np.int64)
    return {split: np.sort(np.concatenate([empty, *positions])) for split, positions in chosen.items()}


def _shares(val: float, test: float) -> dict[Split, float]:
    """Return the share of each split to make; train is always among them."""
    shares: dict[Split, float] = {"train": 1 - val - test, "val": val, "test": test}
    return {split: share for split, share in shares.items() if share or split == "train"}


def _at_least_one(target: float, *, maximum: int) -> int:
    return min(max(round(target), 1), maximum) if target > 0 else 0


def grouped(targets: Indices, groups: Indices, *, val: float, test: float, seed: int) -> dict[Split, Indices]:
    """Split as `stratified`, but by whole groups, so the shares are approximate.

    First, for each class, the group that has it and has the most classes goes to train. Then each group, the
    largest first, goes to the split where it brings the class counts closest to the shares; the last groups
    fill splits that would be empty.

    Returns:
        Positions in `targets`, ascending, by split.
    Raises:
        DataError: there are fewer groups than splits.
    """
    shares = _shares(val, test)
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise DataError(
            f"the data has {len(names)} groups, expected at least {len(shares)}, one for each split. "
            "Add groups or splits."
        )
    classes, label = np.unique(targets, return_inverse=True)
    table = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(table, (member, label), 1)
    assigned = _assign_groups(table, np.array(list(shares.values())), np.random.default_rng(seed))
    return {split: np.flatnonzero(assigned[member] == number) for number, split in enumerate(shares)}


def _assign_groups(
    table: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the split of each group, as its position in `shares` (0 is train).

    Args:
        table: class counts, shape (groups, classes).
        shares: share of each split, shape (splits,).
        rng: decides between groups of equal size.
    """
    order = rng.permutation(len(table))
    order = order[np.argsort(-table[order].sum(axis=1), kind="stable")]
    assigned = np.full(len(table), -1)
    for label in np.argsort(np.count_nonzero(table, axis=0), kind="stable"):
        with_label = [group for group in order if table[group, label]]
        if not any(assigned[group] == 0 for group in with_label):
            most_classes = max(
                with_label, key=lambda group: (np.count_nonzero(table[group]), -table[group].sum())
            )
            assigned[most_classes] = 0
    totals = table.sum(axis=0)
    target = shares[:, None] * totals
    counts = np.zeros_like(target)
    counts[0] = table[assigned == 0].sum(axis=0)
    remaining = [group for group in order if assigned[group] < 0]
    for done, group in enumerate(remaining):
        empty = np.flatnonzero(counts.sum(axis=1) == 0)
        allowed = empty if len(empty) >= len(remaining) - done else np.arange(len(shares))
        before = counts[allowed] - target[allowed]
        after = before + table[group]
        increase = ((after**2 - before**2) / totals**2).sum(axis=1)
        assigned[group] = allowed[np.argmin(increase)]
        counts[assigned[group]] += table[group]
    return assigned


def part(targets: Indices, fraction: float, seed: int) -> Indices:
    """Return a stratified part of the training images: at least two images per class, if it has two.

    With the same images and seed, a smaller fraction is contained in a larger one.

    Returns:
        Positions in `targets`, ascending.
    """
    rng = np.random.default_rng([seed, 1])
    chosen = []
    for label in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == label))
        chosen.append(members[: max(round(len(members) * fraction), 2)])
    return np.sort(np.concatenate(chosen))
