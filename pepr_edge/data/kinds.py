"""What a label of a source is: the kind of its task, as the recipe says, or else as the data shows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from pepr_edge.data.source import DataSettings, ImageSource, check_labels
from pepr_edge.errors import DataError
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted.shown import shown

_NUMBER = re.compile(r"\d+")


def with_kind(source: ImageSource, settings: DataSettings) -> ImageSource:
    """Return a source with the kind of its task, and grades in their order.

    Raises:
        DataError: the labels are not of the kind that the recipe says, or the order of grades is not known.
    """
    kind = _kind(source, settings)
    if kind == "multilabel" and len(source.labels) < 2:
        raise DataError(
            f"{source.name}: one finding, expected two or more. For one finding give each image one label, "
            'present or absent: task.kind = "binary".'
        )
    source = replace(source, task=kind)
    if settings.findings and source.format != "csv":
        source = _named(source, settings.findings)
    if settings.order:
        return _ordered(source, settings.order)
    if kind == "ordinal":
        _check_order(source)
    return source


def _named(source: ImageSource, names: tuple[str, ...]) -> ImageSource:
    """Return a source whose findings have the names that the recipe gives them."""
    if source.kind != "multilabel" or len(names) != len(source.labels):
        raise DataError(
            f"{source.name}: data.findings has {len(names)} names, but {_described(source)}. Give one name "
            "for each column of the matrix of labels, or remove the line."
        )
    check_labels(names, source.name)
    return replace(source, labels=names)


def _kind(source: ImageSource, settings: DataSettings) -> TaskKind:
    by_labels: TaskKind = "binary" if len(source.labels) == 2 else "multiclass"
    if source.targets.ndim == 2:
        by_labels = "multilabel"
    wanted = settings.kind
    if wanted == "auto":
        if settings.order and by_labels != "multilabel":
            return "ordinal"
        return source.task or by_labels
    fits = wanted == by_labels or (wanted == "ordinal" and by_labels != "multilabel")
    if not fits:
        raise DataError(
            f'{source.name}: task.kind = "{wanted}", but {_described(source)}, expected "{by_labels}". '
            "Correct the line, or remove it: then the data decides."
        )
    return wanted


def _described(source: ImageSource) -> str:
    if source.targets.ndim == 2:
        return f"an image may have several of {len(source.labels)} labels"
    return f"each image has one of {len(source.labels)} labels"


def _ordered(source: ImageSource, order: tuple[str, ...]) -> ImageSource:
    """Return a source whose class numbers follow an order of its labels."""
    listed = ", ".join(repr(shown(label)) for label in source.labels)
    if source.task != "ordinal":
        raise DataError(
            f'{source.name}: task.order is for grades, and task.kind is "{source.task}". Remove one of them.'
        )
    if sorted(order) != sorted(source.labels):
        given = ", ".join(repr(shown(label)) for label in order)
        raise DataError(
            f"{source.name}: task.order = {given}, expected each of {listed} once, the lowest grade first. "
            "Correct it."
        )
    numbers = np.array([order.index(label) for label in source.labels], np.int64)
    return replace(source, labels=order, targets=numbers[source.targets])


def _check_order(source: ImageSource) -> None:
    """Refuse grades whose names do not tell their order."""
    found = [_NUMBER.findall(label) for label in source.labels]
    values = [int(numbers[0]) for numbers in found if len(numbers) == 1]
    if len(values) == len(found) and values == sorted(set(values)):
        return
    listed = ", ".join(repr(shown(label)) for label in source.labels)
    quoted = ", ".join(f'"{shown(label)}"' for label in source.labels)
    raise DataError(
        f'{source.name}: task.kind = "ordinal", but the labels {listed} do not tell their order. Name it, '
        f"the lowest grade first: task.order = [{quoted}]."
    )
