"""The interface of a data format: its settings, the opened source, and the functions of a format module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Columns, Interpolation, Problem, Split
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted.documents import LABEL_CHARACTERS
from pepr_edge.untrusted.shown import excerpt, is_plain, shown

Indices: TypeAlias = NDArray[np.int64]
Stamp: TypeAlias = list[str | int | list[str | int]]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
MAX_CLASS_NUMBER = 9999
# Number of images, evenly spread, that tell colour and size before all are decoded.
SAMPLE = 64
NO_COLUMNS = Columns()
# The text of an image without any finding.
NO_FINDING = "no finding"


@dataclass(frozen=True)
class DataSettings:
    """Which dataset, at which image size, and how it is split. Filled from the recipe.

    `source` is a name or a path that one of `pepr_edge.data.formats.FORMATS` recognises. `fraction` reduces
    the training split only. `val_fraction` and `test_fraction` apply if the source lacks that split.
    `on_bad_image`: an unreadable image is an error ("fail") or is left out ("skip"). `columns` names columns
    of a table by role (path, label, split, group), where they have other names. `grey_bits` is the depth of
    grey images of more than 8 bits; "auto": what the set needs. `raters`: several targets of an image are the
    votes of raters, and their majority counts. `subgroups`: columns of a table by whose values results are
    reported. `kind` is that of the task; "auto": as the labels are.
    `order`: the grades of an ordinal task, the lowest first; empty: by their numbers. `findings`: names of
    the columns of 0 and 1 of a table, or of the columns of a matrix. `separator`: between several names in
    the column of the labels; empty: the sign that is found.
    """

    source: str
    image_size_px: int
    channels: Literal["auto", 1, 3] = "auto"
    interpolation: Interpolation = "bilinear"
    fraction: float = 1.0
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    phantom_images: int = 600
    on_bad_image: Literal["fail", "skip"] = "fail"
    columns: dict[str, str] = field(default_factory=dict)
    grey_bits: Literal["auto"] | int = "auto"
    raters: bool = False
    kind: TaskKind | Literal["auto"] = "auto"
    order: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    separator: str = ""
    subgroups: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class ImageSource:
    """An opened source: everything known about its images before they are decoded.

    `targets` has one class number per image, the index into `labels`; if an image may have several findings,
    0 or 1 for each of them, shape (n, findings). `read` takes ascending indices and
    decodes those images one by one; for an unusable image it yields the ImageError instead. `given` holds the
    splits that the source itself defines, or None. `groups` has one group number per image, for images that
    must stay in the same split (same patient or lesion), or None. `name_of` names an image on this machine.
    `path_of` gives its file; None if images are no files.
    `problems`: what looks wrong with the folders, names or columns, and what was decided about them.
    `task` is the kind of the task; None from a format that leaves it to the labels. `subgroups` has the value
    of each image by column, empty where there is none.
    """

    name: str
    format: str
    sha256: str
    labels: tuple[str, ...]
    targets: Indices
    read: Callable[[Indices], Iterator[Image.Image | ImageError]]
    given: Mapping[Split, Indices] | None = None
    groups: Indices | None = None
    name_of: Callable[[int], str] = str
    path_of: Callable[[int], Path] | None = None
    columns: Columns = NO_COLUMNS
    problems: tuple[Problem, ...] = ()
    task: TaskKind | None = None
    subgroups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def kind(self) -> TaskKind:
        """The kind of the task."""
        if self.targets.ndim == 2:
            return "multilabel"
        by_labels: TaskKind = "binary" if len(self.labels) == 2 else "multiclass"
        return self.task or by_labels

    @cached_property
    def strata(self) -> Indices:
        """One number per image, by which splits are stratified, shape (n,): its class, or its rarest finding.

        Images without a finding have the number after that of the last one.
        """
        if self.targets.ndim == 1:
            return self.targets
        counts = self.targets.sum(axis=0)
        rarity = np.where(self.targets == 1, counts, len(self.targets) + 1)
        rarest = rarity.argmin(axis=1)
        return np.where(self.targets.any(axis=1), rarest, len(self.labels)).astype(np.int64)

    def label_text(self, index: int) -> str:
        """Return the class of an image, or its findings."""
        if self.targets.ndim == 1:
            return self.labels[int(self.targets[index])]
        found = [label for label, target in zip(self.labels, self.targets[index], strict=True) if target]
        return " + ".join(found) or NO_FINDING


class Format(Protocol):
    """The content of each format module; `pepr_edge.data.formats.FORMATS` lists them.

    ACCEPTS: what a recipe's `source` may be, such as "a .csv file that lists images", in help texts and
        errors; SUFFIXES: those of the format's files, in small letters, which ACCEPTS names too.
    """

    ACCEPTS: str
    SUFFIXES: tuple[str, ...]

    def recognises(self, source: str) -> bool:
        """True if a recipe's `source` has this format, judged by its name and the files on disk.

        Quick, and False for text that no system takes for a path.
        """

    def open_source(self, settings: DataSettings) -> ImageSource:
        """Read everything except the pixels. Raises DataError."""

    def stamp(self, settings: DataSettings) -> Stamp:
        """Return values that change when the source changes: names, sizes and times of its files.

        Cheap: decodes no image. Raises DataError.
        """


def class_numbers(raw: NDArray[np.generic], where: str) -> Indices:
    """Return class numbers as int64, shape (n,).

    Args:
        raw: integers, shape (n,).
        where: names the array in the error message.
    Raises:
        DataError: the array is empty, or does not hold whole numbers from 0.
    """
    if raw.ndim != 1 or raw.dtype.kind not in "iu" or not raw.size:
        raise DataError(
            f"{where}: shape {raw.shape} of {raw.dtype}, expected one whole number per image. "
            "Store class numbers 0, 1, ..."
        )
    numbers = raw.astype(np.int64)
    if numbers.min() < 0 or numbers.max() > MAX_CLASS_NUMBER:
        raise DataError(
            f"{where}: class numbers from {numbers.min()} to {numbers.max()}, "
            "expected 0 to number of classes - 1. Renumber them."
        )
    return numbers


def check_from_zero(targets: Indices, where: str) -> None:
    """Refuse class numbers that begin with 1: there would be a class without an image.

    Raises:
        DataError: the smallest is 1 or more.
    """
    if targets.min() > 0:
        raise DataError(
            f"{where}: class numbers from {targets.min()} to {targets.max()}, expected 0 to number of "
            "classes - 1. Renumber them."
        )


def is_one_hot(rows: NDArray[np.generic]) -> bool:
    """True if each of several rows holds one 1 and otherwise 0, shape (n, classes)."""
    is_binary = bool(((rows == 0) | (rows == 1)).all())
    return len(rows) > 1 and is_binary and bool((rows.astype(np.int64).sum(axis=1) == 1).all())


def check_labels(labels: Iterable[str], where: str) -> None:
    """Refuse class names that cannot be written as UTF-8, contain control characters, or fit no page.

    Raises:
        DataError: there is such a name.
    """
    for label in labels:
        if not is_plain(label):
            remedy = "Rename it."
            encoding = sys.getfilesystemencoding()
            if encoding != "utf-8":
                remedy = f"This system reads names as {encoding}: set PYTHONUTF8=1, or rename it."
            raise DataError(
                f"{where}: class {shown(label)}, expected a name in UTF-8 without control characters. "
                f"{remedy}"
            )
        if len(label) > LABEL_CHARACTERS:
            raise DataError(
                f"{where}: class {excerpt(label)}, {len(label):,} characters, expected at most "
                f"{LABEL_CHARACTERS}. Shorten it, or is it a column of texts?"
            )


def numeric_labels(targets: Indices) -> tuple[str, ...]:
    """Return "0", "1", ... as names of classes or findings that are known by number only."""
    count = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    return tuple(str(number) for number in range(count))


def same_width(path: Path, targets: Sequence[Indices]) -> Sequence[Indices]:
    """Return the targets of several splits if they have as many columns. Raises DataError."""
    shapes = {of_split.shape[1:] for of_split in targets}
    if len(shapes) > 1:
        listed = ", ".join(str(of_split.shape) for of_split in targets)
        raise DataError(
            f"{path}: labels of the splits have the shapes {listed}, expected as many columns in each. "
            "Make it again."
        )
    return targets


def evenly_spread(count: int, most: int) -> Indices:
    """Return the indices of at most `most` of `count` images, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def name_in_split(index: int, splits: Sequence[str], starts: Indices) -> str:
    """Return the name of an image that has none: its split and its number in it, from 0.

    Args:
        index: of the image in the source.
        splits: in the order of the source.
        starts: index of the first image of each split.
    """
    number = int(np.searchsorted(starts, index, side="right")) - 1
    return f"{splits[number]} {index - int(starts[number])}"


def splits_by_name(names: Sequence[Split | None]) -> dict[Split, Indices]:
    """Return the indices of the images of each split that occurs in `names`, one name per image."""
    column = np.array(names)
    return {split: np.flatnonzero(column == split) for split in SPLITS if split in names}
