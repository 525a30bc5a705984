"""Lists of images: the checks that a CSV manifest shares with other formats that list images in a file.

A format reads its file into texts by key, line by line. `listed` checks them, `check_files` the files that
they name; `stamp_list` and `open_list` do the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from pepr_edge.data import findings, groups, names
from pepr_edge.data import labels as label_names
from pepr_edge.data.files import read_images, stamp_files, tree_sha256
from pepr_edge.data.findings import MAX_EXAMPLES
from pepr_edge.data.listed_files import Located, listed_companions, locate, unlisted
from pepr_edge.data.source import (
    NO_COLUMNS,
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_labels,
    splits_by_name,
)
from pepr_edge.errors import DataError, DatasetError
from pepr_edge.records import Columns, Problem, Split
from pepr_edge.untrusted.paths import leads_out
from pepr_edge.untrusted.shown import shown

# No system has a file name with these: NUL, and half of a surrogate pair.
NO_NAME = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class ListedImage:
    """A line of the list. `path` is relative to the list's folder, with forward slashes.

    `findings` are those of an image that may have several; None if it has one label. A group is a patient or
    lesion whose images must stay in the same split.
    """

    line: int
    path: str
    label: str
    split: Split | None
    group: str | None
    findings: tuple[str, ...] | None = None


def listed(
    path: Path,
    lines: Iterable[tuple[int, Mapping[str, str]]],
    findings_of: Callable[[Mapping[str, str]], tuple[str, ...]] | None = None,
) -> list[ListedImage]:
    """Check the lines of a list; the images are not opened.

    Args:
        path: the list, for messages.
        lines: the number of each line, from 1, and its texts by key: path, label, optionally split and group.
        findings_of: returns the findings of a line, if an image may have several.
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
            path=path_inside(where, texts.get("path", ""), path.parent),
            label="" if findings_of else filled(where, "label", texts.get("label", "")),
            split=split_named(where, texts["split"]) if "split" in texts else None,
            group=filled(where, "group", texts["group"]) if "group" in texts else None,
            findings=findings_of(texts) if findings_of else None,
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


def path_inside(where: str, value: str, root: Path | None = None) -> str:
    """Return a path inside the list's folder, normalised. Raises DataError if it may lead elsewhere.

    Args:
        where: the file and the line, for the message.
        value: relative to the list's folder; or absolute, also from a home (~), if `root` is that folder.
        root: the list's folder.
    """
    text = filled(where, "path", value)
    if root is not None:
        text = _relative(text, root)
    name = PurePosixPath(text.replace("\\", "/"))
    # Of the plain path: ".\C:" hides a drive.
    absolute = name.is_absolute() or bool(PureWindowsPath(name.as_posix()).drive)
    if absolute or ".." in name.parts or NO_NAME.search(value) or name == PurePosixPath("."):
        raise DataError(
            f"{where}: path {shown(value)!r}, expected a path inside the folder of the list. Move the images "
            "there, and write the paths relative to it."
        )
    return name.as_posix()


def _relative(text: str, root: Path) -> str:
    """Return an absolute path relative to a folder that contains it; other texts as they are."""
    try:
        path = Path(text).expanduser()
        if not path.is_absolute():
            return text
        for folder in (root.absolute(), root.resolve()):
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
    except (OSError, RuntimeError, ValueError):  # no home, or no path at all
        pass
    return text


def check_files(path: Path, images: Sequence[ListedImage], settings: DataSettings) -> Located:
    """Find the files of a list inside its folder, and check that no group is in two splits.

    With on_bad_image = "skip", a missing image is not an error here: `read` yields an ImageError for it.

    Returns:
        The images, by the paths of their files, without masks, each group by one spelling; and problems.
    Raises:
        DataError: a file is missing or outside, a file twice, or a group in two splits.
    """
    located = locate(path, images)
    if located.missing and settings.on_bad_image == "fail":
        raise _missing(path, located.missing)
    root = path.parent.resolve()
    for image in located.images:
        if leads_out(path.parent / image.path, root):
            raise DataError(
                f"{path}: line {image.line}: {shown(image.path)}: a link out of the folder of the list. "
                "Put the images themselves there."
            )
    masks = listed_companions(located.images)
    problems = [*located.problems]
    problems += findings.companions_left_out([path.parent / name for name in sorted(masks)], path.parent)
    problems += unlisted(path.parent, located.images)
    kept = [image for image in located.images if image.path not in masks]
    kept = _with_one_spelling_of_groups(kept, problems)
    _check_groups(path, kept)
    return Located(kept, located.missing, problems)


