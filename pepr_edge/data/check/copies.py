"""The same picture more than once: the pixels that the model sees are equal, whatever the files' formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.data.findings import MAX_EXAMPLES
from pepr_edge.records import Problem
from pepr_edge.text.units import plural


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield copies in several splits, with several labels, and within a split."""
    by_pixels: dict[bytes, list[int]] = {}
    for index, pixels in sorted(evidence.scan.distinct.items()):
        by_pixels.setdefault(pixels, []).append(index)
    copied = [indices for indices in by_pixels.values() if len(indices) > 1]
    splits = evidence.scan.splits
    leaked = [indices for indices in copied if different(indices, splits.__getitem__)]
    contradictory = [indices for indices in copied if different(indices, evidence.label)]
    reported = {indices[0] for indices in leaked + contradictory}
    others = [indices for indices in copied if indices[0] not in reported]
    if contradictory:
        yield _contradictory(evidence, contradictory)
    if leaked:
        yield Problem(
            kind="copies_across_splits",
            severity="warning",
            count=len(leaked),
            examples=pairs_of(evidence, leaked, splits.__getitem__),
            remedy=f"leakage: exact copies of {plural(len(leaked), 'image')} are in more than one split, so "
            "test scores may be too good. " + _how_to_separate(evidence),
        )
    if others:
        yield Problem(
            kind="copies_in_split",
            severity="note",
            count=len(others),
            examples=pairs_of(evidence, others, splits.__getitem__),
            remedy=f"exact copies of {plural(len(others), 'image')} within a split: each counts as often as "
            "it is there. Remove the copies if that is not meant.",
        )


def _contradictory(evidence: Evidence, groups: Sequence[Sequence[int]]) -> Problem:
    pairs = set()
    for group in groups:
        labels = {evidence.label(index) for index in group}
        pairs.add(" / ".join(sorted(labels)))
    return Problem(
        kind="copies_with_two_labels",
        severity="warning",
        count=len(groups),
        examples=pairs_of(evidence, groups, evidence.label),
        remedy=f"{plural(len(groups), 'picture')} with more than one label "
        f"({'; '.join(sorted(pairs)[:MAX_EXAMPLES])}): no model can be right on all of its copies. "
        "Correct the labels, or remove the copies.",
    )


def _how_to_separate(evidence: Evidence) -> str:
    if evidence.source.given is not None:
        return "Keep each in one split."
    return "Remove the copies, or give each with its copies one group in a .csv file."


def different(indices: Sequence[int], value_of: Callable[[int], str]) -> bool:
    """True if images differ in a value, such as their split."""
    return len({value_of(index) for index in indices}) > 1


def pairs_of(
    evidence: Evidence, groups: Sequence[Sequence[int]], value_of: Callable[[int], str], sign: str = "="
) -> tuple[str, ...]:
    """Return examples of sets of images: two of each set, which differ in a value if any of the set do."""
    examples = []
    for group in groups[:MAX_EXAMPLES]:
        first = group[0]
        other = next((index for index in group if value_of(index) != value_of(first)), group[1])
        examples.append(f"{evidence.name(first)} {sign} {evidence.name(other)}")
    return tuple(examples)
