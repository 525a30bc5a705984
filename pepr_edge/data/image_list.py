"""Lists of images: the checks that a CSV manifest shares with other formats that list images in a file.

A format reads its file into texts by key, line by line. `listed` checks them, `check_files` the files that
they name; `stamp_list` and `open_list` do the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image

from pepr_edge.data import names
from pepr_edge.data.files import read_images, stamp_files, tree_sha256
from pepr_edge.data.source import (
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_labels,
    splits_by_name,
)
from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Split
from pepr_edge.untrusted.files import MIB
from pepr_edge.untrusted.paths import is_file, leads_out
from pepr_edge.untrusted.shown import shown

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group")
# Two million lines of 128 bytes.
MAX_LIST_BYTES = 256 * MIB
# No system has a file name with these: NUL, and half of a surrogate pair.
NO_NAME = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class ListedImage:
    """A line of the list. `path` is relative to the list's folder, with forward slashes.

    A group is a patient or lesion whose images must stay in the same split.
    """

    line: int
    path: str
    label: str
    split: Split | None
    group: str | None


def listed(path: Path, lines: Iterable[tuple[int, Mapping[str, str]]]) -> list[ListedImage]:
    """Check the lines of a list; the images are not opened.

    Args:
        path: the list, for messages.
        lines: the number of each line, from 1, and its texts by key, those of REQUIRED and OPTIONAL.
    Returns:
        At least one image, in the order of the lines. All of them have a split or none has; likewise a group.
    Raises:
        DataError: a missing, empty or unknown value, a path outside the list's folder, or a duplicate path.
    """
    images: list[ListedImage] = []
    seen: dict[str, int] = {}
    for line, texts in lines:
        where = f"{path}: line {line}"
        image = ListedImage(
            line=line,
            path=path_inside(where, texts.get("path", "")),
            label=filled(where, "label", texts.get("label", "")),
            split=split_named(where, texts["split"]) if "split" in texts else None,
            group=filled(where, "group", texts["group"]) if "group" in texts else None,
        )
        if image.path in seen:
            raise DataError(
                f"{where}: {shown(image.path)} is also in line {seen[image.path]}, "
                "expected each image once. Remove one of the lines."
            )
        seen[image.path] = line
        images.append(image)
    if not images:
        raise DataError(f"{path}: no images, expected path and label of one image in each line. Add lines.")
    _check_all_or_none(path, "split", images, [image.split for image in images])
    _check_all_or_none(path, "group", images, [image.group for image in images])
    return images


def filled(where: str, key: str, value: str) -> str:
    """Return a value that must not be empty.

    Args:
        where: the file and the line, for the message.
        key: the name of the value.
        value: the value.
    Raises:
        DataError: it is empty.
    """
    if not value:
        raise DataError(f"{where}: empty {key}, expected a value in each line. Fill it in.")
    return value


def split_named(where: str, value: str) -> Split:
    """Return the split of a name such as "Valid". Raises DataError if it is the name of none."""
    split = names.split_named(value)
    if split is None:
        raise DataError(
            f"{where}: split {value!r}, expected train, val or test. Correct it, or leave all splits out."
        )
    return split


def path_inside(where: str, value: str) -> str:
    """Return a path inside the list's folder, normalised. Raises DataError if it may lead elsewhere."""
    name = PurePosixPath(filled(where, "path", value).replace("\\", "/"))
    absolute = name.is_absolute() or bool(PureWindowsPath(value).drive)
    if absolute or ".." in name.parts or NO_NAME.search(value) or name == PurePosixPath("."):
        raise DataError(
            f"{where}: path {value!r}, expected a path inside the folder of the list. Move the images there."
        )
    return name.as_posix()


def check_files(path: Path, images: Sequence[ListedImage], settings: DataSettings) -> None:
    """Check that each image exists inside the list's folder and that no group is in two splits.

    With on_bad_image = "skip", a missing image is not an error here: `read` yields an ImageError for it.

    Raises:
        DataError: one of them does not hold.
    """
    root = path.parent.resolve()
    first_of_group: dict[str, ListedImage] = {}
    for image in images:
        where = f"{path}: line {image.line}"
        if leads_out(path.parent / image.path, root):
            raise DataError(
                f"{where}: {shown(image.path)}: a link out of the folder of the list. "
                "Put the images themselves there."
            )
        if settings.on_bad_image == "fail" and not is_file(path.parent / image.path):
            raise DataError(
                f"{where}: {shown(image.path)}: no such file. Paths are relative to the folder of the list."
            )
        if image.group is None or image.split is None:
            continue
        first = first_of_group.setdefault(image.group, image)
        if first.split != image.split:
            raise DataError(
                f"{where}: group {image.group!r} is in {image.split}, but in line {first.line} "
                f"in {first.split}, expected each group in one split. Move its images to one split."
            )


def stamp_list(path: Path, images: Sequence[ListedImage]) -> Stamp:
    """Return name, size and time of the list and of every image in it."""
    return stamp_files(path.parent, [path.name, *(image.path for image in images)])


def open_list(path: Path, images: Sequence[ListedImage], format_: str) -> ImageSource:
    """Return the source of checked images; class names are sorted, by value if all are numbers.

    Args:
        path: the list.
        images: its lines, from `listed`, after `check_files`.
        format_: the format's key in FORMATS.
    Raises:
        DataError: a class name holds control characters.
    """
    names = sorted({image.label for image in images})
    labels = tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else names)
    check_labels(labels, str(path))
    paths = [image.path for image in images]

    def read(indices: Indices) -> Iterator[Image.Image | ImageError]:
        return read_images(path.parent, paths, indices)

    return ImageSource(
        name=shown(path.stem),
        format=format_,
        sha256=tree_sha256(path.parent, [path.name, *paths]),
        labels=labels,
        targets=np.array([labels.index(image.label) for image in images], np.int64),
        read=read,
        given=splits_by_name([image.split for image in images]) if images[0].split else None,
        groups=_group_numbers(images),
        name_of=paths.__getitem__,
    )


def _check_all_or_none(
    path: Path, key: str, images: Sequence[ListedImage], values: Sequence[str | None]
) -> None:
    lacking = [image.line for image, value in zip(images, values, strict=True) if value is None]
    if lacking and len(lacking) < len(images):
        raise DataError(
            f"{path}: line {lacking[0]}: no {key}, expected a {key} in each line or in none. Fill it in."
        )


def _group_numbers(images: Sequence[ListedImage]) -> Indices | None:
    """Return the group number of each image; None without groups."""
    names = [image.group for image in images if image.group is not None]
    return np.unique(names, return_inverse=True)[1].astype(np.int64) if names else None