def _missing(path: Path, missing: Sequence[ListedImage]) -> DatasetError:
    first = missing[0]
    more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
    return DatasetError(
        "listed_files_missing",
        f"{path}: line {first.line}: {shown(first.path)}: no such file{more}. "
        "Paths are relative to the folder of the list.",
        len(missing),
        tuple(shown(image.path) for image in missing[:MAX_EXAMPLES]),
    )


def _with_one_spelling_of_groups(images: Sequence[ListedImage], problems: list[Problem]) -> list[ListedImage]:
    named = [image.group for image in images if image.group is not None]
    problems += groups.problems(named)
    chosen = names.one_spelling(named)
    return [replace(image, group=chosen[image.group]) if image.group else image for image in images]


def _check_groups(path: Path, images: Sequence[ListedImage]) -> None:
    first_of_group: dict[str, ListedImage] = {}
    for image in images:
        if image.group is None or image.split is None:
            continue
        first = first_of_group.setdefault(image.group, image)
        if first.split != image.split:
            raise DataError(
                f"{path}: line {image.line}: group {shown(image.group)!r} is in {image.split}, but in line "
                f"{first.line} in {first.split}, expected each group in one split. "
                "Move its images to one split."
            )


def stamp_list(path: Path, images: Sequence[ListedImage]) -> Stamp:
    """Return name, size and time of the list and of every image in it."""
    return stamp_files(path.parent, [path.name, *(image.path for image in images)])


def open_list(
    path: Path,
    located: Located,
    format_: str,
    columns: Columns = NO_COLUMNS,
    problems: Sequence[Problem] = (),
    order: Sequence[str] = (),
) -> ImageSource:
    """Return the source of checked images; class names are sorted, by value if all are numbers.

    Args:
        path: the list.
        located: its images, from `check_files`.
        format_: the format's key in FORMATS.
        columns: of the list.
        problems: with the columns.
        order: of the findings, if an image may have several; empty: sorted.
    Raises:
        DataError: a class name holds control characters.
    """
    images = located.images
    chosen = names.one_spelling(name for image in images for name in _labels(image))
    check_labels(tuple(order) or chosen.values(), str(path))
    labels = tuple(order) or _sorted_labels(chosen.values())
    paths = [image.path for image in images]
    return ImageSource(
        name=shown(path.stem),
        format=format_,
        sha256=tree_sha256(path.parent, [path.name, *paths]),
        labels=labels,
        targets=_targets(images, labels, chosen),
        read=partial(read_images, path.parent, paths),
        given=splits_by_name([image.split for image in images]) if images[0].split else None,
        groups=_group_numbers(images),
        name_of=paths.__getitem__,
        path_of=lambda index: path.parent / paths[index],
        columns=columns,
        problems=(*problems, *_name_problems(images, chosen), *located.problems),
    )


def _sorted_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without repeats: in the order of their values if all are numbers, else by letters."""
    labels = sorted(set(names))
    if all(name.isdecimal() for name in labels):
        labels.sort(key=int)
    return tuple(labels)


def _name_problems(images: Sequence[ListedImage], chosen: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what looks wrong with the names of classes, and with paths that say otherwise."""
    paths = [image.path for image in images]
    yield from label_names.problems(chosen)
    if images[0].findings is None:
        yield from _against_folders(paths, images, chosen)
    if not images[0].split:
        yield from label_names.unused_splits(paths)


def _labels(image: ListedImage) -> tuple[str, ...]:
    return (image.label,) if image.findings is None else image.findings


def _targets(images: Sequence[ListedImage], labels: tuple[str, ...], chosen: Mapping[str, str]) -> Indices:
    """Return the class number of each image; or 0 and 1 for each label, if an image may have several."""
    number_of = {label: number for number, label in enumerate(labels)}
    if images[0].findings is None:
        return np.array([number_of[chosen[image.label]] for image in images], np.int64)
    targets = np.zeros((len(images), len(labels)), np.int64)
    for row, image in enumerate(images):
        for name in image.findings or ():
            targets[row, number_of[chosen[name]]] = 1
    return targets


def _against_folders(
    paths: Sequence[str], images: Sequence[ListedImage], chosen: Mapping[str, str]
) -> Iterator[Problem]:
    return label_names.against_folders(paths, [chosen[image.label] for image in images])


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
    named = [image.group for image in images if image.group is not None]
    return np.unique(named, return_inverse=True)[1].astype(np.int64) if named else None
