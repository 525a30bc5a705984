"""Who goes into training, validation and test: seeded, stratified, groups never parted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data.source import SPLITS, DataSettings, ImageSource, Indices
from pepr_edge.errors import DataError
from pepr_edge.records import Split


def assign(source: ImageSource, settings: DataSettings) -> dict[Split, Indices]:
    """The three splits of a source: those that it has, and what it lacks taken from its training split.

    Returns:
        Ascending indices of images by split; of the training split only the `fraction` that was asked for.
    Raises:
        DataError: a split would be empty, or a class would be missing from training.
    """
    everything = np.arange(len(source.targets), dtype=np.int64)
    splits: dict[Split, Indices] = {"train": everything} if source.given is None else dict(source.given)
    val = 0.0 if "val" in splits else settings.val_fraction
    test = 0.0 if "test" in splits else settings.test_fraction
    if val or test:
        pool = splits.pop("train", np.zeros(0, np.int64))
        targets = source.targets[pool]
        if source.groups is None:
            made = stratified(targets, val=val, test=test, seed=settings.seed)
        else:
            made = grouped(targets, source.groups[pool], val=val, test=test, seed=settings.seed)
        splits = {split: pool[chosen] for split, chosen in made.items()} | splits
    check(source, splits)
    splits["train"] = splits["train"][part(source.targets[splits["train"]], settings.fraction, settings.seed)]
    return {split: np.sort(splits[split]) for split in SPLITS}


def check(source: ImageSource, splits: dict[Split, Indices]) -> None:
    """Refuse splits that nothing can be learnt from or measured on.

    Raises:
        DataError: an empty split, a class that is not in training, or only one class.
    """
    for split in SPLITS:
        if not len(splits.get(split, ())):
            raise DataError(
                f"{source.name}: no images in the {split} split, expected some in each of train, val and test. Add images."
            )
    present = set(source.targets[splits["train"]].tolist())
    missing = [name for number, name in enumerate(source.labels) if number not in present]
    if missing:
        raise DataError(
            f"{source.name}: class {', '.join(map(repr, missing))} has no image in the training split, expected each class there. "
            "Add images of it, or leave the class out."
        )
    if len(source.labels) < 2:
        raise DataError(
            f"{source.name}: only the class {source.labels[0]!r}, expected two or more. Add images of another class."
        )


def stratified(targets: Indices, *, val: float, test: float, seed: int) -> dict[Split, Indices]:
    """Split by class in the given shares; a share of 0 makes no such split.

    Each class has an image in train, then one in test, then one in val, as far as it has images.

    Args:
        targets: class number per image, shape (n,).
        val: share of validation, 0 <= val < 1.
        test: share of test; val + test < 1.
        seed: the same seed gives the same splits.
    Returns:
        Positions in `targets`, ascending, by split.
    """
    rng = np.random.default_rng(seed)
    chosen: dict[Split, list[Indices]] = {split: [] for split in _wanted(val, test)}
    for label in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == label))
        kept = 2 if val and len(members) > 2 else 1  # for train and, where there are enough, for val
        n_test = _at_least_one(len(members) * test, most=len(members) - kept)
        n_val = _at_least_one(len(members) * val, most=len(members) - 1 - n_test)
        parts = dict(
            zip(
                SPLITS,
                (members[n_test + n_val :], members[n_test : n_test + n_val], members[:n_test]),
                strict=True,
            )
        )
        for split, positions in chosen.items():
            positions.append(parts[split])
    return {
        split: np.sort(np.concatenate(positions or [np.zeros(0, np.int64)]))
        for split, positions in chosen.items()
    }


def _wanted(val: float, test: float) -> dict[Split, float]:
    """The share of each split that is to be made."""
    shares: dict[Split, float] = {"train": 1 - val - test, "val": val, "test": test}
    return {split: share for split, share in shares.items() if share or split == "train"}


def _at_least_one(wanted: float, *, most: int) -> int:
    return min(max(round(wanted), 1), most) if wanted > 0 else 0


def grouped(targets: Indices, groups: Indices, *, val: float, test: float, seed: int) -> dict[Split, Indices]:
    """Split as `stratified` does, but whole groups at a time, so only about in the given shares.

    For each class first a group goes to train that has it, the one with the most classes. Then, the largest group first, each goes where it
    brings the class counts closest to the shares; the last ones fill splits that would be empty.

    Returns:
        Positions in `targets`, ascending, by split.
    Raises:
        DataError: there are fewer groups than splits.
    """
    shares = _wanted(val, test)
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise DataError(
            f"the data has {len(names)} groups, expected at least {len(shares)}, one for each split. Add groups or splits."
        )
    classes, label = np.unique(targets, return_inverse=True)
    table = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(table, (member, label), 1)
    home = _place(table, np.array(list(shares.values())), np.random.default_rng(seed))
    return {split: np.flatnonzero(home[member] == number) for number, split in enumerate(shares)}


def _place(
    table: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The split of each group, as its number in `shares` (0 is train), given the groups' class counts."""
    order = rng.permutation(len(table))
    order = order[np.argsort(-table[order].sum(axis=1), kind="stable")]
    home = np.full(len(table), -1)
    for label in np.argsort(np.count_nonzero(table, axis=0), kind="stable"):
        holders = [group for group in order if table[group, label]]
        if not any(home[group] == 0 for group in holders):
            home[max(holders, key=lambda group: (np.count_nonzero(table[group]), -table[group].sum()))] = 0
    total = table.sum(axis=0)
    wanted = shares[:, None] * total
    held = np.zeros_like(wanted)
    held[0] = table[home == 0].sum(axis=0)
    left = [group for group in order if home[group] < 0]
    for done, group in enumerate(left):
        empty = np.flatnonzero(held.sum(axis=1) == 0)
        open_splits = empty if len(empty) >= len(left) - done else np.arange(len(shares))
        before, after = (
            held[open_splits] - wanted[open_splits],
            held[open_splits] + table[group] - wanted[open_splits],
        )
        home[group] = open_splits[np.argmin(((after**2 - before**2) / total**2).sum(axis=1))]
        held[home[group]] += table[group]
    return home


def part(targets: Indices, fraction: float, seed: int) -> Indices:
    """A stratified part of the training images: at least two of each class, or the one that there is.

    A smaller fraction of the same images with the same seed is contained in a larger one.

    Returns:
        Positions in `targets`, ascending.
    """
    rng = np.random.default_rng([seed, 1])
    chosen = []
    for label in np.unique(targets):
        members = rng.permutation(np.flatnonzero(targets == label))
        chosen.append(members[: max(round(len(members) * fraction), 2)])
    return np.sort(np.concatenate(chosen))
