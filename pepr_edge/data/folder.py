"""An image folder: split/class/* or class/*, at any depth below the class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pepr_edge.data.files import IMAGE_SUFFIXES, is_image, read_images, stamp_files, tree_sha256
from pepr_edge.data.source import (
    SPLIT_NAMES,
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_labels,
    splits_by_name,
)
from pepr_edge.errors import DataError, ImageError
from pepr_edge.records import Problem, Split
from pepr_edge.untrusted.paths import is_dir
from pepr_edge.untrusted.shown import shown

ACCEPTS: str = "a folder of images"
SUFFIXES: tuple[str, ...] = ()

# Common companions of images; the note about skipped files names these suffixes only.
OTHER_SUFFIXES = frozenset(
    {".csv", ".db", ".ini", ".json", ".md", ".npy", ".npz", ".pdf", ".pt", ".pth", ".py",
     ".txt", ".xls", ".xlsx", ".xml", ".zip"}
)  # fmt: skip


@dataclass(frozen=True)
class _ImageFile:
    """An image of the folder, `name` relative to it with forward slashes."""

    name: str
    label: str
    split: Split | None


def recognises(source: str) -> bool:
    """True if it is the path of a folder."""
    return is_dir(source)


def stamp(settings: DataSettings) -> Stamp:
    """Return name, size and time of every image file."""
    root = Path(settings.source)
    return stamp_files(root, [path.relative_to(root).as_posix() for path in _files(root) if is_image(path)])


def open_source(settings: DataSettings) -> ImageSource:
    """List the images of a folder; class names are the sorted names of the folders.

    Raises:
        DataError: no class folders, an empty class, a duplicate split folder, splits beside classes, or a
            link that leads back.
    """
    root = Path(settings.source)
    split_folders = _split_folders(root)
    skipped: Counter[str] = Counter()
    images: list[_ImageFile] = []
    for split, split_folder in split_folders.items():
        for class_folder in _subfolders(split_folder):
            for path in _class_images(class_folder, skipped):
                name = path.relative_to(root).as_posix()
                images.append(_ImageFile(name, class_folder.name, split))
    if not images:
        raise DataError(
            f"{root}: no class folders, expected class/images or split/class/images. "
            "Put each class's images into a folder."
        )
    images.sort(key=lambda image: image.name)
    labels = tuple(sorted({image.label for image in images}))
    check_labels(labels, str(root))
    names = [image.name for image in images]

    def read(indices: Indices) -> Iterator[Image.Image | ImageError]:
        return read_images(root, names, indices)

    return ImageSource(
        name=shown(root.resolve().name),
        format="folder",
        sha256=tree_sha256(root, names),
        labels=labels,
        targets=np.array([labels.index(image.label) for image in images], np.int64),
        read=read,
        given=None if None in split_folders else splits_by_name([image.split for image in images]),
        name_of=names.__getitem__,
        problems=_skipped_files(skipped),
    )


def _split_folders(root: Path) -> dict[Split | None, Path]:
    """Return the folder of each split; {None: root} if the folders are classes."""
    folders = _subfolders(root)
    known = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not any(folder.name.lower() == "train" for folder in known):
        if not known or len(known) < len(folders):
            return {None: root}
        names = ", ".join(folder.name for folder in known)
        raise DataError(f"{root}: split folders {names} without train. Add train/class/images.")
    if len(known) < len(folders):
        unknown = next(folder.name for folder in folders if folder not in known)
        raise DataError(
            f"{root}: folder {unknown!r} beside train, expected only train, val and test there. "
            "Move or remove it."
        )
    by_split: dict[Split | None, Path] = {}
    for folder in known:
        split = SPLIT_NAMES[folder.name.lower()]
        if split in by_split:
            raise DataError(
                f"{root}: both {by_split[split].name!r} and {folder.name!r} are the {split} split, "
                "expected one folder. Merge or remove one."
            )
        by_split[split] = folder
    return by_split


def _class_images(folder: Path, skipped: Counter[str]) -> list[Path]:
    """Return the images of a class; count the other files in `skipped`."""
    images = []
    others: Counter[str] = Counter()
    for path in _files(folder):
        if is_image(path):
            images.append(path)
        else:
            others[_kind(path)] += 1
    if not images:
        content = f"no image among {others.total()} files" if others else "no files"
        raise DataError(
            f"{folder}: {content}, expected images ({' '.join(sorted(IMAGE_SUFFIXES))}). "
            "Add images, or remove the folder."
        )
    skipped.update(others)
    return images


def _skipped_files(skipped: Counter[str]) -> tuple[Problem, ...]:
    if not skipped:
        return ()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
    remedy = f"skipped files that are not images: {kinds}"
    return (Problem(kind="other_files", severity="note", count=skipped.total(), remedy=remedy),)


def _kind(path: Path) -> str:
    """Return a file's suffix if it is a common one; other suffixes may contain a patient's name or number."""
    suffix = path.suffix.lower()
    return suffix if suffix in OTHER_SUFFIXES else "of other kinds"


def _visible(path: Path) -> bool:
    # macOS adds __MACOSX to archives.
    return not path.name.startswith(".") and path.name != "__MACOSX"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _visible(path))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not _visible(path):
            continue
        if not path.is_dir():
            yield path
            continue
        if path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise DataError(f"{shown(str(path))}: a link to a folder that contains it. Remove the link.")
        yield from _files(path)
