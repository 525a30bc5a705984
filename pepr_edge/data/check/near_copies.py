"""Pictures that are nearly the same: in several splits, or with several labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.data.check.copies import copied_images, different
from pepr_edge.data.check.evidence import Evidence, can_compare_perceptually
from pepr_edge.data.check.similar import connect, similar_pairs, turned_pairs
from pepr_edge.data.source import evenly_spread
from pepr_edge.records import CopySet, Problem
from pepr_edge.text.units import plural

# Each picture is compared with all others.
MAX_IMAGES = 30_000


def problems(evidence: Evidence) -> Iterator[Problem | CopySet]:
    """Yield near copies in several splits, with several labels, and all others, as proposed groups."""
    if not can_compare_perceptually():
        yield _not_compared()
        return
    representatives = _one_of_each(evidence)
    if len(representatives) > MAX_IMAGES:
        yield _compared_in_part(len(representatives))
        spread = evenly_spread(len(representatives), MAX_IMAGES)
        representatives = [representatives[position] for position in spread]
    sets = near_copies(evidence, representatives)
    across = [members for members in sets if different(members, evidence.scan.splits.__getitem__)]
    contradictory = [members for members in sets if different(members, evidence.label)]
    yield from _across(evidence, across)
    yield from _contradictory(evidence, contradictory)
    reported = {members[0] for members in across + contradictory}
    yield from _within(evidence, [members for members in sets if members[0] not in reported])
    yield from _turned(evidence, turned_copies(evidence, representatives))


def near_copies(evidence: Evidence, indices: Sequence[int]) -> list[list[int]]:
    """Return the sets of images that are nearly the same, in the order of the (ascending) indices."""
    scan = evidence.scan
    if len(indices) < 2:
        return []
    bits = np.stack([scan.perceptual[index] for index in indices])
    sets = np.arange(len(indices))
    for one, other in similar_pairs(bits, [scan.thumbnails[index] for index in indices]):
        connect(sets, one, other)
    return _members(sets, indices)


def _members(sets: NDArray[np.int64], indices: Sequence[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for number, index in zip(sets.tolist(), indices, strict=True):
        members.setdefault(number, []).append(index)
    return [of_set for of_set in members.values() if len(of_set) > 1]


def turned_copies(evidence: Evidence, indices: Sequence[int]) -> list[list[int]]:
    """Return the sets of images of which each is nearly another one turned or mirrored."""
    sets = np.arange(len(indices))
    for one, other in turned_pairs([evidence.scan.thumbnails[index] for index in indices]):
        connect(sets, one, other)
    return _members(sets, indices)


def _one_of_each(evidence: Evidence) -> list[int]:
    """Return the first image of each picture: exact copies are another check's."""
    first: dict[bytes, int] = {}
    for index, pixels in sorted(evidence.scan.distinct.items()):
        first.setdefault(pixels, index)
    return sorted(first.values())


def _across(evidence: Evidence, sets: Sequence[Sequence[int]]) -> Iterator[Problem | CopySet]:
    if sets:
        remedy = (
            f"leakage: {plural(len(sets), 'set')} of images that are nearly the same are in more than one "
            "split, so test scores may be too good. "
        )
        if evidence.source.given is None:
            remedy += "Give each set one group in a .csv file; a group is never divided."
        else:
            remedy += "Keep each set in one split, or let its images have one group and no split."
        split_of = evidence.scan.splits.__getitem__
        yield from copied_images(
            evidence, "near_copies_across_splits", "warning", sets, split_of, remedy, "~"
        )


def _contradictory(evidence: Evidence, sets: Sequence[Sequence[int]]) -> Iterator[Problem | CopySet]:
    if sets:
        remedy = (
            f"{plural(len(sets), 'set')} of images that are nearly the same have more than one label. "
            "Look at them: correct the labels, or remove images."
        )
        yield from copied_images(
            evidence, "near_copies_with_two_labels", "warning", sets, evidence.label, remedy, "~"
        )


def _within(evidence: Evidence, sets: Sequence[Sequence[int]]) -> Iterator[Problem | CopySet]:
    if sets:
        remedy = (
            f"{plural(len(sets), 'set')} of images that are nearly the same, each within one split: "
            "with another seed they may be divided. Give each set one group in a .csv file."
        )
        split_of = evidence.scan.splits.__getitem__
        yield from copied_images(evidence, "near_copies_in_split", "note", sets, split_of, remedy, "~")


def _turned(evidence: Evidence, sets: Sequence[Sequence[int]]) -> Iterator[Problem | CopySet]:
    """Yield turned copies by split. Their labels may differ: a class may be a direction."""
    split_of = evidence.scan.splits.__getitem__
    across = [members for members in sets if different(members, split_of)]
    if across:
        remedy = (
            f"leakage: {plural(len(across), 'set')} of images that are the same turned or mirrored "
            "are in more than one split, as if they had been multiplied before they were divided, so test "
            "scores may be too good. Use the originals only, or give each set one group."
        )
        yield from copied_images(
            evidence, "turned_copies_across_splits", "warning", across, split_of, remedy, "~"
        )
    elif sets:
        remedy = (
            f"{plural(len(sets), 'set')} of images that are the same turned or mirrored, each within "
            "one split: with another seed they may be divided."
        )
        yield from copied_images(evidence, "turned_copies_in_split", "note", sets, split_of, remedy, "~")


def _not_compared() -> Problem:
    return Problem(
        kind="near_copies_not_compared",
        severity="note",
        count=0,
        remedy="images that are nearly the same were not looked for: the package imagehash is not installed. "
        "Run pip install 'pepr_edge[train]'.",
    )


def _compared_in_part(images: int) -> Problem:
    return Problem(
        kind="near_copies_not_compared",
        severity="note",
        count=images - MAX_IMAGES,
        remedy=f"images that are nearly the same were looked for among {MAX_IMAGES:,} of {images:,} images.",
    )
