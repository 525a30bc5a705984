"""Several targets of an image in an array: votes of raters, or 0 and 1 for each of several findings."""

from __future__ import annotations

import numpy as np

from pepr_edge.data.source import DataSettings, Indices, is_one_hot
from pepr_edge.errors import DataError, DatasetError
from pepr_edge.records import Problem


def joined(
    where: str, rows: Indices, settings: DataSettings, problems: list[Problem], prefix: str = ""
) -> Indices:
    """Return class numbers, shape (n,), or 0 and 1 for each finding, shape (n, findings).

    Args:
        where: names the array in the error message.
        rows: whole numbers, shape (n, targets), at least two targets.
        settings: whether they are votes, and the kind of the task.
        problems: gets a note of what was decided.
        prefix: of that note, such as "train: ".
    Raises:
        DataError: they are one-hot, or neither votes nor findings.
    """
    if settings.raters:
        chosen, ties = majority(rows)
        remedy = f"{prefix}majority of {rows.shape[1]} raters; {ties} ties went to the lower class"
        problems.append(Problem(kind="raters_joined", severity="note", count=ties, remedy=remedy))
        return chosen
    if settings.kind != "multilabel" and is_one_hot(rows):
        raise DataError(
            f"{where} look one-hot, of shape {rows.shape}, expected class numbers. Convert them: "
            'argmax over the columns. Or, if each is a finding of its own: task.kind = "multilabel".'
        )
    if settings.kind not in ("auto", "multilabel") or rows.max() > 1:
        raise _not_findings(where, rows, settings.kind)
    return rows


def note_findings(findings: int, images: int) -> Problem:
    """Return the warning that several 0/1 targets of an image were taken for findings."""
    return Problem(
        kind="several_labels",
        severity="warning",
        count=images,
        remedy=f"{findings} targets of 0 and 1 for each image were taken for {findings} findings. If they "
        "are the votes of several raters, say so in the recipe: data.raters = true.",
    )


def majority(votes: Indices) -> tuple[Indices, int]:
    """Return the class that most raters chose; the lower class number in a tie.

    Args:
        votes: class numbers, shape (n, raters).
    Returns:
        Class per image, shape (n,), and the number of ties.
    """
    # One key for each image and class: a column for each class number would take all memory.
    classes = int(votes.max()) + 1
    keys, counts = np.unique(np.arange(len(votes))[:, None] * classes + votes, return_counts=True)
    images = keys // classes
    order = np.lexsort((keys, -counts, images))
    _, first = np.unique(images[order], return_index=True)
    best = order[first]
    most = np.zeros(len(votes), np.int64)
    most[images[best]] = counts[best]
    tied = np.bincount(images[counts == most[images]], minlength=len(votes)) > 1
    return (keys[best] % classes).astype(np.int64), int(tied.sum())


def _not_findings(where: str, rows: Indices, kind: str) -> DatasetError:
    reason = "several whole numbers per image"
    remedy = (
        "Choose one column; or, if they are the votes of several raters, say so in the recipe: "
        "data.raters = true."
    )
    if rows.max() <= 1:
        reason = "several 0/1 labels per image (multi-label)"
        remedy = f'If each column is a finding, remove task.kind = "{kind}". {remedy}'
    if rows.shape[1] == 1:
        reason = "one class number per image"
        remedy = f'Remove task.kind = "{kind}", or give such a matrix.'
    return DatasetError(
        "several_labels",
        f"{where}: {reason}, of shape {rows.shape}, expected one class number, or 0 and 1 for each of "
        f"several findings. {remedy}",
        len(rows),
    )
