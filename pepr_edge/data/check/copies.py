"""The same picture more than once: the pixels that the model sees are equal, whatever the files' formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.data.findings import MAX_EXAMPLES
from pepr_edge.records import CopiedImage, CopySet, Problem, Severity
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import MESSAGE_CHARACTERS, shown


def problems(evidence: Evidence) -> Iterator[Problem | CopySet]:
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
        yield from _contradictory(evidence, contradictory)
    if leaked:
        remedy = (
            f"leakage: exact copies of {plural(len(leaked), 'image')} are in more than one split, so "
            f"test scores may be too good. {_how_to_separate(evidence)}"
        )
        yield from copied_images(
            evidence, "copies_across_splits", "warning", leaked, splits.__getitem__, remedy, "="
        )
    if others:
        remedy = (
            f"exact copies of {plural(len(others), 'image')} within a split: each counts as often as "
            "it is there. Remove the copies if that is not meant."
        )
        yield from copied_images(evidence, "copies_in_split", "note", others, splits.__getitem__, remedy, "=")


def _contradictory(evidence: Evidence, groups: Sequence[Sequence[int]]) -> Iterator[Problem | CopySet]:
    pairs = set()
    for group in groups:
        labels = {evidence.label(index) for index in group}
        pairs.add(" / ".join(sorted(labels)))
    remedy = (
        f"{plural(len(groups), 'picture')} with more than one label "
        f"({'; '.join(sorted(pairs)[:MAX_EXAMPLES])}): no model can be right on all of its copies. "
        "Correct the labels, or remove the copies."
    )
    yield from copied_images(
        evidence, "copies_with_two_labels", "warning", groups, evidence.label, remedy, "="
    )


def copied_images(
    evidence: Evidence,
    kind: str,
    severity: Severity,
    groups: Sequence[Sequence[int]],
    value_of: Callable[[int], str],
    remedy: str,
    sign: str,
) -> Iterator[Problem | CopySet]:
    """Yield a problem that counts sets of copies, then each set with all of its images.

    Args:
        evidence: of the dataset.
        kind, severity, remedy: of the problem.
        groups: the indices of each set.
        value_of: the split or the label of an image; the examples differ in it if any of the set do.
        sign: between two images of an example.
    """
    examples = pairs_of(evidence, groups, value_of, sign)
    yield Problem(kind=kind, severity=severity, count=len(groups), examples=examples, remedy=remedy)
    for group in groups:
        images = (
            CopiedImage(
                image=shown(evidence.source.name_of(index), MESSAGE_CHARACTERS),
                split=evidence.scan.splits[index],
                label=evidence.label(index),
            )
            for index in group
        )
        yield CopySet(kind=kind, images=tuple(images))


def _how_to_separate(evidence: Evidence) -> str:
    if evidence.source.given is not None:
        return "Keep each in one split."
    return "Remove the copies, or give each with its copies one group in a .csv file."


def different(indices: Sequence[int], value_of: Callable[[int], str]) -> bool:
    """True if images differ in a value, such as their split."""
    return len({value_of(index) for index in indices}) > 1


def pairs_of(
    evidence: Evidence, groups: Sequence[Sequence[int]], value_of: Callable[[int], str], sign: str
) -> tuple[str, ...]:
    """Return examples of sets of images: two of each set, which differ in a value if any of the set do."""
    examples = []
    for group in groups[:MAX_EXAMPLES]:
        first = group[0]
        other = next((index for index in group if value_of(index) != value_of(first)), group[1])
        examples.append(f"{evidence.name(first)} {sign} {evidence.name(other)}")
    return tuple(examples)
