"""A look at a dataset: what was understood of it, and what looks wrong.

`init`, `run` and `data check` share it. Each module that finds problems has a function `problems`, listed in
`CHECKS`. What is wrong with folders, names and tables is found by the format that reads them
(`ImageSource.problems`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pepr_edge.data.check import (
    classes,
    copies,
    depth,
    groups,
    near_copies,
    patients,
    pictures,
    shortcuts,
    unreadable,
)
from pepr_edge.data.check.evidence import Evidence, Scan
from pepr_edge.errors import DataError
from pepr_edge.records import CopySet, DataCheck, Problem

__all__ = [
    "CHECKS",
    "Evidence",
    "Scan",
    "copies_csv",
    "found",
    "has_more_copies",
    "look",
    "problem_lines",
    "refuse_errors",
    "summary_lines",
    "understood",
]

CHECKS: tuple[Callable[[Evidence], Iterator[Problem | CopySet]], ...] = (
    unreadable.problems,
    copies.problems,
    near_copies.problems,
    patients.problems,
    groups.problems,
    depth.problems,
    pictures.problems,
    classes.problems,
    shortcuts.problems,
)
SEVERITIES = ("error", "warning", "note")


def found(evidence: Evidence) -> tuple[tuple[Problem, ...], tuple[CopySet, ...]]:
    """Return all problems of a dataset, errors first, then warnings, then notes; and all sets of copies."""
    problems = list(evidence.source.problems)
    copied: list[CopySet] = []
    for check in CHECKS:
        for noticed in check(evidence):
            if isinstance(noticed, CopySet):
                copied.append(noticed)
            else:
                problems.append(noticed)
    ordered = sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))
    return tuple(ordered), tuple(copied)


def understood(evidence: Evidence) -> DataCheck:
    """Return what was understood of a dataset, with its problems."""
    source = evidence.source
    counts = classes.split_counts(evidence)
    problems, copied = found(evidence)
    sizes = sorted(evidence.scan.sizes_px.values(), key=lambda size: size[0] * size[1])
    return DataCheck(
        name=source.name,
        format=source.format,
        images=evidence.total - len(evidence.scan.bad),
        labels=source.labels,
        class_counts=tuple(np.sum(list(counts.values()), axis=0).tolist()),
        splits={split: tuple(class_counts.tolist()) for split, class_counts in counts.items()},
        split_images=classes.split_images(evidence),
        task=source.kind,
        given_splits=tuple(source.given or ()),
        groups=None if source.groups is None else len(set(source.groups.tolist())),
        channels=evidence.channels,
        sizes_px=(sizes[0], sizes[-1]) if sizes else None,
        columns=source.columns,
        problems=problems,
        copies=copied,
    )


def refuse_errors(check: DataCheck) -> None:
    """Raise DataError if a problem stops a run."""
    if check.errors:
        raise DataError("\n".join(f"{check.name}: {_described(problem)}" for problem in check.errors))


def summary_lines(check: DataCheck) -> list[str]:
    """Return what was understood, a line for each subject."""
    counts = zip(check.labels, check.class_counts, strict=True)
    lines = [
        f"images   {check.images:,}{_format(check)}{_colour(check)}{_sizes(check)}",
        f"{_labels_heading(check):<8} {len(check.labels)}: "
        f"{', '.join(f'{label} {count:,}' for label, count in counts)}",
        f"splits   {', '.join(f'{split} {count:,}' for split, count in check.split_images.items())}"
        f"{_origin(check)}",
        f"groups   {'none named' if check.groups is None else f'{check.groups:,}, each in one split only'}",
    ]
    for name, columns in (("used", check.columns.used), ("ignored", check.columns.ignored)):
        if columns:
            lines.append(f"{name:<8} {', '.join(columns)}")
    return lines


def problem_lines(problems: tuple[Problem, ...]) -> list[str]:
    """Return a line for each problem, with its examples."""
    return [f"{problem.severity}: {_described(problem)}" for problem in problems]


def has_more_copies(check: DataCheck) -> bool:
    """True if there are images of sets of copies that the examples do not name."""
    shown_sets = sum(len(problem.examples) for problem in check.problems)
    return len(check.copies) > shown_sets or any(len(copied.images) > 2 for copied in check.copies)


def _described(problem: Problem) -> str:
    examples = f" ({', '.join(problem.examples)})" if problem.examples else ""
    return f"{problem.kind.replace('_', ' ')}{examples}: {problem.remedy}"


def _labels_heading(check: DataCheck) -> str:
    headings = {"multilabel": "findings", "ordinal": "grades"}
    return headings.get(check.task or "", "classes")


def _format(check: DataCheck) -> str:
    return f" ({check.format})" if check.format else ""


def _colour(check: DataCheck) -> str:
    return {1: ", grey", 3: ", colour", None: ""}[check.channels]


def _sizes(check: DataCheck) -> str:
    if check.sizes_px is None:
        return ""
    smallest, largest = (f"{width} x {height}" for width, height in check.sizes_px)
    return f", {smallest} px" if smallest == largest else f", from {smallest} to {largest} px"


def _origin(check: DataCheck) -> str:
    if not check.given_splits:
        return " (made at random, by class)"
    made = [split for split in check.splits if split not in check.given_splits]
    return f" ({' and '.join(made)} taken from train at random)" if made else " (given by the data)"
